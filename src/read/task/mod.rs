//! Readers that do not wait: each is a task of the mount, and has a future.
//!
//! A poll takes the lock, and takes the step of a read that a blocking reader would take, by the same
//! code. Where that reader would wait, a task looks for the bytes among those that have landed for
//! it. If they are not there, it starts reads of them, notes its waker, and leaves by
//! [`Stop::Wait`]; the next poll takes the step again and gets further. What has landed stays until
//! the step has succeeded.
//!
//! Always: between two polls a task holds buffers of the pool and copies of pages, and nothing else.
//! Memory of a reader is never lent to a device. A step that needs more than a task may hold, or for
//! which nobody would free a buffer, is taken as by a reader that blocks, so every read ends.

mod file;
mod lookup;
mod pieces;
mod read;
mod table;

pub use file::Lent;
use pieces::Taker;
pub use table::{TaskId, Tasks};

use super::Root;
use super::guard::{Guard, Shared};
use super::metadata::{PageNumber, PagePlace, page_of};
use super::stop::Stop;
use crate::cache::Layer;
use crate::erofs::Space;
use crate::error::Error;
use crate::num::{Bug, OrBug};
use crate::storage::Storage;
use crate::units::{BLOCK, ByteRange, count};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// The most jobs whose end one call takes.
const ENDED_MAX: usize = 64;

/// A task, which ends with its owner.
struct Owner<'r, S: Storage, L: Layer<S>> {
    shared: &'r Shared<S, L>,
    id: TaskId,
}

impl<'r, S: Storage, L: Layer<S>> Owner<'r, S, L> {
    fn begin(shared: &'r Shared<S, L>) -> Self {
        let id = shared.lock().tasks.begin();
        Self { shared, id }
    }

    /// Takes steps of a task until one has a result, or has to wait.
    fn poll<T>(
        &self,
        waker: &Waker,
        step: &mut impl FnMut(&mut Guard<'_, S, L>) -> Result<Option<T>, Stop>,
    ) -> Poll<Result<T, Error>> {
        let guard = &mut self.shared.lock();
        let id = self.id;
        guard.tasks.begin_poll(id, waker);
        // Each round ends a step.
        loop {
            guard.task = Some(id);
            let mut result = step(guard);
            if matches!(result, Err(Stop::Wait)) && guard.tasks.get(id).blocks {
                guard.drop_pieces(id, |_| true);
                count(&mut guard.io.stats.blocked_steps, 1);
                guard.task = None;
                result = step(guard);
                guard.task = Some(id);
            }
            match result {
                Ok(None) => guard.end_step(id),
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Err(Stop::Error(error)) => return Poll::Ready(Err(error)),
                Err(Stop::Wait) => {
                    guard.advance();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: Storage, L: Layer<S>> Drop for Owner<'_, S, L> {
    fn drop(&mut self) {
        let guard = &mut self.shared.lock();
        guard.drop_pieces(self.id, |_| true);
        guard.tasks.end(self.id);
    }
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Takes the steps of a task, one after another, until one has a result. A step that waits is
    /// taken again.
    async fn task<T>(
        &self,
        mut step: impl FnMut(&mut Guard<'_, S, L>) -> Result<Option<T>, Stop>,
    ) -> Result<T, Error> {
        let owner = Owner::begin(&self.shared);
        poll_fn(|context| owner.poll(context.waker(), &mut step)).await
    }

    /// Takes what devices have ended, and wakes the futures that wait for it. Returns whether
    /// anything has ended. Never waits.
    ///
    /// The idle loop of an executor calls this, or a task that an interrupt wakes. Polling a future
    /// does the same for all others.
    pub fn drive(&self) -> bool {
        let guard = &mut self.lock();
        let has_ended = guard.advance();
        guard.go_on_prefetching();
        if guard.tasks.lacks_buffer() && guard.flights.pool.has_idle() {
            guard.tasks.move_line();
        }
        has_ended
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Takes jobs that have ended, and wakes the tasks that wait for them; gives up reads that take too
    /// long. Returns whether a job has ended.
    fn advance(&mut self) -> bool {
        let ended = (0..ENDED_MAX).take_while(|_| self.poll()).count();
        if self.tasks.wait() {
            let (now_ns, patience_ns) = (self.storage.now_ns(), self.storage.patience_ns());
            if self.flights.pool.give_up_late(now_ns, patience_ns) {
                self.tasks.wake_all();
            }
            self.take_back(now_ns, patience_ns);
        }
        ended > 0
    }

    /// Takes back the buffers of a task that was woken long ago and is not polled, and its place in
    /// the line, if others wait for these: at its next poll the task reads those bytes again.
    fn take_back(&mut self, now_ns: u64, patience_ns: u64) {
        let pool = &mut self.flights.pool;
        let is_free = pool.is_flying() || pool.has_idle();
        let lacks_all = self.tasks.lacks_buffer() && !is_free;
        if let Some(id) = self.tasks.overlooked(lacks_all, now_ns, patience_ns) {
            self.drop_pieces(id, |_| true);
            self.tasks.leave_line(id);
        }
    }

    /// Returns whether the step of the task has brought a page of metadata.
    #[cold]
    pub fn has_brought(&self, number: PageNumber) -> bool {
        self.task.is_some_and(|id| self.tasks.page(id, number).is_some())
    }

    /// Brings a page back into the metadata cache, which has given it up since the step has brought
    /// it. Returns its place; `None` if there is no memory for now.
    #[cold]
    pub fn bring_back(&mut self, number: PageNumber) -> Result<Option<PagePlace>, Bug> {
        let task = self.task.or_bug()?;
        let state = &mut **self;
        let bytes = state.tasks.page(task, number).or_bug()?;
        state.metadata.put_page(number, bytes)
    }

    /// Has the task keep a page of metadata, which the cache may give up before the step succeeds.
    #[cold]
    pub fn keep_brought(&mut self, number: PageNumber, place: PagePlace) -> Result<(), Stop> {
        let Some(id) = self.task else { return Ok(()) };
        let state = &mut **self;
        let bytes = state.metadata.page_bytes(place)?;
        let task = state.tasks.get(id);
        if !task.keep_page(number, bytes) {
            task.blocks = true;
            return Err(Stop::Wait);
        }
        if let (Space::Image, _) = number {
            let (page, primary) = (page_of(number), self.mount().primary());
            // The page stands for the read that has brought it.
            let page = ByteRange::sized(BLOCK.times(page).or_bug()?, BLOCK.get()).or_bug()?;
            self.drop_pieces(id, |piece| {
                let is_page = piece.slot == primary && piece.want.within(page);
                is_page && piece.taker == Taker::Step
            });
        }
        Ok(())
    }
}
