//! Records of extents, of 4, 8, 16 or 32 bytes.
//!
//! Always: in the short forms, of 4 and 8 bytes, each extent except the last is an lcluster long,
//! and a record is found by its number. In the long forms a record is found by bisection, in at
//! most 52 steps. The pcluster of a 4-byte record lies right after the pcluster of the record
//! before: lengths are summed up from the last find or from the first record, so consecutive finds
//! read each record once.

use super::super::block::{Nid, Span};
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::super::record::Record as Raw;
use super::corrupt::MapFault;
use super::header::{Header, RecordSize};
use super::metadata::Metadata;
use super::window::Window;
use rootlet_base::num::OrBug;
use rootlet_base::units::{ByteRange, Pow2};

/// The number of encoded bytes in a length field.
const LEN_MASK: u32 = (1 << 21) - 1;
/// The flag in a length field of an extent that is a prefix of its decoded pcluster.
const PARTIAL: u32 = 1 << 27;
/// The place of the format in a length field: 0 for plain bytes, else the algorithm's number + 1.
const FORMAT_SHIFT: u32 = 28;
/// The length of the base, the place of the first pcluster, which precedes 4-byte records.
const BASE_BYTES: u64 = 8;

/// The records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    nid: Nid,
    size: u64,
    record: RecordSize,
    /// The length of an extent, in the short forms.
    extent: Pow2,
    count: u64,
    /// The first byte of the first record.
    at: u64,
    cursor: Cursor,
    /// The bytes of the base and of all records.
    pub span: Span,
}

/// The record that was found last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    number: u64,
    /// The first byte of its pcluster, if known.
    place: Option<u64>,
}

/// An extent as its record describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedExtent {
    pub start: u64,
    pub end: u64,
    /// Whether the record is the last of the file.
    pub last: bool,
    /// The first byte of the pcluster.
    pub at: u64,
    word: u32,
    /// Whether the record stores the place of its pcluster.
    placed: bool,
}

impl RecordedExtent {
    /// Returns the number of encoded bytes; 0 for a hole.
    pub fn len(&self) -> u64 {
        u64::from(self.word & LEN_MASK)
    }

    /// Returns the offset of a fragment in the packed inode: its low half is the length field, its
    /// high half the place.
    pub fn fragment(&self) -> u64 {
        let high = if self.placed { self.at & u64::from(u32::MAX) } else { 0 };
        high << 32 | u64::from(self.word)
    }

    pub fn partial(&self) -> bool {
        self.word & PARTIAL != 0
    }

    /// Returns the number of the algorithm; `None` for plain bytes.
    pub fn algorithm(&self) -> Option<u8> {
        let [.., high] = self.word.to_le_bytes();
        const { assert!(FORMAT_SHIFT == 28, "the upper half of the highest byte") };
        (high >> 4).checked_sub(1)
    }
}

impl Records {
    /// Returns the records after the header that ends at byte `header_end`.
    pub fn new(
        nid: Nid,
        header: &Header,
        header_end: u64,
        size: u64,
        extent: Pow2,
    ) -> Result<Self, FormatError> {
        let record = header.advise.record();
        let base = if record == RecordSize::B4 { BASE_BYTES } else { 0 };
        let count = if record.is_short() { extent.cover(size) } else { header.records };
        let overflow = Corrupt::Overflow(Part::CompressedMap(nid));
        let at = header_end.checked_next_multiple_of(record.bytes()).ok_or(overflow)?;
        let records = count.checked_mul(record.bytes());
        let len = records.and_then(|bytes| bytes.checked_add(base)).ok_or(overflow)?;
        let span = Span { at, len };
        span.end().ok_or(overflow)?;
        Ok(Self {
            nid,
            size,
            record,
            extent,
            count,
            at: at.checked_add(base).or_bug()?,
            cursor: Cursor { number: 0, place: None },
            span,
        })
    }

    /// Returns the extent that covers byte `offset`, which is below the size. `Err` is the start of
    /// the first extent, if that is after `offset`.
    pub fn find<M: Metadata>(
        &mut self,
        meta: &mut M,
        offset: u64,
    ) -> Result<Result<RecordedExtent, u64>, M::Error> {
        let window = &mut Window::new(self.nid, self.span)?;
        if self.record.is_short() {
            self.find_by_number(meta, window, offset).map(Ok)
        } else {
            self.bisect(meta, window, offset)
        }
    }

