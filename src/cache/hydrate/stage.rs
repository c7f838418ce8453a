//! The buffers between a reader's memory and the region: what was fetched waits in them to be
//! written.
//!
//! Always: a buffer is changed only while no write of it is under way; every byte of a buffer
//! belongs to at most one write.

use crate::cache::BLOCK_BYTES;
use crate::storage::Buffer;
use alloc::vec::Vec;

/// Writes that one buffer can hold: blocks that lie apart in the region are written one by one.
const WRITES_PER_BUFFER: usize = 32;

/// One write of data to the region.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataWrite {
    /// The buffer that holds the bytes, from `offset` on.
    pub buffer: usize,
    pub offset: usize,
    pub bytes: usize,
    /// Where in the region they go.
    pub at: u64,
    pub started: bool,
}

impl DataWrite {
    pub fn end(&self) -> u64 {
        self.at.saturating_add(super::offset(self.bytes))
    }
}

#[derive(Debug)]
struct Stage {
    whole: Buffer,
    /// Bytes from the front that belong to writes.
    used: usize,
    /// The write that was begun last, the only one that can grow.
    last: usize,
    /// Writes that are not over, and those of them that are under way.
    writes: u32,
    started: u32,
}

impl Stage {
    fn room(&self) -> usize {
        if self.started > 0 { 0 } else { self.whole.len().saturating_sub(self.used) }
    }
}

/// All buffers of a mount, and the writes out of them.
#[derive(Debug)]
pub(super) struct Stages {
    buffers: Vec<Stage>,
    writes: Vec<Option<DataWrite>>,
    /// How many of them are not over.
    busy: usize,
}

impl Stages {
    pub fn new(buffers: usize, buffer_bytes: usize) -> Self {
        let stage =
            || Stage { whole: Buffer::new(buffer_bytes), used: 0, last: 0, writes: 0, started: 0 };
        let writes = buffers.saturating_mul(WRITES_PER_BUFFER);
        Self {
            buffers: core::iter::repeat_with(stage).take(buffers).collect(),
            writes: core::iter::repeat_with(|| None).take(writes).collect(),
            busy: 0,
        }
    }

    /// Whether more than half of the buffers, or of the places for writes, are in use.
    pub fn pressed(&self) -> bool {
        self.scarce() || self.busy.saturating_mul(2) > self.writes.len()
    }

    fn scarce(&self) -> bool {
        let free = self.buffers.iter().filter(|stage| stage.writes == 0).count();
        free.saturating_mul(2) < self.buffers.len()
    }

    /// Bytes of a buffer.
    pub fn bytes(&self, buffer: usize) -> Option<&[u8]> {
        self.buffers.get(buffer).map(|stage| &*stage.whole)
    }

    /// Number of places for writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// A write.
    pub fn get(&self, index: usize) -> Option<&DataWrite> {
        self.writes.get(index)?.as_ref()
    }

    /// Whether any write is not over.
    pub fn any(&self) -> bool {
        self.busy > 0
    }

    /// A write that block by block can be added to, of what lies at `at` in the region: one that
    /// waits and ends there, or a new one. While there are buffers enough a new one gets a buffer
    /// of its own, in which it can grow; else it goes behind others.
    pub fn open(&mut self, at: u64) -> Option<usize> {
        let ends_there = |(buffer, stage): &(usize, &Stage)| {
            let last = self.writes.get(stage.last).copied().flatten();
            stage.writes > 0
                && stage.room() >= BLOCK_BYTES
                && last.is_some_and(|write| {
                    write.buffer == *buffer
                        && write.end() == at
                        && write.offset.checked_add(write.bytes) == Some(stage.used)
                })
        };
        if let Some((_, stage)) = self.buffers.iter().enumerate().find(ends_there) {
            return Some(stage.last);
        }
        let index = self.writes.iter().position(Option::is_none)?;
        let empty = self.buffers.iter().position(|stage| stage.writes == 0);
        let shared = || {
            let open = self.buffers.iter().enumerate().filter(|(_, stage)| stage.writes > 0);
            let most = open.max_by_key(|(_, stage)| stage.room())?;
            (most.1.room() >= BLOCK_BYTES).then_some(most.0)
        };
        let buffer = if self.scarce() { shared().or(empty) } else { empty.or_else(shared) }?;
        let stage = self.buffers.get_mut(buffer)?;
        stage.writes = stage.writes.saturating_add(1);
        stage.last = index;
        self.busy = self.busy.saturating_add(1);
        let write = DataWrite { buffer, offset: stage.used, bytes: 0, at, started: false };
        *self.writes.get_mut(index)? = Some(write);
        Some(index)
    }

    /// The part of a write's buffer that it can grow into.
    pub fn room(&mut self, index: usize) -> Option<&mut [u8]> {
        let write = self.writes.get(index)?.as_ref()?;
        let stage = self.buffers.get_mut(write.buffer)?;
        // Nobody else has a handle on a buffer none of whose writes is under way.
        stage.whole.get_mut()?.get_mut(stage.used..)
    }

    /// A write grows by `bytes` that were put into its room.
    pub fn grow(&mut self, index: usize, bytes: usize) {
        if let Some(Some(write)) = self.writes.get_mut(index) {
            write.bytes = write.bytes.saturating_add(bytes);
            if let Some(stage) = self.buffers.get_mut(write.buffer) {
                stage.used = stage.used.saturating_add(bytes);
            }
        }
    }

    /// The bytes of a write that waits, for the device; [`Stages::started`] tells that it took
    /// them.
    pub fn slice(&self, write: &DataWrite) -> Option<Buffer> {
        let end = write.offset.checked_add(write.bytes)?;
        self.buffers.get(write.buffer)?.whole.slice(write.offset..end)
    }

    /// Whether a write cannot grow any more.
    pub fn is_full(&self, write: &DataWrite) -> bool {
        self.buffers.get(write.buffer).is_none_or(|stage| stage.room() < BLOCK_BYTES)
    }

    /// A write is under way.
    pub fn started(&mut self, index: usize) {
        if let Some(Some(write)) = self.writes.get_mut(index) {
            write.started = true;
            if let Some(stage) = self.buffers.get_mut(write.buffer) {
                stage.started = stage.started.saturating_add(1);
            }
        }
    }

    /// A write is over, or was not needed. False if there is none.
    pub fn close(&mut self, index: usize) -> bool {
        let Some(write) = self.writes.get_mut(index).and_then(Option::take) else { return false };
        self.busy = self.busy.saturating_sub(1);
        if let Some(stage) = self.buffers.get_mut(write.buffer) {
            stage.writes = stage.writes.saturating_sub(1);
            stage.started = stage.started.saturating_sub(u32::from(write.started));
            if stage.writes == 0 {
                stage.used = 0;
            }
        }
        true
    }
}
