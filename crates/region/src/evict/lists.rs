//! Lists of numbered things, threaded through one table of links.
//!
//! Always: a thing is in at most one list; taking it out of another, or putting it into a second
//! one, is noticed at once.

use crate::num;
use alloc::boxed::Box;

/// No thing: the end of a list.
const NONE: u32 = u32::MAX;
/// The links of a thing that is in no list.
const OUT: Link = Link { previous: u32::MAX - 1, next: u32::MAX - 1 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    previous: u32,
    next: u32,
}

/// The links of all things, which are numbers from 0 on.
#[derive(Debug)]
pub struct Links(Box<[Link]>);

impl Links {
    /// Bytes of memory for each thing.
    pub const BYTES: usize = size_of::<Link>();

    /// Returns the links of `len` things, none of which is in a list.
    ///
    /// # Panics
    /// If `len` is above 2^32 - 3: those numbers have another meaning.
    pub fn new(len: u32) -> Self {
        assert!(len < OUT.next, "numbers of things are below 2^32 - 2");
        Self(alloc::vec![OUT; num::index(len)].into_boxed_slice())
    }

    /// Returns what follows `id` in its list.
    pub fn after(&self, id: u32) -> Option<u32> {
        let next = self.link(id).next;
        (next < OUT.next).then_some(next)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a thing that was not counted is a bug, not a state"
    )]
    fn link(&self, id: u32) -> Link {
        self.0[num::index(id)]
    }

    #[expect(clippy::indexing_slicing, reason = "as in `link`")]
    fn link_mut(&mut self, id: u32) -> &mut Link {
        &mut self.0[num::index(id)]
    }
}

/// A list: things in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u32,
    last: u32,
    count: u32,
}

impl List {
    /// The list of nothing.
    pub const EMPTY: Self = Self { first: NONE, last: NONE, count: 0 };

    /// Returns how many things are in the list.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns what has been in the list longest.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts `id`, which is in no list, after all others.
    ///
    /// # Panics
    /// If it is in a list.
    #[expect(clippy::arithmetic_side_effects, reason = "each thing counts once: fewer than 2^32")]
    pub fn push(&mut self, links: &mut Links, id: u32) {
        let link = links.link_mut(id);
        assert_eq!(*link, OUT, "{id} is in a list already");
        *link = Link { previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = id,
            last => links.link_mut(last).next = id,
        }
        self.last = id;
        self.count += 1;
    }

    /// Takes `id` out of the list.
    ///
    /// # Panics
    /// If it is in no list. That it is in another one is noticed where it stands first or last.
    #[expect(clippy::arithmetic_side_effects, reason = "asserted")]
    pub fn remove(&mut self, links: &mut Links, id: u32) {
        let Link { previous, next } = core::mem::replace(links.link_mut(id), OUT);
        assert!(previous != OUT.previous && self.count > 0, "{id} is not in the list");
        match previous {
            NONE => {
                assert_eq!(self.first, id, "it is in another list");
                self.first = next;
            }
            previous => links.link_mut(previous).next = next,
        }
        match next {
            NONE => {
                assert_eq!(self.last, id, "it is in another list");
                self.last = previous;
            }
            next => links.link_mut(next).previous = previous,
        }
        self.count -= 1;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    fn all(list: &List, links: &Links) -> Vec<u32> {
        core::iter::successors(list.first(), |id| links.after(*id)).collect()
    }

    proptest! {
        #[test]
        fn lists_agree_with_queues(steps in prop::collection::vec((0_u32..9, 0_usize..3), 0..200)) {
            let mut links = Links::new(9);
            let mut lists = [List::EMPTY; 2];
            let mut queues: [VecDeque<u32>; 2] = Default::default();
            for (id, to) in steps {
                if let Some(from) = queues.iter().position(|queue| queue.contains(&id)) {
                    lists.get_mut(from).unwrap().remove(&mut links, id);
                    queues.get_mut(from).unwrap().retain(|other| *other != id);
                }
                if let (Some(list), Some(queue)) = (lists.get_mut(to), queues.get_mut(to)) {
                    list.push(&mut links, id);
                    queue.push_back(id);
                }
                for (list, queue) in lists.iter().zip(&queues) {
                    prop_assert_eq!(&all(list, &links), &Vec::from_iter(queue.iter().copied()));
                    prop_assert_eq!(usize::try_from(list.count()).unwrap(), queue.len());
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "in a list already")]
    fn thing_that_is_put_into_a_second_list_is_noticed() {
        let mut links = Links::new(2);
        let (mut one, mut two) = (List::EMPTY, List::EMPTY);
        one.push(&mut links, 1);
        two.push(&mut links, 1);
    }

    #[test]
    #[should_panic(expected = "not in the list")]
    fn thing_that_is_taken_out_twice_is_noticed() {
        let mut links = Links::new(2);
        let mut list = List::EMPTY;
        list.push(&mut links, 0);
        list.push(&mut links, 1);
        list.remove(&mut links, 0);
        list.remove(&mut links, 0);
    }
}
