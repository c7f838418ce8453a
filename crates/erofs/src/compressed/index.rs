//! An index with an entry per lcluster: looks back for a head, and ahead for the next head.
//!
//! Always: reads only entries of the file's lclusters. Looking back takes at most 64 hops and one
//! for each 1,024 lclusters of the file. Looking ahead advances by at least an lcluster a step, and
//! at most over [`DECODED_BYTES_MAX`].

use super::super::block::{BlockSize, Nid, Span};
use super::super::compression::DECODED_BYTES_MAX;
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::compact::Packs;
use super::corrupt::MapFault;
use super::entry::{self, Entry, Head, HeadKind, NonHead};
use super::header::Advise;
use super::metadata::Metadata;
use super::window::Window;
use rootlet_base::num::OrBug;
use rootlet_base::units::{ByteRange, Pow2};

/// The hops back that any file may take. A hop spans 2,047 lclusters if no head is nearer.
const HOPS: u64 = 64;
/// The lclusters of a file for each further hop.
const LCLUSTERS_PER_HOP: u64 = 1024;
/// The bytes between a header and its full index.
const FULL_GAP: u64 = 8;
/// The length of an entry of a full index in bytes.
const FULL_BYTES: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Full { at: u64 },
    Compact(Packs),
}

/// The index of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    form: Form,
    nid: Nid,
    advise: Advise,
    lcluster: Pow2,
    lclusters: u64,
    /// The bytes of the index.
    pub span: Span,
}

/// An extent as an index describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedExtent {
    pub start: u64,
    /// The byte after the extent, at most the limit of the search.
    pub end: u64,
    pub head: Head,
    /// The number of blocks of its pcluster; a fault if the index does not tell.
    pub blocks: Result<u32, MapFault>,
}

impl Index {
    /// Returns an index of 8-byte entries after the header that ends at byte `header_end`.
    pub fn full(
        nid: Nid,
        advise: Advise,
        header_end: u64,
        size: u64,
        lcluster: Pow2,
    ) -> Result<Self, FormatError> {
        let overflow = Corrupt::Overflow(Part::CompressedMap(nid));
        let lclusters = lcluster.cover(size);
        let at = header_end.checked_add(FULL_GAP).ok_or(overflow)?;
        let len = lclusters.checked_mul(FULL_BYTES).ok_or(overflow)?;
        let span = Span { at, len };
        span.end().ok_or(overflow)?;
        Ok(Self { form: Form::Full { at }, nid, advise, lcluster, lclusters, span })
    }

    /// Returns an index of packs after the header that ends at byte `header_end`.
    pub fn compact(
        nid: Nid,
        advise: Advise,
        header_end: u64,
        size: u64,
        block_size: BlockSize,
        lcluster: Pow2,
    ) -> Result<Self, FormatError> {
        let lclusters = lcluster.cover(size);
        let blocks = block_size.blocks_of(size);
        let packs = Packs::new(nid, advise, header_end, blocks, lcluster)?;
        let end = match lclusters.checked_sub(1) {
            None => header_end,
            Some(last) => packs.item(last)?.pack_end,
        };
        // A pack ends after the header.
        let span = Span { at: header_end, len: end.checked_sub(header_end).or_bug()? };
        Ok(Self { form: Form::Compact(packs), nid, advise, lcluster, lclusters, span })
    }

    /// Returns a window over the index.
    pub fn window(&self) -> Result<Window, FormatError> {
        Window::new(self.nid, self.span)
    }

    /// Returns the first byte of the extent that covers byte `offset`, and the extent's head.
    pub fn start<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<(u64, Head), M::Error> {
        let at = self.locate(meta, window, offset)?;
        Ok((self.start_of(at.lcluster, at.head)?, at.head))
    }

