//! How much memory a mount may take.
//!
//! Always: what is allocated for one mount stays below the sum of these, whatever the image says;
//! an image that needs more is refused when it is mounted.

/// Limits of memory, in bytes. One of more than a sixteenth of the address space
/// stands for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Metadata that is kept. Allocated page by page as it is read; at least 16 KiB.
    pub metadata_bytes: usize,
    /// Decoded bytes of compressed files that are kept for small reads. Allocated at the first
    /// read of a compressed file; at least 128 KiB.
    pub decoded_bytes: usize,
    /// What decoders may take besides: encoded bytes, dictionaries, windows.
    pub decoder_bytes: usize,
    /// Blocks of 4 KiB that are kept for small reads, of at most 16 KiB. Allocated block by block
    /// as they are read; less than 32 KiB is none. Not for storage that is memory anyway.
    pub block_bytes: usize,
    /// Buffers that streams read ahead into, of 256 KiB or, if that would be fewer than eight, of
    /// 64 KiB. Allocated at the first use of a stream; without any a stream reads 4 KiB at a time.
    pub stream_bytes: usize,
}

impl Budget {
    /// Returns the limits, each at most a sixteenth of the address space, so that sums of them
    /// and of the tables that come with them fit.
    pub(super) fn bounded(&self) -> Self {
        let bound = |bytes: usize| bytes.min(usize::MAX >> 4);
        Self {
            metadata_bytes: bound(self.metadata_bytes),
            decoded_bytes: bound(self.decoded_bytes),
            decoder_bytes: bound(self.decoder_bytes),
            block_bytes: bound(self.block_bytes),
            stream_bytes: bound(self.stream_bytes),
        }
    }

    /// For a machine with a lot of memory.
    pub const LARGE: Self = Self {
        metadata_bytes: 8 << 20,
        decoded_bytes: 8 << 20,
        decoder_bytes: 32 << 20,
        block_bytes: 0,
        stream_bytes: 8 << 20,
    };
}

impl Default for Budget {
    /// Returns the budget for small machines: enough for all algorithms together.
    fn default() -> Self {
        Self {
            metadata_bytes: 256 << 10,
            decoded_bytes: 512 << 10,
            decoder_bytes: 24 << 20,
            block_bytes: 0,
            stream_bytes: 1 << 20,
        }
    }
}
