//! The tasks of a mount: their wakers, the bytes that they wait for and keep, and the line for buffers.
//!
//! Always: a task belongs to one future, and ends with it. A task that waits for bytes is woken when
//! they land. A task keeps what nobody else needs: no reader that blocks waits for a task.

use super::pieces::Piece;
use crate::read::metadata::{PAGE_BYTES, PageNumber};
use crate::storage::Patience;
use crate::units::{ByteRange, DeviceSlot};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;

/// The most pieces of a task, under way or landed.
pub const PIECES_MAX: usize = 8;
/// The most pages of metadata that a task keeps for a step.
const PAGES_MAX: usize = 32;

/// The name of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(usize);

/// The tasks of a mount, in as many places as there were futures at once.
#[derive(Debug, Default)]
pub struct Tasks {
    places: Vec<Task>,
    /// The tasks that wait for a buffer, or for room on a device; the first one comes first.
    line: VecDeque<TaskId>,
    /// Whether there was no buffer when a task stood in the line last.
    lacks_buffer: bool,
    /// Whether a task waits for a reader that blocks, in another thread.
    waits_for_others: bool,
    /// The wakers of tasks that were woken, to be called when the lock is free.
    due: Vec<Waker>,
    /// The task that was woken and is not polled while others wait for it, and for how long they do.
    overlooks: Option<(TaskId, Patience)>,
}

/// A task.
#[derive(Debug, Default)]
pub struct Task {
    /// Whether a future has the task.
    is_used: bool,
    waker: Option<Waker>,
    /// Whether it was woken, and not polled since then.
    is_woken: bool,
    /// The bytes that the task waits for.
    awaits: Option<(DeviceSlot, ByteRange)>,
    /// Whether it waits for a reader that blocks.
    waits_for_others: bool,
    /// The ranges that it reads.
    pub pieces: heapless::Vec<Piece, PIECES_MAX>,
    /// Pages of metadata that the step has brought. The memory of further ones stays.
    pages: Vec<(Option<PageNumber>, Box<[u8; PAGE_BYTES]>)>,
    /// The first byte of a range for which the task has waited while another reader fetched it.
    pub joined: Option<(DeviceSlot, u64)>,
    /// Whether the step needs more than a task may keep, so that it has to be taken as by a reader
    /// that blocks.
    pub blocks: bool,
}

impl Task {
    fn wake(&mut self, due: &mut Vec<Waker>) {
        if let Some(waker) = self.waker.as_ref().filter(|_| !self.is_woken) {
            self.is_woken = true;
            due.push(waker.clone());
        }
    }

    /// Notes the bytes that the task waits for.
    pub fn wait_for(&mut self, slot: DeviceSlot, range: ByteRange) {
        self.awaits = Some((slot, range));
    }

    /// Returns the index of the piece that serves byte `at` of a device slot.
    pub fn piece_at(&self, slot: DeviceSlot, at: u64) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.slot == slot && piece.want.contains(at))
    }

    /// Keeps a page until the step ends. Returns false if there is no room.
    pub fn keep_page(&mut self, number: PageNumber, bytes: &[u8; PAGE_BYTES]) -> bool {
        let free = self.pages.iter_mut().find(|(kept, _)| kept.is_none());
        if let Some((kept, memory)) = free {
            *kept = Some(number);
            memory.copy_from_slice(bytes);
            return true;
        }
        let has_room = self.pages.len() < PAGES_MAX;
        if has_room {
            self.pages.push((Some(number), Box::new(*bytes)));
        }
        has_room
    }
}

impl Tasks {
    /// Adds a task. Allocates a place if all are taken.
    pub fn begin(&mut self) -> TaskId {
        let free = self.places.iter().position(|task| !task.is_used);
        let at = free.unwrap_or(self.places.len());
        if free.is_none() {
            self.places.push(Task::default());
        }
        if let Some(task) = self.places.get_mut(at) {
            task.is_used = true;
        }
        TaskId(at)
    }

    /// Removes a task that reads nothing any more.
    pub fn end(&mut self, id: TaskId) {
        self.end_step(id);
        let task = self.get(id);
        let pages = core::mem::take(&mut task.pages);
        *task = Task { pages, ..Task::default() };
    }

    /// Returns a task.
    #[expect(clippy::indexing_slicing, reason = "a name without a place is our own bug")]
    pub fn get(&mut self, id: TaskId) -> &mut Task {
        &mut self.places[id.0]
    }

    /// Returns the bytes of a page that the step of a task has brought.
    pub fn page(&self, id: TaskId, number: PageNumber) -> Option<&[u8; PAGE_BYTES]> {
        let mut pages = self.places.get(id.0)?.pages.iter();
        pages.find(|(kept, _)| *kept == Some(number)).map(|(_, bytes)| &**bytes)
    }

