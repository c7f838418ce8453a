//! Limits of the memory that a mount may take.
//!
//! Always: the memory of one mount stays below the sum of the limits, whatever the image says; an
//! image that needs more is refused when it is mounted.

use crate::num::{low32, wide};
use crate::storage::events::Event;

/// Limits of memory, in bytes. A limit above a sixteenth of the address space counts as a
/// sixteenth.
///
/// ```
/// use rootlet::{blob::Image, cache::NoRegion, read::{Budget, Root}, storage::memory::MemoryStorage};
/// # let tiny = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs"));
/// # let mut storage = MemoryStorage::new();
/// # let device = storage.add_disk("root", tiny).ok_or("too many disks")?;
/// let image = Image::read(&storage, device)?;
/// let sources = image.bind(&mut storage, &[])?;
/// // The superblock states an algorithm, so a decoder must find memory: else no mount.
/// let tight = Budget::default().with_decoder_bytes(0).with_decoded_bytes(128 << 10);
/// let failed = Root::with_budget(storage, NoRegion, &image, &sources, &tight).unwrap_err();
/// let enough = tight.with_decoder_bytes(2 << 20);
/// let root = Root::with_budget(failed.storage, NoRegion, &image, &sources, &enough)?;
/// assert!(root.reserve_bytes() < 8 << 20, "{} bytes", root.reserve_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Pages of metadata. Allocated page by page as they are read; at least 16 KiB.
    pub metadata_bytes: usize,
    /// Decoded bytes of compressed files, kept for small reads. Allocated at the first read of a
    /// compressed file; at least 128 KiB.
    pub decoded_bytes: usize,
    /// Memory of decoders: encoded bytes, dictionaries, windows.
    pub decoder_bytes: usize,
    /// How many reads of compressed files decode at once: as many as `decoder_bytes` has memory for,
    /// at most 16 and at least 1. Further ones wait. Each takes up to half of `decoded_bytes`, too.
    pub decoders: u8,
    /// Blocks of 4 KiB, kept for small reads (at most 16 KiB). Allocated block by block as they are
    /// read; less than 32 KiB keeps none. Useless over storage that is memory itself.
    pub block_bytes: usize,
    /// Buffers that streams read ahead into: of 256 KiB, or of 64 KiB if the limit holds fewer than
    /// eight of 256 KiB. Allocated at the first use of a stream. Without buffers a stream reads
    /// 4 KiB at a time.
    pub stream_bytes: usize,
    /// Events that are kept for a picture of the boot ([`events`](crate::storage::events)), of 64
    /// bytes each; 0 is none, and nothing is recorded.
    pub events: u32,
}

impl Budget {
    /// Returns the limits, each cut to a sixteenth of the address space, so that no sum of limits
    /// and tables overflows.
    pub(super) fn bounded(&self) -> Self {
        self.bounded_by(usize::MAX >> 4)
    }

    /// Returns the limits, each cut to `bytes_max` bytes.
    fn bounded_by(&self, bytes_max: usize) -> Self {
        let bound = |bytes: usize| bytes.min(bytes_max);
        let events_max = bytes_max.checked_div(size_of::<Event>()).map_or(0, wide);
        Self {
            metadata_bytes: bound(self.metadata_bytes),
            decoded_bytes: bound(self.decoded_bytes),
            decoder_bytes: bound(self.decoder_bytes),
            decoders: self.decoders,
            block_bytes: bound(self.block_bytes),
            stream_bytes: bound(self.stream_bytes),
            events: low32(events_max.min(self.events.into())),
        }
    }

    /// The budget for a machine with a lot of memory.
    pub const LARGE: Self = Self {
        metadata_bytes: 8 << 20,
        decoded_bytes: 8 << 20,
        decoder_bytes: 32 << 20,
        decoders: 1,
        block_bytes: 0,
        stream_bytes: 8 << 20,
        events: 0,
    };

    /// Returns the same budget with another [`Budget::metadata_bytes`].
    #[must_use]
    pub const fn with_metadata_bytes(self, metadata_bytes: usize) -> Self {
        Self { metadata_bytes, ..self }
    }

    /// Returns the same budget with another [`Budget::decoded_bytes`].
    #[must_use]
    pub const fn with_decoded_bytes(self, decoded_bytes: usize) -> Self {
        Self { decoded_bytes, ..self }
    }

    /// Returns the same budget with another [`Budget::decoder_bytes`].
    #[must_use]
    pub const fn with_decoder_bytes(self, decoder_bytes: usize) -> Self {
        Self { decoder_bytes, ..self }
    }

    /// Returns the same budget with another [`Budget::decoders`].
    #[must_use]
    pub const fn with_decoders(self, decoders: u8) -> Self {
        Self { decoders, ..self }
    }

    /// Returns the same budget with another [`Budget::block_bytes`].
    #[must_use]
    pub const fn with_block_bytes(self, block_bytes: usize) -> Self {
        Self { block_bytes, ..self }
    }

    /// Returns the same budget with another [`Budget::stream_bytes`].
    #[must_use]
    pub const fn with_stream_bytes(self, stream_bytes: usize) -> Self {
        Self { stream_bytes, ..self }
    }

    /// Returns the same budget with another [`Budget::events`].
    #[must_use]
    pub const fn with_events(self, events: u32) -> Self {
        Self { events, ..self }
    }
}

impl Default for Budget {
    /// Returns the budget for small machines: enough for all algorithms together.
    fn default() -> Self {
        Self {
            metadata_bytes: 256 << 10,
            decoded_bytes: 512 << 10,
            decoder_bytes: 24 << 20,
            decoders: 1,
            block_bytes: 0,
            stream_bytes: 1 << 20,
            events: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_by_their_bytes_as_all_else_is() {
        let wanted = Budget { events: u32::MAX, block_bytes: 1 << 20, ..Budget::LARGE };
        let bounded = wanted.bounded_by(64 << 10);
        let most = u32::try_from((64 << 10) / size_of::<Event>());
        assert_eq!((bounded.block_bytes, Ok(bounded.events)), (64 << 10, most));
        assert_eq!(Budget { events: 7, ..wanted }.bounded_by(64 << 10).events, 7);
    }
}
