//! Futures: their reads are jobs, whose bytes are checked as those of other readers are.
//!
//! Always: each future ends, with the bytes of its file or with an error.

use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, Rule, Sparse};
use rootlet_sim::tasks::{Task, join};

use crate::region::{filled, forged, with_region};
use crate::world::{Checked, Made, made, mount};
use rootlet_sim::disk::World;

/// Reads parts of all files by futures, and returns how many were read and how many failed.
fn read_by_futures(seed: u64, made: &Made, world: &World, guest: &Checked) -> (usize, usize) {
    let root = &guest.root;
    let read = |number: usize| async move {
        let (path, content) = &made.files[number % made.files.len()];
        let at = number * 7919 % content.len();
        let mut out = vec![0xee; (content.len() - at).min(50_000)];
        let inode = root.metadata_async(path.as_bytes()).await?;
        let mut done = 0;
        while done < out.len() {
            done += root.read(&inode, (at + done) as u64, &mut out[done..]).await?;
        }
        assert!(out == content[at..at + out.len()], "{path}: other bytes");
        Ok::<(), rootlet::Error>(())
    };
    let tasks: Vec<Task<'_, _>> =
        (0..24).map(|number| -> Task<'_, _> { Box::pin(read(number)) }).collect();
    let results = join(&mut Rng::new(seed), tasks, |_| {
        root.drive();
        world.advance_ns(100_000);
    });
    let failed = results.iter().filter(|result| result.is_err()).count();
    (results.len() - failed, failed)
}

#[test]
fn futures_read_right_bytes_of_sources_and_over_the_region_of_an_enemy() {
    let made = made(12, 1_500_000);
    let (world, ..) = made.world();
    let guest = mount(&world, &made.line()).unwrap();
    assert_eq!(read_by_futures(1, &made, &world, &guest), (24, 0));
    let region = filled(&forged(&made), &made, &Sparse::zeros(4 << 20));
    let (world, line) = with_region(&made, &region);
    let guest = mount(&world, &line).unwrap();
    assert_eq!(read_by_futures(2, &made, &world, &guest), (24, 0));
    let stats = guest.root.storage().stats();
    assert!(stats.wrong_elsewhere > 0 && stats.wrong == 0, "{stats:?}");
}

#[test]
fn futures_over_lying_sources_end() {
    let made = made(13, 400_000);
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..12 {
        let (world, data, trees) = made.world();
        let guest = mount(&world, &made.line()).unwrap();
        for device in data.iter().chain(&trees) {
            world.rule(Rule::new(Fault::NoiseRead).device(*device).per_million(150_000));
        }
        let (read, failed) = read_by_futures(seed, &made, &world, &guest);
        (right, wrong) = (right + read, wrong + failed);
    }
    assert!(right > 50 && wrong > 5, "{right} right, {wrong} refused");
}