    /// Returns the extent that covers byte `offset`, which is below `limit`. A long hole is cut far
    /// after `offset`.
    pub fn find<M: Metadata>(
        &self,
        meta: &mut M,
        offset: u64,
        limit: u64,
    ) -> Result<IndexedExtent, M::Error> {
        let window = &mut self.window()?;
        let at = self.locate(meta, window, offset)?;
        let start = self.start_of(at.lcluster, at.head)?;
        let blocks = self.blocks(meta, window, at.lcluster, at.head)?;
        let end = match at.next {
            Next::At(end) => end,
            Next::From(lcluster) => {
                // Nothing is decoded for a hole, so it may be of any length.
                let hole = blocks == Ok(0);
                let from = if hole { offset } else { start };
                let far = from.checked_add(DECODED_BYTES_MAX + 1);
                self.end(meta, window, lcluster, far.map_or(limit, |far| far.min(limit)))?
            }
        };
        Ok(IndexedExtent { start, end: end.min(limit), head: at.head, blocks })
    }

    /// Returns the byte after the lcluster of byte `offset`.
    pub fn lcluster_end(&self, offset: u64) -> Result<u64, FormatError> {
        self.byte_of(after(self.lcluster.whole(offset), 1)?)
    }

    /// Refuses the index if an lcluster of `range` leads to another head than that of the extent
    /// that begins at byte `start`: a distance ahead may have jumped over a head. In a hole that
    /// began more than [`DECODED_BYTES_MAX`] earlier, checks only that no head lies in the range.
    pub fn confirm<M: Metadata>(
        &self,
        meta: &mut M,
        start: u64,
        range: ByteRange,
    ) -> Result<(), M::Error> {
        let Some(last) = range.end().checked_sub(1) else { return Ok(()) };
        let head = self.lcluster.whole(start);
        let (first, last) = (self.lcluster.whole(range.start()), self.lcluster.whole(last));
        let far = range.start().checked_sub(start).is_none_or(|skip| skip > DECODED_BYTES_MAX);
        let window = &mut self.window()?;
        // One round for each lcluster of the range.
        for lcluster in first.max(after(head, 1)?)..=last {
            let back = match self.entry(meta, window, lcluster)? {
                Entry::NonHead(non_head) => non_head.back,
                Entry::Head(next) if self.start_of(lcluster, next)? >= range.end() => 1,
                Entry::Head(_) => 0,
            };
            let known = |to: &u64| *to == head || far || (first..lcluster).contains(to);
            let leads = match lcluster.checked_sub(back).filter(|_| back > 0) {
                Some(to) if known(&to) => true,
                Some(_) => self.look_back(meta, window, lcluster, back)?.0 == head,
                None => false,
            };
            if !leads {
                return Err(MapFault::OtherHead { lcluster, head }.of(self.nid).into());
            }
        }
        Ok(())
    }

    /// Returns the first byte of lcluster `lcluster`, which may be the one after the file's last.
    fn byte_of(&self, lcluster: u64) -> Result<u64, FormatError> {
        // The size of a file has 63 bits, and an lcluster at most 31.
        Ok(self.lcluster.times(lcluster).or_bug()?)
    }

    fn start_of(&self, lcluster: u64, head: Head) -> Result<u64, FormatError> {
        // The offset lies within the lcluster, as checked by the parser.
        Ok(self.byte_of(lcluster)?.checked_add(head.offset).or_bug()?)
    }

