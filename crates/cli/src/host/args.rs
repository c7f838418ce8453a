//! The options of the commands over files of this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::exit::usage;
use crate::source::SourceArgs;

const LS: &str = "\
Examples:
  rootlet ls root.erofs                      the root
  rootlet ls -lR root.erofs /etc /usr        rows of two trees
  rootlet ls --json root.erofs / | jq .path  for a program

A name that begins with a dot is shown by -a. Times are in UTC. Exit status 1 if a path or an entry
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
Files come back with their holes, hard links, symlinks, devices, fifos and sockets, modes and times,
and with owners and xattrs as far as this user may set them. A file appears under its name once it
is whole. Nothing is written outside DIR, and no symlink is followed. What cannot be restored is
told, and the rest goes on; then the exit status is 1.

Examples:
  rootlet extract root.erofs out
  rootlet extract root.erofs out /etc /usr/bin
  rootlet extract --force root.erofs out";
const CHECK: &str = "\
Verifies the image and its blobs, and prints each fault with its place: the superblock's checksum,
device table and lengths; of all that is reachable inode, type, link count and xattrs; of directories
order, names, `.` and `..`, and that each has one parent; targets of symlinks; that every byte of
every file can be read and decoded; the count of inodes.
Not verified: what the bytes of files and xattrs are (the format has no digests of them), what
nothing leads to, and link counts where layers were merged.
Work: plain data of a device is read at most once; metadata and decoded data are read up to a
multiple of the devices' bytes, beyond which the image is faulty.
Exit status 1 if there was any fault.

Examples:
  rootlet check root.erofs --blob 1=a.blob
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
    /// Paths in the image
    #[arg(value_name = "PATH", default_value = "/")]
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
    /// Paths in the image
    #[arg(value_name = "PATH", default_value = "/")]
    pub paths: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

/// Writing files of an image.
#[derive(Args, Clone, Debug)]
#[command(after_help = CAT)]
pub struct CatArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// Paths in the image
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
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
}

/// A manifest.
#[derive(Args, Clone, Debug)]
#[command(after_help = MANIFEST)]
pub struct ManifestArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub files: FilesArgs,
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
    /// What to restore
    #[arg(value_name = "PATH", default_value = "/")]
    pub paths: Vec<String>,
    /// Let DIR hold something already, and replace what has the same names
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

impl ExtractArgs {
    /// Puts the image of rootlet.toml where the command line names none: its first word is the
    /// directory then, unless it is an EROFS image.
    pub fn settle(&mut self, known: Option<PathBuf>) {
        let Some(known) = known else { return };
        match self.image.take() {
            Some(word) if !is_erofs(&word) => {
                let first = self.dir.replace(word.to_string_lossy().into_owned());
                if let Some(path) = first {
                    if self.paths.as_slice() == ["/"] {
                        self.paths.clear();
                    }
                    self.paths.insert(0, path);
                }
                self.image = Some(known);
            }
            word => self.image = word.or(Some(known)),
        }
    }
}

/// The image that was named, or the one of rootlet.toml.
pub fn named(image: Option<&PathBuf>) -> Result<&Path> {
    image.map(PathBuf::as_path).ok_or_else(|| {
        usage("no IMAGE given, and no rootlet.toml in the current folder names one (see --help)")
    })
}

/// Puts the image of rootlet.toml where the command line names none: its first word is a path in
/// the image then, and paths begin with a slash. A file that is an EROFS image is meant itself.
pub fn settle(image: &mut Option<PathBuf>, paths: &mut Vec<String>, known: Option<PathBuf>) {
    let Some(known) = known else { return };
    let is_path = |word: &PathBuf| word.starts_with("/") && !is_erofs(word);
    match image.take() {
        None => *image = Some(known),
        Some(word) if is_path(&word) => {
            let word = word.to_string_lossy().into_owned();
            // The default stands where there was no second word.
            if paths.as_slice() == ["/"] && word != "/" {
                paths.clear();
            }
            if paths.as_slice() != ["/"] || word != "/" {
                paths.insert(0, word);
            }
            *image = Some(known);
        }
        word => *image = word,
    }
}

/// Whether a file has the mark of EROFS (its superblock is at byte 1024).
pub fn is_erofs(file: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let mut magic = [0; 4];
    let read = std::fs::File::open(file).and_then(|file| file.read_exact_at(&mut magic, 1024));
    read.is_ok() && u32::from_le_bytes(magic) == 0xe0f5_e1e2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_is_a_path_where_the_file_of_settings_names_the_image() {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny.erofs");
        for (image, paths, known, expected) in [
            (Some("a"), &["/"][..], None, (Some("a"), &["/"][..])),
            (None, &["/"], Some("k"), (Some("k"), &["/"])),
            (Some("a"), &["/"], Some("k"), (Some("a"), &["/"])),
            (Some("/etc"), &["/"], Some("k"), (Some("k"), &["/etc"])),
            (Some("/etc"), &["/usr"], Some("k"), (Some("k"), &["/etc", "/usr"])),
            (Some("/"), &["/"], Some("k"), (Some("k"), &["/"])),
            (Some(tiny), &["/usr"], Some("k"), (Some(tiny), &["/usr"])),
            (Some("/etc"), &["/"], None, (Some("/etc"), &["/"])),
        ] {
            let mut found = image.map(PathBuf::from);
            let mut words = paths.iter().map(|path| (*path).to_string()).collect();
            settle(&mut found, &mut words, known.map(PathBuf::from));
            assert_eq!(found, expected.0.map(PathBuf::from));
            assert_eq!(words, expected.1);
        }
    }
}
