//! Decoding what was planned: the encoded bytes of all jobs in one batch, then each of them.
//!
//! Always: `out` is filled with decoded bytes whole, or the read fails.

use super::cache::DecodedCache;
use super::job::{Job, Jobs, Source, Stored, Window};
use super::{Decoding, ENCODED_BYTES};
use crate::cache::Layer;
use crate::erofs::codec::{Algorithm, Decoders, Encoded, End};
use crate::erofs::compressed::{Data, Place};
use crate::erofs::{FormatError, Incompat, Inode, Superblock};
use crate::error::Error;
use crate::num::{OrBug, wide};
use crate::read::inner::Inner;
use crate::read::plan::Plan;
use crate::read::stats::Stats;
use crate::storage::Storage;
use crate::units::Fill;

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Fills `out` with what the jobs decode to; what was kept is there already.
    pub(super) fn decode(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        out: &mut [u8],
    ) -> Result<(), Error> {
        // Reading metadata below may read compressed data itself, into other memory.
        let mut encoded = core::mem::take(&mut self.decoding.encoded);
        if encoded.len() < jobs.encoded_len() {
            // The shorter one goes first: both together are more than was settled.
            drop(core::mem::take(&mut encoded));
            // As many as it takes to grow seldom, and no more than were settled.
            let bytes = jobs.encoded_len().max(ENCODED_BYTES);
            encoded = alloc::vec![0; bytes.checked_next_power_of_two().unwrap_or(bytes)];
        }
        let result = self.decode_by(inode, jobs, &mut encoded, out);
        if encoded.len() > self.decoding.encoded.len() {
            self.decoding.encoded = encoded;
        }
        result
    }

    fn decode_by(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        encoded: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        self.read_encoded(inode, jobs, encoded)?;
        let (mut encoded, mut out) = (&*encoded, Fill::new(out));
        for job in jobs.iter() {
            let front = out.next(wide(job.len))?;
            let input = match job.source {
                Source::Kept => continue,
                Source::Read { bytes } => {
                    let (here, later) = encoded.split_at_checked(bytes).or_bug()?;
                    encoded = later;
                    here
                }
                Source::Memory { slot, at, bytes } => {
                    // As `Inner::view`, of which the borrow checker knows no parts.
                    let source = self.sources.get(usize::from(slot)).or_bug()?;
                    let (device, at) = source.at(at)?;
                    self.storage.view(device, at, bytes).or_bug()?
                }
            };
            let mut worker = Worker {
                superblock: &self.superblock,
                decoding: &mut self.decoding,
                stats: &mut self.stats,
                inode,
                job,
            };
            worker.run(input, front)?;
        }
        Ok(out.finish()?)
    }

    /// Reads the encoded bytes of the jobs that need them, one after the other: what lies in
    /// blocks in one batch.
    fn read_encoded(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        encoded: &mut [u8],
    ) -> Result<(), Error> {
        let mut plan = Plan::new();
        let mut out = Fill::new(encoded);
        for job in jobs.iter() {
            let Data::Encoded { place, len, .. } = job.extent.data else { continue };
            match (job.source, place) {
                (Source::Read { .. }, Place::Blocks { at }) => {
                    let (mut at, mut left) = (at, len);
                    // Each round takes at least a byte: there is room in an empty plan.
                    while left > 0 {
                        let added = self.push_bytes(&mut plan, at, left)?;
                        at = at.checked_add(added).or_bug()?;
                        left = left.checked_sub(added).or_bug()?;
                        if left > 0 {
                            self.fetch_next(&mut plan, &mut out)?;
                        }
                    }
                }
                (Source::Read { bytes }, Place::Inline { at }) => {
                    if plan.bytes() > 0 {
                        self.fetch_next(&mut plan, &mut out)?;
                    }
                    self.meta(inode.nid.space(), at, out.next(wide(bytes))?)?;
                }
                _ => {}
            }
        }
        if plan.bytes() > 0 { self.fetch_next(&mut plan, &mut out) } else { Ok(()) }
    }

    /// Fetches what is planned, at least a byte, and empties the plan.
    fn fetch_next(&mut self, plan: &mut Plan, out: &mut Fill<'_>) -> Result<(), Error> {
        let next = out.next(plan.bytes())?;
        if next.is_empty() {
            return Err(Error::bug());
        }
        self.fetch(plan.extents(), next)?;
        *plan = Plan::new();
        Ok(())
    }
}

