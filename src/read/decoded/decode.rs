//! Decoding: reads the encoded bytes of all jobs in one batch, then decodes job by job.
//!
//! Always: the whole of `out` is filled with decoded bytes, or the read fails.

use super::cache::DecodedCache;
use super::job::{Input, Job, Jobs, Stored};
use super::{Decoding, ENCODED_BYTES, unified};
use crate::cache::Layer;
use crate::erofs::codec::{Algorithm, Decoders, Encoded, End};
use crate::erofs::compressed::{Data, Place};
use crate::erofs::{FormatError, Incompat, Inode, Superblock};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::inner::Inner;
use crate::read::plan::Plan;
use crate::read::stats::Stats;
use crate::storage::Storage;
use crate::units::{ByteRange, Fill, count};

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Fills `out` with the bytes that the jobs decode to. The bytes of [`Input::Kept`] jobs are in
    /// `out` already.
    pub(super) fn decode(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        out: &mut [u8],
    ) -> Result<(), Error> {
        // Taken out: reading metadata below may decode too, and then uses a buffer of its own.
        let mut encoded = core::mem::take(&mut self.decoding.encoded);
        if encoded.len() < jobs.encoded_len() {
            // Free the old buffer first: holding both would exceed the budget.
            drop(core::mem::take(&mut encoded));
            // A power of two, so that the buffer grows seldom: at most ENCODED_BYTES_MAX, as
            // budgeted.
            let bytes = jobs.encoded_len().max(ENCODED_BYTES);
            encoded = alloc::vec![0; bytes.checked_next_power_of_two().or_bug()?];
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
            let front = out.next(job.want.len())?;
            let input = match job.input {
                Input::Kept => continue,
                Input::Read { bytes } => {
                    let (here, later) = encoded.split_at_checked(bytes).or_bug()?;
                    encoded = later;
                    here
                }
                Input::Memory { slot, range } => {
                    // `Io::view`, but with a borrow of the storage alone: `stats` is in use below.
                    let (device, at) = self.io.source(slot).or_bug()?.at(range.start())?;
                    self.io.storage.view(device, at, narrow(range.len())?).or_bug()?
                }
            };
            let mut worker = Worker {
                superblock: self.mount.superblock(),
                decoding: &mut self.decoding,
                stats: &mut self.io.stats,
                inode,
                job,
            };
            worker.run(input, front)?;
        }
        Ok(out.finish()?)
    }

    /// Fills `encoded` with the encoded bytes of the [`Input::Read`] jobs, in order. Pclusters in
    /// blocks are read in one batch.
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
            match (job.input, place) {
                (Input::Read { .. }, Place::Blocks { at }) => {
                    let mut rest = unified(inode, at, ByteRange::first(len))?;
                    loop {
                        rest = self.push_bytes(&mut plan, rest)?;
                        if rest.is_empty() {
                            break;
                        }
                        // Each round plans at least a byte: an empty plan has room.
                        self.fetch_next(&mut plan, &mut out)?;
                    }
                }
                (Input::Read { bytes }, Place::Inline { at }) => {
                    if plan.bytes() > 0 {
                        self.fetch_next(&mut plan, &mut out)?;
                    }
                    self.meta(inode.nid().space(), at, out.next(wide(bytes))?)?;
                }
                _ => {}
            }
        }
        if plan.bytes() > 0 { self.fetch_next(&mut plan, &mut out) } else { Ok(()) }
    }

    /// Fetches the planned bytes, at least one, and empties the plan.
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

/// The decoder of one job.
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

    /// Decodes into `out` directly, or into the cache and copies from there.
    fn decode(&mut self, algorithm: Algorithm, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let (superblock, job, nid) = (self.superblock, self.job, self.inode.nid());
        // Without 0padding the stream begins at once, and zeros follow it up to the block's end.
        let legacy =
            algorithm == Algorithm::Lz4 && !superblock.incompat().has(Incompat::LZ4_0PADDING);
        let padding_max = if legacy { 0 } else { self.padding_max()? };
        let offset = job.extent.offset;
        let corrupt = |fault| Error::from(FormatError::encoded(nid, offset, algorithm, fault));
        let Decoding { cache, decoders, budget, .. } = &mut *self.decoding;
        let decoders = decoders.get_or_insert_with(|| {
            let compression = &superblock.compression();
            Decoders::new(compression.algorithms, &compression.limits())
        });
        let cache = cache.get_or_insert_with(|| DecodedCache::new(budget.decoded_bytes));
        let window = job.window(cache.entry_max(), cache.knows(job.key))?;
        count(&mut self.stats.decodes, 1);
        // Decoders start at byte 0: the bytes before the window count too.
        count(&mut self.stats.decoded_bytes, window.bytes.end());
        let mut fill = |out: &mut [u8]| {
            let exact = window.to_the_end && !job.extent.partial && !legacy;
            let end = if exact { End::Exact } else { End::Open };
            let encoded =
                Encoded::new(algorithm, input).with_padding_max(padding_max).with_end(end);
            decoders.decode(&encoded, window.bytes.start(), out).map_err(corrupt)
        };
        if !window.keep {
            return fill(out);
        }
        let (from, len) = (window.bytes.start(), narrow(window.bytes.len())?);
        let kept = cache.insert(job.key, from, len, fill)?;
        let skip = narrow(job.want.start().checked_sub(from).or_bug()?)?;
        let wanted = kept.get(skip..).and_then(|kept| kept.get(..out.len()));
        out.copy_from_slice(wanted.or_bug()?);
        self.stats.copied(out.len());
        Ok(())
    }

    /// Returns the most zeros that may precede a stream: at most to the end of its first block.
    fn padding_max(&self) -> Result<usize, Bug> {
        let size = self.superblock.block_size();
        let inside = match self.job.extent.data {
            Data::Encoded { place: Place::Blocks { at } | Place::Inline { at }, .. } => {
                size.offset_in(at)
            }
            _ => 0,
        };
        narrow(size.bytes().checked_sub(inside).or_bug()?)
    }

    /// Copies bytes that are stored uncompressed, where no device could read them into `out`.
    fn copy_stored(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let stored = Stored::of(&self.job.extent)?;
        let (mut rest, mut out) = (self.job.want, Fill::new(out));
        // At most two rounds: the rotated part and the rest.
        while rest.non_empty().is_some() {
            let part = stored.part(rest)?.non_empty().or_bug()?;
            let next = out.next(part.len())?;
            let found = input.get(narrow(part.start())?..);
            next.copy_from_slice(found.and_then(|input| input.get(..next.len())).or_bug()?);
            self.stats.copied(next.len());
            rest = rest.skip(part.len());
        }
        Ok(out.finish()?)
    }
}
