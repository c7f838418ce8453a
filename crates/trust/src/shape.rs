//! The form of a tree: how a block is hashed, how many levels there are, and where each node lies.
//!
//! Always: the form depends on what is pinned alone, never on a byte of the tree; every place is
//! within 64 bits.
//!
//! Level 0 holds the digests of data blocks, each further level those of the level below, until one
//! node is left, whose digest is the root. The top level comes first on the device. One data block
//! has no level: its digest is the root. Sources: the kernel's
//! Documentation/admin-guide/device-mapper/verity.rst and Documentation/filesystems/fsverity.rst.

use crate::hash::{Algorithm, Digest, Hasher, Message};
use crate::text::{Hex, unhex};
use core::fmt;
use heapless::Vec;
use rootlet_base::num::{Bug, OrBug, narrow, wide};
use rootlet_base::units::{ByteRange, Pow2};

/// Bytes of the longest salt of dm-verity (its superblock has room for no more).
pub(crate) const SALT_BYTES_MAX: usize = 256;
/// Bytes of the longest salt of fs-verity (its descriptor has room for no more).
pub(crate) const FS_SALT_BYTES_MAX: usize = 32;

/// The smallest and the largest block in bytes, as powers of two: what the tools make.
pub(crate) const BLOCK_BITS_MIN: u32 = 9;
pub(crate) const BLOCK_BITS_MAX: u32 = 19;

/// The most levels: 2^55 blocks of 512 bytes, and 8 digests of SHA-512 in a node.
const LEVELS_MAX: usize = 19;

/// Bytes that are hashed with each block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    bytes: [u8; SALT_BYTES_MAX],
    len: usize,
}

impl Salt {
    /// No salt.
    pub const NONE: Self = Self { bytes: [0; SALT_BYTES_MAX], len: 0 };

    /// Returns the salt that hex digits write, or none for `-`; `None` for any other text, and for
    /// more than 256 bytes.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut salt = Self::NONE;
        if digits != "-" {
            salt.len = unhex(digits, &mut salt.bytes)?.len();
        }
        Some(salt)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.len).0
    }
}

impl fmt::Display for Salt {
    /// Writes the salt as [`Salt::from_hex`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 { f.write_str("-") } else { Hex(self.as_bytes()).fmt(f) }
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a block and the salt are put together before they are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// dm-verity, hash type 0 (Chrome OS): the block, then the salt.
    ChromeOs,
    /// dm-verity, hash type 1: the salt, then the block.
    DmVerity,
    /// fs-verity: the salt, filled up with zeros to the hash's input block, then the block.
    FsVerity,
}

/// The form of a tree over *n* data blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) algorithm: Algorithm,
    pub(crate) format: Format,
    pub(crate) salt: Salt,
    pub(crate) data_block: Pow2,
    pub(crate) hash_block: Pow2,
    /// The bytes that the tree covers; zeros fill the last block.
    data_bytes: u64,
    /// The digests in a node.
    fan: Pow2,
    /// Where each level begins in the tree, in nodes, from level 0 on.
    starts: Vec<u64, LEVELS_MAX>,
    /// The nodes of the whole tree.
    nodes: u64,
}

/// A node of a tree: a hash block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The level; 0 is that with the digests of data blocks.
    pub level: usize,
    /// The number in the level.
    pub index: u64,
}

impl Shape {
    /// Returns the form of a tree over `data_bytes` bytes; `None` if a block has fewer than 512
    /// bytes or more than 512 KiB, or if 64 bits do not hold the end of data or tree.
    pub fn new(
        algorithm: Algorithm,
        format: Format,
        salt: Salt,
        blocks: [Pow2; 2],
        data_bytes: u64,
    ) -> Option<Self> {
        let [data_block, hash_block] = blocks;
        let sizes = BLOCK_BITS_MIN..=BLOCK_BITS_MAX;
        if !blocks.iter().all(|size| sizes.contains(&size.bits())) {
            return None;
        }
        data_block.ceil(data_bytes)?;
        let per_node = hash_block.get().checked_div(wide(algorithm.digest_bytes()))?;
        let fan = Pow2::from_bits(per_node.checked_ilog2()?)?;
        // How many nodes each level has, from level 0 on.
        let mut counts: Vec<u64, LEVELS_MAX> = Vec::new();
        let mut below = data_block.cover(data_bytes);
        while below > 1 {
            below = fan.cover(below);
            counts.push(below).ok()?;
        }
        let mut nodes = 0_u64;
        let mut starts = counts;
        for place in starts.iter_mut().rev() {
            let count = core::mem::replace(place, nodes);
            nodes = nodes.checked_add(count)?;
        }
        hash_block.times(nodes)?;
        Some(Self {
            algorithm,
            format,
            salt,
            data_block,
            hash_block,
            data_bytes,
            fan,
            starts,
            nodes,
        })
    }

