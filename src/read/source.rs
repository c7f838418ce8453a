//! Reads of a source by its number, without a file.
//!
//! Always: the bytes come the way that those of files come: out of the region, or the device.

use super::Root;
use super::io::Extent;
use super::stop::Blocking;
use crate::cache::Layer;
use crate::error::Error;
use crate::num::{OrBug, wide};
use crate::storage::Storage;
use crate::units::{ByteRange, DeviceSlot};

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Fills `out` with the bytes of a source from byte `at` on: out of the region if that has them,
    /// else out of the device. A source has the number of its slot, or that of
    /// [`Sources::add`](crate::blob::Sources::add).
    ///
    /// # Errors
    /// Those of a read; a bug if there is no such source, or if it ends before the last byte.
    pub fn read_source(&self, number: u16, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let slot = DeviceSlot::new(number);
        let bytes = self.shared.source(slot).or_bug()?.bytes;
        let range = ByteRange::sized(at, wide(out.len())).or_bug()?;
        range.within(ByteRange::first(bytes)).then_some(()).or_bug()?;
        self.lock().fetch(&[Extent::Blob { slot, range }], out).blocking()
    }
}
