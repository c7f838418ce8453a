//! The buffers between a reader's memory and the region: what was fetched waits in them to be
//! written.
//!
//! Always: a buffer is changed only while no write of it is under way; every byte of a buffer
//! belongs to at most one write.

use super::block::{Fill, RegionBlock};
use crate::BLOCK_BYTES;
use crate::num;
use crate::storage::Buffer;
use crate::units::Count;
use alloc::vec::Vec;

/// Writes that one buffer can hold: blocks that lie apart in the region are written one by one.
const WRITES_PER_BUFFER: usize = 32;
/// Buffers of readers that can be under way at once, beside the mount's own.
const ADOPTED_MAX: usize = 32;

/// One write of data to the region.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataWrite {
    /// The buffer that holds the bytes, from `offset` on.
    pub buffer: usize,
    pub offset: usize,
    /// The blocks that it writes.
    pub fill: Fill,
    /// Where in the region the bytes go.
    pub at: u64,
    /// The write need not wait: it cannot grow, or its group is closed.
    pub due: bool,
    pub started: bool,
}

impl DataWrite {
    /// Returns where in the region the bytes end.
    #[expect(clippy::arithmetic_side_effects, reason = "a region ends below 2^52")]
    pub fn end(&self) -> u64 {
        self.at + num::wide(self.fill.bytes())
    }

    /// Returns where in its buffer the bytes end.
    #[expect(clippy::arithmetic_side_effects, reason = "they lie in the buffer")]
    fn buffer_end(&self) -> usize {
        self.offset + self.fill.bytes()
    }
}

#[derive(Debug)]
struct Stage {
    /// `None` for a place where a reader's buffer can be adopted.
    whole: Option<Buffer>,
    /// Bytes from the front that belong to writes.
    used: usize,
    /// The write that was begun last, the only one that can grow.
    last: usize,
    /// The number of writes that have not ended, and of those among them that are under way.
    writes: Count,
    started: Count,
}

impl Stage {
    /// Returns whether no write of the buffer is left.
    fn is_empty(&self) -> bool {
        self.writes == Count::ZERO
    }

    fn len(&self) -> usize {
        self.whole.as_deref().map_or(0, <[u8]>::len)
    }

    /// Returns how many bytes of the buffer belong to no write, while it may be changed.
    #[expect(clippy::arithmetic_side_effects, reason = "a part of it is used")]
    fn room(&self) -> usize {
        if self.started == Count::ZERO { self.len() - self.used } else { 0 }
    }
}

/// All buffers of a mount, and the writes out of them.
#[derive(Debug)]
pub(super) struct Stages {
    /// The mount's own, and after them places for readers' buffers.
    buffers: Vec<Stage>,
    own: usize,
    writes: Vec<Option<DataWrite>>,
    /// The number of writes that have not ended.
    busy: Count,
    /// The number of writes that are due and not started.
    due: Count,
}

impl Stages {
    pub fn new(buffers: usize, buffer_bytes: usize) -> Self {
        let stage =
            |whole| Stage { whole, used: 0, last: 0, writes: Count::ZERO, started: Count::ZERO };
        let own = core::iter::repeat_with(|| stage(Some(Buffer::new(buffer_bytes))));
        let adopted = core::iter::repeat_with(|| stage(None)).take(ADOPTED_MAX);
        let writes = (0..buffers).flat_map(|_| [None; WRITES_PER_BUFFER]);
        Self {
            buffers: own.take(buffers).chain(adopted).collect(),
            own: buffers,
            writes: writes.collect(),
            busy: Count::ZERO,
            due: Count::ZERO,
        }
    }

    fn own(&self) -> impl Iterator<Item = (usize, &Stage)> {
        self.buffers.iter().enumerate().take(self.own)
    }

    /// Returns whether more than half of the buffers, or of the places for writes, are in use.
    pub fn pressed(&self) -> bool {
        self.free() < self.own.div_ceil(2) || self.busy() > self.writes.len() / 2
    }

    fn free(&self) -> usize {
        self.own().filter(|(_, stage)| stage.is_empty()).count()
    }

