//! Trees of any parameters beside the naive maker.

use proptest::prelude::*;
use rootlet_trust::{Spec, Untrue};

use crate::naive::Naive;
use crate::{blocks, check, data, made, proved};

fn any_tree() -> impl Strategy<Value = (Naive, usize)> {
    let salt = prop::collection::vec(any::<u8>(), 0..33);
    (any::<bool>(), 0_u8..3, salt, 9_u32..13, 9_u32..13, 0_usize..400, 0_usize..512).prop_map(
        |(sha512, format, salt, data, hash, blocks, tail)| {
            let (data, hash) =
                if format == 2 { (data.max(10), data.max(10)) } else { (data, hash) };
            let naive =
                Naive { sha512, format, salt, data_block: 1 << data, hash_block: 1 << hash };
            // A device of dm-verity has a block.
            (naive, ((blocks << data) + tail).max(usize::from(format != 2)))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tree_of_any_parameters_is_that_of_the_naive_maker((naive, bytes) in any_tree()) {
        let data = data(bytes);
        let spec = naive.spec(&data);
        let claim = Spec::parse(&spec).unwrap().claim(bytes as u64).unwrap();
        let ((tree, found), (expected, root)) = (made(claim.shape(), &data), naive.tree(&data));
        prop_assert!(tree == expected, "{}", spec);
        let root = if naive.format == 2 { naive.file(bytes, &root) } else { root };
        prop_assert_eq!(found.digest().as_bytes(), &root[..]);
        let pinned = proved(&spec, &data, &tree).unwrap();
        prop_assert!(blocks(&pinned, &data, &tree).iter().all(Result::is_ok));
    }

    /// A change anywhere: of the data it is found in its block, of the tree in every block below;
    /// zeros that fill a node count, too.
    #[test]
    fn change_of_a_byte_is_found_where_it_counts(
        (naive, bytes) in any_tree(),
        (at, bit) in (any::<prop::sample::Index>(), 0_u32..8),
    ) {
        let (right, spec) = (data(bytes), naive.spec(&data(bytes)));
        let (tree, _) = naive.tree(&right);
        prop_assume!(bytes + tree.len() > 0);
        let at = at.index(bytes + tree.len());
        let (mut data, mut changed) = (right, tree);
        let place = if at < bytes { &mut data[at] } else { &mut changed[at - bytes] };
        *place ^= 1 << bit;
        let Ok(pinned) = proved(&spec, &data, &changed) else {
            // The top node, or the only block.
            let top = if changed.is_empty() { naive.data_block } else { bytes + naive.hash_block };
            prop_assert!(at < top && (changed.is_empty() || at >= bytes));
            return Ok(());
        };
        let wrong = |block: u64| matches!(check(&pinned, block, &data, &changed), Err(Untrue::Wrong(_)));
        let node_at = |start: u64| (at - bytes) as u64 / naive.hash_block as u64 * naive.hash_block as u64 == start;
        for block in 0..pinned.shape().blocks() {
            let expected = if at < bytes {
                at as u64 / naive.data_block as u64 == block
            } else {
                let mut path = std::iter::successors(pinned.shape().leaf(block), |node| pinned.shape().parent(*node));
                path.any(|node| node_at(pinned.shape().place(node).unwrap().start()))
            };
            prop_assert_eq!(wrong(block), expected, "block {}", block);
        }
    }
}
