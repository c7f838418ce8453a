//! The tasks of futures without a heap, and the blocks that each has.
//!
//! Always: each block's memory is here or with a device. Bytes of a block are copied if the read that
//! was started for them has ended well, and serve one call of one future's read after another until
//! that has succeeded.

use core::fmt;
use core::task::Waker;

use super::{BLOCK_BYTES, ByteRange, DeviceId, Fill, IoErrorKind, Patience, count};
use rootlet_base::num::{clip, wide};

const BYTES: usize = 4096;
const _: () = assert!(wide(BYTES) == BLOCK_BYTES);

/// The memory of a block, aligned for caches.
#[repr(align(64))]
struct Block([u8; BYTES]);

impl Block {
    const ZEROS: Self = Self([0; BYTES]);
}

/// Memory of a [`ReadSlots`](super::ReadSlots): 4 KiB for each block of each task, and one block for
/// reads that wait. For a `static`, so that none of it passes by way of a stack.
pub struct SlotMemory<const TASKS: usize, const BLOCKS: usize> {
    tasks: [[Block; BLOCKS]; TASKS],
    own: Block,
}

impl<const TASKS: usize, const BLOCKS: usize> SlotMemory<TASKS, BLOCKS> {
    /// Returns memory, all zeros: a `static` of it takes no room in the binary.
    pub const fn new() -> Self {
        const { assert!(TASKS > 0 && BLOCKS > 0, "a task and a block at least") };
        Self { tasks: [const { [const { Block::ZEROS }; BLOCKS] }; TASKS], own: Block::ZEROS }
    }
}

impl<const TASKS: usize, const BLOCKS: usize> Default for SlotMemory<TASKS, BLOCKS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const TASKS: usize, const BLOCKS: usize> fmt::Debug for SlotMemory<TASKS, BLOCKS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotMemory({TASKS} tasks of {BLOCKS} blocks)")
    }
}

/// A read of a block, with the memory for it. It comes back once, from
/// [`BlockQueue::poll`](super::BlockQueue::poll).
pub struct BlockRead {
    place: Place,
    memory: &'static mut Block,
    name: Name,
}

impl BlockRead {
    /// Returns the device.
    pub fn device(&self) -> DeviceId {
        self.place.device
    }

    /// Returns the byte offset: a whole number of sectors.
    pub fn at(&self) -> u64 {
        self.place.whole.start()
    }

    /// Returns the memory to fill: whole sectors, at most 4096 bytes, aligned to 64.
    pub fn out(&mut self) -> &mut [u8] {
        let len = clip(self.place.whole.len(), BYTES);
        self.memory.0.split_at_mut(len).0
    }
}

impl fmt::Debug for BlockRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockRead({:?})", self.place)
    }
}

/// A block of a device, cut to the device's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub device: DeviceId,
    pub whole: ByteRange,
}

/// The slot of a read: that of a task, or the one for reads that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Task(usize, usize),
    Own,
}

/// Where the memory of a slot is.
enum Memory {
    Here(&'static mut Block),
    /// With a device. The address tells this memory from that of another storage.
    Away {
        address: usize,
        patience: Patience,
        is_late: bool,
    },
}

/// The memory of a block, and what is asked of it.
struct Slot {
    memory: Memory,
    /// The block that is wanted; `None` for a slot that is idle, or whose read nobody wants any more.
    of: Option<Place>,
    /// The result of the read that has ended.
    result: Result<(), IoErrorKind>,
}

impl Slot {
    fn new(block: &'static mut Block) -> Self {
        Self { memory: Memory::Here(block), of: None, result: Ok(()) }
    }

    fn is_idle(&self) -> bool {
        self.of.is_none() && matches!(self.memory, Memory::Here(_))
    }

    /// Returns whether a device has the memory, in time.
    fn is_coming(&self) -> bool {
        matches!(self.memory, Memory::Away { is_late: false, .. })
    }

