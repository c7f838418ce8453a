//! Reads of compressed files: find the pclusters of a range, read their bytes in one batch, decode
//! them into the caller's buffer.
//!
//! Always: an extent that is wanted in full is decoded in the caller's buffer; one that is wanted
//! in part is decoded into a bounded cache; memory stays within the mount's
//! [`Budget`](super::budget::Budget).

mod cache;
mod decode;
mod job;

use super::budget::Budget;
use super::guard::Guard;
use super::io;
use super::plan::{Plan, UNIFIED};
use super::shelf::Shelf;
use super::stop::Stop;
use super::task::TaskId;
use crate::cache::Layer;
use crate::erofs::codec::Decoders;
use crate::erofs::compressed::{CompressedMap, Data, Extent, Metadata, Place};
use crate::erofs::{
    Compression, Corrupt, ENCODED_BYTES_MAX, Inode, Nid, Part, Space, Superblock, Unsupported,
};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{ByteRange, Fill, count};
use alloc::boxed::Box;
use alloc::vec::Vec;
use cache::DecodedCache;
use job::{Input, Job, Jobs, Key, Stored};

/// The first size of the buffer for the encoded bytes of a batch.
const ENCODED_BYTES: usize = 256 << 10;
/// The most decoders of a mount.
const DECODERS_MAX: usize = 16;
/// The most encoded bytes of a batch, unless one pcluster alone has more.
const BATCH_BYTES: usize = 1 << 20;
/// The same of a task.
const TASK_BYTES: usize = 128 << 10;

/// The state of reading compressed files, allocated at the first of them.
#[derive(Debug)]
pub struct Decoding {
    budget: Budget,
    /// The settings of all images together.
    compression: Compression,
    /// The most bytes that the state may allocate.
    bytes: usize,
    cache: Option<DecodedCache<Key>>,
    decoders: Shelf<Box<Decoders>, DECODERS_MAX>,
    /// Memory for a read: its encoded bytes, and the bytes that it decodes for the cache.
    works: Shelf<Vec<u8>, DECODERS_MAX>,
    /// As `works`, for the one reader that reads the metabox.
    nested_works: Shelf<Vec<u8>, DECODERS_MAX>,
    /// The most bytes of one of `works`.
    work_max: usize,
    /// The inode and the map that were used last.
    map: Option<(Nid, CompressedMap)>,
    /// The extent that was used last.
    extent: Option<Known>,
    /// The inode that holds fragments, from its first use on.
    packed: Option<Inode>,
    /// The end of the last read: its inode and the byte of the file after it.
    end: Option<(Nid, u64)>,
}

