//! A mount that brings its region up to date: while it reads much, and at its end.
//!
//! Always: none of this is needed for right bytes; without it, the next mount fetches more.

use super::Root;
use crate::cache::{Cache, Round, Syncing};
use crate::num::clip64;
use crate::storage::{Storage, Wait};
use core::time::Duration;

impl<S: Storage> Root<S, Option<Cache>> {
    /// Gives the region up to `time` to write, if more than half of its buffers are full. Reads do
    /// not wait for the region: call this between the reads of someone who reads in bulk. Others read
    /// meanwhile.
    pub fn catch_up(&self, time: Duration) {
        // Not even the lock is taken where nothing is kept.
        if !self.shared.keeps() {
            return;
        }
        let storage = &self.shared.storage;
        let mut wait = Wait::until(storage, after(storage, time));
        let mut guard = self.lock();
        while wait.lasts(storage)
            && let Some(cache) = &mut guard.io.layer
            && let Round::Waits(has_ended) = cache.catch_up_round(storage)
        {
            guard.released(|storage| wait.rest(storage, has_ended));
        }
    }

    /// Makes durable what the region was offered. Returns whether all of it is, within `time`;
    /// without a region there is nothing to make durable. Others read meanwhile: what their reads
    /// offer has to be durable, too.
    pub fn sync(&self, time: Duration) -> bool {
        let storage = &self.shared.storage;
        let mut syncing = Syncing::until(storage, after(storage, time));
        let mut guard = self.lock();
        loop {
            let Some(cache) = &mut guard.io.layer else { return true };
            match cache.sync_round(storage, &mut syncing) {
                Round::Over(is_durable) => return is_durable,
                Round::Waits(has_ended) => {
                    guard.released(|storage| syncing.rest(storage, has_ended));
                }
            }
        }
    }

    /// As [`Root::sync`], at the end of a mount: also records what the region holds, so that the
    /// next mount need not look for it. Holds the lock of the mount all the time: others wait.
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