    /// Returns the read of `place` with the memory; `None` if the memory is away.
    fn take_off(&mut self, place: Place, patience: Patience, name: Name) -> Option<BlockRead> {
        let Memory::Here(block) = &self.memory else { return None };
        let address = core::ptr::from_ref::<Block>(block).addr();
        let away = Memory::Away { address, patience, is_late: false };
        let Memory::Here(memory) = core::mem::replace(&mut self.memory, away) else { return None };
        self.of = Some(place);
        Some(BlockRead { place, memory, name })
    }

    /// Takes the memory back. Returns false, and keeps nothing, if it is that of another storage.
    fn land(&mut self, read: BlockRead, ended: Result<(), IoErrorKind>) -> bool {
        let lent = core::ptr::from_ref::<Block>(read.memory).addr();
        let is_own = matches!(self.memory, Memory::Away { address, .. } if address == lent);
        if is_own {
            (self.memory, self.result) = (Memory::Here(read.memory), ended);
        }
        is_own
    }

    /// Fills `out` with the bytes `part` of the block. Returns `None` if they are on their way.
    fn copy(&self, part: ByteRange, out: &mut [u8]) -> Option<Result<(), IoErrorKind>> {
        match &self.memory {
            Memory::Away { is_late: false, .. } => None,
            Memory::Away { .. } => Some(Err(IoErrorKind::Timeout)),
            Memory::Here(block) => Some(self.result.and_then(|()| {
                let place = self.of.ok_or(IoErrorKind::Protocol)?;
                copy_part(place.whole, part, &block.0, out)
            })),
        }
    }

    /// Gives the read up if it takes too long. Returns whether it has just been given up.
    fn give_up_late(&mut self, now_ns: u64) -> bool {
        let Memory::Away { patience, is_late: is_late @ false, .. } = &mut self.memory else {
            return false;
        };
        *is_late = !patience.lasts(now_ns);
        *is_late
    }
}

/// Fills `out` with the bytes `part` of a block that begins with the first byte of `whole`.
fn copy_part(
    whole: ByteRange,
    part: ByteRange,
    block: &[u8],
    out: &mut [u8],
) -> Result<(), IoErrorKind> {
    let skip = part.start().checked_sub(whole.start());
    let from = skip.and_then(|skip| ByteRange::sized(skip, part.len()));
    match from.map(|from| (from.of(block), Fill::new(out).next(part.len()))) {
        Some((Ok(from), Ok(out))) => {
            out.copy_from_slice(from);
            Ok(())
        }
        _ => Err(IoErrorKind::OutOfRange),
    }
}

/// The task of a future.
struct Task<const BLOCKS: usize> {
    is_used: bool,
    waker: Option<Waker>,
    /// Whether a read has ended since the last poll began.
    has_landed: bool,
    /// Whether the device had no room for a read.
    was_refused: bool,
    /// Whether the future's read has to wait for its bytes in a poll.
    blocks: bool,
    slots: [Slot; BLOCKS],
}

impl<const BLOCKS: usize> Task<BLOCKS> {
    fn new(slots: [Slot; BLOCKS]) -> Self {
        Self {
            is_used: false,
            waker: None,
            has_landed: false,
            was_refused: false,
            blocks: false,
            slots,
        }
    }

    /// Returns whether a future may have the task: without one, and not all of its memory is still
    /// on its way from an earlier one.
    fn is_free(&self) -> bool {
        !self.is_used && self.slots.iter().any(|slot| !slot.is_coming())
    }
}

/// What a reader finds of a block.
pub enum Found {
    /// Its bytes, which are copied.
    Copied,
    /// That its read has failed.
    Failed(IoErrorKind),
    /// Nothing yet; the reader waits without this block's read, or for it.
    Coming,
    /// Nothing; a read of it is to be started.
    Lacks,
    /// Nothing, and the reader waits where it is.
    Blocks,
}

/// The tasks, and the slot for reads that wait.
pub struct Table<const TASKS: usize, const BLOCKS: usize> {
    tasks: [Task<BLOCKS>; TASKS],
    own: Slot,
    /// The wakers of futures that wait for a task.
    waiting: heapless::Vec<Waker, TASKS>,
    /// The task for which the mount reads now.
    pub current: Option<usize>,
    /// Whether a read of the current task lacked bytes.
    pub lacks: bool,
    /// Reads of futures that waited in a poll.
    pub blocked_reads: u64,
}

impl<const TASKS: usize, const BLOCKS: usize> Table<TASKS, BLOCKS> {
    pub fn new(memory: &'static mut SlotMemory<TASKS, BLOCKS>) -> Self {
        let SlotMemory { tasks, own } = memory;
        let tasks = tasks.each_mut().map(|blocks| Task::new(blocks.each_mut().map(Slot::new)));
        let waiting = heapless::Vec::new();
        let own = Slot::new(own);
        Self { tasks, own, waiting, current: None, lacks: false, blocked_reads: 0 }
    }

