//! The policies that the region's is compared with.
//!
//! Always: what is read is kept, and one window goes when there is no room.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::trace::Phase;

/// What decides which windows stay.
pub trait Policy {
    /// A window is read. Says whether it was there; if not, it is kept.
    fn read(&mut self, window: u32, phase: Phase) -> bool;
    /// The machine boots.
    fn reboot(&mut self) {}
}

/// First in, first out.
pub struct Fifo {
    room: usize,
    queue: VecDeque<u32>,
    held: HashMap<u32, ()>,
}

impl Fifo {
    pub fn new(room: usize) -> Self {
        Self { room, queue: VecDeque::new(), held: HashMap::new() }
    }
}

impl Policy for Fifo {
    fn read(&mut self, window: u32, _: Phase) -> bool {
        if self.held.contains_key(&window) {
            return true;
        }
        if self.queue.len() == self.room {
            let oldest = self.queue.pop_front().unwrap();
            self.held.remove(&oldest);
        }
        self.queue.push_back(window);
        self.held.insert(window, ());
        false
    }
}

/// Least recently used.
pub struct Lru {
    room: usize,
    time: u64,
    by_time: BTreeMap<u64, u32>,
    held: HashMap<u32, u64>,
}

impl Lru {
    pub fn new(room: usize) -> Self {
        Self { room, time: 0, by_time: BTreeMap::new(), held: HashMap::new() }
    }
}

impl Policy for Lru {
    fn read(&mut self, window: u32, _: Phase) -> bool {
        self.time += 1;
        let last = self.held.insert(window, self.time);
        if let Some(last) = last {
            self.by_time.remove(&last);
        } else if self.by_time.len() == self.room {
            let (_, oldest) = self.by_time.pop_first().unwrap();
            self.held.remove(&oldest);
        }
        self.by_time.insert(self.time, window);
        last.is_some()
    }
}

/// SIEVE (Zhang et al., NSDI 2024): a queue from new to old, and a hand that walks from old to
/// new, takes marks away, and stops where there is none.
pub struct Sieve {
    room: usize,
    /// Place in the queue, growing; window and mark.
    queue: BTreeMap<u64, (u32, bool)>,
    held: HashMap<u32, u64>,
    next: u64,
    hand: u64,
}

impl Sieve {
    pub fn new(room: usize) -> Self {
        Self { room, queue: BTreeMap::new(), held: HashMap::new(), next: 0, hand: 0 }
    }

    fn evict(&mut self) {
        loop {
            let at = self.queue.range(self.hand..).next().or(self.queue.first_key_value());
            let (place, (window, marked)) = at.map(|(place, entry)| (*place, *entry)).unwrap();
            self.hand = place + 1;
            if !marked {
                self.queue.remove(&place);
                self.held.remove(&window);
                return;
            }
            self.queue.insert(place, (window, false));
        }
    }
}

impl Policy for Sieve {
    fn read(&mut self, window: u32, _: Phase) -> bool {
        if let Some(place) = self.held.get(&window) {
            self.queue.insert(*place, (window, true));
            return true;
        }
        if self.queue.len() == self.room {
            self.evict();
        }
        self.queue.insert(self.next, (window, false));
        self.held.insert(window, self.next);
        self.next += 1;
        false
    }
}
