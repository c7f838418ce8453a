//! The buffers of pages on their way to and from the region.
//!
//! Always: a buffer that is given out has the length of a page, and nobody else has a handle on it;
//! there are never more buffers than at first.

use crate::BLOCK_BYTES;
use crate::format::Page;
use crate::storage::Buffer;
use alloc::vec::Vec;

/// The buffers of pages that are not under way.
#[derive(Debug)]
pub(super) struct PagePool {
    idle: Vec<Buffer>,
    most: usize,
}

impl PagePool {
    /// Returns a pool of `most` buffers. Allocates them.
    pub fn new(most: usize) -> Self {
        let idle = core::iter::repeat_with(|| Buffer::new(BLOCK_BYTES)).take(most).collect();
        Self { idle, most }
    }

    /// Returns whether a buffer is free.
    pub fn has_free(&mut self) -> bool {
        self.idle.iter_mut().any(|buffer| buffer.get_mut().is_some())
    }

    /// Returns a buffer to read a page into; `None` if none is free.
    pub fn take(&mut self) -> Option<Buffer> {
        let free = self.idle.iter_mut().rposition(|buffer| buffer.get_mut().is_some())?;
        Some(self.idle.swap_remove(free))
    }

    /// Returns a buffer that `fill` has filled, and the value that `fill` returned; `None` if no
    /// buffer is free, or `fill` returned `None`.
    pub fn filled<T>(&mut self, fill: impl FnOnce(&mut Page) -> Option<T>) -> Option<(Buffer, T)> {
        let mut buffer = self.take()?;
        match buffer.get_mut().and_then(Page::of).and_then(fill) {
            Some(value) => Some((buffer, value)),
            None => {
                self.idle.push(buffer);
                None
            }
        }
    }

    /// Takes back the buffer that came with a job. Drops one of another length, which is not the
    /// pool's, and one too many: its device has ended a job twice.
    pub fn give(&mut self, buffer: Option<Buffer>) {
        if self.idle.len() < self.most {
            self.idle.extend(buffer.filter(|buffer| buffer.len() == BLOCK_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all buffers, and gives them back; how many there are.
    fn free(pool: &mut PagePool) -> usize {
        let taken: Vec<Buffer> = core::iter::from_fn(|| pool.take()).collect();
        assert!(taken.iter().all(|buffer| buffer.len() == BLOCK_BYTES));
        let count = taken.len();
        taken.into_iter().for_each(|buffer| pool.give(Some(buffer)));
        count
    }

    #[test]
    fn buffers_that_come_back_twice_do_not_pile_up() {
        let mut pool = PagePool::new(4);
        assert!(pool.take().is_some());
        for _ in 0..100 {
            pool.give(Some(Buffer::new(BLOCK_BYTES)));
        }
        assert_eq!(free(&mut pool), 4);
    }

    #[test]
    fn buffer_of_another_length_is_not_one_of_the_pool() {
        for len in [0, BLOCK_BYTES - 1, BLOCK_BYTES + 1] {
            let mut pool = PagePool::new(2);
            assert!(pool.take().is_some());
            pool.give(Some(Buffer::new(len)));
            assert_eq!(free(&mut pool), 1, "{len}");
        }
    }

    #[test]
    fn buffer_that_somebody_else_still_has_is_not_given_out() {
        let mut pool = PagePool::new(1);
        let Some(buffer) = pool.take() else { return };
        let kept = buffer.clone();
        pool.give(Some(buffer));
        assert!(pool.take().is_none() && pool.filled(|_| Some(())).is_none());
        drop(kept);
        assert!(pool.filled(|_| None::<()>).is_none(), "nothing to fill it with");
        assert!(pool.filled(|_| Some(())).is_some());
    }
}