    /// Returns whether any write is due.
    pub fn any_due(&self) -> bool {
        self.due != Count::ZERO
    }

    /// Makes every write due.
    pub fn all_due(&mut self) {
        self.make_due(|_| true);
    }

    fn make_due(&mut self, which: impl Fn(&DataWrite) -> bool) {
        for write in self.writes.iter_mut().flatten() {
            if !write.due && !write.started && which(write) {
                write.due = true;
                self.due.raise();
            }
        }
    }

    /// Returns the bytes of a buffer.
    pub fn bytes(&self, buffer: usize) -> Option<&[u8]> {
        self.buffers.get(buffer)?.whole.as_deref()
    }

    /// Returns the fills that are not written yet.
    pub fn fills(&self) -> impl Iterator<Item = &Fill> {
        self.writes.iter().flatten().map(|write| &write.fill)
    }

    /// Returns the fill that holds a block, and all bytes of the fill.
    pub fn holding(&self, block: RegionBlock) -> Option<(&Fill, &[u8])> {
        let holds = |write: &&DataWrite| write.fill.first <= block && block < write.fill.end();
        let write = self.writes.iter().flatten().find(holds)?;
        let bytes = self.bytes(write.buffer)?.get(write.offset..)?.get(..write.fill.bytes())?;
        Some((&write.fill, bytes))
    }

    /// Returns the number of writes that are not over.
    pub fn busy(&self) -> usize {
        num::index(self.busy.get())
    }

    /// Returns the number of places for writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Returns the write in a place; `None` if the place is free.
    pub fn get(&self, index: usize) -> Option<&DataWrite> {
        self.writes.get(index)?.as_ref()
    }

    /// Returns the buffer of a write.
    #[expect(clippy::indexing_slicing, reason = "a write that names no buffer is a bug")]
    fn stage_mut(&mut self, buffer: usize) -> &mut Stage {
        &mut self.buffers[buffer]
    }

    /// Returns a write that blocks can be added to, of what lies at `at` in the region: one that
    /// waits and ends there, or a new one. While three quarters of the buffers are free a new one
    /// gets a buffer for itself, in which it can grow; else it shares one with others.
    #[expect(clippy::arithmetic_side_effects, reason = "a quarter of them")]
    pub fn open(&mut self, at: u64, fill: Fill) -> Option<usize> {
        let ends_there = |(buffer, stage): &(usize, &Stage)| {
            let last = self.writes.get(stage.last).copied().flatten();
            !stage.is_empty()
                && stage.room() >= BLOCK_BYTES
                && last.is_some_and(|write| {
                    write.buffer == *buffer
                        && write.end() == at
                        && write.fill.group == fill.group
                        && write.buffer_end() == stage.used
                })
        };
        if let Some((_, stage)) = self.own().find(ends_there) {
            return Some(stage.last);
        }
        let index = self.writes.iter().position(Option::is_none)?;
        let empty = self.own().find(|(_, stage)| stage.is_empty()).map(|(buffer, _)| buffer);
        let shared = || {
            let open = self.own().filter(|(_, stage)| !stage.is_empty());
            let most = open.max_by_key(|(_, stage)| stage.room())?;
            (most.1.room() >= BLOCK_BYTES).then_some(most.0)
        };
        let scarce = self.free() < self.own - self.own / 4;
        let buffer = if scarce { shared().or(empty) } else { empty.or_else(shared) }?;
        let offset = self.buffers.get(buffer)?.used;
        self.begin(index, DataWrite { buffer, offset, fill, at, due: false, started: false })
    }

    fn begin(&mut self, index: usize, write: DataWrite) -> Option<usize> {
        let stage = self.buffers.get_mut(write.buffer)?;
        *self.writes.get_mut(index)? = Some(write);
        stage.writes.raise();
        stage.last = index;
        self.busy.raise();
        if write.due {
            self.due.raise();
        }
        Some(index)
    }