    fn entry<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        lcluster: u64,
    ) -> Result<Entry, M::Error> {
        let (nid, advise) = (self.nid, self.advise);
        let entry = match self.form {
            Form::Full { at } => {
                let bytes = window.get::<8, M>(meta, full_at(at, lcluster)?)?;
                entry::from_full(nid, advise, lcluster, self.lcluster.get(), &bytes)
            }
            Form::Compact(packs) => {
                let item = packs.item(lcluster)?;
                if item.long {
                    let bytes = window.get::<32, M>(meta, item.pack)?;
                    packs.parse(advise, lcluster, item.number, &bytes)
                } else {
                    let bytes = window.get::<8, M>(meta, item.pack)?;
                    packs.parse(advise, lcluster, item.number, &bytes)
                }
            }
        };
        Ok(entry?)
    }

    fn locate<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<Located, M::Error> {
        let lcluster = self.lcluster.whole(offset);
        let (back, next) = match self.entry(meta, window, lcluster)? {
            Entry::Head(head) => {
                let begins = self.start_of(lcluster, head)?;
                if begins <= offset {
                    let next = Next::From(after(lcluster, 1)?);
                    return Ok(Located { lcluster, head, next });
                }
                (1, Next::At(begins))
            }
            Entry::NonHead(NonHead { back, ahead, .. }) => {
                (back, Next::From(after(lcluster, ahead.max(1))?))
            }
        };
        let (lcluster, head) = self.look_back(meta, window, lcluster, back)?;
        Ok(Located { lcluster, head, next })
    }

    fn look_back<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        from: u64,
        back: u64,
    ) -> Result<(u64, Head), M::Error> {
        let hops = after(self.lclusters / LCLUSTERS_PER_HOP, HOPS)?;
        let (mut lcluster, mut distance) = (from, back);
        for _ in 0..hops {
            let fault = MapFault::LookBack { lcluster, distance };
            let to = lcluster.checked_sub(distance).filter(|to| *to != lcluster);
            lcluster = to.ok_or(fault.of(self.nid))?;
            match self.entry(meta, window, lcluster)? {
                Entry::Head(head) => return Ok((lcluster, head)),
                Entry::NonHead(non_head) => distance = non_head.back,
            }
        }
        Err(MapFault::Hops { lcluster: from, hops }.of(self.nid).into())
    }

    /// Returns the start of the next extent, looking from lcluster `from` on; or the start of the
    /// first lcluster at `limit` or after it.
    fn end<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        from: u64,
        limit: u64,
    ) -> Result<u64, M::Error> {
        let mut lcluster = from;
        // `lcluster` increases with each round.
        while lcluster < self.lclusters && self.byte_of(lcluster)? < limit {
            match self.entry(meta, window, lcluster)? {
                Entry::Head(head) => return Ok(self.start_of(lcluster, head)?),
                Entry::NonHead(non_head) => lcluster = after(lcluster, non_head.ahead.max(1))?,
            }
        }
        Ok(self.byte_of(lcluster.min(self.lclusters))?)
    }

    /// Returns the number of blocks of a head's pcluster. Where pclusters may be large, the number
    /// is in the next lcluster; another head there means one block.
    fn blocks<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        lcluster: u64,
        head: Head,
    ) -> Result<Result<u32, MapFault>, M::Error> {
        if head.hole {
            return Ok(Ok(0));
        }
        let big = match head.kind {
            HeadKind::First => Advise::BIG_1,
            HeadKind::Plain | HeadKind::Second => Advise::BIG_2,
        };
        let next = after(lcluster, 1)?;
        if !self.advise.has(big) || next >= self.lclusters {
            return Ok(Ok(1));
        }
        Ok(match self.entry(meta, window, next)? {
            Entry::Head(_) => Ok(1),
            Entry::NonHead(NonHead { blocks: Some(blocks), .. }) => Ok(blocks),
            Entry::NonHead(_) => Err(MapFault::NoBlockCount { lcluster: next }),
        })
    }
}

/// Returns the first byte of an entry of the full form; the constructor has checked the last entry.
fn full_at(first: u64, lcluster: u64) -> Result<u64, FormatError> {
    let skip = lcluster.checked_mul(FULL_BYTES);
    Ok(skip.and_then(|skip| first.checked_add(skip)).or_bug()?)
}

/// Returns lcluster `lcluster + n`: a file has at most 2^54 lclusters, and `n` at most 16 bits.
fn after(lcluster: u64, n: u64) -> Result<u64, FormatError> {
    Ok(lcluster.checked_add(n).or_bug()?)
}

struct Located {
    lcluster: u64,
    head: Head,
    next: Next,
}

/// The start of the next extent.
enum Next {
    /// The byte of the file.
    At(u64),
    /// The lcluster to look for it from.
    From(u64),
}