/// What decodes one job.
struct Worker<'w> {
    superblock: &'w Superblock,
    decoding: &'w mut Decoding,
    stats: &'w mut Stats,
    inode: &'w Inode,
    job: &'w Job,
}

impl Worker<'_> {
    /// Fills `out` from the encoded bytes `input`.
    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let Data::Encoded { encoding, .. } = self.job.extent.data else {
            return Err(Error::bug());
        };
        match encoding.algorithm() {
            None => self.copy_stored(input, out),
            Some(algorithm) => self.decode(algorithm, input, out),
        }
    }

    /// Decodes whole, or by way of the cache.
    fn decode(&mut self, algorithm: Algorithm, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (superblock, job, nid) = (self.superblock, self.job, self.inode.nid);
        // Without 0padding the stream begins at once, and zeros follow it up to the block's end.
        let legacy =
            algorithm == Algorithm::Lz4 && !superblock.incompat.has(Incompat::LZ4_0PADDING);
        let padding_max = if legacy { 0 } else { self.padding_max() };
        let offset = job.extent.offset;
        let corrupt = |fault| Error::from(FormatError::encoded(nid, offset, algorithm, fault));
        let Decoding { cache, decoders, budget, .. } = &mut *self.decoding;
        let decoders = decoders.get_or_insert_with(|| {
            let compression = &superblock.compression;
            Decoders::new(compression.algorithms, &compression.limits())
        });
        let cache = cache.get_or_insert_with(|| DecodedCache::new(budget.decoded_bytes));
        let window = job.window(cache.entry_max(), cache.knows(job.key));
        self.stats.decodes = self.stats.decodes.saturating_add(1);
        self.stats.decoded_bytes = self.stats.decoded_bytes.saturating_add(window.decoded());
        let mut fill = |window: Window, out: &mut [u8]| {
            let exact = window.to_the_end && !job.extent.partial && !legacy;
            let end = if exact { End::Exact } else { End::Open };
            let encoded = Encoded { algorithm, input, padding_max, end };
            decoders.decode(&encoded, window.from, out).map_err(corrupt)
        };
        if !window.keep {
            return fill(window, out);
        }
        let from = job.skip.checked_sub(window.from).and_then(|from| usize::try_from(from).ok());
        let from = from.or_bug()?;
        let kept = cache.insert(job.key, window.from, window.len, |out| fill(window, out))?;
        let wanted = kept.get(from..).and_then(|kept| kept.get(..out.len()));
        out.copy_from_slice(wanted.or_bug()?);
        self.stats.copied(out.len());
        Ok(())
    }

    /// Zeros before a stream end with its first block.
    fn padding_max(&self) -> usize {
        let size = self.superblock.block_size;
        let inside = match self.job.extent.data {
            Data::Encoded { place: Place::Blocks { at } | Place::Inline { at }, .. } => {
                size.offset_in(at)
            }
            _ => 0,
        };
        usize::try_from(size.bytes().saturating_sub(inside)).unwrap_or(usize::MAX)
    }

    /// Copies bytes that are stored as they are, but not where a device could put them in place.
    fn copy_stored(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let stored = Stored::of(&self.job.extent, 0);
        let (mut skip, mut out) = (self.job.skip, Fill::new(out));
        // Two rounds at most: the turned part and the other.
        while out.left() > 0 {
            let (from, len) = stored.part(skip, out.left());
            let next = out.next(len)?;
            if next.is_empty() {
                return Err(Error::bug());
            }
            let found = usize::try_from(from).ok().and_then(|from| input.get(from..));
            next.copy_from_slice(found.and_then(|input| input.get(..next.len())).or_bug()?);
            self.stats.copied(next.len());
            skip = skip.checked_add(len).or_bug()?;
        }
        Ok(())
    }
}
