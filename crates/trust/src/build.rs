//! Makes a tree from front to back, in memory of a node for each level.
//!
//! Always: nodes are handed out once each, whole and filled up with zeros, as veritysetup and
//! fsverity write them.

use crate::descriptor;
use crate::hash::{Digest, Hasher};
use crate::shape::{Format, Node, Shape};
use crate::tree::Root;
use alloc::vec::Vec;
use rootlet_base::num::{Bug, OrBug, clip, narrow, wide};

/// A tree that is being made.
#[derive(Debug)]
pub struct Builder<'h> {
    hasher: &'h dyn Hasher,
    shape: Shape,
    /// The block that comes next.
    block: u64,
    /// For each level the node that is being filled, and its number.
    levels: Vec<(u64, Vec<u8>)>,
    /// The digest of the only block.
    root: Option<Digest>,
}

impl<'h> Builder<'h> {
    /// Returns the tree of this form before its first block.
    ///
    /// # Errors
    /// A [`Bug`] if there is no memory as long as a node.
    pub fn new(hasher: &'h dyn Hasher, shape: Shape) -> Result<Self, Bug> {
        let bytes = narrow(shape.hash_block().get())?;
        let levels = (0..shape.levels()).map(|_| (0, Vec::with_capacity(bytes))).collect();
        Ok(Self { hasher, shape, block: 0, levels, root: None })
    }

    /// Takes the next data block: as many bytes as a block has, or as the data has left. Calls
    /// `put` for each node that is full, with its place in the tree.
    ///
    /// # Errors
    /// A [`Bug`] if `data` has another length, or all blocks have come.
    pub fn push(&mut self, data: &[u8], put: &mut dyn FnMut(u64, &[u8])) -> Result<(), Bug> {
        let range = self.shape.block_bytes(self.block).or_bug()?;
        if range.len() != wide(data.len()) {
            return Err(Bug::here());
        }
        let digest = self.shape.hash(self.hasher, self.shape.data_block(), data)?;
        self.block = self.block.checked_add(1).or_bug()?;
        self.add(0, digest, put)
    }

    /// Adds a digest to a level, or takes it for the root.
    fn add(
        &mut self,
        level: usize,
        digest: Digest,
        put: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), Bug> {
        let (mut level, mut digest) = (level, digest);
        loop {
            let Some((index, node)) = self.levels.get_mut(level) else {
                self.root = Some(digest);
                return Ok(());
            };
            node.extend_from_slice(digest.as_bytes());
            let full = narrow(self.shape.node_bytes().or_bug()?)?;
            if node.len() < full {
                return Ok(());
            }
            let here = Node { level, index: *index };
            digest = close(&self.shape, self.hasher, here, node, put)?;
            (*index, level) = (index.checked_add(1).or_bug()?, level.checked_add(1).or_bug()?);
        }
    }

    /// Ends the tree: hands out the nodes that are not full, and returns the digest that the form's
    /// format pins data by.
    ///
    /// # Errors
    /// A [`Bug`] if blocks are missing.
    pub fn finish(mut self, put: &mut dyn FnMut(u64, &[u8])) -> Result<Root, Bug> {
        if self.block != self.shape.blocks() {
            return Err(Bug::here());
        }
        for level in 0..self.levels.len() {
            let (index, node) = self.levels.get_mut(level).or_bug()?;
            if !node.is_empty() {
                let here = Node { level, index: *index };
                let digest = close(&self.shape, self.hasher, here, node, put)?;
                *index = index.checked_add(1).or_bug()?;
                self.add(level.checked_add(1).or_bug()?, digest, put)?;
            }
        }
        let empty = Digest::zero(self.shape.algorithm());
        let root = if self.block == 0 { empty } else { self.root.or_bug()? };
        Ok(match self.shape.format {
            Format::FsVerity => Root::File(descriptor::digest(self.hasher, &self.shape, &root)?),
            Format::ChromeOs | Format::DmVerity => Root::Hash(root),
        })
    }
}

/// Hands out a node, and returns its digest; the node is empty after that.
fn close(
    shape: &Shape,
    hasher: &dyn Hasher,
    here: Node,
    node: &mut Vec<u8>,
    put: &mut dyn FnMut(u64, &[u8]),
) -> Result<Digest, Bug> {
    node.resize(clip(shape.hash_block().get(), usize::MAX), 0);
    put(shape.place(here)?.start(), node);
    let digest = shape.hash(hasher, shape.hash_block(), node)?;
    node.clear();
    Ok(digest)
}