    /// Begins a poll of a task, whose waker is `waker` from now on.
    pub fn begin_poll(&mut self, id: TaskId, waker: &Waker) {
        let task = self.get(id);
        match &mut task.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        (task.is_woken, task.waits_for_others, task.awaits) = (false, false, None);
    }

    /// Ends a step of a task: it leaves the line, and keeps no page any more.
    pub fn end_step(&mut self, id: TaskId) {
        let task = self.get(id);
        task.pages.iter_mut().for_each(|(number, _)| *number = None);
        (task.joined, task.blocks) = (None, false);
        self.line.retain(|other| *other != id);
        self.move_line();
    }

    /// Wakes the tasks that wait for some of the bytes `range` of a device slot.
    pub fn landed(&mut self, slot: DeviceSlot, range: ByteRange) {
        let waits = |task: &&mut Task| {
            task.awaits.is_some_and(|(of, awaits)| of == slot && awaits.overlaps(range))
        };
        let due = &mut self.due;
        self.places.iter_mut().filter(waits).for_each(|task| task.wake(due));
        self.move_line();
    }

    /// Wakes the first task of the line.
    pub fn move_line(&mut self) {
        if let Some(first) = self.line.front()
            && let Some(task) = self.places.get_mut(first.0)
        {
            task.wake(&mut self.due);
        }
    }

    /// Returns whether a task waits in the line for a buffer. Who waits for room on a device is woken
    /// by what ends there.
    pub fn lacks_buffer(&self) -> bool {
        self.lacks_buffer && !self.line.is_empty()
    }

    /// Returns whether a task may take a buffer: no other task waits, or it is the first of the line.
    pub fn is_next(&self, id: TaskId) -> bool {
        self.line.front().is_none_or(|first| *first == id)
    }

    /// Puts a task into the line, unless it stands there. `lacks_buffer` says that there is no buffer.
    pub fn stand_in_line(&mut self, id: TaskId, lacks_buffer: bool) {
        self.lacks_buffer = lacks_buffer;
        if !self.line.contains(&id) {
            self.line.push_back(id);
        }
    }

    /// Takes a task out of the line, and wakes the next one: there may be a buffer for it, too.
    pub fn leave_line(&mut self, id: TaskId) {
        let before = self.line.len();
        self.line.retain(|other| *other != id);
        if self.line.len() < before {
            self.move_line();
        }
    }

    /// Returns whether a task other than `id` was woken, so that its next poll may free buffers.
    pub fn moves_beside(&self, id: TaskId) -> bool {
        (0..).zip(&self.places).any(|(at, task)| at != id.0 && task.is_used && task.is_woken)
    }

    /// Wakes a task other than `id` that holds buffers, and can give up one of them for bytes that it
    /// lacks first. Returns false if there is none.
    pub fn wake_holder(&mut self, id: TaskId) -> bool {
        let mut others = (0..).zip(&mut self.places).filter(|(at, _)| *at != id.0);
        let can_give = |task: &Task| task.pieces.iter().any(Piece::can_give);
        let holder = others.find(|(_, task)| can_give(task));
        holder.map(|(_, task)| task.wake(&mut self.due)).is_some()
    }

    /// Notes that a task waits for a reader that blocks.
    pub fn wait_for_others(&mut self, id: TaskId) {
        self.get(id).waits_for_others = true;
        self.waits_for_others = true;
    }

    /// Wakes the tasks, but for `own`, that wait for a reader that blocks, or for the poll of a task
    /// in another thread.
    #[inline]
    pub fn wake_for_others(&mut self, own: Option<TaskId>) {
        if self.waits_for_others {
            self.wake_all_for_others(own);
        }
    }

    #[cold]
    fn wake_all_for_others(&mut self, own: Option<TaskId>) {
        self.waits_for_others = false;
        for (at, task) in (0..).zip(&mut self.places) {
            if own == Some(TaskId(at)) {
                self.waits_for_others |= task.waits_for_others;
            } else if task.waits_for_others {
                task.wake(&mut self.due);
            }
        }
    }

    /// Wakes all tasks that wait for bytes, and the first one of the line: reads were given up.
    pub fn wake_all(&mut self) {
        let due = &mut self.due;
        let waiting = self.places.iter_mut().filter(|task| task.awaits.is_some());
        waiting.for_each(|task| task.wake(due));
        self.move_line();
    }

