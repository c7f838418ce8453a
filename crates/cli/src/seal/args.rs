//! The options of `seal`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rootlet_trust::{Algorithm, Salt};

use crate::size::Size;
use crate::source::BlobArg;

const HELP: &str = "\
Writes into DIR a tree for each file, and seal.txt, which says what all of them are. Its digest is \
printed, and is all that a mount has to know.

--tree beside makes NAME.verity, the tree of `fsverity digest --out-merkle-tree`, and pins the file \
by fs-verity's digest. --tree append copies the file to NAME, with dm-verity's superblock and tree \
after its data, as containerd's differ does; NAME.dmverity has root hash and offset.

Examples:
  rootlet seal root.erofs --blob 1=a.blob --out sealed
  rootlet seal root.erofs --tree append --out sealed
  rootlet seal --dry-run root.erofs --out sealed
  rootlet check root.erofs --blob 1=a.blob --seal sealed/seal.txt --root sha256:...";

/// Sealing an image and its blobs.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct SealArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// The blob of device slot N
    #[arg(long, value_name = "N=FILE")]
    pub blob: Vec<BlobArg>,
    /// Where to: a directory, made if missing
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where a tree goes: beside (fs-verity) or append (dm-verity)
    #[arg(
        long,
        value_name = "WHERE",
        value_enum,
        default_value = "beside",
        hide_possible_values = true
    )]
    pub tree: Where,
    /// Hex digits that are hashed with each block, or - for none [default: -, and 32 zero bytes with
    /// append, as containerd has them]
    #[arg(long, value_name = "HEX|-", value_parser = salt, allow_hyphen_values = true)]
    pub salt: Option<Salt>,
    /// The hash: sha256 or sha512
    #[arg(long, value_name = "NAME", value_parser = hash, default_value = "sha256")]
    pub hash: Algorithm,
    /// The size of a block of data and of a node
    #[arg(long, value_name = "SIZE", default_value = "4K")]
    pub block: Size,
    /// Replace files of DIR that have the same names
    #[arg(short, long)]
    pub force: bool,
    /// Only print what would be pinned, and the digest of the seal
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

impl SealArgs {
    /// Copies files with dm-verity's tree into the folder `out`, as containerd's differ has them.
    pub fn append(out: PathBuf) -> Self {
        Self {
            image: None,
            blob: Vec::new(),
            out,
            tree: Where::Append,
            salt: None,
            hash: Algorithm::Sha256,
            block: Size(4096),
            force: false,
            dry_run: false,
        }
    }
}

/// Where a tree goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Where {
    /// Into a file of its own.
    Beside,
    /// After a copy of the data.
    Append,
}

fn salt(digits: &str) -> Result<Salt, String> {
    Salt::from_hex(digits).ok_or_else(|| "hex digits of at most 256 bytes, or -".into())
}

fn hash(name: &str) -> Result<Algorithm, String> {
    Algorithm::named(name).ok_or_else(|| "sha256 or sha512".into())
}
