//! A mount that brings its region up to date: while it reads much, and at its end.
//!
//! Always: none of this is needed for right bytes; without it, the next mount fetches more.

use super::Root;
use crate::cache::Cache;
use crate::num::clip64;
use crate::storage::Storage;
use core::time::Duration;

impl<S: Storage> Root<S, Option<Cache>> {
    /// Gives the region up to `time` to write, if more than half of its buffers are full. Reads do
    /// not wait for the region: call this between the reads of someone who reads in bulk.
    pub fn catch_up(&self, time: Duration) {
        self.with_layer(|layer, storage| {
            if let Some(cache) = layer {
                let deadline_ns = after(storage, time);
                cache.catch_up(storage, deadline_ns);
            }
        });
    }

    /// Makes durable what the region was offered. Returns whether all of it is, within `time`;
    /// without a region there is nothing to make durable.
    pub fn sync(&self, time: Duration) -> bool {
        self.with_layer(|layer, storage| {
            let deadline_ns = after(storage, time);
            layer.as_mut().is_none_or(|cache| cache.sync(storage, deadline_ns))
        })
    }

    /// As [`Root::sync`], at the end of a mount: also records what the region holds, so that the
    /// next mount need not look for it.
    pub fn leave(&self, time: Duration) -> bool {
        self.with_layer(|layer, storage| {
            let deadline_ns = after(storage, time);
            layer.as_mut().is_none_or(|cache| cache.leave(storage, deadline_ns))
        })
    }
}

/// Returns when `time` will have passed, in nanoseconds on the clock of `storage`: at the clock's end
/// if that comes first.
fn after<S: Storage>(storage: &S, time: Duration) -> u64 {
    clip64([u128::from(storage.now_ns()), time.as_nanos()].iter().sum())
}
