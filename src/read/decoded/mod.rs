//! Reading compressed files: which pclusters a range needs, their bytes in one batch, decoded
//! where the caller wants them.
//!
//! Always: a whole extent is decoded in the caller's buffer; of one that is wanted in part the
//! decoded bytes are kept in a bounded cache; memory stays within the mount's
//! [`Budget`](super::budget::Budget).

mod cache;
mod decode;
mod job;

use super::budget::Budget;
use super::inner::Inner;
use super::pieces::Extent as Range;
use super::plan::Plan;
use crate::cache::Layer;
use crate::erofs::codec::Decoders;
use crate::erofs::compressed::{CompressedMap, Data, Extent, Metadata, Place};
use crate::erofs::{Corrupt, ENCODED_BYTES_MAX, Inode, Nid, Space, Unsupported};
use crate::error::Error;
use crate::num::{OrBug, clip, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{ByteRange, Fill};
use alloc::vec::Vec;
use cache::DecodedCache;
use job::{Job, Jobs, Key, Source, Stored};

/// Memory for the encoded bytes of a batch at first, and the most of a batch unless one pcluster
/// alone has more.
const ENCODED_BYTES: usize = 256 << 10;
const BATCH_BYTES: usize = 1 << 20;

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
    extent: Option<Known>,
    /// The inode that holds fragments, once it was needed.
    packed: Option<Inode>,
    /// Where what was decoded last ends.
    end: Option<(Nid, u64)>,
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
            end: None,
        }
    }
}

