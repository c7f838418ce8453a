//! Texts and trees of any bytes: SPEC, seal, superblock, and a tree below a pinned root.
//!
//! Always: a text that parses names a tree whose nodes lie within 64 bits; of a tree with any bytes
//! nothing is right but the bytes that were pinned.

use rootlet_trust::{
    Algorithm, Builder, Claim, Data, Format, Proof, Reason, Salt, Seal, Shape, Software, Spec,
    Subject, compare, digest, superblock,
};

use crate::input::Input;
use rootlet_base::units::Pow2;

/// The most bytes of data of a tree that is made.
const DATA_BYTES_MAX: usize = 16 << 10;

/// Runs the input: its first byte says whether it is texts or a tree.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 1 == 0 { texts(rest) } else { tree(&mut Input(rest)) }
}

fn texts(bytes: &[u8]) {
    let root = digest(&Software, Algorithm::Sha256, bytes).unwrap();
    match Seal::open(&Software, bytes, &root) {
        Ok(seal) => {
            let mut last = None;
            for (subject, spec) in seal.entries() {
                assert!(last < Some(subject), "each slot once, in order");
                last = Some(subject);
                assert_eq!(seal.of(subject), Some(spec));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    text.lines().for_each(spec);
}

/// A text that parses is a claim over a source of any length, or is refused with a reason.
fn spec(text: &str) {
    let spec = match Spec::parse(text) {
        Ok(spec) => spec,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for source in [0, 1, 4095, 4096, 1 << 20, 1 << 44, u64::MAX] {
        let Ok(claim) = spec.claim(source) else { continue };
        let shape = claim.shape();
        assert!(shape.data_bytes() <= source, "no byte beyond the source");
        if let Some(last) = shape.blocks().checked_sub(1) {
            let block = shape.block_bytes(last).unwrap();
            assert_eq!(block.end(), shape.data_bytes());
            if let Some(leaf) = shape.leaf(last) {
                assert_eq!(shape.place(leaf).unwrap().end(), shape.tree_bytes());
            }
            assert_eq!(shape.leaf(last + 1), None);
        }
        superblock_of(shape);
        // Nothing has the digest of a text that somebody made up, but an empty file.
        if let Proof::Data(range) | Proof::Tree(range) = claim.proof().unwrap()
            && range.len() <= 1 << 20
        {
            let zeros = vec![0; range.len() as usize];
            assert!(claim.prove(&Software, &zeros).is_err(), "{text}");
        }
    }
}

/// A superblock agrees with the form that it was written for.
fn superblock_of(shape: &Shape) {
    let mut raw = superblock(shape, [7; 16]).unwrap();
    compare(&raw, shape).unwrap();
    raw[72] ^= 1;
    let differs = compare(&raw, shape).unwrap_err();
    assert!(Subject::IMAGE.refused(differs).to_string().contains(" data blocks, verity= says "));
}

/// Makes a tree over some data, changes both, and serves no byte that was not there.
fn tree(input: &mut Input<'_>) {
    let how = input.byte();
    let algorithm = if how & 1 == 0 { Algorithm::Sha256 } else { Algorithm::Sha512 };
    let formats = [Format::ChromeOs, Format::DmVerity, Format::FsVerity, Format::DmVerity];
    let format = formats[usize::from(how >> 1 & 3)];
    let sizes =
        [how >> 3 & 1, how >> 4 & 1].map(|bit| Pow2::from_bits(9 + u32::from(bit)).unwrap());
    let salt = Salt::from_hex(["-", "00", "0102030405060708"][usize::from(how >> 5) % 3]).unwrap();
    let len = usize::from(input.byte()) << 6 | usize::from(input.byte() & 63);
    let right: Vec<u8> = (0..len.min(DATA_BYTES_MAX)).map(|at| (at / 7) as u8).collect();
    let shape = Shape::new(algorithm, format, salt, sizes, right.len() as u64).unwrap();
    let mut nodes = vec![0; shape.tree_bytes() as usize];
    let mut put = |at: u64, node: &[u8]| nodes[at as usize..][..node.len()].copy_from_slice(node);
    let mut builder = Builder::new(&Software, shape.clone()).unwrap();
    for block in right.chunks(shape.data_block().get() as usize) {
        builder.push(block, &mut put).unwrap();
    }
    let root = builder.finish(&mut put).unwrap();
    let mut data = right.clone();
    let changed = usize::from(input.byte());
    for _ in 0..changed % 5 {
        let at = usize::from(input.byte()) << 8 | usize::from(input.byte());
        let all = data.len() + nodes.len();
        let Some(at) = at.checked_rem(all) else { break };
        let place = if at < data.len() { &mut data[at] } else { &mut nodes[at - right.len()] };
        *place = input.byte();
    }
    let claim = Claim::new(shape.clone(), root);
    let proof = match claim.proof().unwrap() {
        Proof::Tree(range) => range.of(&nodes).unwrap(),
        Proof::Data(range) => range.of(&data).unwrap(),
        Proof::Nothing => &[],
    };
    let tree = match claim.prove(&Software, proof) {
        Ok(tree) => tree,
        Err(untrue) => return wrong(untrue.into()),
    };
    for block in 0..shape.blocks() {
        let mut path = Vec::new();
        let mut node = shape.leaf(block);
        while let Some(here) = node {
            path.push(here);
            node = shape.parent(here);
        }
        let mut parent = None;
        let checked = path.into_iter().rev().try_for_each(|node| {
            let bytes = shape.place(node).unwrap().of(&nodes).unwrap();
            tree.check_node(&Software, node, bytes, parent)?;
            parent = Some(bytes);
            Ok(())
        });
        let range = shape.block_bytes(block).unwrap();
        let (found, expected) = (range.of(&data).unwrap(), range.of(&right).unwrap());
        match checked
            .and_then(|()| tree.check_block(&Software, Data { block, data: found, leaf: parent }))
        {
            Ok(()) => assert_eq!(found, expected, "block {block}"),
            Err(untrue) => wrong(untrue.into()),
        }
    }
}

/// Bytes are refused because they are wrong, never for a bug.
fn wrong(why: Reason) {
    assert!(matches!(why, Reason::Wrong(_)), "{why:?}");
}
