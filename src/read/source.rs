//! Reads of a source by its number, without a file.
//!
//! Always: the bytes come the way that those of files come: out of the region, or the device.

use super::Root;
use super::io::Extent;
use super::stop::Blocking;
use crate::cache::Layer;
use crate::error::Error;
use crate::num::{OrBug, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{ByteRange, DeviceSlot};

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Returns the number of the source that is this whole device; `None` if there is none.
    pub fn source_number(&self, device: DeviceId) -> Option<u16> {
        let mut sources = (0..=u16::MAX).zip(&self.shared.sources);
        let number = sources.find(|(_, source)| source.device == device && source.base == 0);
        number.map(|(number, _)| number)
    }

    /// Fills `out` with the bytes of a source from byte `at` on: out of the region if that has them,
    /// else out of the device. A source has the number that [`Root::source_number`] says.
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
