//! Every byte of small data and of its tree changed in turn, and every pair of blocks exchanged.

use crate::naive::Naive;
use crate::{check, data, made, proved};
use rootlet_trust::{Spec, Tree};

/// Returns the blocks that are served of `data` with `tree`, or none if the top is refused.
fn served(spec: &str, data: &[u8], tree: &[u8]) -> Vec<Option<Vec<u8>>> {
    let Ok(pinned) = proved(spec, data, tree) else { return Vec::new() };
    let serve = |pinned: &Tree, block: u64| {
        let range = pinned.shape().block_bytes(block).unwrap();
        check(pinned, block, data, tree).ok().map(|()| range.of(data).unwrap().to_vec())
    };
    (0..pinned.shape().blocks()).map(|block| serve(&pinned, block)).collect()
}

#[test]
fn no_changed_byte_and_no_exchanged_block_is_ever_served() {
    let dm =
        Naive { sha512: false, format: 1, salt: vec![1; 32], data_block: 512, hash_block: 512 };
    let fs = Naive { sha512: false, format: 2, salt: vec![], data_block: 1024, hash_block: 1024 };
    // Each byte of the first, some of the second, whose blocks take longer to hash.
    for (naive, bytes, step) in [(dm, 20 * 512, 1), (fs, 34 * 1024 - 100, 13)] {
        let right = data(bytes);
        let spec = naive.spec(&right);
        let claim = Spec::parse(&spec).unwrap().claim(bytes as u64).unwrap();
        let (tree, _) = made(claim.shape(), &right);
        assert_eq!(claim.shape().levels(), 2, "a tree with a path");
        let expected: Vec<Vec<u8>> = right.chunks(naive.data_block).map(<[_]>::to_vec).collect();
        let all = served(&spec, &right, &tree);
        assert!(all.iter().flatten().eq(&expected) && all.len() == expected.len());
        for at in (0..bytes + tree.len()).step_by(step) {
            let (mut data, mut tree) = (right.clone(), tree.clone());
            let place = if at < bytes { &mut data[at] } else { &mut tree[at - bytes] };
            *place ^= 1;
            let found = served(&spec, &data, &tree);
            let is_right = |(found, right): (&Option<Vec<u8>>, &Vec<u8>)| {
                found.as_ref().is_none_or(|found| found == right)
            };
            assert!(found.iter().zip(&expected).all(is_right), "byte {at}");
            assert!(found.iter().any(Option::is_none) || found.is_empty(), "byte {at}");
        }
        let (blocks, size) = (expected.len(), naive.data_block);
        for (one, other) in (0..blocks - 1).flat_map(|one| (0..one).map(move |other| (one, other)))
        {
            let mut data = right.clone();
            let (front, back) = data.split_at_mut(one * size);
            front[other * size..][..size].swap_with_slice(&mut back[..size]);
            let found = served(&spec, &data, &tree);
            let wrong: Vec<usize> = (0..blocks).filter(|block| found[*block].is_none()).collect();
            assert_eq!(wrong, [other, one]);
        }
        let nodes = tree.len() / naive.hash_block;
        for (one, other) in (0..nodes).flat_map(|one| (0..one).map(move |other| (one, other))) {
            let mut tree = tree.clone();
            let (front, back) = tree.split_at_mut(one * naive.hash_block);
            front[other * naive.hash_block..][..naive.hash_block]
                .swap_with_slice(&mut back[..naive.hash_block]);
            let found = served(&spec, &right, &tree);
            assert!(found.is_empty() || found.iter().any(Option::is_none), "{one}, {other}");
        }
    }
}
