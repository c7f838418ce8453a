//! Commands that read several files at once, beside one job: the output, the words on standard error,
//! the exit status and the restored tree are the same.
//!
//! Always: what is compared is byte for byte. `ROOTLET_TREE=SEED` runs one seed of the random trees.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rootlet_golden::Set;
use rootlet_rows::Rows;
use rootlet_sim::Rng;
use rootlet_sim::image::random::{self, pick};
use rootlet_sim::image::{Content, FileLayout, Options, Tree, build};

const COMMANDS: [&[&str]; 5] =
    [&["extract"], &["manifest"], &["check"], &["sum"], &["check", "--json"]];
/// Beside one.
const JOBS: &str = "5";

/// An image, its blobs, and a folder for what is restored.
struct Files<'f> {
    image: &'f Path,
    blobs: &'f [std::path::PathBuf],
    out: &'f Path,
}

/// The end of a command.
#[derive(Debug, PartialEq, Eq)]
struct End {
    status: Option<i32>,
    stdout: String,
    stderr: String,
    restored: Option<Rows>,
}

impl Files<'_> {
    fn run(&self, words: &[&str], jobs: &str) -> End {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.arg(words[0]).arg(self.image);
        let restores = words[0] == "extract";
        if restores {
            let _ = fs::remove_dir_all(self.out);
            command.arg(self.out);
        }
        command.args(&words[1..]).args(["--jobs", jobs]);
        for (slot, blob) in (1..).zip(self.blobs) {
            command.arg("--blob").arg(format!("{slot}={}", blob.display()));
        }
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // On a slow machine a file may take so long that its progress is reported.
        let is_told = |line: &&str| !line.starts_with("reading ");
        let stderr = text(&stderr).split_inclusive('\n').filter(is_told).collect();
        let restored = (restores && self.out.exists()).then(|| restored(self.out));
        End { status: status.code(), stdout: text(&stdout), stderr, restored }
    }

    /// Returns the ends of all commands with one job, after comparing the others with them.
    fn all_alike(&self, what: &str, commands: &[&[&str]]) -> Vec<End> {
        let alike = |words: &&[&str]| {
            let one = self.run(words, "1");
            let many = self.run(words, JOBS);
            assert!(one == many, "{what}, {words:?}:\n{many:#?}\none job: {one:#?}");
            one
        };
        commands.iter().map(alike).collect()
    }
}

/// What Linux says of a restored tree. It may take more room than that of another run.
fn restored(dir: &Path) -> Rows {
    let mut rows = rootlet_rows::linux::rows(&dir.join("")).unwrap();
    rows.values_mut().for_each(|row| row.blocks = None);
    rows
}

#[test]
fn golden_images_give_the_same_with_any_number_of_jobs() {
    let scratch = tempfile::tempdir().unwrap();
    let images = Set::built_in(env!("CARGO_TARGET_TMPDIR")).images;
    assert_eq!(images.len(), 45);
    for golden in images {
        let out = scratch.path().join("out");
        let files = Files { image: &golden.image, blobs: &golden.devices, out: &out };
        let ends = files.all_alike(&golden.name, &COMMANDS[..3]);
        assert_eq!(ends[1].status, Some(0), "{}: {}", golden.name, ends[1].stderr);
    }
}

