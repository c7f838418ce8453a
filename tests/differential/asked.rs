//! Images with whatever the installed mkfs.erofs can make: its help lists its options.
//!
//! Always: what an image holds is not foretold, so only readers that read the same image are
//! compared. A combination that mkfs.erofs refuses is drawn again.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rootlet_sim::Rng;

use crate::tree;

/// Draws until one is taken.
const DRAWS_MAX: usize = 40;

/// Words that compress metadata.
const METABOX: [&str; 2] = ["-m4096", "-m65536"];
/// Words of which an image has at most one of each row. Versions have some of them: 1.5 knows no
/// `-b`, and none of `--tar`.
const WORDS: [&[&str]; 30] = [
    &["-b512", "-b1024", "-b2048", "-b4096"],
    &["-zlz4", "-zlz4hc", "-zlz4hc,12", "-zlzma", "-zdeflate", "-zzstd"],
    &["-C8192", "-C16384", "-C65536", "-C1048576"],
    &["--chunksize=4096", "--chunksize=65536", "--chunksize=1048576"],
    &["-x-1", "-x0", "-x1", "-x4"],
    &["--all-root", "--force-uid=70000", "--uid-offset=70000"],
    &["--force-gid=5", "--gid-offset=70000"],
    &["--ignore-mtime", "--preserve-mtime", "--mkfs-time", "--all-time"],
    &["-T0", "-T1700000000", "-T5000000000"],
    &["--max-extent-bytes=4096", "--max-extent-bytes=65536"],
    &["--xattr-inode-digest=trusted.digest", "--xattr-inode-digest=user.digest"],
    &["--xattr-prefix=user.n", "--xattr-prefix=trusted."],
    &["--root-xattr-isize=100", "--root-xattr-isize=3000"],
    &["--hard-dereference"],
    &["--exclude-regex=x$"],
    &["--fsalignblks=16"],
    &["-Lvolume"],
    &METABOX,
    &["-Eall-fragments", "-Efragments", "-Efragments=65536"],
    &["-Efragdedupe=full", "-Efragdedupe=inode"],
    &["-Ededupe"],
    &["-Eztailpacking"],
    &["-Enoinline_data"],
    &["-Eforce-inode-extended", "-Eforce-inode-compact"],
    &["-Eforce-chunk-indexes", "-Eforce-inode-blockmap"],
    &["-Elegacy-compress"],
    &["-Enosbcrc"],
    &["-E48bit"],
    &["-Edot-omitted"],
    &["-Exattr-name-filter", "-E^xattr-name-filter"],
];

/// Where an image's files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// A tree of the host.
    Tree,
    /// A tree, with the data of chunks on a device of its own.
    Chunks,
    /// A tar archive.
    Tar,
    /// A tar archive that stays a device of the image, which has an index of it.
    TarIndex,
    /// Two images, which become devices of one that has the names of both.
    Layers,
}

/// An image on the disk.
pub struct Made {
    pub image: PathBuf,
    pub blobs: Vec<PathBuf>,
    /// Whether its metadata is compressed.
    pub metabox: bool,
    /// How it was made.
    pub words: String,
}

/// What the installed mkfs.erofs knows.
pub struct Tool {
    words: Vec<Vec<&'static str>>,
    inputs: Vec<Input>,
}

