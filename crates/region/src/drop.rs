//! Taking a blob out of the region, durably.
//!
//! Always: the tombstones of the blob's slots are durable before its entry is free, and the free
//! entry is durable before the call returns; a cut in between leaves the blob with fewer slots.

use super::claim::Mode;
use super::region::Cache;
use super::{BlobIndex, SlotState};
use crate::storage::Storage;
use core::fmt;

/// Why a blob was not taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotDropped {
    /// The region knows no such blob.
    Unknown,
    /// This mount reads it.
    Attached,
    /// The region is not written, and why.
    ReadOnly(&'static str),
    /// It could not be made durable in time: it may be there still, or a part of it.
    NotDurable,
}

impl fmt::Display for NotDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the region knows no such blob"),
            Self::Attached => f.write_str("it is being read"),
            Self::ReadOnly(why) => write!(f, "the region is not written: {why}"),
            Self::NotDurable => f.write_str("its disk did not make it durable in time"),
        }
    }
}

impl core::error::Error for NotDropped {}

impl Cache {
    /// Gives up every slot of a blob that this mount does not read, and its entry, and makes that
    /// durable before `deadline_ns`. Returns how many slots held some of it.
    ///
    /// # Errors
    /// See [`NotDropped`].
    pub fn drop_blob<S: Storage>(
        &mut self,
        storage: &S,
        blob: BlobIndex,
        deadline_ns: u64,
    ) -> Result<u32, NotDropped> {
        if self.index.blob(blob).is_none() {
            return Err(NotDropped::Unknown);
        }
        if self.index.is_attached(blob) {
            return Err(NotDropped::Attached);
        }
        if let Mode::ReadOnly(why) | Mode::Bypass(why) = self.claim.mode() {
            return Err(NotDropped::ReadOnly(why));
        }
        self.scan_all(storage);
        let given_up = self.index.evict_all(blob);
        let durable = self.sync(storage, deadline_ns);
        if !durable || self.index.count(SlotState::Entombed) > 0 {
            return Err(NotDropped::NotDurable);
        }
        self.index.remove_blob(blob);
        if self.leave(storage, deadline_ns) { Ok(given_up) } else { Err(NotDropped::NotDurable) }
    }
}