/// An extent of an inode, and which of its bytes the map surely gives it.
#[derive(Clone, Copy, Debug)]
struct Known {
    nid: Nid,
    extent: Extent,
    sure: ByteRange,
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
    fn len(&self) -> u64 {
        match self {
            Self::Straight(plan) => plan.bytes(),
            Self::Fragment { len, .. } => wide(*len),
            Self::Encoded(jobs) => wide(jobs.out_len()),
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
        let encoded = usize::try_from(ENCODED_BYTES_MAX).unwrap_or(usize::MAX);
        let compression = &self.superblock.compression;
        let decoders = Decoders::bytes(compression.algorithms, &compression.limits());
        let need = encoded.saturating_add(decoders);
        if need > budget.decoder_bytes {
            return Err(Unsupported::DecoderMemory { need, has: budget.decoder_bytes }.into());
        }
        // Reading the metabox may need encoded bytes of its own beside those of a file.
        let nested = if self.superblock.metabox.is_some() { encoded } else { 0 };
        Ok(need
            .saturating_add(nested)
            .saturating_add(DecodedCache::<Key>::bytes(budget.decoded_bytes)))
    }

    /// Reads bytes of a compressed inode; `offset + out.len()` is at most its size.
    pub fn decoded(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut offset = offset;
        let mut rest = out;
        // Each round gives at least a byte.
        while !rest.is_empty() {
            let run = self.next_run(inode, offset, rest)?;
            let front = Fill::new(rest).next(run.len())?;
            let len = front.len();
            if len == 0 {
                return Err(Error::bug());
            }
            match run {
                Run::Straight(plan) => self.fetch(plan.extents(), front)?,
                Run::Fragment { at, .. } => self.fragment(inode, at, front)?,
                Run::Encoded(jobs) => self.decode(inode, &jobs, front)?,
            }
            rest = rest.get_mut(len..).or_bug()?;
            offset = offset.checked_add(wide(len)).or_bug()?;
            self.decoding.end = Some((inode.nid, offset));
        }
        Ok(())
    }

    /// The extent that covers byte `offset`, and surely its bytes up to `end`, as far as it has
    /// those.
    fn extent(&mut self, inode: &Inode, offset: u64, end: u64) -> Result<Extent, Error> {
        let nid = inode.nid;
        let found = |known: &Known| known.nid == nid && known.extent.covers(offset);
        let mut known = match self.decoding.extent.filter(found) {
            Some(known) => known,
            None => self.find_extent(inode, offset)?,
        };
        let wanted = ByteRange::new(offset, end.min(known.extent.end())).or_bug()?;
        if !wanted.within(known.sure) {
            let map = self.map(inode)?;
            map.confirm(&mut InSpace(self, nid.space()), &known.extent, wanted)?;
            self.decoding.map = Some((nid, map));
            // What follows on each other is kept as one.
            let start = if known.sure.end() >= offset && known.sure.start() <= offset {
                known.sure.start()
            } else {
                offset
            };
            known.sure = ByteRange::new(start, wanted.end()).or_bug()?;
        }
        self.decoding.extent = Some(known);
        Ok(known.extent)
    }

    /// Finds the extent that covers byte `offset`.
    fn find_extent(&mut self, inode: &Inode, offset: u64) -> Result<Known, Error> {
        let nid = inode.nid;
        let mut map = self.map(inode)?;
        let extent = map.find(&mut InSpace(self, nid.space()), offset)?;
        if !extent.covers(offset) {
            return Err(Corrupt::ExtentElsewhere { nid, offset }.into());
        }
        let sure = ByteRange::new(offset, map.sure_end(&extent, offset)?).or_bug()?;
        self.decoding.map = Some((nid, map));
        Ok(Known { nid, extent, sure })
    }

    /// Takes the map of an inode out of memory, or opens it. Reading metadata with it may need the
    /// map of another file.
    fn map(&mut self, inode: &Inode) -> Result<CompressedMap, Error> {
        if let Some((_, map)) = self.decoding.map.take().filter(|(of, _)| *of == inode.nid) {
            return Ok(map);
        }
        let superblock = self.superblock;
        let algorithms = superblock.compression.algorithms.bits();
        let space = &mut InSpace(self, inode.nid.space());
        CompressedMap::open(&superblock, algorithms, inode, space)
    }

    /// Plans at least a byte and at most `out.len()` bytes from `offset` on; what is in memory
    /// decoded is put in `out` at once.
    fn next_run(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<Run, Error> {
        let want = out.len();
        let end = offset.checked_add(wide(want)).or_bug()?;
        let first = self.extent(inode, offset, end)?;
        if let Data::Fragment { at } = first.data {
            let skip = offset.saturating_sub(first.offset);
            let len = first.end().min(end).saturating_sub(offset);
            let at = at.checked_add(skip).or_bug()?;
            return Ok(Run::Fragment { at, len: clip(len, want) });
        }
        if is_straight(&first) {
            return self.straight(inode, offset, end).map(Run::Straight);
        }
        self.jobs(inode, offset, out).map(Run::Encoded)
    }

    fn straight(&mut self, inode: &Inode, offset: u64, end: u64) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let mut at = offset;
        while at < end {
            let extent = self.extent(inode, at, end)?;
            if !is_straight(&extent) {
                break;
            }
            let skip = at.saturating_sub(extent.offset);
            let len = extent.end().min(end).saturating_sub(at);
            let added = match extent.data {
                Data::Encoded { place: Place::Blocks { at: first }, .. } => {
                    let (from, len) = Stored::of(&extent, first).part(skip, len);
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

    fn jobs(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<Jobs, Error> {
        let mut jobs = Jobs::default();
        let mut at = offset;
        let follows = self.decoding.end == Some((inode.nid, offset));
        // Each round takes at least a byte of `out`.
        while let Some(rest) = out.get_mut(jobs.out_len()..).filter(|rest| !rest.is_empty()) {
            let end = at.checked_add(wide(rest.len())).or_bug()?;
            let extent = self.extent(inode, at, end)?;
            let Data::Encoded { place, len, encoding } = extent.data else { break };
            if is_straight(&extent) {
                break;
            }
            let wanted = clip(extent.end().saturating_sub(at), rest.len());
            let front = rest.get_mut(..wanted).filter(|front| !front.is_empty()).or_bug()?;
            let (key, skip) =
                (Key::new(inode.nid, place, len, encoding), at.saturating_sub(extent.offset));
            let source = if self.copy_kept(key, skip, front) {
                Source::Kept
            } else {
                self.source_of_pcluster(place, len)?
            };
            // Whoever reads a file from its start goes on, too.
            let goes_on = follows || offset == 0 && at > 0;
            let job = Job { extent, key, skip, len: wanted, goes_on, source };
            if !jobs.push(job, BATCH_BYTES) {
                break;
            }
            at = at.checked_add(wide(wanted)).or_bug()?;
        }
        Ok(jobs)
    }

    /// Copies decoded bytes that are in memory.
    fn copy_kept(&mut self, key: Key, skip: u64, out: &mut [u8]) -> bool {
        let cache = self.decoding.cache.as_ref();
        let Some(kept) = cache.and_then(|cache| cache.get(key, skip, out.len())) else {
            return false;
        };
        out.copy_from_slice(kept);
        self.stats.copied(out.len());
        self.stats.decoded_hits = self.stats.decoded_hits.saturating_add(1);
        true
    }

    /// Where the encoded bytes of a pcluster will be.
    fn source_of_pcluster(&mut self, place: Place, len: u64) -> Result<Source, Error> {
        let bytes = usize::try_from(len).ok().or_bug()?;
        if let Place::Blocks { at } = place {
            let mut plan = Plan::new();
            self.push_bytes(&mut plan, at, len)?;
            if let [Range::Blob { slot, at, len: whole }] = *plan.extents()
                && whole == len
                && self.view(slot, at, bytes).is_some()
            {
                return Ok(Source::Memory { slot, at, bytes });
            }
        }
        Ok(Source::Read { bytes })
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
        let len = wide(out.len());
        if at.checked_add(len).is_none_or(|end| end > packed.size) {
            let packed = packed.size;
            return Err(Corrupt::FragmentBeyondPacked { nid, at, len, packed }.into());
        }
        self.data(&packed, at, out)
    }

    /// Device and byte offset where the bytes of `offset` lie encoded; `None` for a hole.
    pub fn encoded_source(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Error> {
        let extent = self.extent(inode, offset, offset)?;
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
                let mut plan = Plan::new();
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