    /// Takes a reader's buffer in, which no write uses yet, and returns its place; `None` if there is
    /// none left.
    pub fn adopt(&mut self, whole: Buffer) -> Option<usize> {
        let free = |stage: &Stage| stage.whole.is_none();
        let buffer = self.buffers.iter().skip(self.own).position(free)?.checked_add(self.own)?;
        let stage = self.buffers.get_mut(buffer)?;
        stage.used = whole.len();
        stage.whole = Some(whole);
        Some(buffer)
    }

    /// Begins a write of an adopted buffer from block `from` of the buffer on. It has no block yet.
    pub fn open_adopted(
        &mut self,
        (buffer, from): (usize, usize),
        at: u64,
        fill: Fill,
    ) -> Option<usize> {
        let index = self.writes.iter().position(Option::is_none)?;
        let offset = from.checked_mul(BLOCK_BYTES)?;
        self.begin(index, DataWrite { buffer, offset, fill, at, due: true, started: false })
    }

    /// Returns whether a buffer is a reader's.
    pub fn is_adopted(&self, buffer: usize) -> bool {
        buffer >= self.own
    }

    /// Lets an adopted buffer go if no write of it is left.
    pub fn release(&mut self, buffer: usize) {
        let adopted = self.is_adopted(buffer);
        if let Some(stage) = self.buffers.get_mut(buffer)
            && adopted
            && stage.is_empty()
        {
            stage.whole = None;
        }
    }

    /// Returns the part of a write's buffer that it can grow into.
    pub fn room(&mut self, index: usize) -> Option<&mut [u8]> {
        let write = self.writes.get(index)?.as_ref()?;
        let stage = self.buffers.get_mut(write.buffer)?;
        // Nobody else has a handle on a buffer none of whose writes is under way.
        stage.whole.as_mut()?.get_mut()?.get_mut(stage.used..)
    }

    /// Lets a write grow by blocks that were put into its room, or lie in an adopted buffer.
    #[expect(clippy::arithmetic_side_effects, reason = "they lie in the buffer")]
    pub fn grow(&mut self, index: usize, blocks: usize) {
        if let Some(Some(write)) = self.writes.get_mut(index) {
            write.fill.blocks += blocks;
            let (buffer, end) = (write.buffer, write.buffer_end());
            if let Some(stage) = self.buffers.get_mut(buffer).filter(|_| buffer < self.own) {
                stage.used = end;
                if stage.room() < BLOCK_BYTES {
                    self.make_due(|write| write.buffer == buffer);
                }
            }
        }
    }

    /// Returns the bytes of a write that waits, for the device. Call [`Stages::started`] when the
    /// device has taken them.
    pub fn slice(&self, write: &DataWrite) -> Option<Buffer> {
        self.buffers.get(write.buffer)?.whole.as_ref()?.slice(write.offset..write.buffer_end())
    }

    /// Returns whether a write cannot grow before other writes of its buffer end: it need not wait.
    pub fn is_stuck(&self, write: &DataWrite) -> bool {
        self.buffers.get(write.buffer).is_some_and(|stage| stage.started != Count::ZERO)
    }

    /// Notes that a write is under way.
    ///
    /// # Panics
    /// If there is no such write, or it is under way already.
    #[expect(clippy::expect_used, reason = "a write that does not exist was started")]
    pub fn started(&mut self, index: usize) {
        let write = self.writes.get_mut(index).and_then(Option::as_mut).expect("a write");
        assert!(!write.started, "write {index} is started twice");
        write.started = true;
        let DataWrite { buffer, due, .. } = *write;
        if due {
            self.due.lower();
        }
        self.stage_mut(buffer).started.raise();
    }

    /// Removes a write that has ended, or was not needed, and returns its blocks.
    ///
    /// # Panics
    /// If there is no such write: it ended twice.
    #[expect(clippy::expect_used, reason = "a write that does not exist has ended")]
    pub fn close(&mut self, index: usize) -> Fill {
        let write = self.writes.get_mut(index).and_then(Option::take).expect("a write");
        self.busy.lower();
        if write.due && !write.started {
            self.due.lower();
        }
        let stage = self.stage_mut(write.buffer);
        stage.writes.lower();
        if write.started {
            stage.started.lower();
        }
        if stage.is_empty() {
            stage.used = 0;
        }
        self.release(write.buffer);
        write.fill
    }
}