    /// Returns the first byte of record `number`; the constructor has checked the end of the last.
    fn record_at(&self, number: u64) -> Result<u64, FormatError> {
        let skip = number.checked_mul(self.record.bytes());
        Ok(skip.and_then(|skip| self.at.checked_add(skip)).or_bug()?)
    }

    #[cold]
    fn overflow(&self) -> FormatError {
        Corrupt::Overflow(Part::CompressedMap(self.nid)).into()
    }

    fn find_by_number<M: Metadata>(
        &mut self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<RecordedExtent, M::Error> {
        let number = self.extent.whole(offset);
        let placed = self.record != RecordSize::B4;
        let (word, at) = if placed {
            let bytes = window.get::<8, M>(meta, self.record_at(number)?)?;
            let raw = Raw(&bytes);
            (raw.u32::<0>(), u64::from(raw.u32::<4>()))
        } else {
            self.sum(meta, window, number)?
        };
        let start = self.extent.floor(offset);
        let rest = ByteRange::new(start, self.size).or_bug().map_err(FormatError::from)?;
        let end = rest.take(self.extent.get()).end();
        Ok(RecordedExtent { start, end, last: end == self.size, at, word, placed })
    }

    /// Returns the length field of a 4-byte record, and the place of its pcluster.
    fn sum<M: Metadata>(
        &mut self,
        meta: &mut M,
        window: &mut Window,
        number: u64,
    ) -> Result<(u32, u64), M::Error> {
        let (mut from, mut place) = match self.cursor {
            Cursor { number: from, place: Some(place) } if from <= number => (from, place),
            _ => (0, u64::from_le_bytes(window.get::<8, M>(meta, self.span.at)?)),
        };
        // At most one round for each record of the file.
        loop {
            let word = u32::from_le_bytes(window.get::<4, M>(meta, self.record_at(from)?)?);
            if from >= number {
                self.cursor = Cursor { number, place: Some(place) };
                return Ok((word, place));
            }
            place = place.checked_add(u64::from(word & LEN_MASK)).ok_or_else(|| self.overflow())?;
            from = next(from)?;
        }
    }

    fn bisect<M: Metadata>(
        &mut self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<Result<RecordedExtent, u64>, M::Error> {
        let (mut low, mut high) = (0, self.count);
        let (mut floor, mut ceiling) = (0, self.size);
        let mut found = None;
        // Guesses the record found last, then its successors: consecutive finds need no bisection.
        let mut guess = Some(self.cursor.number);
        let mut guesses = 0..2;
        while low < high {
            let number = match guess {
                Some(guess) if (low..high).contains(&guess) => guess,
                _ => low.midpoint(high),
            };
            let (record, start) = self.long(meta, window, number)?;
            if start < floor || start > ceiling {
                let fault =
                    MapFault::Order { extent: number, offset: start, low: floor, high: ceiling };
                return Err(fault.of(self.nid).into());
            }
            if start > offset {
                (high, ceiling, guess) = (number, start, None);
            } else {
                (low, floor) = (next(number)?, start);
                found = Some((number, record));
                guess = guesses.next().and(guess).map(|_| low);
            }
        }
        let Some((number, (word, at))) = found else { return Ok(Err(ceiling)) };
        self.cursor = Cursor { number, place: None };
        let last = low >= self.count;
        Ok(Ok(RecordedExtent { start: floor, end: ceiling, last, at, word, placed: true }))
    }

    /// Reads a record of 16 or 32 bytes. Returns its length field and its place, and the start of
    /// its extent.
    fn long<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        number: u64,
    ) -> Result<((u32, u64), u64), M::Error> {
        let place = self.record_at(number)?;
        let bytes = window.get::<16, M>(meta, place)?;
        let raw = Raw(&bytes);
        let mut start = u64::from(raw.u32::<12>());
        if self.record == RecordSize::B32 {
            let more = place.checked_add(16).or_bug().map_err(FormatError::from)?;
            let high = u32::from_le_bytes(window.get::<4, M>(meta, more)?);
            start |= u64::from(high) << 32;
        }
        Ok(((raw.u32::<0>(), raw.u64::<4>()), start))
    }
}

/// Returns the number of the next record; a file has at most 2^54.
fn next(number: u64) -> Result<u64, FormatError> {
    Ok(number.checked_add(1).or_bug()?)
}