impl Tool {
    /// Asks it, with a small tree in `dir`.
    pub fn ask(dir: &Path) -> Self {
        fs::create_dir(dir.join("tree")).unwrap();
        fs::write(dir.join("tree/file"), "file").unwrap();
        let takes = |word: &&'static str| mkfs(dir, &[word, "image", "tree"]).is_ok();
        let known = |row: &&[&'static str]| row.iter().copied().filter(takes).collect::<Vec<_>>();
        let words = WORDS.iter().map(known).filter(|row| !row.is_empty()).collect();
        let inputs = [Input::Tree, Input::Chunks, Input::Tar, Input::TarIndex, Input::Layers];
        let works = |input: &Input| input.make(dir, &[], "image", &["tree", "tree"]).is_ok();
        Self { words, inputs: inputs.into_iter().filter(works).collect() }
    }

    /// An image of a random tree in `dir`.
    pub fn make(
        &self,
        rng: &mut Rng,
        dir: &Path,
        odd: impl Fn(&mut Rng, &mut [tree::Entry]),
    ) -> Result<Made, String> {
        let mut roots = vec!["tree"];
        let mut input = self.inputs[rng.index(self.inputs.len())];
        if input == Input::Layers {
            roots.push("other");
        }
        for root in &roots {
            let mut entries = tree::generate(rng.fork(), true);
            odd(rng, &mut entries);
            tree::write(&entries, &dir.join(root), true);
        }
        let mut refused = String::new();
        for draw in 0..DRAWS_MAX {
            // Less and less is asked for.
            let words = self.draw(rng, DRAWS_MAX - draw);
            match input.make(dir, &words, "image", &roots) {
                Ok(blobs) => {
                    let metabox = words.iter().any(|word| METABOX.contains(word));
                    let words = format!("mkfs.erofs {} ({input:?})", words.join(" "));
                    let blobs = blobs.iter().map(|blob| dir.join(blob)).collect();
                    return Ok(Made { image: dir.join("image"), blobs, metabox, words });
                }
                Err(error) => refused = error,
            }
            if draw == DRAWS_MAX / 2 {
                input = Input::Tree;
            }
        }
        Err(refused)
    }

    fn draw(&self, rng: &mut Rng, part: usize) -> Vec<&'static str> {
        let chance = 300_000 * part as u32 / DRAWS_MAX as u32;
        let mut words = Vec::new();
        for row in &self.words {
            if rng.chance(chance) {
                words.push(row[rng.index(row.len())]);
            }
        }
        words
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: usize = self.words.iter().map(Vec::len).sum();
        write!(f, "which takes {words} of our words, and {:?}", self.inputs)
    }
}

impl Input {
    /// Makes `image` of the folders `roots`, all below `dir`. Returns the names of its devices.
    fn make(
        self,
        dir: &Path,
        words: &[&str],
        image: &str,
        roots: &[&str],
    ) -> Result<Vec<&'static str>, String> {
        let _ = fs::remove_file(dir.join(image));
        let made = |more: &[&str]| mkfs(dir, &[words, more].concat());
        match self {
            Self::Tree => made(&[image, roots[0]]).map(|()| Vec::new()),
            Self::Chunks => {
                let chunks = words.iter().any(|word| word.starts_with("--chunksize"));
                let chunks = if chunks { "--quiet" } else { "--chunksize=8192" };
                made(&["--blobdev=blob", chunks, image, roots[0]]).map(|()| vec!["blob"])
            }
            Self::Tar | Self::TarIndex => {
                let words = ["--format=pax", "--xattrs", "--xattrs-include=*", "-cf", "tar", "-C"];
                run(Command::new("tar").current_dir(dir).args(words).args([roots[0], "."]))?;
                match self {
                    Self::Tar => made(&["--tar=f", image, "tar"]).map(|()| Vec::new()),
                    _ => made(&["--tar=i", image, "tar"]).map(|()| vec!["tar"]),
                }
            }
            Self::Layers => {
                for (layer, root) in ["layer1", "layer2"].into_iter().zip(roots) {
                    let _ = fs::remove_file(dir.join(layer));
                    mkfs(dir, &["-Enoinline_data", layer, root])?;
                }
                made(&[image, "layer1", "layer2"]).map(|()| vec!["layer1", "layer2"])
            }
        }
    }
}

fn mkfs(dir: &Path, words: &[&str]) -> Result<(), String> {
    // Names without a directory: version 1.5 cuts long ones.
    let mut command = Command::new("mkfs.erofs");
    run(command.current_dir(dir).args(words).env_remove("SOURCE_DATE_EPOCH"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr))),
    }
}
