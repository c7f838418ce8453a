//! Random stacks of random trees, with every form of whiteout and opaque directory: equal to the
//! model, and to Linux where it mounts.
//!
//! `ROOTLET_LAYERS_SEED=7` makes the stack of one seed again, `ROOTLET_LAYERS_RUNS=10` ten times as
//! many.

use std::fs;
use std::io::Write;

use rootlet_rows::differences;
use rootlet_rows::linux::{Mounted, overlay, unable};
use rootlet_sim::Rng;
use rootlet_sim::image::random::pick;
use rootlet_sim::image::{Content, Inodes, Kind, Options, Tree, XattrPlace, build};

use crate::made::stack;
use crate::{model, rows};

const SEEDS: u64 = 60;

/// A tree of a few names that other trees have too.
fn tree(rng: &mut Rng) -> Tree {
    let mut tree = Tree::new();
    let mut dirs = vec![Vec::new()];
    for _ in 0..rng.below(40) {
        let mut path = dirs[rng.index(dirs.len())].clone();
        path.extend(pick(rng, &["/a", "/b", "/c", "/d", "/e.long-name"]).bytes());
        if tree.find(&path).is_some() || path.len() > 60 {
            continue;
        }
        match rng.below(12) {
            0..=4 => {
                tree.dir(&path);
                dirs.push(path.clone());
            }
            5 => drop(tree.symlink(&path, pick(rng, &["a", "../b", "/c/d", "."]))),
            6 => drop(tree.add(&path, Kind::CharDevice(0, 0), 0)),
            7 => {
                let meta = tree.file(&path, Content::default());
                meta.xattrs.push(("trusted.overlay.whiteout".into(), Vec::new()));
                // Linux knows these only below a directory that says so.
                mark(&mut tree, &path);
            }
            8 => drop(tree.add(&path, Kind::CharDevice(1, rng.below(2) as u32), 0o600)),
            9 => {
                let files: Vec<Vec<u8>> = tree.walk().into_iter().map(|(path, _)| path).collect();
                let to = &files[rng.index(files.len())];
                match tree.get(to).unwrap().kind {
                    Kind::File(_) => {
                        tree.hard_link(&path, to);
                        // It may be a whiteout.
                        mark(&mut tree, &path);
                    }
                    _ => drop(tree.file(&path, Content::bytes(*b"empty"))),
                }
            }
            _ => {
                let len = pick(rng, &[0, 1, 100, 4096, 70_000]);
                tree.file(&path, Content::seeded(rng.next_u64(), len));
            }
        }
        let is_dir = matches!(tree.get(&path).unwrap().kind, Kind::Dir(_));
        let meta = tree.meta_mut(&path).unwrap();
        meta.uid = pick(rng, &[0, 1000]);
        meta.mtime_s = pick(rng, &[0, 1_700_000_000]);
        let has = |meta: &rootlet_sim::image::Meta, name: &str| {
            meta.xattrs.iter().any(|(known, _)| known == name)
        };
        if is_dir && rng.chance(200_000) && !has(meta, "trusted.overlay.opaque") {
            meta.xattrs.push(("trusted.overlay.opaque".into(), b"y".to_vec()));
        }
        if rng.chance(150_000) && !has(meta, "trusted.overlay.overlay.opaque") {
            meta.xattrs.push(("trusted.overlay.overlay.opaque".into(), b"y".to_vec()));
            meta.xattrs.push(("trusted.overlay.origin".into(), Vec::new()));
            meta.xattrs.push(("trusted.over".into(), b"seen".to_vec()));
        }
    }
    tree
}

/// Says that the directory of `path` holds whiteouts that are files, and the root too.
fn mark(tree: &mut Tree, path: &[u8]) {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap();
    for dir in [&path[..end], b"/"] {
        let meta = tree.dir(dir);
        let value = meta.xattrs.iter_mut().find(|(name, _)| name == "trusted.overlay.opaque");
        match value {
            // One that is opaque stays so, and Linux then shows its whiteouts.
            Some((_, value)) => *value = b"x".to_vec(),
            None => meta.xattrs.push(("trusted.overlay.opaque".into(), b"x".to_vec())),
        }
    }
}

/// Returns the trees of a seed, and their images, the bottom first.
fn layers(seed: u64) -> (Vec<Tree>, Vec<Vec<u8>>) {
    let rng = &mut Rng::new(seed);
    let trees: Vec<Tree> = (0..2 + rng.below(5)).map(|_| tree(rng)).collect();
    let images = trees.iter().map(|tree| {
        let options = Options {
            inodes: pick(rng, &[Inodes::Lossless, Inodes::Extended]),
            inline_dirs: rng.chance(500_000),
            block_bits: pick(rng, &[9, 12]),
            dot_omitted: rng.chance(200_000),
            xattrs: pick(
                rng,
                &[XattrPlace::Inline, XattrPlace::Shared, XattrPlace::SharedIfRepeated],
            ),
            ..Options::default()
        };
        build(tree, &options).unwrap().image.bytes().to_vec()
    });
    let images = images.collect();
    (trees, images)
}

fn seeds() -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("ROOTLET_LAYERS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS * number("ROOTLET_LAYERS_RUNS").unwrap_or(1),
    }
}

#[test]
fn random_stacks_are_what_the_rules_say() {
    for seed in seeds() {
        let (trees, images) = layers(seed);
        let root = stack(&images).unwrap();
        let ours = rows::rows(&root).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = differences("rootlet", &ours, "the model", &model::rows(&trees));
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}

#[test]
fn random_stacks_are_what_linux_shows() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sound = dir.path().join("image");
    fs::write(&sound, include_bytes!("../data/tiny.erofs")).unwrap();
    if let Some(why) = unable(&sound) {
        writeln!(std::io::stderr(), "skipped: not compared with Linux: {why}").unwrap();
        return;
    }
    for seed in seeds() {
        let (_, images) = layers(seed);
        let root = stack(&images).unwrap();
        let ours = rows::rows(&root).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mounts: Vec<Mounted> = images
            .iter()
            .enumerate()
            .map(|(number, image)| {
                let path = dir.path().join(number.to_string());
                fs::write(&path, image).unwrap();
                Mounted::new(&path, &[]).unwrap()
            })
            .collect();
        let theirs = overlay(&mounts).unwrap().rows();
        let theirs = theirs.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = differences("rootlet", &ours, "Linux", &theirs);
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}
