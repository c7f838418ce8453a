//! Reading compressed files: which pclusters a range needs, their bytes in one batch, decoded
//! where the caller wants them.
//!
//! Always: a whole extent is decoded in the caller's buffer; of one that is wanted in part the
//! decoded bytes are kept in a bounded cache; memory stays within the mount's
//! [`Budget`](super::budget::Budget).

mod cache;
mod job;

use super::budget::Budget;
use super::inner::Inner;
use super::plan::Plan;
use crate::cache::Layer;
use crate::erofs::codec::{Algorithm, Decoders, Encoded, End, Limits};
use crate::erofs::compressed::{CompressedMap, Data, Extent, Metadata, Place};
use crate::erofs::{Corrupt, Incompat, Inode, Nid, PCLUSTER_BYTES_MAX, Space, Unsupported};
use crate::error::Error;
use crate::storage::{DeviceId, Storage};
use alloc::vec::Vec;
use cache::DecodedCache;
use job::{Job, Jobs, Key, Stored, Window};

/// Encoded bytes of one batch, unless one pcluster alone has more.
const ENCODED_BYTES: usize = 256 << 10;

/// What reading compressed files takes: allocated at the first of them.
#[derive(Debug)]
pub struct Decoding {
    budget: Budget,
    cache: Option<DecodedCache<Key>>,
    decoders: Option<Decoders>,
    /// Encoded bytes of one batch.
    encoded: Vec<u8>,
    /// The map that was used last.
    map: Option<(Nid, CompressedMap)>,
    /// The extent that was found last.
    extent: Option<(Nid, Extent)>,
    /// The inode that holds fragments, once it was needed.
    packed: Option<Inode>,
}

impl Decoding {
    /// Allocates nothing.
    pub fn new(budget: &Budget) -> Self {
        Self {
            budget: *budget,
            cache: None,
            decoders: None,
            encoded: Vec::new(),
            map: None,
            extent: None,
            packed: None,
        }
    }
}

/// Metadata of one space.
struct InSpace<'i, S, L>(&'i mut Inner<S, L>, Space);

impl<S: Storage, L: Layer<S>> Metadata for InSpace<'_, S, L> {
    type Error = Error;

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.meta(self.1, at, out)
    }
}

