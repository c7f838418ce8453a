//! The descriptor pages in memory: a bounded number of frames over all pages of the region.
//!
//! Always: a frame with unwritten changes or with fills under way is not given to another page;
//! a page is written to the copy that is not its newest, and never to both between two flushes
//! (O2).

use super::BLOCK_BYTES;
use super::geometry::{Copy2, Geometry};
use super::page::{self, PageKind};
use crate::num;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Where the newest valid copy of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// Not looked at in this mount.
    Unknown,
    /// In this copy.
    In(Copy2),
    /// Neither copy is valid: the page describes nothing.
    Nowhere,
    /// A copy could not be read, which may be the newer one: its slots are not used in this mount.
    Unreadable,
}

#[derive(Debug)]
struct Frame {
    page: u32,
    bytes: Box<[u8]>,
    generation: u64,
    /// Changes not yet handed to a write.
    dirty: bool,
    /// A write of this page is under way.
    in_flight: bool,
    /// Fills that keep checksums here before they are committed.
    pins: u32,
    /// Second chance of the clock.
    used: bool,
}

impl Frame {
    fn empty() -> Self {
        Self {
            page: NONE,
            bytes: vec![0; BLOCK_BYTES].into_boxed_slice(),
            generation: 0,
            dirty: false,
            in_flight: false,
            pins: 0,
            used: false,
        }
    }

    fn replaceable(&self) -> bool {
        !self.dirty && !self.in_flight && self.pins == 0
    }
}

/// The frames and what is known of every page.
#[derive(Debug)]
pub struct Pages {
    region: [u8; 16],
    newest: Box<[Newest]>,
    /// Whether the newest copy was written since the last flush, so that the other copy is the
    /// only one that a power cut cannot take.
    volatile: Box<[bool]>,
    frame_of: Box<[u16]>,
    frames: Vec<Frame>,
    hand: usize,
}

const NONE: u32 = u32::MAX;
const NO_FRAME: u16 = u16::MAX;
/// Frames that can be told apart: 256 MiB.
const FRAMES_MAX: usize = 0xffff;

fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Pages {
    /// No page in memory; room for `frames_max` of the `pages` pages.
    pub fn new(region: [u8; 16], pages: u32, frames_max: usize) -> Self {
        Self {
            region,
            newest: vec![Newest::Unknown; index(pages)].into_boxed_slice(),
            volatile: vec![false; index(pages)].into_boxed_slice(),
            frame_of: vec![NO_FRAME; index(pages)].into_boxed_slice(),
            frames: core::iter::repeat_with(Frame::empty)
                .take(frames_max.min(FRAMES_MAX))
                .collect(),
            hand: 0,
        }
    }

    /// Returns how many bytes of memory the table of `pages` pages takes, without their frames;
    /// `None` if more than 64 bits count.
    pub fn table_bytes(pages: u32) -> Option<u64> {
        const EACH: usize = size_of::<Newest>() + size_of::<bool>() + size_of::<u16>();
        u64::from(pages).checked_mul(num::wide(EACH))
    }

    /// Takes in what was read of both copies (`None` where the read failed) and keeps the page
    /// while there is room. Returns its bytes, if one of them is valid.
    pub fn scan<'r>(
        &mut self,
        number: u32,
        mut a: Option<&'r mut [u8]>,
        mut b: Option<&'r mut [u8]>,
    ) -> Option<&'r [u8]> {
        let open = |raw: &mut Option<&mut [u8]>| {
            let raw = raw.as_deref_mut()?;
            page::open(&self.region, PageKind::Descriptors, number, raw)
        };
        let (in_a, in_b) = (open(&mut a), open(&mut b));
        let newest = match (in_a, in_b) {
            // What could not be read may be the newer one.
            _ if a.is_none() || b.is_none() => Newest::Unreadable,
            (None, None) => Newest::Nowhere,
            _ if page::b_counts(in_a, in_b) => Newest::In(Copy2::B),
            _ => Newest::In(Copy2::A),
        };
        if let Some(place) = self.newest.get_mut(index(number)) {
            *place = newest;
        }
        let (raw, generation) = match newest {
            Newest::In(Copy2::A) => (a, in_a),
            Newest::In(Copy2::B) => (b, in_b),
            _ => (None, None),
        };
        let raw = raw.map(|raw| &*raw);
        if newest != Newest::Unreadable && self.frames.iter().any(|frame| frame.page == NONE) {
            self.install(number, raw.zip(generation));
        }
        raw
    }

    /// Where the newest copy of a page is.
    pub fn newest(&self, number: u32) -> Newest {
        self.newest.get(index(number)).copied().unwrap_or(Newest::Unreadable)
    }

    /// The bytes of a page, if it is in memory.
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let frame = *self.frame_of.get(index(number))?;
        self.frames.get(usize::from(frame)).map(|frame| &*frame.bytes)
    }

    /// Whether a page is in memory; a page that is gets a second chance.
    pub fn touch(&mut self, number: u32) -> bool {
        let Some(frame) = self.frame_mut(number) else { return false };
        frame.used = true;
        true
    }

    fn frame_mut(&mut self, number: u32) -> Option<&mut Frame> {
        let frame = *self.frame_of.get(index(number))?;
        self.frames.get_mut(usize::from(frame))
    }

    /// The bytes of a page in memory, to change what no bit makes valid yet.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut [u8]> {
        self.frame_mut(number).map(|frame| &mut *frame.bytes)
    }

    /// The bytes of a page in memory, to change what has to be written.
    pub fn change(&mut self, number: u32) -> Option<&mut [u8]> {
        let frame = self.frame_mut(number)?;
        frame.dirty = true;
        Some(&mut frame.bytes)
    }

    /// Calls `change` with the number and the bytes of every page that waits to be written.
    pub fn each_dirty(&mut self, mut change: impl FnMut(u32, &mut [u8])) {
        for frame in self.frames.iter_mut().filter(|frame| frame.dirty && !frame.in_flight) {
            change(frame.page, &mut frame.bytes);
        }
    }

    /// A fill keeps its checksums in the page until it is committed.
    pub fn pin(&mut self, number: u32) {
        if let Some(frame) = self.frame_mut(number) {
            frame.pins = frame.pins.saturating_add(1);
        }
    }

    /// The opposite of [`Pages::pin`].
    pub fn unpin(&mut self, number: u32) {
        if let Some(frame) = self.frame_mut(number) {
            frame.pins = frame.pins.saturating_sub(1);
        }
    }

    /// Puts a page into a frame: an open one and its generation, or an empty one. False if every
    /// frame is in use.
    pub fn install(&mut self, number: u32, page: Option<(&[u8], u64)>) -> bool {
        let Some(at) = self.free_frame() else { return false };
        let Some(frame) = self.frames.get_mut(at) else { return false };
        frame.generation = match page {
            Some((raw, generation)) if raw.len() == frame.bytes.len() => {
                frame.bytes.copy_from_slice(raw);
                generation
            }
            _ => {
                frame.bytes.fill(0);
                0
            }
        };
        let old = core::mem::replace(&mut frame.page, number);
        frame.used = true;
        if let Some(place) = self.frame_of.get_mut(index(old)) {
            *place = NO_FRAME;
        }
        if let Some(place) = self.frame_of.get_mut(index(number)) {
            *place = u16::try_from(at).unwrap_or(NO_FRAME);
        }
        true
    }

    /// Takes in one copy read on demand; false if it is not valid.
    pub fn install_copy(&mut self, number: u32, raw: &mut [u8]) -> bool {
        match page::open(&self.region, PageKind::Descriptors, number, raw) {
            Some(generation) => self.install(number, Some((raw, generation))),
            None => false,
        }
    }

    /// Neither copy is valid any more.
    pub fn lose(&mut self, number: u32) {
        if let Some(place) = self.newest.get_mut(index(number)) {
            *place = Newest::Unreadable;
        }
    }

    /// Whether one more page could be brought into memory.
    pub fn has_room(&self) -> bool {
        self.frames.iter().any(Frame::replaceable)
    }

    fn free_frame(&mut self) -> Option<usize> {
        // Two rounds: the first takes second chances away.
        for _ in 0..self.frames.len().saturating_mul(2) {
            let at = self.hand.checked_rem(self.frames.len())?;
            self.hand = at.saturating_add(1);
            let frame = self.frames.get_mut(at)?;
            if frame.replaceable() && !core::mem::take(&mut frame.used) {
                return Some(at);
            }
        }
        None
    }

    /// Whether a write of the page is under way.
    pub fn in_flight(&self, number: u32) -> bool {
        let frame = self.frame_of.get(index(number)).copied().unwrap_or(NO_FRAME);
        self.frames.get(usize::from(frame)).is_some_and(|frame| frame.in_flight)
    }

    /// Whether there are fewer frames than pages.
    pub fn scarce(&self) -> bool {
        self.frames.len() < self.newest.len()
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Number of frames with changes.
    pub fn dirty(&self) -> usize {
        self.frames.iter().filter(|frame| frame.dirty).count()
    }

    /// Number of frames with changes that may be written before the next flush.
    pub fn writable(&self) -> usize {
        self.frames.iter().filter(|frame| frame.dirty && !self.is_volatile(frame.page)).count()
    }

    fn is_volatile(&self, number: u32) -> bool {
        self.volatile.get(index(number)) == Some(&true)
    }

    /// Every write that had ended is durable.
    pub fn flushed(&mut self) {
        self.volatile.fill(false);
    }

    /// Number of frames that no other page can have.
    pub fn held(&self) -> usize {
        self.frames.iter().filter(|frame| !frame.replaceable()).count()
    }

    /// The next page that wants to be written: fills `raw` with it, sealed, and says which page
    /// and where on the region.
    pub fn take_dirty(&mut self, geometry: &Geometry, raw: &mut [u8]) -> Option<(u32, u64)> {
        let volatile = &self.volatile;
        let frame = self.frames.iter_mut().find(|frame| {
            frame.dirty && !frame.in_flight && volatile.get(index(frame.page)) != Some(&true)
        })?;
        let newest = self.newest.get(index(frame.page)).copied()?;
        let target = match newest {
            Newest::In(copy) => copy.twin(),
            Newest::Unknown | Newest::Nowhere | Newest::Unreadable => Copy2::A,
        };
        frame.dirty = false;
        frame.in_flight = true;
        frame.generation = frame.generation.wrapping_add(1);
        if raw.len() == frame.bytes.len() {
            raw.copy_from_slice(&frame.bytes);
        }
        page::seal(&self.region, PageKind::Descriptors, frame.page, frame.generation, raw);
        Some((frame.page, geometry.page_at(target, frame.page)))
    }

    /// The write of page `number` ended.
    pub fn written(&mut self, number: u32, ok: bool) {
        if let Some(frame) = self.frame_mut(number) {
            frame.in_flight = false;
            frame.dirty |= !ok;
        }
        if let (Some(newest), Some(volatile)) =
            (self.newest.get_mut(index(number)), self.volatile.get_mut(index(number)))
            && ok
        {
            *volatile = true;
            *newest = match *newest {
                Newest::In(copy) => Newest::In(copy.twin()),
                Newest::Unknown | Newest::Nowhere | Newest::Unreadable => Newest::In(Copy2::A),
            };
        }
    }
}
