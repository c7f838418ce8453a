//! Records of extents, of 4, 8, 16 or 32 bytes.
//!
//! Always: in the short forms, 4 and 8 bytes, every extent but the last is an lcluster long and a
//! record is found by its number; in the long forms it is found by bisection, in at most 52 steps.
//! A 4-byte record lies behind the bytes of all before it: these are summed from the last find on
//! or from the first record, so consecutive finds read each record once.

use super::super::block::{Nid, Span};
use super::super::record::Record as Raw;
use super::Metadata;
use super::corrupt::MapFault;
use super::header::Header;
use super::window::Window;

/// Of a length field: the encoded bytes.
const LEN_MASK: u32 = (1 << 21) - 1;
/// Of a length field: the extent is a prefix of what its pcluster decodes to.
const PARTIAL: u32 = 1 << 27;
/// Of a length field: 0 for plain bytes, else the algorithm and 1.
const FORMAT_SHIFT: u32 = 28;
/// The first place of 4-byte records, before them.
const BASE_BYTES: u64 = 8;

/// The records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    nid: Nid,
    size: u64,
    /// Base 2 logarithm of a record's bytes: 2 to 5.
    record_bits: u32,
    /// Base 2 logarithm of an extent's bytes, in the short forms.
    extent_bits: u32,
    count: u64,
    /// The first record.
    at: u64,
    cursor: Cursor,
    /// Base and records.
    pub span: Span,
}

/// The record that was found last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    number: u64,
    /// Where its pcluster lies, once that is known.
    place: Option<u64>,
}

/// What a record says of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub start: u64,
    pub end: u64,
    /// Whether it is the last record of the file.
    pub last: bool,
    /// The first byte of the pcluster.
    pub at: u64,
    word: u32,
    /// Whether the record has a place of its own.
    placed: bool,
}

impl Found {
    /// Encoded bytes; 0 for a hole.
    pub fn len(&self) -> u64 {
        u64::from(self.word & LEN_MASK)
    }

    /// The place in the packed inode, of an extent that is a fragment: the fields of length and
    /// place are its halves.
    pub fn fragment(&self) -> u64 {
        let high = if self.placed { self.at & u64::from(u32::MAX) } else { 0 };
        high << 32 | u64::from(self.word)
    }

    pub fn partial(&self) -> bool {
        self.word & PARTIAL != 0
    }

    /// `None` for plain bytes.
    pub fn algorithm(&self) -> Option<u8> {
        let [.., high] = self.word.to_le_bytes();
        const { assert!(FORMAT_SHIFT == 28, "the upper half of the highest byte") };
        (high >> 4).checked_sub(1)
    }
}

impl Records {
    /// The records behind the header that ends at byte `header_end`.
    pub fn new(nid: Nid, header: &Header, header_end: u64, size: u64, extent_bits: u32) -> Self {
        let record_bits = header.advise.record_bits();
        let record_bytes = 1_u64.checked_shl(record_bits).unwrap_or(4);
        let at = header_end.checked_next_multiple_of(record_bytes).unwrap_or(u64::MAX);
        let base = if record_bits == 2 { BASE_BYTES } else { 0 };
        let count = if record_bits < 4 {
            size.div_ceil(1_u64.checked_shl(extent_bits).unwrap_or(u64::MAX))
        } else {
            header.records
        };
        let len = count.saturating_mul(record_bytes).saturating_add(base);
        Self {
            nid,
            size,
            record_bits,
            extent_bits,
            count,
            at: at.saturating_add(base),
            cursor: Cursor { number: 0, place: None },
            span: Span { at, len },
        }
    }

    /// The extent that covers byte `offset`, which is below the size. `Err` is the byte where the
    /// first record begins, behind `offset`.
    pub fn find<M: Metadata>(
        &mut self,
        meta: &mut M,
        offset: u64,
    ) -> Result<Result<Found, u64>, M::Error> {
        let window = &mut Window::new(self.nid, self.span);
        if self.record_bits < 4 {
            self.find_by_number(meta, window, offset).map(Ok)
        } else {
            self.bisect(meta, window, offset)
        }
    }

