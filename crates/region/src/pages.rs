//! The descriptor pages in memory: a bounded number of frames over all pages of the region.
//!
//! Always: a frame with unwritten changes or with fills under way is not given to another page;
//! a page is written to the copy that is not its newest, and never to both between two flushes
//! (O2).

use super::format::Page;
use super::geometry::{Copy2, Geometry};
use super::page::{self, PageKind};
use crate::num;
use crate::units::Count;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use zerocopy::FromZeros;

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

/// What is known of a page, in memory or not.
#[derive(Clone, Copy, Debug)]
struct State {
    newest: Newest,
    /// The newest copy was written since the last flush: the other copy is the only one that a
    /// power cut cannot take.
    volatile: bool,
    frame: u16,
}

#[derive(Debug)]
struct Frame {
    /// Which page is here; `None` if none is.
    number: Option<u32>,
    page: Box<Page>,
    generation: u64,
    /// Changes not yet handed to a write.
    dirty: bool,
    /// A write of this page is under way.
    in_flight: bool,
    /// Fills that keep checksums here before they are committed.
    pins: Count,
    /// Second chance of the clock.
    used: bool,
}

impl Frame {
    fn empty() -> Self {
        Self {
            number: None,
            page: Page::zeroed(),
            generation: 0,
            dirty: false,
            in_flight: false,
            pins: Count::ZERO,
            used: false,
        }
    }

    fn replaceable(&self) -> bool {
        !self.dirty && !self.in_flight && self.pins == Count::ZERO
    }
}

/// The frames and what is known of every page.
#[derive(Debug)]
pub struct Pages {
    region: [u8; 16],
    states: Box<[State]>,
    frames: Vec<Frame>,
    hand: usize,
}

const NO_FRAME: u16 = u16::MAX;
/// The most frames that 16 bits can number: 256 MiB.
const FRAMES_MAX: usize = 0xffff;

impl Pages {
    /// Returns pages of which none is in memory; there is room for `frames_max` of the `pages`
    /// pages.
    pub fn new(region: [u8; 16], pages: u32, frames_max: usize) -> Self {
        let state = State { newest: Newest::Unknown, volatile: false, frame: NO_FRAME };
        Self {
            region,
            states: vec![state; num::index(pages)].into_boxed_slice(),
            frames: core::iter::repeat_with(Frame::empty)
                .take(frames_max.min(FRAMES_MAX))
                .collect(),
            hand: 0,
        }
    }

    /// Returns how many bytes of memory the table of `pages` pages takes, without their frames.
    #[expect(clippy::arithmetic_side_effects, reason = "2^32 pages take less than 2^35")]
    pub fn table_bytes(pages: u32) -> u64 {
        u64::from(pages) * num::wide(size_of::<State>())
    }

    #[expect(clippy::indexing_slicing, reason = "the geometry counts the pages")]
    fn state(&self, number: u32) -> &State {
        &self.states[num::index(number)]
    }

    #[expect(clippy::indexing_slicing, reason = "the geometry counts the pages")]
    fn state_mut(&mut self, number: u32) -> &mut State {
        &mut self.states[num::index(number)]
    }

