//! Several readers of a mount at once: each gets the bytes of its files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use rootlet_sim::Rng;
use rootlet_sim::image::{Content, FileLayout, Options, Spread, Tree};
use rustix::fs::{Advice, fadvise};

use crate::mounted::{Files, Mount, folder, is_able};

const READERS: u64 = 4;
const FILES: u64 = 6;
const READS: u64 = 300;
const FILE_BYTES: usize = 700_001;

/// Random parts of random files, each compared with what was put in.
fn read(dir: &Path, wanted: &[Vec<u8>], seed: u64) {
    let rng = &mut Rng::new(seed);
    for number in 0..READS {
        let which = rng.index(wanted.len());
        let file = File::open(dir.join(format!("file{which}"))).unwrap();
        if rng.chance(200_000) {
            // The kernel forgets, and asks again.
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
        let at = rng.index(FILE_BYTES);
        let mut out = vec![0; 1 + rng.index(200_000)];
        let len = out.len().min(FILE_BYTES - at);
        file.read_exact_at(&mut out[..len], at as u64).unwrap();
        assert!(out[..len] == wanted[which][at..at + len], "seed {seed}, read {number}");
    }
}

fn all_read(files: &Files, wanted: &[Vec<u8>], more: &[&str]) {
    let mount = Mount::with(files, more);
    thread::scope(|scope| {
        for seed in 0..READERS {
            let dir = mount.dir();
            scope.spawn(move || read(dir, wanted, seed));
        }
    });
    mount.end();
}

#[test]
fn readers_at_once_get_the_bytes_of_their_files() {
    if !is_able() {
        return;
    }
    let (mut tree, mut wanted) = (Tree::new(), Vec::new());
    for number in 0..FILES {
        let content = Content::seeded(number, FILE_BYTES);
        wanted.push(content.to_vec());
        tree.file(format!("/file{number}"), content);
    }
    let options = Options {
        layout: FileLayout::ChunkIndexes,
        chunk_bits: 15,
        blobs: 3,
        spread: Spread::Seeded(9),
        ..Options::default()
    };
    let (files, dir) = (Files::of(&tree, &options), folder());
    all_read(&files, &wanted, &[]);
    let region = dir.path().join("region");
    let region = ["--region", region.to_str().unwrap()];
    // Empty, and then full.
    all_read(&files, &wanted, &region);
    all_read(&files, &wanted, &region);
}