    /// Returns a task.
    #[expect(clippy::indexing_slicing, reason = "a number without a task is our own bug")]
    fn task(&mut self, number: usize) -> &mut Task<BLOCKS> {
        &mut self.tasks[number]
    }

    /// Returns a task for a future; `None` if all are taken, or wait for the memory of reads that
    /// nobody wants any more.
    pub fn claim(&mut self) -> Option<usize> {
        let number = self.tasks.iter().position(Task::is_free)?;
        self.task(number).is_used = true;
        Some(number)
    }

    /// Has a future without a task wait for one. Returns the waker of the one that has waited longest
    /// if there is no room for it any more: it has to ask again.
    pub fn wait_for_task(&mut self, waker: &Waker) -> Option<Waker> {
        if self.waiting.iter().any(|other| other.will_wake(waker)) {
            return None;
        }
        let pushed_out = self.waiting.is_full().then(|| self.waiting.remove(0));
        self.waiting.extend([waker.clone()]);
        pushed_out
    }

    /// Ends a task. Its reads under way end, and bring their memory back.
    pub fn end(&mut self, number: usize) {
        let task = self.task(number);
        task.slots.iter_mut().for_each(|slot| slot.of = None);
        (task.is_used, task.waker) = (false, None);
        (task.was_refused, task.blocks) = (false, false);
    }

    /// Begins a call of a task's read.
    pub fn begin(&mut self, number: usize) -> Option<usize> {
        self.lacks = false;
        let task = self.task(number);
        (task.has_landed, task.waker) = (false, None);
        self.current.replace(number)
    }

    /// Fills `out` with the bytes `part` of a block, if the current task has them.
    pub fn find(&mut self, place: Place, part: ByteRange, out: &mut [u8]) -> Found {
        let Some(number) = self.current else { return Found::Blocks };
        let lacks = core::mem::replace(&mut self.lacks, true);
        let task = self.task(number);
        let slot = task.slots.iter().find(|slot| slot.of == Some(place));
        let found = match slot.map(|slot| slot.copy(part, out)) {
            Some(Some(Ok(()))) => Found::Copied,
            Some(Some(Err(kind))) => Found::Failed(kind),
            // In a call that has failed, nothing is worth a wait.
            _ if task.blocks && !lacks => Found::Blocks,
            _ if task.blocks => Found::Coming,
            Some(None) => Found::Coming,
            None => Found::Lacks,
        };
        self.lacks = lacks || matches!(found, Found::Coming | Found::Lacks);
        found
    }

    /// Returns the read of a block for the current task; `None` if the task has no memory for it now.
    pub fn take_off(&mut self, place: Place, patience: Patience) -> Option<BlockRead> {
        let number = self.current?;
        let task = self.task(number);
        let idle = task.slots.iter().position(Slot::is_idle);
        if let Some(index) = idle
            && let Some(slot) = task.slots.get_mut(index)
        {
            return slot.take_off(place, patience, Name::Task(number, index));
        }
        // Memory of reads that nobody wants any more is worth a wait.
        task.blocks = !task.slots.iter().any(|slot| slot.of.is_none() && slot.is_coming());
        None
    }