    /// Takes in what was read of both copies (`None` where the read failed) and keeps the page
    /// while there is room. Returns it, if one of the copies is valid.
    pub fn scan<'r>(
        &mut self,
        number: u32,
        mut a: Option<&'r mut Page>,
        mut b: Option<&'r mut Page>,
    ) -> Option<&'r Page> {
        let open = |page: &mut Option<&mut Page>| {
            page::open(&self.region, PageKind::Descriptors, number, page.as_deref_mut()?)
        };
        let (in_a, in_b) = (open(&mut a), open(&mut b));
        let newest = match (in_a, in_b) {
            // What could not be read may be the newer one.
            _ if a.is_none() || b.is_none() => Newest::Unreadable,
            (None, None) => Newest::Nowhere,
            _ if page::b_counts(in_a, in_b) => Newest::In(Copy2::B),
            _ => Newest::In(Copy2::A),
        };
        self.state_mut(number).newest = newest;
        let (page, generation) = match newest {
            Newest::In(Copy2::A) => (a, in_a),
            Newest::In(Copy2::B) => (b, in_b),
            _ => (None, None),
        };
        let page = page.map(|page| &*page);
        if newest != Newest::Unreadable && self.frames.iter().any(|frame| frame.number.is_none()) {
            self.install(number, page.zip(generation));
        }
        page
    }

    /// Returns where the newest copy of a page is.
    pub fn newest(&self, number: u32) -> Newest {
        self.state(number).newest
    }

    /// Returns a page, if it is in memory.
    pub fn get(&self, number: u32) -> Option<&Page> {
        self.frame(number).map(|frame| &*frame.page)
    }

    /// Gives a page a second chance. Returns whether it is in memory.
    pub fn touch(&mut self, number: u32) -> bool {
        self.frame_mut(number).map(|frame| frame.used = true).is_some()
    }

    fn frame(&self, number: u32) -> Option<&Frame> {
        self.frames.get(usize::from(self.state(number).frame))
    }

    fn frame_mut(&mut self, number: u32) -> Option<&mut Frame> {
        let frame = self.state(number).frame;
        self.frames.get_mut(usize::from(frame))
    }

    /// Returns a page in memory, to change what no bit makes valid yet.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Page> {
        self.frame_mut(number).map(|frame| &mut *frame.page)
    }

    /// Returns a page in memory, to change what has to be written.
    pub fn change(&mut self, number: u32) -> Option<&mut Page> {
        let frame = self.frame_mut(number)?;
        frame.dirty = true;
        Some(&mut frame.page)
    }

    /// Calls `change` with the number and the bytes of every page that waits to be written.
    pub fn each_dirty(&mut self, mut change: impl FnMut(u32, &mut Page)) {
        for frame in self.frames.iter_mut().filter(|frame| frame.dirty && !frame.in_flight) {
            if let Some(number) = frame.number {
                change(number, &mut frame.page);
            }
        }
    }

    /// Counts one more fill that keeps its checksums in a page in memory until it is committed.
    pub fn pin(&mut self, number: u32) {
        self.pinned(number).raise();
    }

    /// Counts one fill less: the opposite of [`Pages::pin`].
    pub fn unpin(&mut self, number: u32) {
        self.pinned(number).lower();
    }

    #[expect(clippy::expect_used, reason = "a page that is pinned is in memory, and stays there")]
    fn pinned(&mut self, number: u32) -> &mut Count {
        &mut self.frame_mut(number).expect("pages of fills are in memory").pins
    }

    /// Puts a page into a frame: an open one and its generation, or an empty one. Returns false if
    /// every frame is in use.
    ///
    /// # Panics
    /// If the page is in a frame already.
    pub fn install(&mut self, number: u32, page: Option<(&Page, u64)>) -> bool {
        assert_eq!(self.state(number).frame, NO_FRAME, "page {number} is in memory already");
        let Some((at, frame)) = self.free_frame() else { return false };
        frame.generation = match page {
            Some((page, generation)) => {
                (*frame.page).clone_from(page);
                generation
            }
            None => {
                frame.page.zero();
                0
            }
        };
        frame.used = true;
        if let Some(old) = frame.number.replace(number) {
            self.state_mut(old).frame = NO_FRAME;
        }
        self.state_mut(number).frame = at;
        true
    }

    /// Takes in one copy read on demand. Returns false if it is not valid.
    pub fn install_copy(&mut self, number: u32, page: &mut Page) -> bool {
        match page::open(&self.region, PageKind::Descriptors, number, page) {
            Some(generation) => self.install(number, Some((page, generation))),
            None => false,
        }
    }

    /// Notes that neither copy is valid any more.
    pub fn lose(&mut self, number: u32) {
        self.state_mut(number).newest = Newest::Unreadable;
    }

    /// Returns whether one more page could be brought into memory.
    pub fn has_room(&self) -> bool {
        self.frames.iter().any(Frame::replaceable)
    }

    /// Returns a frame that another page can have, and its place.
    fn free_frame(&mut self) -> Option<(u16, &mut Frame)> {
        // The first round takes second chances away.
        let all = self.frames.len();
        let order = (self.hand..all).chain(0..all).chain(0..self.hand.min(all));
        for at in order {
            let frame = self.frames.get_mut(at)?;
            if frame.replaceable() && !core::mem::take(&mut frame.used) {
                self.hand = at.checked_add(1)?;
                return Some((u16::try_from(at).ok()?, self.frames.get_mut(at)?));
            }
        }
        None
    }

    /// Returns whether a write of the page is under way.
    pub fn in_flight(&self, number: u32) -> bool {
        self.frame(number).is_some_and(|frame| frame.in_flight)
    }

    /// Returns whether there are fewer frames than pages.
    pub fn scarce(&self) -> bool {
        self.frames.len() < self.states.len()
    }

    /// Returns the number of frames.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Returns the number of frames with changes.
    pub fn dirty(&self) -> usize {
        self.frames.iter().filter(|frame| frame.dirty).count()
    }

    /// Returns the number of frames with changes that may be written before the next flush.
    pub fn writable(&self) -> usize {
        let dirty = self.frames.iter().filter(|frame| frame.dirty);
        dirty.filter_map(|frame| frame.number).filter(|page| !self.state(*page).volatile).count()
    }

    /// Notes that every write that had ended is durable.
    pub fn flushed(&mut self) {
        self.states.iter_mut().for_each(|state| state.volatile = false);
    }

    /// Returns the number of frames that no other page can have.
    pub fn held(&self) -> usize {
        self.frames.iter().filter(|frame| !frame.replaceable()).count()
    }

    /// Returns the next page that wants to be written: its number and where on the region. Fills
    /// `sealed` with it.
    pub fn take_dirty(&mut self, geometry: &Geometry, sealed: &mut Page) -> Option<(u32, u64)> {
        let states = &self.states;
        let state_of = |number: u32| states.get(num::index(number)).copied();
        let writable = |frame: &&mut Frame| frame.dirty && !frame.in_flight;
        let mut frames = self.frames.iter_mut().filter(writable).filter_map(|frame| {
            let number = frame.number?;
            Some((number, state_of(number).filter(|state| !state.volatile)?, frame))
        });
        let (number, state, frame) = frames.next()?;
        let target = match state.newest {
            Newest::In(copy) => copy.twin(),
            Newest::Unknown | Newest::Nowhere | Newest::Unreadable => Copy2::A,
        };
        frame.dirty = false;
        frame.in_flight = true;
        frame.generation = frame.generation.wrapping_add(1);
        sealed.clone_from(&*frame.page);
        page::seal(&self.region, PageKind::Descriptors, number, frame.generation, sealed);
        Some((number, geometry.page_at(target, number)))
    }

    /// Notes that the write of page `number` ended.
    pub fn written(&mut self, number: u32, ok: bool) {
        if let Some(frame) = self.frame_mut(number) {
            frame.in_flight = false;
            frame.dirty |= !ok;
        }
        if ok {
            let state = self.state_mut(number);
            state.volatile = true;
            state.newest = match state.newest {
                Newest::In(copy) => Newest::In(copy.twin()),
                Newest::Unknown | Newest::Nowhere | Newest::Unreadable => Newest::In(Copy2::A),
            };
        }
    }
}
