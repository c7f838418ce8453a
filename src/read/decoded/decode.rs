//! Decoding: reads the encoded bytes of all jobs in one batch, then decodes job by job.
//!
//! Always: the whole of `out` is filled with decoded bytes, or the read fails. The lock is free while
//! bytes are read and while they are decoded.

use super::job::{Input, Job, Jobs, Stored, Window};
use super::{ENCODED_BYTES, unified};
use crate::cache::Layer;
use crate::erofs::codec::{Algorithm, Decoders, Encoded, End};
use crate::erofs::compressed::{Data, Place};
use crate::erofs::{FormatError, Incompat, Inode, Superblock};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::guard::Guard;
use crate::read::plan::Plan;
use crate::read::stop::Stop;
use crate::storage::Storage;
use crate::units::{ByteRange, Fill, count};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills `out` with the bytes that the jobs decode to. The bytes of [`Input::Kept`] jobs are in
    /// `out` already.
    pub(super) fn decode(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        out: &mut [u8],
    ) -> Result<(), Stop> {
        // Reading metadata for a decoder may decode too, and has memory of its own for that.
        let is_nested = self.in_metabox;
        let mut work = self.wait_for_one(|state| state.decoding.works(is_nested).take(Vec::new))?;
        let result = self.decode_by(inode, jobs, &mut work, out);
        self.decoding.works(is_nested).put(work);
        result
    }

    /// Decodes in the memory `work`: the encoded bytes of all jobs, then the bytes that one job decodes
    /// for the cache.
    fn decode_by(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        work: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<(), Stop> {
        let need = jobs.encoded_len().checked_add(jobs.kept_len()?).or_bug()?;
        if work.len() < need {
            // Free the old memory first: holding both would exceed the budget.
            drop(core::mem::take(work));
            // A power of two, so that the memory grows seldom.
            let bytes = need.max(ENCODED_BYTES).checked_next_power_of_two().or_bug()?;
            *work = alloc::vec![0; bytes.min(self.decoding.work_max).max(need)];
        }
        let (encoded, decoded) = work.split_at_mut_checked(jobs.encoded_len()).or_bug()?;
        self.read_encoded(inode, jobs, encoded)?;
        let compression = self.decoding.compression;
        let make = || Box::new(Decoders::new(compression.algorithms, &compression.limits()));
        let mut decoders = self.wait_for_one(|state| state.decoding.decoders.take(make))?;
        let result = self.decode_all(inode, jobs, (encoded, decoded), out, &mut decoders);
        self.decoding.decoders.put(decoders);
        result
    }

    fn decode_all(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        (encoded, decoded): (&[u8], &mut [u8]),
        out: &mut [u8],
        decoders: &mut Decoders,
    ) -> Result<(), Stop> {
        let (mut encoded, mut out) = (encoded, Fill::new(out));
        for job in jobs.iter() {
            let front = out.next(job.want.len())?;
            let input = match job.input {
                Input::Kept => continue,
                Input::Read { bytes } => {
                    let (here, later) = encoded.split_at_checked(bytes).or_bug()?;
                    encoded = later;
                    here
                }
                Input::Memory { slot, range } => self.view(slot, range).or_bug()?,
            };
            let worker = Worker { superblock: self.mount().superblock(), inode, job };
            let Some(window) = job.window else {
                let copied = front.len();
                self.released(|_| worker.copy_stored(input, front))?;
                self.io.stats.copied(copied);
                continue;
            };
            count(&mut self.io.stats.decodes, 1);
            // Decoders start at byte 0: the bytes before the window count too.
            count(&mut self.io.stats.decoded_bytes, window.bytes.end());
            if window.keep {
                let kept = decoded.get_mut(..narrow(window.bytes.len())?).or_bug()?;
                self.released(|_| worker.decode_part(decoders, window, input, kept, front))?;
                self.io.stats.copied(front.len());
                self.decoding.keep(job.key, window.bytes.start(), kept)?;
            } else {
                self.released(|_| worker.decode(decoders, window, input, front))?;
            }
        }
        Ok(out.finish()?)
    }

    /// Fills `encoded` with the encoded bytes of the [`Input::Read`] jobs, in order. Pclusters in
    /// blocks are read in one batch.
    fn read_encoded(&mut self, inode: &Inode, jobs: &Jobs, encoded: &mut [u8]) -> Result<(), Stop> {
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
    fn fetch_next(&mut self, plan: &mut Plan, out: &mut Fill<'_>) -> Result<(), Stop> {
        let next = out.next(plan.bytes())?;
        if next.is_empty() {
            return Err(Error::bug().into());
        }
        self.fetch(plan.extents(), next)?;
        *plan = Plan::new();
        Ok(())
    }
}

/// The decoding of one job, which needs no lock.
struct Worker<'w> {
    superblock: &'w Superblock,
    inode: &'w Inode,
    job: &'w Job,
}

impl Worker<'_> {
    /// Fills `kept` with the bytes of a window, and `out` with those of them that the job wants.
    fn decode_part(
        &self,
        decoders: &mut Decoders,
        window: Window,
        input: &[u8],
        kept: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        self.decode(decoders, window, input, kept)?;
        let skip = self.job.want.start().checked_sub(window.bytes.start()).or_bug()?;
        let wanted = kept.get(narrow(skip)?..).and_then(|kept| kept.get(..out.len()));
        out.copy_from_slice(wanted.or_bug()?);
        Ok(())
    }

    /// Fills `out` with the bytes of a window.
    fn decode(
        &self,
        decoders: &mut Decoders,
        window: Window,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let (job, nid) = (self.job, self.inode.nid());
        let Data::Encoded { encoding, .. } = job.extent.data else { return Err(Error::bug()) };
        let algorithm = encoding.algorithm().or_bug()?;
        // Without 0padding the stream begins at once, and zeros follow it up to the block's end.
        let legacy =
            algorithm == Algorithm::Lz4 && !self.superblock.incompat().has(Incompat::LZ4_0PADDING);
        let padding_max = if legacy { 0 } else { self.padding_max()? };
        let exact = window.to_the_end && !job.extent.partial && !legacy;
        let end = if exact { End::Exact } else { End::Open };
        let encoded = Encoded::new(algorithm, input).with_padding_max(padding_max).with_end(end);
        let corrupt = |fault| FormatError::encoded(nid, job.extent.offset, algorithm, fault).into();
        decoders.decode(&encoded, window.bytes.start(), out).map_err(corrupt)
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
    fn copy_stored(&self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let stored = Stored::of(&self.job.extent)?;
        let (mut rest, mut out) = (self.job.want, Fill::new(out));
        // At most two rounds: the rotated part and the rest.
        while rest.non_empty().is_some() {
            let part = stored.part(rest)?.non_empty().or_bug()?;
            let next = out.next(part.len())?;
            let found = input.get(narrow(part.start())?..);
            next.copy_from_slice(found.and_then(|input| input.get(..next.len())).or_bug()?);
            rest = rest.skip(part.len());
        }
        Ok(out.finish()?)
    }
}
