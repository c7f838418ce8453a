//! Counters of the read path since the mount.

use crate::num::wide;
use crate::units::count;

/// Counters of the read path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Reads by users.
    pub reads: u64,
    /// Bytes that users asked for and got.
    pub asked_bytes: u64,
    /// Batches submitted to the devices.
    pub batches: u64,
    /// Transfers from sources.
    pub fetches: u64,
    /// Bytes fetched from sources, metadata included.
    pub fetched_bytes: u64,
    /// Transfers served by the region.
    pub hits: u64,
    /// Bytes served by the region.
    pub hit_bytes: u64,
    /// Transfers served from bytes in memory that wait to be written to the region.
    pub joins: u64,
    /// Bytes copied by the processor on their way to a reader: unaligned edges, joins, metadata.
    pub copied_bytes: u64,
    /// Metadata blocks served from memory.
    pub meta_hits: u64,
    /// Small reads served from blocks in memory.
    pub block_hits: u64,
    /// Bytes that were prefetched because an earlier boot had read them.
    pub prefetched_bytes: u64,
    /// Pclusters decoded.
    pub decodes: u64,
    /// Bytes that decoding produced: for readers, for the cache, or skipped before either.
    pub decoded_bytes: u64,
    /// Parts of reads served from decoded bytes in memory.
    pub decoded_hits: u64,
    /// Names that were looked up in a directory of one image of a stack.
    pub lookups: u64,
    /// Background jobs that were dropped: they came back twice, after they had been given up, or
    /// to a mount that had not started them.
    pub stray_jobs: u64,
    /// Steps of futures that were taken as by a reader that blocks: no buffer was free and nobody
    /// would have freed one, no device takes jobs, or the step needs much metadata.
    pub blocked_steps: u64,
    /// The storage's clock, in nanoseconds, when the first byte of a file arrived; 0 before.
    pub first_byte_ns: u64,
    /// Bytes of superblock and device table that were read before the mount; never cached.
    pub mount_bytes: u64,
}

impl Stats {
    /// Counts a copy of `bytes` bytes.
    pub(super) fn copied(&mut self, bytes: usize) {
        count(&mut self.copied_bytes, wide(bytes));
    }

    /// Counts transfers from sources, of `bytes` bytes together.
    pub(super) fn fetched(&mut self, transfers: u64, bytes: usize) {
        count(&mut self.fetches, transfers);
        count(&mut self.fetched_bytes, wide(bytes));
    }

    /// Counts a transfer of `bytes` bytes that the region served.
    pub(super) fn hit(&mut self, bytes: usize) {
        count(&mut self.hits, 1);
        count(&mut self.hit_bytes, wide(bytes));
    }
}