impl Decoding {
    /// Returns the state before the first read. Allocates nothing.
    ///
    /// # Errors
    /// Unsupported when the images' algorithms need more than the budget has.
    pub fn new<'s>(
        budget: &Budget,
        images: impl Iterator<Item = &'s Superblock> + Clone,
    ) -> Result<Self, Error> {
        let encoded = narrow(ENCODED_BYTES_MAX)?;
        let settings = images.clone().map(|image| *image.compression());
        let compression = settings.reduce(|all, one| all.and(&one)).or_bug()?;
        let decoders = Decoders::bytes(compression.algorithms, &compression.limits());
        let need = encoded.checked_add(decoders).or_bug()?;
        if need > budget.decoder_bytes {
            return Err(Unsupported::DecoderMemory { need, has: budget.decoder_bytes }.into());
        }
        // A compressed metabox needs memory of its own, beside that of the file being read.
        let entry = DecodedCache::<Key>::entry_max_of(budget.decoded_bytes);
        let work_max = encoded.checked_add(entry).or_bug()?;
        let count = budget.decoder_bytes.checked_div(need).or_bug()?;
        let count = count.min(budget.decoders.into()).clamp(1, DECODERS_MAX);
        let decoded = DecodedCache::<Key>::bytes(budget.decoded_bytes);
        let all = work_max.checked_add(decoders).and_then(|one| one.checked_mul(count));
        let mut images = images;
        let has_metabox = images.any(|image| image.metabox().is_some());
        let nested = if has_metabox { work_max } else { 0 };
        let bytes = all.and_then(|sum| sum.checked_add(nested)?.checked_add(decoded?)).or_bug()?;
        Ok(Self {
            budget: *budget,
            compression,
            bytes,
            cache: None,
            decoders: Shelf::empty(count),
            works: Shelf::empty(count),
            nested_works: Shelf::empty(1),
            work_max,
            map: None,
            extent: None,
            packed: None,
            end: None,
        })
    }

    /// Returns the bytes that decoding may allocate.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the memory for reads of the metabox, or that for all other reads.
    fn works(&mut self, is_nested: bool) -> &mut Shelf<Vec<u8>, DECODERS_MAX> {
        if is_nested { &mut self.nested_works } else { &mut self.works }
    }

    fn cache(&mut self) -> &mut DecodedCache<Key> {
        self.cache.get_or_insert_with(|| DecodedCache::new(self.budget.decoded_bytes))
    }

    /// Keeps the decoded bytes of a pcluster from byte `from` on, unless the cache has them.
    fn keep(&mut self, key: Key, from: u64, decoded: &[u8]) -> Result<(), Bug> {
        let cache = self.cache();
        if cache.get(key, from, decoded.len()).is_none() {
            cache.insert(key, from, decoded.len(), |place| -> Result<(), Bug> {
                place.copy_from_slice(decoded);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// An extent of an inode, and its bytes that the map has confirmed.
#[derive(Clone, Copy, Debug)]
struct Known {
    nid: Nid,
    extent: Extent,
    sure: ByteRange,
}

/// The metadata of one space, as the map reads it.
struct InSpace<'i, 'r, S, L>(&'i mut Guard<'r, S, L>, Space);

impl<S: Storage, L: Layer<S>> Metadata for InSpace<'_, '_, S, L> {
    type Error = Stop;

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Stop> {
        self.0.meta(self.1, at, out)
    }
}

/// The next bytes of a read, all stored in the same way.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Run {
    /// Uncompressed bytes on devices, or zeros.
    Straight(Plan),
    /// Bytes of the packed inode.
    Fragment(ByteRange),
    /// Bytes to be decoded.
    Encoded(Jobs),
}

impl Run {
    fn len(&self) -> u64 {
        match self {
            Self::Straight(plan) => plan.bytes(),
            Self::Fragment(range) => range.len(),
            Self::Encoded(jobs) => jobs.out_len(),
        }
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills `out` with the bytes `want` of a compressed inode, which end within its size.
    pub fn decoded(&mut self, inode: &Inode, want: ByteRange, out: &mut [u8]) -> Result<(), Stop> {
        self.turn_to(inode.nid());
        let (mut rest, mut out) = (want, Fill::new(out));
        // Each round fills at least a byte.
        while let Some(here) = rest.non_empty() {
            let run = self.next_run(inode, here, out.unfilled())?;
            let front = out.next(run.len())?;
            rest = here.skip(run.len());
            if rest == here {
                return Err(Error::bug().into());
            }
            match run {
                Run::Straight(plan) => self.fetch(plan.extents(), front)?,
                Run::Fragment(range) => {
                    let packed = self.packed(inode, range)?;
                    self.data(&packed, range.start(), front)?;
                }
                Run::Encoded(jobs) => self.decode(inode, &jobs, front)?,
            }
            self.decoding.end = Some((inode.nid(), rest.start()));
        }
        Ok(out.finish()?)
    }

    /// Returns the extent that covers the first byte of `want`. The map has confirmed all bytes of
    /// `want` that the extent covers.
    fn extent(&mut self, inode: &Inode, want: ByteRange) -> Result<Extent, Stop> {
        let (nid, offset) = (inode.nid(), want.start());
        let found = |known: &Known| known.nid == nid && known.extent.covers(offset);
        let mut known = match self.decoding.extent.filter(found) {
            Some(known) => known,
            None => self.find_extent(inode, offset)?,
        };
        let here = ByteRange::new(offset, want.end().min(known.extent.end())).or_bug()?;
        if !here.within(known.sure) {
            let map = self.map(inode)?;
            map.confirm(&mut InSpace(self, nid.space()), &known.extent, here)?;
            self.decoding.map = Some((nid, map));
            // Confirmed ranges that adjoin are kept as one.
            let adjoins = known.sure.start() <= offset && offset <= known.sure.end();
            let start = if adjoins { known.sure.start() } else { offset };
            known.sure = ByteRange::new(start, here.end()).or_bug()?;
        }
        self.decoding.extent = Some(known);
        Ok(known.extent)
    }

    /// Finds the extent that covers byte `offset`.
    fn find_extent(&mut self, inode: &Inode, offset: u64) -> Result<Known, Stop> {
        let nid = inode.nid();
        let mut map = self.map(inode)?;
        let extent = map.find(&mut InSpace(self, nid.space()), offset)?;
        if !extent.covers(offset) {
            return Err(Corrupt::ExtentElsewhere { nid, offset }.into());
        }
        let sure = ByteRange::new(offset, map.sure_end(&extent, offset)?).or_bug()?;
        self.decoding.map = Some((nid, map));
        Ok(Known { nid, extent, sure })
    }

    /// Returns the map of an inode: the last one, taken out of `decoding`, or a new one. Taken out
    /// because reading metadata for one map may need the map of another file.
    fn map(&mut self, inode: &Inode) -> Result<CompressedMap, Stop> {
        if let Some((_, map)) = self.decoding.map.take().filter(|(of, _)| *of == inode.nid()) {
            return Ok(map);
        }
        let superblock = *self.mount().superblock();
        let algorithms = superblock.compression().algorithms.bits();
        let space = &mut InSpace(self, inode.nid().space());
        CompressedMap::open(&superblock, algorithms, inode, space)
    }

    /// Plans a read of the first bytes of `want`, at least one. Copies bytes that are in the cache
    /// to `out` at once.
    fn next_run(&mut self, inode: &Inode, want: ByteRange, out: &mut [u8]) -> Result<Run, Stop> {
        let first = self.extent(inode, want)?;
        if let Data::Fragment { at } = first.data {
            let part = decoded_part(&first, want)?;
            // Below 2^63, as the map says.
            let start = at.checked_add(part.start()).or_bug()?;
            return Ok(Run::Fragment(ByteRange::sized(start, part.len()).or_bug()?));
        }
        if is_straight(&first) {
            return self.straight(inode, want).map(Run::Straight);
        }
        self.jobs(inode, want, out).map(Run::Encoded)
    }

    fn straight(&mut self, inode: &Inode, want: ByteRange) -> Result<Plan, Stop> {
        let (mut plan, mut rest) = (Plan::new(), want);
        while let Some(here) = rest.non_empty() {
            let extent = self.extent(inode, here)?;
            if !is_straight(&extent) {
                break;
            }
            let part = decoded_part(&extent, here)?;
            let (part, left) = match extent.data {
                Data::Encoded { place: Place::Blocks { at }, .. } => {
                    let stored = Stored::of(&extent)?.part(part)?;
                    (stored, self.push_bytes(&mut plan, unified(inode, at, stored)?)?)
                }
                _ => (part, plan.push_hole(part)?),
            };
            rest = rest.skip(part.len().checked_sub(left.len()).or_bug()?);
            if !left.is_empty() {
                break;
            }
        }
        Ok(plan)
    }

    /// Appends the bytes `want` of the unified address space. Returns the rest that found no room.
    fn push_bytes(&self, plan: &mut Plan, want: ByteRange) -> Result<ByteRange, Error> {
        Ok(plan.push_blocks(self.mount(), UNIFIED, 0, want)?)
    }

    fn jobs(&mut self, inode: &Inode, want: ByteRange, out: &mut [u8]) -> Result<Jobs, Stop> {
        let (mut jobs, mut rest, mut out) = (Jobs::default(), want, Fill::new(out));
        let follows = self.decoding.end == Some((inode.nid(), want.start()));
        let begins = want.start() == 0;
        // A task holds the encoded bytes in buffers until all have landed.
        let batch_bytes = if self.task.is_some() { TASK_BYTES } else { BATCH_BYTES };
        // Each round takes at least a byte of `out`.
        while let Some(here) = rest.non_empty() {
            let extent = self.extent(inode, here)?;
            let Data::Encoded { place, len, encoding } = extent.data else { break };
            if is_straight(&extent) {
                break;
            }
            let want = decoded_part(&extent, here)?.non_empty().or_bug()?;
            let key = Key::new(inode.nid(), place, len, encoding);
            let input = if self.copy_kept(key, want, out.next(want.len())?) {
                Input::Kept
            } else {
                self.input_of(inode, place, len)?
            };
            // A read that begins the file and spans extents counts as front to back.
            let follows = follows || begins && here.start() > 0;
            let mut job = Job { extent, key, want, follows, input, window: None };
            if input != Input::Kept && encoding.algorithm().is_some() {
                let cache = self.decoding.cache();
                job.window = Some(job.window_of(cache.entry_max(), cache.knows(key))?);
            }
            if !jobs.push(job, batch_bytes)? {
                break;
            }
            rest = rest.skip(want.len());
        }
        Ok(jobs)
    }

    /// Copies the decoded bytes `want` of a pcluster to `out`. Returns false if the cache does not
    /// have them.
    fn copy_kept(&mut self, key: Key, want: ByteRange, out: &mut [u8]) -> bool {
        let cache = self.decoding.cache.as_ref();
        let Some(kept) = cache.and_then(|cache| cache.get(key, want.start(), out.len())) else {
            return false;
        };
        out.copy_from_slice(kept);
        self.io.stats.copied(out.len());
        count(&mut self.io.stats.decoded_hits, 1);
        true
    }

    /// Returns the input of a job: the `len` encoded bytes at `place`, viewed if they lie in
    /// memory.
    fn input_of(&mut self, inode: &Inode, place: Place, len: u64) -> Result<Input, Stop> {
        if let Place::Blocks { at } = place {
            let mut plan = Plan::new();
            self.push_bytes(&mut plan, unified(inode, at, ByteRange::first(len))?)?;
            if let [io::Extent::Blob { slot, range }] = *plan.extents()
                && range.len() == len
                && self.view(slot, range).is_some()
            {
                return Ok(Input::Memory { slot, range });
            }
        }
        Ok(Input::Read { bytes: narrow(len)? })
    }

    /// Fills the front of `out`, at least a byte, with bytes `want` of a compressed inode, for a task.
    /// Returns the number of bytes.
    pub fn decoded_front(
        &mut self,
        id: TaskId,
        inode: &Inode,
        want: ByteRange,
        out: &mut [u8],
    ) -> Result<usize, Stop> {
        self.turn_to(inode.nid());
        let run = self.next_run(inode, want, out)?;
        let front = Fill::new(out).next(run.len())?;
        let filled = match run {
            Run::Straight(plan) => self.fetch_front(id, plan.extents(), front)?,
            Run::Fragment(range) => {
                let packed = self.packed(inode, range)?;
                self.front(&packed, range, front)?
            }
            Run::Encoded(jobs) => {
                self.decode(inode, &jobs, front)?;
                front.len()
            }
        };
        let end = want.skip(wide(filled)).start();
        self.decoding.end = Some((inode.nid(), end));
        Ok(filled)
    }

    /// Returns the packed inode, which holds the bytes `range` for a fragment of `inode`.
    fn packed(&mut self, inode: &Inode, range: ByteRange) -> Result<Inode, Stop> {
        let nid = inode.nid();
        if self.mount().superblock().packed() == Some(nid) {
            return Err(Corrupt::FragmentInPacked { nid }.into());
        }
        let number = self.mount().superblock().packed().ok_or(Corrupt::NoPackedInode)?;
        let packed = match self.decoding.packed.filter(|packed| packed.nid() == number) {
            Some(packed) => packed,
            None => {
                let packed = self.inode(number)?;
                self.decoding.packed = Some(packed);
                packed
            }
        };
        if range.end() > packed.size() {
            let (at, len, packed) = (range.start(), range.len(), packed.size());
            return Err(Corrupt::FragmentBeyondPacked { nid, at, len, packed }.into());
        }
        Ok(packed)
    }

    /// Returns the device and byte offset where the pcluster of byte `offset` begins; `None` for a
    /// hole.
    pub fn encoded_source(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Stop> {
        let extent = self.extent(inode, ByteRange::sized(offset, 0).or_bug()?)?;
        match extent.data {
            Data::Hole => Ok(None),
            Data::Fragment { at } => {
                let packed =
                    self.mount().superblock().packed().filter(|packed| *packed != inode.nid());
                let packed = self.inode(packed.ok_or(Corrupt::NoPackedInode)?)?;
                self.source_of(&packed, at)
            }
            Data::Encoded { place: Place::Inline { at }, .. } => {
                self.meta_source(inode.nid().space(), at)
            }
            Data::Encoded { place: Place::Blocks { at }, .. } => {
                let mut plan = Plan::new();
                self.push_bytes(&mut plan, unified(inode, at, ByteRange::first(1))?)?;
                Ok(self.place(plan.extents()))
            }
        }
    }
}

/// Returns the front of `want` that lies in `extent`, counted from the extent's first byte.
fn decoded_part(extent: &Extent, want: ByteRange) -> Result<ByteRange, Bug> {
    let skip = want.start().checked_sub(extent.offset).or_bug()?;
    Ok(ByteRange::first(extent.len).skip(skip).take(want.len()))
}

/// Returns `part` of the bytes that begin at byte `at` of the unified address space.
fn unified(inode: &Inode, at: u64, part: ByteRange) -> Result<ByteRange, Error> {
    let start = at.checked_add(part.start());
    let range = start.and_then(|start| ByteRange::sized(start, part.len()));
    Ok(range.ok_or(Corrupt::Overflow(Part::Inode(inode.nid())))?)
}

/// Returns whether the devices hold the extent's bytes uncompressed, or it is a hole.
fn is_straight(extent: &Extent) -> bool {
    match extent.data {
        Data::Hole => true,
        Data::Fragment { .. } => false,
        Data::Encoded { place, encoding, .. } => {
            matches!(place, Place::Blocks { .. }) && encoding.algorithm().is_none()
        }
    }
}