    /// Returns the hash.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns how salt and block are put together.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the size of a data block.
    pub fn data_block(&self) -> Pow2 {
        self.data_block
    }

    /// Returns the size of a node.
    pub fn hash_block(&self) -> Pow2 {
        self.hash_block
    }

    /// Returns the number of bytes that the tree covers.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Returns the number of data blocks.
    pub fn blocks(&self) -> u64 {
        self.data_block.cover(self.data_bytes)
    }

    /// Returns the number of levels: 0 for at most one data block.
    pub fn levels(&self) -> usize {
        self.starts.len()
    }

    /// Returns the length of the tree in bytes, without a superblock.
    pub fn tree_bytes(&self) -> u64 {
        // `new` has computed the product.
        self.hash_block.get().wrapping_mul(self.nodes)
    }

    /// Returns how many bytes of data a node of level 0 covers; `None` for more than 64 bits hold.
    pub fn leaf_bytes(&self) -> Option<u64> {
        self.fan.times(self.data_block.get())
    }

    /// Returns the node with the digest of data block `block`; `None` if the tree has no level, or
    /// the data no such block.
    pub fn leaf(&self, block: u64) -> Option<Node> {
        (block < self.blocks() && self.levels() > 0)
            .then(|| Node { level: 0, index: self.fan.whole(block) })
    }

    /// Returns the node with the digest of `node`; `None` for the top node.
    pub fn parent(&self, node: Node) -> Option<Node> {
        let level = node.level.checked_add(1).filter(|level| *level < self.levels())?;
        Some(Node { level, index: self.fan.whole(node.index) })
    }

    /// Returns the top node; `None` if the tree has no level.
    pub fn top(&self) -> Option<Node> {
        Some(Node { level: self.levels().checked_sub(1)?, index: 0 })
    }

    /// Returns the bytes of `node` in the tree.
    ///
    /// # Errors
    /// A [`Bug`] if the tree has no such node.
    pub fn place(&self, node: Node) -> Result<ByteRange, Bug> {
        let start = self.starts.get(node.level).or_bug()?;
        let number =
            start.checked_add(node.index).filter(|number| *number < self.nodes).or_bug()?;
        let start = self.hash_block.times(number).or_bug()?;
        ByteRange::sized(start, self.hash_block.get()).or_bug()
    }

    /// Returns the node that lies in the tree after `number` others; `None` if there is none.
    pub fn nth(&self, number: u64) -> Option<Node> {
        let level = self.starts.iter().position(|start| *start <= number)?;
        let index = number.checked_sub(*self.starts.get(level)?)?;
        (number < self.nodes).then_some(Node { level, index })
    }

    /// Returns the bytes of data block `block` that are data: all, or fewer of the last block.
    pub fn block_bytes(&self, block: u64) -> Option<ByteRange> {
        let start = self.data_block.times(block)?;
        let all = ByteRange::first(self.data_bytes);
        all.skip(start).take(self.data_block.get()).non_empty()
    }

    /// Returns the bytes of a node that has all its digests.
    #[cfg(feature = "alloc")]
    pub(crate) fn node_bytes(&self) -> Option<u64> {
        self.fan.times(wide(self.algorithm.digest_bytes()))
    }

    /// Returns the digest of child `child` as the bytes of its parent have it.
    pub(crate) fn said(&self, parent: &[u8], child: u64) -> Result<Digest, Bug> {
        let bytes = self.algorithm.digest_bytes();
        let skip = narrow(self.fan.offset(child))?.checked_mul(bytes).or_bug()?;
        let said = parent.get(skip..).and_then(|rest| rest.get(..bytes)).or_bug()?;
        Digest::from_bytes(self.algorithm, said).or_bug()
    }

    /// Returns the digest of a block of data or of the tree, whose size is `size`: of `bytes`, and
    /// of the zeros that fill the block.
    pub(crate) fn hash(
        &self,
        hasher: &dyn Hasher,
        size: Pow2,
        bytes: &[u8],
    ) -> Result<Digest, Bug> {
        let mut message = self.begin(hasher)?;
        message.add(hasher, bytes)?;
        self.end(message, hasher, size, bytes.len())
    }

    /// Returns the digests of two blocks, as [`Shape::hash`] does.
    pub(crate) fn hash_pair(
        &self,
        hasher: &dyn Hasher,
        size: Pow2,
        blocks: [&[u8]; 2],
    ) -> Result<[Digest; 2], Bug> {
        let [first, second] = blocks;
        if first.len() != second.len() {
            return Ok([self.hash(hasher, size, first)?, self.hash(hasher, size, second)?]);
        }
        let mut one = self.begin(hasher)?;
        let mut other = one;
        Message::add_pair([&mut one, &mut other], hasher, blocks)?;
        let end = |message| self.end(message, hasher, size, first.len());
        Ok([end(one)?, end(other)?])
    }

