//! Every byte of a small image, of its blobs and of their trees changed in turn, and pairs of
//! blocks exchanged.

use crate::world::{made, mount, stride};

/// Bytes of a blob: two of them, and trees with a level and without.
const BLOB_BYTES: usize = 9000;

#[test]
fn no_changed_byte_of_any_part_is_served() {
    let made = made(7, BLOB_BYTES);
    let line = made.line();
    let (world, data, trees) = made.world();
    assert!(made.read_all(&mount(&world, &line).unwrap()).iter().all(Result::is_ok));
    let parts = made
        .parts
        .iter()
        .zip(data.iter().zip(&trees))
        .flat_map(|(part, (data, tree))| [(*data, &part.data), (*tree, &part.tree)]);
    let (mut refused, mut failed) = (0, 0);
    for (device, right) in parts {
        // Unless a run is long, a change in each 13 bytes: every block and every field of the head many times.
        for at in (0..right.len()).step_by(stride(13)) {
            world.poke(device, at as u64, &[right[at] ^ 0x10]);
            match mount(&world, &line) {
                // `read` panics at other bytes.
                Ok(guest) => {
                    failed += made.read_all(&guest).iter().filter(|one| one.is_err()).count()
                }
                Err(_) => refused += 1,
            }
            world.poke(device, at as u64, &right[at..=at]);
        }
    }
    assert!(refused > 100 && failed > 100, "{refused} mounts refused, {failed} reads failed");
    assert!(made.read_all(&mount(&world, &line).unwrap()).iter().all(Result::is_ok));
}

#[test]
fn no_block_is_served_in_the_place_of_another() {
    let made = made(8, BLOB_BYTES);
    let line = made.line();
    let (world, data, trees) = made.world();
    let all: Vec<_> = (made.parts.iter().zip(data.iter().zip(&trees)))
        .flat_map(|(part, (data, tree))| [(*data, &part.data), (*tree, &part.tree)])
        .flat_map(|(device, bytes)| {
            bytes.chunks_exact(4096).enumerate().map(move |(number, block)| (device, number, block))
        })
        .collect();
    let mut wrong = 0;
    for (one, other) in (0..all.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let ((a, a_number, a_block), (b, b_number, b_block)) = (all[one], all[other]);
        if a_block == b_block {
            continue;
        }
        world.poke(a, a_number as u64 * 4096, b_block);
        world.poke(b, b_number as u64 * 4096, a_block);
        match mount(&world, &line) {
            Ok(guest) => wrong += usize::from(made.read_all(&guest).iter().any(Result::is_err)),
            Err(_) => wrong += 1,
        }
        world.poke(a, a_number as u64 * 4096, a_block);
        world.poke(b, b_number as u64 * 4096, b_block);
    }
    assert!(wrong > 50, "{wrong} exchanges were noticed");
}
