//! The options of the commands over files of this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::jobs::Jobs;
use crate::exit::usage;
use crate::source::SourceArgs;
use crate::source::disk_file::is_erofs;

const LS: &str = "\
Examples:
  rootlet ls root.erofs                      the root
  rootlet ls -lR root.erofs /etc /usr        rows of two trees
  rootlet ls --json root.erofs / | jq .path  for a program

A name that begins with a dot is shown by -a. Times are in UTC. Exit status 1 if a path or an entry \
could not be read.";
const CAT: &str = "\
Examples:
  rootlet cat root.erofs /etc/os-release
  rootlet cat root.erofs --blob 1=a.blob /bin/sh > sh";
const STAT: &str = "\
Examples:
  rootlet stat root.erofs /bin/sh
  rootlet stat --json root.erofs /bin/sh /etc/passwd";
const SUM: &str = "\
Examples:
  rootlet sum root.erofs /usr/bin            a line for each file, as sha256sum(1) writes it
  rootlet sum root.erofs / | sort > sums";
const MANIFEST: &str = "\
Examples:
  rootlet manifest root.erofs > rows.jsonl
  rootlet manifest root.erofs --region region.img /usr";
const EXTRACT: &str = "\
Files come back with their holes, hard links, symlinks, devices, fifos and sockets, modes and \
times, and with owners and xattrs as far as this user may set them. What lies below several paths \
comes into the same DIR, which gets the mode of the first. A file appears under its name once it is \
whole. Nothing is written outside DIR, and no symlink is followed. What cannot be restored is \
reported, the rest is restored, and the exit status is 1; a full disk ends the command.

Examples:
  rootlet extract root.erofs out
  rootlet extract root.erofs out /etc /usr/bin
  rootlet extract --force root.erofs out";
const CHECK: &str = "\
Prints each fault with its place. Verified are: checksum, device table and lengths; type, link \
count and xattrs of every inode; order and names of directories, `.`, `..`, and that each has one \
parent; targets of symlinks; that every byte of every file can be read and decoded; the count of \
inodes.

With --verity or --seal every byte of the image and its blobs is verified first, also what no file \
has, and each wrong block is named. Fingerprints of files (mkfs.erofs --xattr-inode-digest) are compared with \
their data, which proves as much as the image itself does. Without digests nobody can say whether \
bytes are the right ones. Not verified are an AVB footer's signature, what no directory leads to, \
and link counts where layers were merged.

Plain data of a device is read at most once, but that of a file with a fingerprint whole. Metadata and decoded data are read up to a multiple of \
the devices' bytes; an image that needs more is faulty. Exit status 1 if there was a fault.

Examples:
  rootlet check root.erofs --blob 1=a.blob
  rootlet check root.erofs --blob 1=a.blob --seal sealed/seal.txt --root sha256:...
  rootlet check --json root.erofs | jq .faults";

/// What is read, and how much is said about it.
#[derive(Args, Clone, Debug, Default)]
pub struct ReadArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub source: SourceArgs,
    /// Say more: devices, blobs and region before the output, counters after it
    #[arg(short, long)]
    pub verbose: bool,
}

/// Listing files of an image.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = LS)]
pub struct ListArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// Paths in the image [default: /]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Print rows: mode, links, owner, group, size, time, name, target
    #[arg(short, long)]
    pub long: bool,
    /// List names that begin with a dot, `.` and `..`, too
    #[arg(short, long)]
    pub all: bool,
    /// List names that begin with a dot, too
    #[arg(short = 'A', long)]
    pub almost_all: bool,
    /// List subdirectories, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// List directories themselves, not their entries
    #[arg(short, long)]
    pub directory: bool,
    /// Print a JSON object a line, with all fields of the inode
    #[arg(long, conflicts_with = "long")]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

impl ListArgs {
    /// Whether names that begin with a dot are shown.
    pub fn shows_hidden(&self) -> bool {
        self.all || self.almost_all
    }
}

/// Files of an image.
#[derive(Args, Clone, Debug, Default)]
pub struct FilesArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// Paths in the image [default: /]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

/// Writing files of an image.
#[derive(Args, Clone, Debug)]
#[command(after_help = CAT, mut_arg("paths", |arg| arg.help("Paths in the image")))]
pub struct CatArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub files: FilesArgs,
}

/// Showing all that is known of files.
#[derive(Args, Clone, Debug)]
#[command(after_help = STAT)]
pub struct StatArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub files: FilesArgs,
    /// Print a JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Sums of files.
#[derive(Args, Clone, Debug)]
#[command(after_help = SUM)]
pub struct SumArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub files: FilesArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub jobs: Jobs,
}

/// A manifest.
#[derive(Args, Clone, Debug)]
#[command(after_help = MANIFEST)]
pub struct ManifestArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub files: FilesArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub jobs: Jobs,
}

/// Verifying an image.
#[derive(Args, Clone, Debug)]
#[command(after_help = CHECK)]
pub struct CheckArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub jobs: Jobs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

/// Restoring files.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXTRACT)]
pub struct ExtractArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// Where to: a directory that is empty, or is made
    #[arg(value_name = "DIR")]
    pub dir: Option<String>,
    /// What to restore [default: /]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Let DIR hold something already, and replace what has the same names
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub jobs: Jobs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

