//! Several readers over one mount, with so little memory for nodes that they push out each other's.
//!
//! Always: what each thread reads is what the file has.

use std::thread;

use rootlet_guest::open_verified;
use rootlet_sim::disk::{Fault, Rule};
use rootlet_trust::Software;
use rootlet_verity::Verified;

use crate::guest::Guest;
use crate::world::made;

/// Threads, and reads of each.
const THREADS: u64 = 4;
const READS: u64 = 150;

#[test]
fn readers_with_little_memory_for_nodes_read_right_bytes() {
    let made = made(11, 6_000_000);
    let (world, data, _) = made.world();
    let storage = Verified::new(world.attach(), &Software, 0);
    let line = format!("{} ram-cache=0", made.line());
    let guest = Guest::mount_by(open_verified, storage, &line, 1).unwrap();
    // Sources that lie now and then: a second read heals, or the read fails.
    for device in &data[1..] {
        world.rule(Rule::new(Fault::NoiseRead).device(*device).per_million(20_000));
    }
    let (root, files) = (&guest.root, &made.files);
    let read = |thread: u64| {
        let mut failed = 0;
        for number in 0..READS {
            let seed = (thread * READS + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (path, content) = &files[(seed % 3) as usize];
            let at = (seed >> 8) as usize % content.len();
            let len = ((seed >> 40) as usize % 700_000).min(content.len() - at);
            let mut out = vec![0xee; len];
            match root.open(path.as_bytes()).and_then(|file| file.read_at(at as u64, &mut out)) {
                Ok(got) => {
                    assert_eq!(got, len);
                    assert!(out == content[at..at + len], "{path}: other bytes");
                }
                Err(_) => failed += 1,
            }
        }
        failed
    };
    let failed: u64 = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || read(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let stats = guest.root.storage().stats();
    assert!(stats.wrong > 0 && failed < THREADS * READS / 4, "{failed} reads failed, {stats:?}");
    assert!(stats.nodes > 100, "nodes were pushed out and read again: {stats:?}");
}