    /// Takes a read back for which its device had no room.
    pub fn refuse(&mut self, read: BlockRead) {
        let Some(slot) = self.slot(read.name) else { return };
        let name = read.name;
        slot.land(read, Ok(()));
        slot.of = None;
        let is_moving = self.own.is_coming()
            || self.tasks.iter().any(|task| task.slots.iter().any(Slot::is_coming));
        if let Name::Task(number, _) = name {
            let task = self.task(number);
            // Else nothing that ends will wake the task.
            (task.was_refused, task.blocks) = (true, !is_moving);
        }
    }

    fn slot(&mut self, name: Name) -> Option<&mut Slot> {
        match name {
            Name::Own => Some(&mut self.own),
            Name::Task(task, index) => self.tasks.get_mut(task)?.slots.get_mut(index),
        }
    }

    /// Takes a read that has ended. Returns the waker of its task.
    pub fn land(&mut self, read: BlockRead, result: Result<(), IoErrorKind>) -> Option<Waker> {
        let name = read.name;
        if !self.slot(name)?.land(read, result) {
            return None;
        }
        let Name::Task(number, _) = name else { return None };
        let task = self.task(number);
        task.has_landed = true;
        task.waker.take()
    }

    /// Gives up reads that take too long. Returns the waker of a task that waits for one.
    pub fn give_up_late(&mut self, now_ns: u64) -> Option<Waker> {
        self.tasks.iter_mut().find_map(|task| {
            let mut has_late = false;
            task.slots.iter_mut().for_each(|slot| has_late |= slot.give_up_late(now_ns));
            task.has_landed |= has_late;
            if has_late { task.waker.take() } else { None }
        })
    }

    /// Returns the waker of a task whose read was refused, once.
    pub fn next_refused(&mut self) -> Option<Waker> {
        let refused = self.tasks.iter_mut().filter(|task| task.was_refused);
        let mut wakers = refused.filter_map(|task| {
            (task.was_refused, task.has_landed) = (false, true);
            task.waker.take()
        });
        wakers.next()
    }

    /// Returns the waker of a future that waits for a task, while there is one.
    pub fn next_waiting(&mut self) -> Option<Waker> {
        let has_free = !self.waiting.is_empty() && self.tasks.iter().any(Task::is_free);
        if has_free { self.waiting.pop() } else { None }
    }

    /// Has the future of a task woken when one of its reads has ended: at once if one has meanwhile.
    pub fn wait(&mut self, number: usize, waker: &Waker) {
        let task = self.task(number);
        if task.has_landed {
            waker.wake_by_ref();
        } else {
            task.waker = Some(waker.clone());
        }
    }

    /// Returns whether the read of a task has to wait where it is, and counts it.
    pub fn blocks(&mut self, number: usize) -> bool {
        let blocks = self.task(number).blocks;
        if blocks {
            count(&mut self.blocked_reads, 1);
        }
        blocks
    }

    /// Returns a read of a block for a reader that waits; `None` if it is under way, or has ended, or
    /// an earlier read has the memory still.
    pub fn take_off_own(&mut self, place: Place, patience: Patience) -> Option<BlockRead> {
        if self.own.of == Some(place) {
            return None;
        }
        self.own.take_off(place, patience, Name::Own)
    }

    /// Fills `out` with the bytes `part` of a block that a reader waits for. Returns `None` while they
    /// are on their way.
    pub fn take_own(
        &mut self,
        place: Place,
        part: ByteRange,
        out: &mut [u8],
    ) -> Option<Result<(), IoErrorKind>> {
        if self.own.of != Some(place) || self.own.is_coming() {
            return None;
        }
        let result = self.own.copy(part, out);
        self.own.of = None;
        result
    }

    /// Gives up the read that a reader waits for.
    pub fn leave_own(&mut self) {
        self.own.of = None;
        if let Memory::Away { is_late, .. } = &mut self.own.memory {
            *is_late = true;
        }
    }

    /// Returns how many blocks of memory devices have.
    #[cfg(test)]
    pub fn lent(&self) -> usize {
        let slots = self.tasks.iter().flat_map(|task| &task.slots).chain([&self.own]);
        slots.filter(|slot| matches!(slot.memory, Memory::Away { .. })).count()
    }
}