impl ExtractArgs {
    /// Puts the image of rootlet.toml where the command line names none: its first word is the
    /// directory then, and what follows are paths in the image, which begin with a slash. A file or
    /// device that is there is an image.
    pub fn settle(&mut self, known: Option<PathBuf>) {
        if !self.read.source.layer.is_empty() {
            // A stack has no image: the first word is the directory.
            if let Some(word) = self.image.take() {
                let path = self.dir.replace(word.to_string_lossy().into_owned());
                self.paths.splice(..0, path);
            }
            return;
        }
        let Some(known) = known else { return };
        let is_there = |word: &PathBuf| word.exists() && !word.is_dir();
        let is_dir = |word: &PathBuf| {
            !is_there(word) && self.dir.as_ref().is_none_or(|path| path.starts_with('/'))
        };
        match self.image.take() {
            Some(word) if is_dir(&word) => {
                let path = self.dir.replace(word.to_string_lossy().into_owned());
                self.paths.splice(..0, path);
                self.image = Some(known);
            }
            word => self.image = word.or(Some(known)),
        }
    }
}

/// Returns the paths that were named, or the root.
pub fn paths(named: &[String]) -> Vec<&str> {
    match named {
        [] => vec!["/"],
        named => named.iter().map(String::as_str).collect(),
    }
}

/// The image that was named, or the one of rootlet.toml; `None` where `source` names a stack.
pub fn named<'i>(image: Option<&'i PathBuf>, source: &SourceArgs) -> Result<Option<&'i Path>> {
    match (image, source.layer.is_empty()) {
        (None, true) => Err(usage(
            "no IMAGE given, and no rootlet.toml in the current folder names one (see --help)",
        )),
        (Some(image), false) => {
            let image = image.display();
            Err(usage(format!("{image}: with --layer there is no IMAGE, and paths begin with /")))
        }
        (image, _) => Ok(image.map(PathBuf::as_path)),
    }
}

/// Takes a path in a stack for one: where `source` names a stack, no word names an image.
pub fn settle_stack(image: &mut Option<PathBuf>, paths: &mut Vec<String>, source: &SourceArgs) {
    if !source.layer.is_empty()
        && let Some(word) = image.take_if(|word| word.starts_with("/"))
    {
        paths.insert(0, word.to_string_lossy().into_owned());
    }
}

/// Puts the image of rootlet.toml where the command line names none: its first word is a path in
/// the image then, and paths begin with a slash. A file that is an EROFS image is meant itself.
pub fn settle(image: &mut Option<PathBuf>, paths: &mut Vec<String>, known: Option<PathBuf>) {
    let Some(known) = known else { return };
    let is_path = |word: &PathBuf| word.starts_with("/") && !is_erofs(word);
    match image.take() {
        Some(word) if is_path(&word) => {
            paths.insert(0, word.to_string_lossy().into_owned());
            *image = Some(known);
        }
        word => *image = word.or(Some(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_is_a_path_where_the_file_of_settings_names_the_image() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny.erofs");
        for (image, paths, known, expected) in [
            (Some("a"), &[][..], None, (Some("a"), &[][..])),
            (None, &[], Some("k"), (Some("k"), &[])),
            (Some("a"), &[], Some("k"), (Some("a"), &[])),
            (Some("/etc"), &[], Some("k"), (Some("k"), &["/etc"])),
            (Some("/etc"), &["/usr"], Some("k"), (Some("k"), &["/etc", "/usr"])),
            (Some("/etc"), &["/"], Some("k"), (Some("k"), &["/etc", "/"])),
            (Some("/"), &[], Some("k"), (Some("k"), &["/"])),
            (Some(tiny), &["/usr"], Some("k"), (Some(tiny), &["/usr"])),
            (Some("/etc"), &[], None, (Some("/etc"), &[])),
        ] {
            let mut found = image.map(PathBuf::from);
            let mut words = paths.iter().map(|path| (*path).to_string()).collect();
            settle(&mut found, &mut words, known.map(PathBuf::from));
            assert_eq!(found, expected.0.map(PathBuf::from));
            assert_eq!(words, expected.1);
        }
    }
    #[test]
    fn first_word_of_extract_is_the_directory_where_the_settings_name_the_image() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny.erofs");
        let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (words, expected) in [
            (&[][..], ("k", None, &[][..])),
            (&["out"], ("k", Some("out"), &[])),
            (&["out", "/etc"], ("k", Some("out"), &["/etc"])),
            (&["out", "/etc", "/"], ("k", Some("out"), &["/etc", "/"])),
            (&["/tmp", "/etc"], ("k", Some("/tmp"), &["/etc"])),
            (&[tiny, "/tmp"], (tiny, Some("/tmp"), &[])),
            // What is packed is an image all the same, and so is one that is not there.
            (&[packed, "/tmp"], (packed, Some("/tmp"), &[])),
            (&["gone.erofs", "out"], ("gone.erofs", Some("out"), &[])),
            (&[tiny], (tiny, None, &[])),
        ] {
            let mut words = words.iter().map(|word| (*word).to_string());
            let mut args = ExtractArgs {
                image: words.next().map(PathBuf::from),
                dir: words.next(),
                paths: words.collect(),
                force: false,
                jobs: Jobs::default(),
                read: ReadArgs::default(),
            };
            args.settle(Some("k".into()));
            assert_eq!(args.image, Some(expected.0.into()));
            assert_eq!((args.dir.as_deref(), args.paths), (expected.1, words_of(expected.2)));
        }
    }

    fn words_of(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_string()).collect()
    }
}
