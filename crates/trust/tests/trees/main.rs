//! Trees beside three oracles: vectors that veritysetup and fsverity made, a naive maker of trees,
//! and the tools themselves where they are installed.
//!
//! Always: an oracle shares no code with the library; the naive one hashes by the crate `sha2`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a test that panics has failed"
)]

mod naive;
mod random;
mod tamper;
mod tools;
mod vectors;

use rootlet_base::units::Pow2;
use rootlet_trust::{Builder, Data, Proof, Root, Shape, Software, Spec, Tree, Untrue};

/// Returns `bytes` bytes of the data of the vectors.
pub fn data(bytes: usize) -> Vec<u8> {
    let words = (1..=bytes.div_ceil(4) as u64).map(|word| (word * 2_654_435_761) as u32);
    let mut data: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    data.truncate(bytes);
    data
}

/// Returns the tree over `data` as the library makes it, and the digest that pins it.
pub fn made(shape: &Shape, data: &[u8]) -> (Vec<u8>, Root) {
    let bytes = usize::try_from(shape.tree_bytes()).unwrap();
    let (mut tree, mut written) = (vec![0; bytes], 0);
    let mut put = |at: u64, node: &[u8]| {
        let at = usize::try_from(at).unwrap();
        tree[at..at + node.len()].copy_from_slice(node);
        written += node.len();
    };
    let mut builder = Builder::new(&Software, shape.clone()).unwrap();
    for block in data.chunks(size(shape.data_block())) {
        builder.push(block, &mut put).unwrap();
    }
    let root = builder.finish(&mut put).unwrap();
    assert_eq!(written, bytes, "each node once");
    (tree, root)
}

/// Returns a size as a length.
pub fn size(size: Pow2) -> usize {
    usize::try_from(size.get()).unwrap()
}

/// Returns the tree that a text pins for some data, or why its top is refused.
pub fn proved(spec: &str, data: &[u8], tree: &[u8]) -> Result<Tree, Untrue> {
    let claim = Spec::parse(spec).unwrap().claim(data.len() as u64).unwrap();
    let bytes = match claim.proof()? {
        Proof::Tree(range) => range.of(tree)?,
        Proof::Data(range) => range.of(data)?,
        Proof::Nothing => &[],
    };
    claim.prove(&Software, bytes)
}

/// Returns for each data block whether it is right: block and path, from the top down.
pub fn blocks(pinned: &Tree, data: &[u8], tree: &[u8]) -> Vec<Result<(), Untrue>> {
    (0..pinned.shape().blocks()).map(|block| check(pinned, block, data, tree)).collect()
}

/// Checks a block and its path, from the top down.
pub fn check(pinned: &Tree, block: u64, data: &[u8], tree: &[u8]) -> Result<(), Untrue> {
    let shape = pinned.shape();
    let mut path = Vec::new();
    let mut node = shape.leaf(block);
    while let Some(here) = node {
        path.push((here, shape.place(here)?.of(tree)?));
        node = shape.parent(here);
    }
    let mut parent = None;
    for (node, bytes) in path.into_iter().rev() {
        pinned.check_node(&Software, node, bytes, parent)?;
        parent = Some(bytes);
    }
    let range = shape.block_bytes(block).unwrap();
    pinned.check_block(&Software, Data { block, data: range.of(data)?, leaf: parent })
}