#[test]
fn random_trees_and_damaged_ones_give_the_same_with_any_number_of_jobs() {
    let one = std::env::var("ROOTLET_TREE").ok().map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..24, |seed: u64| seed..seed + 1);
    let (mut faults, mut rows) = (0, 0);
    for seed in seeds {
        let rng = &mut Rng::new(seed);
        let tree = random::tree(rng);
        let (_, built) = random::some_image(rng, &tree);
        let dir = tempfile::tempdir().unwrap();
        let (image, out) = (dir.path().join("image"), dir.path().join("out"));
        let mut bytes = built.image.bytes().to_vec();
        if !seed.is_multiple_of(3) {
            // After the superblock and the device table; metadata comes first.
            for _ in 0..1 + rng.below(12) {
                let at = 2048 + rng.index(bytes.len().min(40_000).saturating_sub(2048).max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = pick(rng, &[0, 1, 0xff, *byte ^ 0x10]);
                }
            }
        }
        fs::write(&image, bytes).unwrap();
        let blobs: Vec<_> =
            (0..built.blobs.len()).map(|n| dir.path().join(n.to_string())).collect();
        for (blob, path) in built.blobs.iter().zip(&blobs) {
            blob.write_to(path).unwrap();
        }
        // A blob that ends too soon fails some reads, in the middle of what is read.
        if let Some(blob) = blobs.first().filter(|_| rng.chance(300_000)) {
            let file = fs::OpenOptions::new().write(true).open(blob).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        let files = Files { image: &image, blobs: &blobs, out: &out };
        for end in files.all_alike(&format!("seed {seed}"), &COMMANDS) {
            faults += usize::from(end.status != Some(0));
            rows += end.stdout.lines().count();
        }
    }
    assert!(one.is_some() || faults > 20 && rows > 500, "{faults} faults, {rows} rows");
}

/// Hard links that meet while files are under way.
#[test]
fn names_that_are_not_alone_are_restored_as_by_one_job() {
    let path = |number: u64| format!("/dir/file-{number:02}");
    let mut tree = Tree::new();
    for number in 0..40 {
        tree.file(path(number), Content::seeded(number, 100_000));
        tree.hard_link(path(number) + "-again", path(number));
        tree.hard_link(format!("/other/{number}"), path(number));
    }
    let mut built = build(&tree, &Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("image"), dir.path().join("out"));
    for is_damaged in [false, true] {
        if is_damaged {
            // Inodes with more names than they say.
            let image = &mut built.image;
            for number in 1..20 {
                let nid = image.nid(path(number));
                image.patch(image.dirent_at(path(number + 20)), &nid.to_le_bytes());
            }
        }
        fs::write(&file, built.image.bytes()).unwrap();
        let files = Files { image: &file, blobs: &[], out: &out };
        let ends = files.all_alike("links", &COMMANDS);
        assert_eq!(ends[0].restored.as_ref().unwrap().len(), 3 + 120, "{}", ends[0].stderr);
        // Into what is there, and from several paths with the same names.
        for words in [&["extract", "--force"][..], &["extract", "/dir", "/other", "/dir"]] {
            let [one, many] = ["1", "8"].map(|jobs| files.run(words, jobs));
            assert!(one == many, "{words:?}");
        }
    }
}

#[test]
fn a_row_longer_than_what_waits_for_its_turn_comes_whole() {
    let mut tree = Tree::new();
    for number in 0..40 {
        let path = format!("/{number:02}");
        tree.file(&path, Content::bytes("x"));
        let value = vec![number; 60_000];
        tree.meta_mut(&path).unwrap().xattrs.push(("user.long".into(), value));
    }
    let layout = FileLayout::Plain;
    let built = build(&tree, &Options { layout, ..Options::default() }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (image, out) = (dir.path().join("image"), dir.path().join("out"));
    fs::write(&image, built.image.bytes()).unwrap();
    let files = Files { image: &image, blobs: &[], out: &out };
    let [one, many] = ["1", "3"].map(|jobs| files.run(&["manifest"], jobs));
    assert!(one.stdout.len() > 40 * 120_000 && one.status == Some(0));
    assert!(one == many);
}

#[test]
fn nobody_who_reads_the_rows_ends_the_command_with_any_number_of_jobs() {
    let mut tree = Tree::new();
    for number in 0..4000_u64 {
        tree.file(format!("/{number}"), Content::seeded(number, 100));
    }
    let built = build(&tree, &Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    fs::write(&image, built.image.bytes()).unwrap();
    for jobs in ["1", "4"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.arg("sum").arg(&image).args(["--jobs", jobs]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{jobs} jobs");
    }
}