    /// Returns whether wakers are to be called.
    #[inline]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Returns the wakers that are to be called when the lock is free.
    pub fn take_due(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.due)
    }

    /// Returns a task that was woken long ago, is not polled, and has what others wait for: the first
    /// place in the line, or buffers where `lacks_all` says that nothing else will bring one. Called
    /// at each look, at `now_ns`.
    pub fn overlooked(&mut self, lacks_all: bool, now_ns: u64, patience_ns: u64) -> Option<TaskId> {
        let is_woken = |id: &TaskId| self.places.get(id.0).is_some_and(|task| task.is_woken);
        let keeps = |task: &Task| task.is_woken && !task.pieces.is_empty();
        let first = self.line.front().copied().filter(is_woken);
        let keeper = || self.places.iter().position(keeps).map(TaskId);
        let found = first.or_else(|| if lacks_all { keeper() } else { None });
        let Some(id) = found else {
            self.overlooks = None;
            return None;
        };
        let (of, mut patience) =
            self.overlooks.take().unwrap_or((id, Patience::new(now_ns, patience_ns)));
        if of != id {
            patience = Patience::new(now_ns, patience_ns);
        }
        if patience.lasts(now_ns) {
            self.overlooks = Some((id, patience));
            return None;
        }
        Some(id)
    }

    /// Returns whether a task waits for bytes, or for a buffer.
    pub fn wait(&self) -> bool {
        !self.line.is_empty() || self.places.iter().any(|task| task.awaits.is_some())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins a task that was polled once, and returns the count of its wakes.
    fn polled(tasks: &mut Tasks) -> (TaskId, Arc<Count>) {
        let (id, count) = (tasks.begin(), Arc::new(Count(AtomicUsize::new(0))));
        tasks.begin_poll(id, &Waker::from(Arc::clone(&count)));
        (id, count)
    }

    /// Calls the wakers that are due, and returns how often this one was called.
    fn wakes(tasks: &mut Tasks, count: &Count) -> usize {
        tasks.take_due().into_iter().for_each(Waker::wake);
        count.0.load(Ordering::Relaxed)
    }

    fn bytes(start: u64) -> ByteRange {
        ByteRange::sized(start, 4096).unwrap()
    }

    #[test]
    fn task_is_woken_once_by_the_bytes_that_it_waits_for_and_by_no_others() {
        let (mut tasks, slot) = (Tasks::default(), DeviceSlot::new(1));
        let (id, count) = polled(&mut tasks);
        tasks.get(id).wait_for(slot, bytes(8192));
        tasks.landed(slot, bytes(4096));
        tasks.landed(DeviceSlot::new(2), bytes(8192));
        assert_eq!(wakes(&mut tasks, &count), 0);
        tasks.landed(slot, bytes(10_000));
        tasks.landed(slot, bytes(8192));
        assert_eq!(wakes(&mut tasks, &count), 1, "until it is polled");
        tasks.begin_poll(id, Waker::noop());
        tasks.landed(slot, bytes(8192));
        assert_eq!(wakes(&mut tasks, &count), 1, "it waits for nothing now");
    }

    #[test]
    fn line_is_served_in_order_and_moves_when_its_first_task_leaves_or_ends() {
        let mut tasks = Tasks::default();
        let [(a, of_a), (b, of_b), (c, of_c)] = [0; 3].map(|_| polled(&mut tasks));
        assert!(tasks.is_next(c), "nobody waits");
        for id in [a, b, c, a] {
            tasks.stand_in_line(id, true);
        }
        assert!(tasks.is_next(a) && !tasks.is_next(b) && tasks.lacks_buffer());
        tasks.move_line();
        assert_eq!([&of_a, &of_b, &of_c].map(|count| wakes(&mut tasks, count)), [1, 0, 0]);
        tasks.leave_line(a);
        assert_eq!([&of_a, &of_b, &of_c].map(|count| wakes(&mut tasks, count)), [1, 1, 0]);
        tasks.end(b);
        assert_eq!([&of_a, &of_b, &of_c].map(|count| wakes(&mut tasks, count)), [1, 1, 1]);
        tasks.end_step(c);
        assert!(!tasks.lacks_buffer());
        assert_eq!(tasks.begin(), b, "the place is used again");
    }

    #[test]
    fn task_that_waits_for_another_thread_is_woken_by_it_and_not_by_itself() {
        let mut tasks = Tasks::default();
        let [(a, of_a), (b, of_b)] = [0; 2].map(|_| polled(&mut tasks));
        tasks.wait_for_others(a);
        tasks.wake_for_others(Some(a));
        assert_eq!((wakes(&mut tasks, &of_a), wakes(&mut tasks, &of_b)), (0, 0));
        tasks.wake_for_others(Some(b));
        tasks.wake_for_others(None);
        assert_eq!((wakes(&mut tasks, &of_a), wakes(&mut tasks, &of_b)), (1, 0));
    }

    #[test]
    fn pages_stay_until_the_step_ends_and_no_more_than_there_is_room_for() {
        let mut tasks = Tasks::default();
        let (id, _) = polled(&mut tasks);
        for step in 0..2 {
            for page in 0..40 {
                let number = (crate::erofs::Space::Image, page);
                let kept = tasks.get(id).keep_page(number, &[step; PAGE_BYTES]);
                assert_eq!(kept, page < 32, "page {page}");
                assert_eq!(tasks.page(id, number).map(|bytes| bytes[0]), kept.then_some(step));
            }
            tasks.end_step(id);
            assert!(tasks.page(id, (crate::erofs::Space::Image, 7)).is_none());
        }
    }
}