    /// Returns a message with what comes before the bytes of each block.
    fn begin(&self, hasher: &dyn Hasher) -> Result<Message, Bug> {
        let mut message = Message::new(self.algorithm);
        let salt = self.salt.as_bytes();
        match self.format {
            Format::DmVerity => message.add(hasher, salt)?,
            Format::FsVerity => {
                message.add(hasher, salt)?;
                let unit = self.algorithm.input_bytes();
                let end = salt.len().checked_next_multiple_of(unit).or_bug()?;
                message.add_zeros(hasher, wide(end.checked_sub(salt.len()).or_bug()?))?;
            }
            Format::ChromeOs => {}
        }
        Ok(message)
    }

    /// Returns the digest of a message that has `bytes` bytes of a block.
    fn end(
        &self,
        mut message: Message,
        hasher: &dyn Hasher,
        size: Pow2,
        bytes: usize,
    ) -> Result<Digest, Bug> {
        message.add_zeros(hasher, size.get().checked_sub(wide(bytes)).or_bug()?)?;
        if self.format == Format::ChromeOs {
            message.add(hasher, self.salt.as_bytes())?;
        }
        message.finish(hasher)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    fn shape(algorithm: Algorithm, data: u32, hash: u32, bytes: u64) -> Option<Shape> {
        let blocks = [Pow2::from_bits(data).unwrap(), Pow2::from_bits(hash).unwrap()];
        Shape::new(algorithm, Format::DmVerity, Salt::NONE, blocks, bytes)
    }

    proptest! {
        /// The nodes of all blocks fill the tree, top first, without gap or overlap; the path of
        /// each block ends at the top.
        #[test]
        fn nodes_fill_the_tree_from_the_top_down(
            (data, hash) in (9_u32..13, 9_u32..13),
            blocks in 0_u64..3000,
            sha512: bool,
        ) {
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let shape = shape(algorithm, data, hash, blocks << data).unwrap();
            let mut seen = std::collections::BTreeMap::new();
            for block in 0..blocks {
                let mut node = shape.leaf(block);
                prop_assert_eq!(node.is_some(), blocks > 1);
                let mut last = None;
                while let Some(here) = node {
                    let place = shape.place(here).unwrap();
                    prop_assert_eq!(*seen.entry(place.start()).or_insert(here), here);
                    (last, node) = (Some(here), shape.parent(here));
                }
                prop_assert_eq!(last, shape.top());
            }
            prop_assert_eq!(wide(seen.len()) * shape.hash_block().get(), shape.tree_bytes());
            let expected = (0..).map(|number: u64| number << hash);
            prop_assert!(seen.keys().copied().zip(expected).all(|(found, expected)| found == expected));
            let levels: std::vec::Vec<usize> = seen.values().map(|node| node.level).collect();
            prop_assert!(levels.is_sorted_by(|a, b| a >= b), "the top level is first");
            prop_assert_eq!(shape.leaf(blocks), None);
        }

        /// Any sizes at all: a form, or none, and no panic.
        #[test]
        fn form_of_any_size_ends_within_64_bits(data in 0_u32..64, hash in 0_u32..64, bytes: u64, sha512: bool) {
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            if let Some(shape) = shape(algorithm, data, hash, bytes) {
                prop_assert!((9..20).contains(&data) && (9..20).contains(&hash));
                if let Some(last) = shape.blocks().checked_sub(1).and_then(|last| shape.leaf(last)) {
                    prop_assert!(shape.place(last).unwrap().end() == shape.tree_bytes());
                    let after = shape.place(Node { level: 0, index: last.index + 1 });
                    prop_assert!(after.is_err());
                }
            } else {
                prop_assert!(!(9..20).contains(&data) || !(9..20).contains(&hash) || bytes > 1 << 62);
            }
        }
    }

    #[test]
    fn level_sizes_are_those_of_the_design() {
        for (gib_bits, nodes, levels) in [(26, 129, 2), (30, 2065, 3), (36, 132_105, 4)] {
            let shape = shape(Algorithm::Sha256, 12, 12, 1 << gib_bits).unwrap();
            assert_eq!((shape.tree_bytes() >> 12, shape.levels()), (nodes, levels));
        }
        assert_eq!(shape(Algorithm::Sha256, 9, 9, 1 << 30).unwrap().levels(), 6);
    }

    #[test]
    fn salt_is_written_as_it_is_read() {
        for text in ["-", "00", &"a5".repeat(256)] {
            assert_eq!(Salt::from_hex(text).unwrap().to_string(), text);
        }
        for wrong in ["0", "--", "x0", &"a5".repeat(257)] {
            assert_eq!(Salt::from_hex(wrong), None, "{wrong}");
        }
    }
}
