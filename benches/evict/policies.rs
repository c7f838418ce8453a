//! The policies that the region's is compared with, each in its place in the slot table.
//!
//! Always: of what they know no byte is kept in a descriptor: after a boot they begin with the
//! slots in their order on disk.

use rootlet::evict::{Hold, Links, List, Policy};

/// Returns the first of `list` that may go; those that may not are put last.
fn first(list: &mut List, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32> {
    for _ in 0..list.count() {
        let id = list.first()?;
        if hold(id) == Hold::None {
            return Some(id);
        }
        list.remove(links, id);
        list.push(links, id);
    }
    None
}

/// First in, first out.
pub struct Fifo(List);

impl Policy for Fifo {
    const BYTES: usize = 0;

    fn new(_: u32) -> Self {
        Self(List::EMPTY)
    }

    fn count(&self) -> u32 {
        self.0.count()
    }

    fn admit(&mut self, links: &mut Links, id: u32, _: u64) {
        self.0.push(links, id);
    }

    fn restore(&mut self, links: &mut Links, id: u32, _: u8) {
        self.0.push(links, id);
    }

    fn touch(&mut self, _: &mut Links, _: u32) {}

    fn class(&self, _: u32) -> u8 {
        0
    }

    fn victim(&mut self, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32> {
        first(&mut self.0, links, hold)
    }

    fn evict(&mut self, links: &mut Links, id: u32, _: u64) {
        self.0.remove(links, id);
    }

    fn remove(&mut self, links: &mut Links, id: u32) {
        self.0.remove(links, id);
    }
}

/// Least recently used: a queue in which what is used goes last.
pub struct Lru(Fifo);

impl Policy for Lru {
    const BYTES: usize = 0;

    fn new(len: u32) -> Self {
        Self(Fifo::new(len))
    }

    fn count(&self) -> u32 {
        self.0.count()
    }

    fn admit(&mut self, links: &mut Links, id: u32, hash: u64) {
        self.0.admit(links, id, hash);
    }

    fn restore(&mut self, links: &mut Links, id: u32, class: u8) {
        self.0.restore(links, id, class);
    }

    fn touch(&mut self, links: &mut Links, id: u32) {
        self.0.remove(links, id);
        self.0.restore(links, id, 0);
    }

    fn class(&self, _: u32) -> u8 {
        0
    }

    fn victim(&mut self, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32> {
        self.0.victim(links, hold)
    }

    fn evict(&mut self, links: &mut Links, id: u32, hash: u64) {
        self.0.evict(links, id, hash);
    }

    fn remove(&mut self, links: &mut Links, id: u32) {
        self.0.remove(links, id);
    }
}

/// SIEVE (Zhang et al., NSDI 2024): a queue from old to new, and a hand that walks along it, takes
/// marks away, and stops where there is none.
pub struct Sieve {
    queue: List,
    hand: Option<u32>,
    marked: Vec<bool>,
}

impl Policy for Sieve {
    const BYTES: usize = 1;

    fn new(len: u32) -> Self {
        Self { queue: List::EMPTY, hand: None, marked: vec![false; len as usize] }
    }

    fn count(&self) -> u32 {
        self.queue.count()
    }

    fn admit(&mut self, links: &mut Links, id: u32, _: u64) {
        self.restore(links, id, 0);
    }

    fn restore(&mut self, links: &mut Links, id: u32, _: u8) {
        self.marked[id as usize] = false;
        self.queue.push(links, id);
    }

    fn touch(&mut self, _: &mut Links, id: u32) {
        self.marked[id as usize] = true;
    }

    fn class(&self, _: u32) -> u8 {
        0
    }

    fn victim(&mut self, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32> {
        for _ in 0..2 * self.queue.count() {
            let id = self.hand.or(self.queue.first())?;
            if !std::mem::take(&mut self.marked[id as usize]) && hold(id) == Hold::None {
                return Some(id);
            }
            self.hand = links.after(id);
        }
        None
    }

    fn evict(&mut self, links: &mut Links, id: u32, _: u64) {
        self.remove(links, id);
    }

    fn remove(&mut self, links: &mut Links, id: u32) {
        if self.hand == Some(id) {
            self.hand = links.after(id);
        }
        self.queue.remove(links, id);
    }
}
