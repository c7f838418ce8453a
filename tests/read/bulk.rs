//! Commands that read in bulk give the region the time that it needs: what they read is kept.
//!
//! Always: the guest has the memory of a board, and its buffers are fewer than what is read.

use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::guest::Guest;

/// Files whose chunks begin and end within slots, on blobs that take turns: hardly two parts of
/// a read lie side by side in the region.
fn scattered() -> Tree {
    let mut tree = Tree::new();
    for (number, size) in
        [4096, 3_000_001, 20_000, 1 << 20, 70_000, 2_500_000].into_iter().enumerate()
    {
        tree.file(format!("/{number}"), Content::seeded(number as u64, size));
    }
    tree
}

#[test]
fn what_a_manifest_reads_is_kept_however_slow_the_region_is() {
    for (seed, chunk_bits) in [(1, 12), (2, 13), (3, 15), (4, 16)] {
        let options = Options { blobs: 3, chunk_bits, ..Options::default() };
        let built = build(&scattered(), &options).unwrap();
        let world = World::new(seed);
        world.blob("image", &built.image);
        for (number, blob) in built.blobs.iter().enumerate() {
            world.blob(&format!("blob{}", number + 1), blob);
        }
        let region = world.disk("cache", 512, Sparse::zeros(16 << 20));
        for op in [OpKind::Write, OpKind::Flush] {
            world.rule(Rule::new(Fault::Delay(20_000_000)).device(region).op(op));
        }
        let line = "image=image blob1=blob1 blob2=blob2 blob3=blob3 cache=cache";
        let mut cold = Guest::mount(world.attach(), line, 1).unwrap();
        let rows = cold.run(&["manifest", "/"]).unwrap();
        let counters = cold.counters();
        assert!(cold.root.sync(SYNC_TIME), "2^{chunk_bits}");
        assert_eq!(counters.cache.unwrap().dropped_bytes, 0, "2^{chunk_bits}: {counters}");
        drop(cold);

        let mut warm = Guest::mount(world.attach(), line, 2).unwrap();
        assert_eq!(warm.run(&["manifest", "/"]).unwrap(), rows, "2^{chunk_bits}");
        assert_eq!(warm.counters().read.fetched_bytes, 0, "2^{chunk_bits}: {}", warm.counters());
    }
}
