//! A shelf: things that readers take out, work with while the lock is free, and put back.
//!
//! Always: at most `N` things were made, and no two readers have the same one. Who waits for a thing
//! may hold others, but only in this order, so that nobody waits in a circle: the work of a decoder,
//! a directory block, the turn to read the metabox, a page of metadata, the work of the metabox, a
//! decoder, a bounce buffer.

/// Up to `N` things of one kind.
#[derive(Debug)]
pub struct Shelf<T, const N: usize> {
    idle: heapless::Vec<T, N>,
    /// How many may still be made.
    unmade: usize,
}

impl<T, const N: usize> Shelf<T, N> {
    /// Returns a shelf on which nothing lies yet, for `most` things, at most `N`.
    #[cfg(feature = "alloc")]
    pub fn empty(most: usize) -> Self {
        Self { idle: heapless::Vec::new(), unmade: most.min(N) }
    }

    /// Returns a shelf with these things, and no others.
    pub fn of(things: impl IntoIterator<Item = T>) -> Self {
        Self { idle: things.into_iter().take(N).collect(), unmade: 0 }
    }

    /// Takes a thing out, the one that was put back last, or one that `make` makes. Returns `None`
    /// if other readers have all.
    pub fn take(&mut self, make: impl FnOnce() -> T) -> Option<T> {
        if let Some(thing) = self.idle.pop() {
            return Some(thing);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        Some(make())
    }

    /// Puts a thing back.
    ///
    /// # Panics
    /// If there is no place: the thing was not taken from here.
    #[expect(clippy::expect_used, reason = "a thing that was never taken was put back")]
    pub fn put(&mut self, thing: T) {
        self.idle.push(thing).ok().expect("a place for what was taken");
    }

    /// Returns the thing that was put back last.
    pub fn last(&self) -> Option<&T> {
        self.idle.last()
    }

    /// Returns how many may still be made.
    #[cfg(feature = "alloc")]
    pub fn unmade(&self) -> usize {
        self.unmade
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn things_are_made_as_they_are_needed_and_no_more_than_the_shelf_holds() {
        let mut shelf: Shelf<u8, 3> = Shelf::empty(2);
        let (one, two) = (shelf.take(|| 1), shelf.take(|| 2));
        assert_eq!((one, two, shelf.take(|| 3)), (Some(1), Some(2), None));
        shelf.put(1);
        assert_eq!((shelf.last(), shelf.unmade()), (Some(&1), 0));
        assert_eq!(shelf.take(|| 4), Some(1), "the one that came back");
    }

    #[test]
    #[should_panic(expected = "a place")]
    fn thing_that_comes_back_twice_is_noticed() {
        let mut shelf: Shelf<u8, 1> = Shelf::of([7]);
        shelf.put(8);
    }
}
