//! Nodes of trees that were checked, in bounded memory.
//!
//! Always: a node in here has the digest that its parent or the root says; the nodes together, with
//! what the table needs for each, take at most the bytes of the budget.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use rootlet_trust::Node;

/// The number of a tree, and a node of it.
pub type Key = (u32, Node);

/// A node, and when it was used last.
#[derive(Debug)]
struct Kept {
    bytes: Arc<[u8]>,
    used: u64,
}

/// What a node takes beside its bytes: counters, and its place in a B-tree that is half full.
const ENTRY_BYTES: usize = 2 * size_of::<(Key, Kept)>() + 64;

/// The nodes that are kept.
#[derive(Debug)]
pub struct Nodes {
    kept: BTreeMap<Key, Kept>,
    /// What all nodes take, in bytes.
    bytes: usize,
    bytes_max: usize,
    /// How often a node was asked for or kept.
    uses: u64,
}

impl Nodes {
    /// Returns no nodes, with room for `bytes_max` bytes of them.
    pub fn new(bytes_max: usize) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, bytes_max, uses: 0 }
    }

    /// Returns the most bytes of nodes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns a node that is kept.
    pub fn get(&mut self, key: Key) -> Option<Arc<[u8]>> {
        self.uses = self.uses.wrapping_add(1);
        let kept = self.kept.get_mut(&key)?;
        kept.used = self.uses;
        Some(Arc::clone(&kept.bytes))
    }

    /// Keeps a node that was checked. For its room the nodes with digests of data go first, the one
    /// that was used longest ago before the others; a node that is longer than all room is not kept.
    pub fn keep(&mut self, key: Key, bytes: Arc<[u8]>) {
        let cost_bytes = cost(&bytes);
        let Some(room) = self.bytes_max.checked_sub(cost_bytes) else { return };
        if self.kept.contains_key(&key) {
            return;
        }
        while self.bytes > room {
            let age = |(key, kept): &(&Key, &Kept)| (key.1.level > 0, kept.used);
            let oldest = self.kept.iter().min_by_key(age);
            let Some((oldest, gone)) = oldest.map(|(key, kept)| (*key, cost(&kept.bytes))) else {
                return;
            };
            self.kept.remove(&oldest);
            // What was added to the sum is subtracted.
            self.bytes = self.bytes.wrapping_sub(gone);
        }
        self.uses = self.uses.wrapping_add(1);
        // At most the budget.
        self.bytes = self.bytes.wrapping_add(cost_bytes);
        self.kept.insert(key, Kept { bytes, used: self.uses });
    }
}

/// Returns what a node takes in memory.
#[expect(clippy::arithmetic_side_effects, reason = "a slice has at most half of all bytes")]
fn cost(bytes: &[u8]) -> usize {
    bytes.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(level: usize, index: u64) -> Key {
        (0, Node { level, index })
    }

    fn bytes() -> Arc<[u8]> {
        Arc::from([7; 100])
    }

    #[test]
    fn leaves_go_before_upper_nodes_and_the_oldest_first() {
        let mut nodes = Nodes::new(4 * (100 + ENTRY_BYTES) - 1);
        for (level, index) in [(1, 0), (0, 0), (0, 1)] {
            nodes.keep(node(level, index), bytes());
        }
        assert!(nodes.get(node(0, 0)).is_some());
        nodes.keep(node(0, 2), bytes());
        let kept = |nodes: &mut Nodes, level, index| nodes.get(node(level, index)).is_some();
        assert!(!kept(&mut nodes, 0, 1), "the oldest leaf");
        assert!(kept(&mut nodes, 1, 0) && kept(&mut nodes, 0, 0) && kept(&mut nodes, 0, 2));
        nodes.keep(node(0, 3), Arc::from([7; 4000]));
        let three = 3 * (100 + ENTRY_BYTES);
        assert!(!kept(&mut nodes, 0, 3) && nodes.bytes == three, "longer than all room");
    }

    #[test]
    fn no_number_of_nodes_takes_more_than_the_budget() {
        let mut nodes = Nodes::new(10 * (100 + ENTRY_BYTES));
        for index in 0..5000 {
            nodes.keep(node(usize::from(index % 3 == 0), index), bytes());
            nodes.keep(node(0, index), bytes());
            assert!(nodes.bytes <= nodes.bytes_max && nodes.kept.len() <= 10);
        }
    }
}
