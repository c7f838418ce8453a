//! Which nodes of trees were read from their sources: those that a region should keep.
//!
//! Always: a bit for each node of a tree that is kept; it is cleared when the node is handed out.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use rootlet_base::num::{Bug, OrBug, narrow, wide};
use rootlet_base::units::BLOCK;
use rootlet_trust::Node;

use crate::pin::Pin;

/// Bits of a word.
const BITS: u64 = 64;

/// The nodes that were used, by the numbers of their trees.
#[derive(Debug, Default)]
pub struct Used(BTreeMap<u32, Vec<u64>>);

impl Used {
    /// Makes room for the nodes of a tree.
    pub fn add(&mut self, pin: &Pin) -> Result<(), Bug> {
        let nodes = BLOCK.cover(pin.shape().tree_bytes());
        self.0.insert(pin.number, vec![0; narrow(nodes.div_ceil(BITS))?]);
        Ok(())
    }

    /// Notes that a node was read from its source.
    pub fn note(&mut self, pin: &Pin, node: Node) -> Result<(), Bug> {
        let Some(words) = self.0.get_mut(&pin.number) else { return Ok(()) };
        let number = BLOCK.whole(pin.shape().place(node)?.start());
        let word = words.get_mut(narrow(number / BITS)?).or_bug()?;
        *word |= 1 << (number % BITS);
        Ok(())
    }

    /// Takes out the first node of a tree that was used; returns its byte in the tree.
    pub fn take(&mut self, pin: &Pin) -> Option<u64> {
        let words = self.0.get_mut(&pin.number)?;
        let (at, word) = words.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= word.wrapping_sub(1);
        let number = wide(at).checked_mul(BITS)?.checked_add(u64::from(bit))?;
        BLOCK.times(number)
    }
}