/// The next bytes of a read, all of one kind.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Run {
    /// As they lie on their devices, or zeros.
    Straight(Plan),
    /// Of the packed inode from this byte on.
    Fragment { at: u64, len: usize },
    /// To be decoded.
    Encoded(Jobs),
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Self::Straight(plan) => usize::try_from(plan.bytes()).unwrap_or(usize::MAX),
            Self::Fragment { len, .. } => *len,
            Self::Encoded(jobs) => jobs.out_len(),
        }
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// What decoding may allocate, in bytes.
    ///
    /// # Errors
    /// Unsupported when the image's algorithms need more than the budget has.
    pub fn decoding_bytes(&self) -> Result<usize, Error> {
        let budget = &self.decoding.budget;
        let encoded = usize::try_from(PCLUSTER_BYTES_MAX).unwrap_or(usize::MAX);
        let compression = &self.superblock.compression;
        let decoders = Decoders::bytes(compression.algorithms, &self.limits());
        let need = encoded.saturating_add(decoders);
        if need > budget.decoder_bytes {
            return Err(Unsupported::DecoderMemory { need, has: budget.decoder_bytes }.into());
        }
        Ok(need.saturating_add(budget.decoded_bytes))
    }

    fn limits(&self) -> Limits {
        let compression = &self.superblock.compression;
        Limits {
            lzma_dictionary: compression.lzma_dictionary_bytes,
            zstd_window: compression.zstd_window_bytes,
        }
    }

    /// Reads bytes of a compressed inode; `offset + out.len()` is at most its size.
    pub fn decoded(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut offset = offset;
        let mut rest = out;
        // Each round gives at least a byte.
        while !rest.is_empty() {
            let run = self.next_run(inode, offset, rest.len())?;
            let len = run.len();
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
            match run {
                Run::Straight(plan) => self.fetch(plan.extents(), front)?,
                Run::Fragment { at, .. } => self.fragment(inode, at, front)?,
                Run::Encoded(jobs) => self.decode(inode, &jobs, front)?,
            }
            offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            rest = behind;
        }
        Ok(())
    }

    /// The extent that covers byte `offset`.
    fn extent(&mut self, inode: &Inode, offset: u64) -> Result<Extent, Error> {
        let nid = inode.nid;
        if let Some((of, extent)) = self.decoding.extent
            && of == nid
            && extent.covers(offset)
        {
            return Ok(extent);
        }
        // Reading metadata below may need the map of another file.
        let known = self.decoding.map.take().filter(|(of, _)| *of == nid);
        let mut map = match known {
            Some((_, map)) => map,
            None => {
                let superblock = self.superblock.clone();
                let algorithms = superblock.compression.algorithms.bits();
                let space = &mut InSpace(self, nid.space());
                CompressedMap::open(&superblock, algorithms, inode, space)?
            }
        };
        let extent = map.find(&mut InSpace(self, nid.space()), offset)?;
        self.decoding.map = Some((nid, map));
        if !extent.covers(offset) {
            return Err(Corrupt::ExtentElsewhere { nid, offset }.into());
        }
        self.decoding.extent = Some((nid, extent));
        Ok(extent)
    }

    /// Plans at least a byte and at most `want` bytes from `offset` on.
    fn next_run(&mut self, inode: &Inode, offset: u64, want: usize) -> Result<Run, Error> {
        let end = offset.saturating_add(u64::try_from(want).unwrap_or(u64::MAX));
        let first = self.extent(inode, offset)?;
        if let Data::Fragment { at } = first.data {
            let skip = offset.saturating_sub(first.offset);
            let len = first.end().min(end).saturating_sub(offset);
            let len = usize::try_from(len).unwrap_or(want).min(want);
            return Ok(Run::Fragment { at: at.saturating_add(skip), len });
        }
        if is_straight(&first) {
            return self.straight(inode, offset, end).map(Run::Straight);
        }
        self.jobs(inode, offset, end).map(Run::Encoded)
    }

    fn straight(&mut self, inode: &Inode, offset: u64, end: u64) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut at = offset;
        while at < end {
            let extent = self.extent(inode, at)?;
            if !is_straight(&extent) {
                break;
            }
            let skip = at.saturating_sub(extent.offset);
            let len = extent.end().min(end).saturating_sub(at);
            let added = match extent.data {
                Data::Encoded { place: Place::Blocks { at: first }, .. } => {
                    let (from, len) = Stored::of(inode, &extent, first)?.part(skip, len);
                    self.push_bytes(&mut plan, from, len)?
                }
                _ if plan.push_hole(len) => len,
                _ => 0,
            };
            if added == 0 {
                break;
            }
            at = at.saturating_add(added);
        }
        Ok(plan)
    }

    /// Adds bytes of the unified address space; returns how many found room.
    fn push_bytes(&self, plan: &mut Plan, at: u64, len: u64) -> Result<u64, Error> {
        let size = self.superblock.block_size;
        let (block, skip) = (at >> size.bits(), size.offset_in(at));
        Ok(plan.push_blocks(&self.superblock, &self.devices, 0, block, skip, len)?)
    }

    fn jobs(&mut self, inode: &Inode, offset: u64, end: u64) -> Result<Jobs, Error> {
        let mut jobs = Jobs::default();
        let mut at = offset;
        while at < end {
            let extent = self.extent(inode, at)?;
            let Data::Encoded { place, len, encoding } = extent.data else { break };
            if is_straight(&extent) {
                break;
            }
            let key = Key::new(inode.nid, place, len, encoding);
            let skip = at.saturating_sub(extent.offset);
            let wanted = extent.end().min(end).saturating_sub(at);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let kept = self.decoding.cache.as_ref();
            let kept = kept.is_some_and(|cache| cache.get(key, skip, wanted).is_some());
            let encoded = if kept { 0 } else { usize::try_from(len).unwrap_or(usize::MAX) };
            if !jobs.push(Job { extent, key, skip, len: wanted, encoded, kept }, ENCODED_BYTES) {
                break;
            }
            at = extent.end().min(end);
        }
        Ok(jobs)
    }

    /// Reads bytes of the packed inode for a fragment of `inode`.
    fn fragment(&mut self, inode: &Inode, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let nid = inode.nid;
        if self.superblock.packed == Some(nid) {
            return Err(Corrupt::FragmentInPacked { nid }.into());
        }
        let packed = match self.decoding.packed {
            Some(packed) => packed,
            None => {
                let packed = self.superblock.packed.ok_or(Corrupt::NoPackedInode)?;
                let packed = self.inode(packed)?;
                self.decoding.packed = Some(packed);
                packed
            }
        };
        let len = u64::try_from(out.len()).unwrap_or(u64::MAX);
        if at.checked_add(len).is_none_or(|end| end > packed.size) {
            let packed = packed.size;
            return Err(Corrupt::FragmentBeyondPacked { nid, at, len, packed }.into());
        }
        self.data(&packed, at, out)
    }

    /// Fills `out` with what the jobs decode to.
    fn decode(&mut self, inode: &Inode, jobs: &Jobs, out: &mut [u8]) -> Result<(), Error> {
        // Reading metadata below may read compressed data itself, into other memory.
        let mut encoded = core::mem::take(&mut self.decoding.encoded);
        if encoded.len() < jobs.encoded_len() {
            encoded = alloc::vec![0; jobs.encoded_len().max(ENCODED_BYTES)];
        }
        let result = self.decode_from(inode, jobs, &mut encoded, out);
        if encoded.len() > self.decoding.encoded.len() {
            self.decoding.encoded = encoded;
        }
        result
    }

    fn decode_from(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        encoded: &mut [u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let mut rest = &mut *out;
        for job in jobs.iter() {
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(job.len).unwrap_or_default();
            rest = behind;
            let cache = self.decoding.cache.as_ref().filter(|_| job.kept);
            if let Some(kept) = cache.and_then(|cache| cache.get(job.key, job.skip, job.len)) {
                front.copy_from_slice(kept);
                self.stats.copied(front.len());
                self.stats.decoded_hits = self.stats.decoded_hits.saturating_add(1);
            }
        }
        self.read_encoded(inode, jobs, encoded)?;
        let (mut input, mut rest) = (&*encoded, out);
        for job in jobs.iter() {
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(job.len).unwrap_or_default();
            let (here, later) = input.split_at_checked(job.encoded).unwrap_or_default();
            (input, rest) = (later, behind);
            if !job.kept {
                self.decode_job(inode, job, here, front)?;
            }
        }
        Ok(())
    }

    /// Reads the encoded bytes of all jobs, one after the other: what lies in blocks in one batch.
    fn read_encoded(
        &mut self,
        inode: &Inode,
        jobs: &Jobs,
        encoded: &mut [u8],
    ) -> Result<(), Error> {
        let mut plan = Plan::default();
        let (mut rest, mut planned) = (encoded, 0_usize);
        for job in jobs.iter().filter(|job| !job.kept) {
            let Data::Encoded { place, len, .. } = job.extent.data else { continue };
            let (mut at, mut left) = match place {
                Place::Blocks { at } => (at, len),
                Place::Inline { .. } => (0, 0),
            };
            while left > 0 {
                let added = self.push_bytes(&mut plan, at, left)?;
                at = at.saturating_add(added);
                left = left.saturating_sub(added);
                planned = planned.saturating_add(usize::try_from(added).unwrap_or(0));
                if left > 0 {
                    rest = self.fetch_front(&plan, planned, rest)?;
                    (plan, planned) = (Plan::default(), 0);
                }
            }
            if let Place::Inline { at } = place {
                rest = self.fetch_front(&plan, planned, rest)?;
                (plan, planned) = (Plan::default(), 0);
                let (front, behind) = core::mem::take(&mut rest)
                    .split_at_mut_checked(job.encoded)
                    .unwrap_or_default();
                self.meta(inode.nid.space(), at, front)?;
                rest = behind;
            }
        }
        self.fetch_front(&plan, planned, rest)?;
        Ok(())
    }

    fn fetch_front<'o>(
        &mut self,
        plan: &Plan,
        len: usize,
        out: &'o mut [u8],
    ) -> Result<&'o mut [u8], Error> {
        let (front, behind) = out.split_at_mut_checked(len).unwrap_or_default();
        if !front.is_empty() {
            self.fetch(plan.extents(), front)?;
        }
        Ok(behind)
    }

    /// Decodes one job into `out`, whole or by way of the cache.
    fn decode_job(
        &mut self,
        inode: &Inode,
        job: &Job,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let Data::Encoded { encoding, .. } = job.extent.data else { return Ok(()) };
        let Some(algorithm) = encoding.algorithm() else {
            return self.copy_stored(inode, job, input, out);
        };
        let limits = self.limits();
        let algorithms = self.superblock.compression.algorithms;
        let padding_max = match algorithm {
            Algorithm::Lz4 if !self.superblock.incompat.has(Incompat::LZ4_0PADDING) => 0,
            _ => self.superblock.block_size.bytes_usize(),
        };
        let nid = inode.nid;
        let offset = job.extent.offset;
        let corrupt = |fault| Error::from(Corrupt::Encoded { nid, offset, algorithm, fault });
        let bytes = self.decoding.budget.decoded_bytes;
        let Decoding { cache, decoders, .. } = &mut self.decoding;
        let decoders = decoders.get_or_insert_with(|| Decoders::new(algorithms, &limits));
        let cache = cache.get_or_insert_with(|| DecodedCache::new(bytes));
        let mut run = |window: Window, out: &mut [u8]| {
            let end = if window.to_the_end && !job.extent.partial { End::Exact } else { End::Open };
            let encoded = Encoded { algorithm, input, padding_max, end };
            decoders.decode(&encoded, window.from, out).map_err(corrupt)
        };
        self.stats.decodes = self.stats.decodes.saturating_add(1);
        let window = job.window(cache.entry_max(), cache.knows(job.key));
        self.stats.decoded_bytes = self.stats.decoded_bytes.saturating_add(window.decoded());
        if !window.keep {
            return run(window, out);
        }
        let from = usize::try_from(job.skip.saturating_sub(window.from)).unwrap_or(usize::MAX);
        let kept = cache.insert(job.key, window.from, window.len, |out| run(window, out))?;
        let wanted = kept.get(from..).and_then(|kept| kept.get(..out.len()));
        // The window was made around what is wanted.
        out.copy_from_slice(wanted.unwrap_or_default());
        self.stats.copied(out.len());
        Ok(())
    }

    /// Copies bytes that are stored as they are, inside metadata.
    fn copy_stored(
        &mut self,
        inode: &Inode,
        job: &Job,
        input: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let stored = Stored::of(inode, &job.extent, 0)?;
        let (mut skip, mut rest) = (job.skip, out);
        while !rest.is_empty() {
            let want = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            let (from, len) = stored.part(skip, want);
            let (from, count) = (usize::try_from(from), usize::try_from(len));
            let (from, count) = (from.unwrap_or(usize::MAX), count.unwrap_or(usize::MAX));
            let (front, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(count).unwrap_or_default();
            let found = input.get(from..).and_then(|input| input.get(..count));
            front.copy_from_slice(found.unwrap_or_default());
            self.stats.copied(count);
            skip = skip.saturating_add(len);
            rest = behind;
        }
        Ok(())
    }

    /// Device and byte offset where the bytes of `offset` lie encoded; `None` for a hole.
    pub fn encoded_source(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Error> {
        let extent = self.extent(inode, offset)?;
        match extent.data {
            Data::Hole => Ok(None),
            Data::Fragment { at } => {
                let packed = self.superblock.packed.filter(|packed| *packed != inode.nid);
                let packed = self.inode(packed.ok_or(Corrupt::NoPackedInode)?)?;
                self.source_of(&packed, at)
            }
            Data::Encoded { place: Place::Inline { at }, .. } => {
                self.meta_source(inode.nid.space(), at)
            }
            Data::Encoded { place: Place::Blocks { at }, .. } => {
                let mut plan = Plan::default();
                self.push_bytes(&mut plan, at, 1)?;
                Ok(self.place(plan.extents()))
            }
        }
    }
}

/// Whether the bytes lie on their devices as a reader wants them.
fn is_straight(extent: &Extent) -> bool {
    match extent.data {
        Data::Hole => true,
        Data::Fragment { .. } => false,
        Data::Encoded { place, encoding, .. } => {
            matches!(place, Place::Blocks { .. }) && encoding.algorithm().is_none()
        }
    }
}