    fn record_at(&self, number: u64) -> u64 {
        self.at.saturating_add(number.checked_shl(self.record_bits).unwrap_or(u64::MAX))
    }

    fn find_by_number<M: Metadata>(
        &mut self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<Found, M::Error> {
        let number = offset.checked_shr(self.extent_bits).unwrap_or(0);
        let (word, at) = if self.record_bits == 2 {
            self.sum(meta, window, number)?
        } else {
            let bytes = window.get::<8, M>(meta, self.record_at(number))?;
            let raw = Raw(&bytes);
            (raw.u32::<0>(), u64::from(raw.u32::<4>()))
        };
        let start = number.checked_shl(self.extent_bits).unwrap_or(0);
        let behind = number.saturating_add(1);
        let end = behind.checked_shl(self.extent_bits).unwrap_or(u64::MAX).min(self.size);
        let (last, placed) = (behind >= self.count, self.record_bits != 2);
        Ok(Found { start, end, last, at, word, placed })
    }

    /// Length field and place of a 4-byte record.
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
        // At most the records of the file.
        loop {
            let word = u32::from_le_bytes(window.get::<4, M>(meta, self.record_at(from))?);
            if from >= number {
                self.cursor = Cursor { number, place: Some(place) };
                return Ok((word, place));
            }
            // A place too high for any device is refused where it is used.
            place = place.saturating_add(u64::from(word & LEN_MASK));
            from = from.saturating_add(1);
        }
    }

    fn bisect<M: Metadata>(
        &mut self,
        meta: &mut M,
        window: &mut Window,
        offset: u64,
    ) -> Result<Result<Found, u64>, M::Error> {
        let (mut low, mut high) = (0, self.count);
        let (mut floor, mut ceiling) = (0, self.size);
        let mut found = None;
        // The record found last, then its neighbours: consecutive finds need no bisection.
        let mut guess = Some(self.cursor.number);
        let mut guesses = 3_u32;
        while low < high {
            let half = high.saturating_sub(low) / 2;
            let number = guess
                .filter(|guess| (low..high).contains(guess))
                .unwrap_or(low.saturating_add(half));
            let (record, start) = self.long(meta, window, number)?;
            if start < floor || start > ceiling {
                let fault =
                    MapFault::Order { extent: number, offset: start, low: floor, high: ceiling };
                return Err(fault.of(self.nid).into());
            }
            if start > offset {
                (high, ceiling, guess) = (number, start, None);
            } else {
                (low, floor) = (number.saturating_add(1), start);
                found = Some(record);
                guesses = guesses.saturating_sub(1);
                guess = guess.filter(|_| guesses != 0).map(|_| low);
            }
        }
        let Some((word, at)) = found else { return Ok(Err(ceiling)) };
        self.cursor = Cursor { number: low.saturating_sub(1), place: None };
        let last = low >= self.count;
        Ok(Ok(Found { start: floor, end: ceiling, last, at, word, placed: true }))
    }

    /// Length field and place of a record of 16 or 32 bytes, and where its extent begins.
    fn long<M: Metadata>(
        &self,
        meta: &mut M,
        window: &mut Window,
        number: u64,
    ) -> Result<((u32, u64), u64), M::Error> {
        let bytes = window.get::<16, M>(meta, self.record_at(number))?;
        let raw = Raw(&bytes);
        let mut start = u64::from(raw.u32::<12>());
        if self.record_bits == 5 {
            let more = self.record_at(number).saturating_add(16);
            let high = u32::from_le_bytes(window.get::<4, M>(meta, more)?);
            start |= u64::from(high) << 32;
        }
        Ok(((raw.u32::<0>(), raw.u64::<4>()), start))
    }
}
