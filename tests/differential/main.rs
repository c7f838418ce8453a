//! Random trees in images of random options, read by us and by others: all say what was put in.
//!
//! Always: a failing tree prints the one line that makes it again. Images are made by the
//! mkfs.erofs that is installed; what is known to be wrong elsewhere is in `exceptions`.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod asked;
mod exceptions;
#[path = "../support/guest.rs"]
#[expect(dead_code, reason = "other tests look at what a mount tells and counts")]
mod guest;
mod kernel;
mod options;
mod readers;
mod tree;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use readers::Files;
use rootlet_rows::{Rows, differences};
use rootlet_sim::Rng;

/// Trees of one run; ROOTLET_RUNS=10 makes ten times as many.
const TREES: u64 = 40;
/// Failures after which the run stops.
const FAILURES_MAX: usize = 5;

/// What one tree showed.
#[derive(Default)]
struct Outcome {
    faults: Vec<String>,
    /// Whether erofs-rs was right, where a known exception speaks against it.
    excepted: Option<bool>,
}

/// The version of mkfs.erofs, if it is installed.
fn version() -> Option<String> {
    let ran = Command::new("mkfs.erofs").arg("-V").output().ok()?;
    Some(String::from_utf8_lossy(&ran.stdout).lines().next().unwrap_or_default().to_owned())
}

fn mkfs(dir: &Path, options: &options::Options) -> Result<(), String> {
    // Names without a directory: version 1.5 cuts long ones.
    let mut command = Command::new("mkfs.erofs");
    command.current_dir(dir).args(&options.words);
    command.env_remove("SOURCE_DATE_EPOCH");
    if let Some(epoch) = options.epoch {
        command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    if options.blobdev {
        command.arg("--blobdev=blob");
    }
    let ran = command.args(["image", "tree"]).output().map_err(|error| error.to_string())?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("mkfs.erofs: {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr)))
}

fn run(seed: u64) -> Outcome {
    let is_root = rustix::process::geteuid().is_root();
    let mut rng = Rng::new(seed);
    let entries = tree::generate(rng.fork(), is_root);
    let options = options::choose(&mut rng, &entries);
    let mut outcome = Outcome::default();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    tree::write(&entries, &dir.path().join("tree"), is_root);
    if let Err(error) = mkfs(dir.path(), &options) {
        outcome.faults.push(error);
    } else {
        compare(dir.path(), &entries, &options, &mut outcome);
    }
    if !outcome.faults.is_empty() {
        outcome.faults.insert(0, format!("mkfs.erofs {}", options.words.join(" ")));
    }
    outcome
}

fn compare(dir: &Path, entries: &[tree::Entry], options: &options::Options, into: &mut Outcome) {
    let (image, blob) = (dir.join("image"), dir.join("blob"));
    let files = Files { image: &image, blob: options.blobdev.then_some(&blob) };
    let ours = match readers::ours(&files) {
        Ok(rows) => rows,
        Err(error) => return into.faults.push(format!("rootlet: {error}")),
    };
    let expected = options.expected(entries, my_owner());
    into.faults.extend(differences("rootlet", &ours, "the tree", &expected));
    let theirs = readers::erofs_rs(&files);
    if exceptions::erofs_rs(options).is_some() {
        into.excepted = Some(theirs.as_ref() == Ok(&ours));
    } else {
        into.hold("erofs-rs", &ours, theirs);
    }
    let may_own = my_owner().is_none();
    let mut extracted = readers::fsck(&files, &dir.join("extracted"));
    let mut ours = ours;
    for rows in [Some(&mut ours), extracted.as_mut().ok()].into_iter().flatten() {
        exceptions::fsck(rows, may_own);
    }
    into.hold("fsck.erofs", &ours, extracted);
}

/// Owner of all that this user makes, if it may not choose.
fn my_owner() -> Option<(u32, u32)> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (!uid.is_root()).then(|| (uid.as_raw(), gid.as_raw()))
}

impl Outcome {
    fn hold(&mut self, who: &str, ours: &Rows, theirs: Result<Rows, String>) {
        match theirs {
            Ok(rows) => self.faults.extend(differences("rootlet", ours, who, &rows)),
            Err(error) => self.faults.push(format!("{who}: {error}")),
        }
    }
}

/// The seeds of a run: the one that ROOTLET_TREE says, or `count` times ROOTLET_RUNS.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("ROOTLET_TREE") {
        Some(seed) => seed..seed + 1,
        None => 0..count * number("ROOTLET_RUNS").unwrap_or(1),
    }
}

#[test]
fn random_trees_are_read_as_they_were_made_and_as_others_read_them() {
    // Past the harness, which shows no words of a test that passes.
    let stderr = &mut std::io::stderr();
    let Some(version) = version() else {
        writeln!(
            stderr,
            "no mkfs.erofs here: no differential tests (`cargo run -- setup` installs it)"
        )
        .unwrap();
        return;
    };
    let (mut failed, mut trees, mut excepted, mut right) = (0, 0, 0, 0);
    for seed in seeds(TREES) {
        let outcome = run(seed);
        trees += 1;
        excepted += usize::from(outcome.excepted.is_some());
        right += usize::from(outcome.excepted == Some(true));
        if outcome.faults.is_empty() {
            continue;
        }
        failed += 1;
        println!("ROOTLET_TREE={seed} cargo test --test differential -- --nocapture");
        println!("{}\n", outcome.faults.join("\n"));
        if failed >= FAILURES_MAX {
            break;
        }
    }
    println!("{trees} trees ({version}), {excepted} of them not by erofs-rs");
    assert!(failed == 0, "{failed} trees are read otherwise ({version})");
    // An image without any data is read by everyone.
    assert!(right < excepted.max(1), "erofs-rs needs no exception any more");
    assert!(excepted < trees || trees == 1, "erofs-rs was never asked");
}
