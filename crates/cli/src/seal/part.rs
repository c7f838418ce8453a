//! One file that is sealed: its tree, and the text that pins it.
//!
//! Always: the file is read once, front to back; a file that changes its length meanwhile is an
//! error.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rootlet_base::num::clip;
use rootlet_base::units::Pow2;
use rootlet_trust::{
    Algorithm, Builder, Digest, Format, Root, Salt, Shape, Software, Spec, Subject, superblock,
};
use tempfile::NamedTempFile;

use super::args::{SealArgs, Where};
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Bytes of a disk's sector: a file of another length is longer as a disk.
const SECTOR_BYTES: u64 = 512;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// The salt that containerd's differ gives dm-verity.
const CONTAINERD_SALT_DIGITS: usize = 64;

/// A file that is sealed.
#[derive(Debug)]
pub struct Part {
    /// The image or the blob.
    pub subject: Subject,
    /// The name of the file, without its folder.
    pub name: PathBuf,
    /// The length of the file.
    pub bytes: u64,
    path: PathBuf,
    file: File,
}

/// What became of a file.
#[derive(Debug)]
pub struct Sealed {
    /// The text that pins it.
    pub spec: String,
    /// What was written, for a person.
    pub told: String,
}

impl Part {
    /// Opens a file.
    ///
    /// # Errors
    /// Status 2: it is not there, or has no name.
    pub fn open(subject: Subject, path: &Path) -> Result<Self> {
        let refuse = |error: io::Error| usage(format!("{}: {error}", path.display()));
        let mut file = File::open(path).map_err(refuse)?;
        // A block device has its length at its end alone.
        let bytes = file.seek(SeekFrom::End(0)).map_err(refuse)?;
        file.rewind().map_err(refuse)?;
        let name = path.file_name().map(PathBuf::from);
        let name = name.ok_or_else(|| usage(format!("{}: not a file", path.display())))?;
        Ok(Self { subject, name, bytes, path: path.into(), file })
    }

    /// Makes the tree, shows the progress after `before` bytes of other files, writes the tree where `args` says, and returns the text that pins the file.
    pub fn seal(
        &self,
        args: &SealArgs,
        interrupt: &Interrupt,
        (progress, before): (&Progress, u64),
    ) -> Result<Sealed> {
        let (format, salt) = match args.tree {
            Where::Beside => (Format::FsVerity, args.salt.unwrap_or(Salt::NONE)),
            Where::Append => {
                let zeros = Salt::from_hex(&"0".repeat(CONTAINERD_SALT_DIGITS));
                (Format::DmVerity, args.salt.or(zeros).unwrap_or(Salt::NONE))
            }
        };
        let block = Pow2::of(args.block.0).ok_or_else(|| not_a_block(args))?;
        // dm-verity's data are whole blocks.
        let covers = match args.tree {
            Where::Beside => Some(self.bytes),
            Where::Append => block.ceil(self.bytes),
        };
        let shape = covers
            .and_then(|covers| Shape::new(args.hash, format, salt, [block; 2], covers))
            .ok_or_else(|| not_a_block(args))?;
        if args.tree == Where::Append && self.bytes == 0 {
            return Err(usage(format!(
                "{}: empty, which dm-verity has no tree of",
                self.path.display()
            )));
        }
        // The reader of these texts has the first word: before the work.
        let zeros = Digest::from_hex(args.hash, &"00".repeat(args.hash.digest_bytes()));
        let zeros = zeros.context("a digest of zeros")?;
        let any = match args.tree {
            Where::Beside => Root::File(zeros),
            Where::Append => Root::Hash(zeros),
        };
        let path = self.path.display();
        Spec::parse(&spec(&shape, &any, salt, self.bytes))
            .map_err(|error| usage(format!("{path}: {error}")))?;
        let mut job = Job { part: self, shape: &shape, interrupt, progress, before };
        let told = |what: String| format!("{path}: {} bytes{what}", self.bytes);
        let root = match (args.tree, args.dry_run) {
            (_, true) => job.run(&mut |_, _| Ok(()), &mut |_, _| Ok(()))?,
            (Where::Beside, false) => job.beside(args)?,
            (Where::Append, false) => job.append(args)?,
        };
        let spec = spec(&shape, &root, salt, self.bytes);
        let what = match (args.dry_run, args.tree) {
            (true, _) => format!(", a tree of {} bytes", shape.tree_bytes()),
            (false, Where::Beside) if shape.levels() == 0 => ", no tree".into(),
            (false, Where::Beside) => format!(", tree {}", self.beside(args).display()),
            (false, Where::Append) => {
                format!(", copied with its tree to {}", self.copy(args).display())
            }
        };
        Ok(Sealed { spec, told: told(what) })
    }

    /// The file of the tree.
    fn beside(&self, args: &SealArgs) -> PathBuf {
        args.out.join(with(&self.name, ".verity"))
    }

    /// The copy of the data, with the tree.
    fn copy(&self, args: &SealArgs) -> PathBuf {
        args.out.join(&self.name)
    }
}

/// Returns the text that pins a file.
fn spec(shape: &Shape, root: &Root, salt: Salt, bytes: u64) -> String {
    let (hash, digest) = (shape.algorithm(), root.digest());
    match root {
        Root::File(_) => {
            let mut spec = format!("{hash}-{}:{digest}", shape.data_block().bits());
            if salt != Salt::NONE {
                spec += &format!(",salt={salt}");
            }
            if !bytes.is_multiple_of(SECTOR_BYTES) {
                spec += &format!(",bytes={bytes}");
            }
            spec
        }
        Root::Hash(_) => format!(
            "root_hash={digest},salt={salt},data_blocks={},data_block_size={},hash_block_size={}{}",
            shape.blocks(),
            shape.data_block().get(),
            shape.hash_block().get(),
            // Kata's five words are enough for the usual hash.
            if hash == Algorithm::Sha256 { "" } else { ",hash=sha512" }
        ),
    }
}

fn not_a_block(args: &SealArgs) -> anyhow::Error {
    let bytes = args.block.0;
    let least = if args.tree == Where::Beside { 1024 } else { 512 };
    usage(format!("--block {bytes}: a power of two from {least} on, up to 64K, is wanted"))
}

fn with(name: &Path, end: &str) -> OsString {
    let mut name: OsString = AsRef::<OsStr>::as_ref(name).into();
    name.push(end);
    name
}

/// Writes a file of the output, which appears under its name once it is whole.
///
/// # Errors
/// The file is there already and `force` is false; those of the host.
pub fn write(
    path: &Path,
    force: bool,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    let name = || path.display().to_string();
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(dir).with_context(name)?;
    fill(file.as_file_mut()).with_context(name)?;
    publish(file, path, force)
}

/// Gives a file its name.
fn publish(file: NamedTempFile, path: &Path, force: bool) -> Result<()> {
    let name = || path.display().to_string();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).with_context(name)?;
    let named = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match named {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{}: is there already; --force replaces it", path.display())
        }
        named => named.map(drop).map_err(|error| error.error).with_context(name),
    }
}

type Put<'p> = &'p mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// The making of one tree.
struct Job<'j> {
    part: &'j Part,
    shape: &'j Shape,
    interrupt: &'j Interrupt,
    progress: &'j Progress,
    /// Bytes of the files before this one.
    before: u64,
}

impl Job<'_> {
    /// Reads the file and hands out its bytes, and the nodes of its tree. Returns the digest.
    fn run(&mut self, data: Put<'_>, node: Put<'_>) -> Result<Root> {
        let (part, shape) = (self.part, self.shape);
        let name = || part.path.display().to_string();
        let mut builder = Builder::new(&Software, shape.clone())?;
        let mut failed = Ok(());
        let mut put = |at: u64, bytes: &[u8]| {
            if failed.is_ok() {
                failed = node(at, bytes);
            }
        };
        let block = usize::try_from(shape.data_block().get())?;
        let mut piece = vec![0; PIECE_BYTES.next_multiple_of(block)];
        let mut at = 0;
        while at < part.bytes {
            self.interrupt.check()?;
            let len = clip(part.bytes - at, piece.len());
            let bytes = &mut piece[..len];
            part.file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => anyhow::anyhow!("{}: became shorter", name()),
                _ => anyhow::Error::new(error).context(name()),
            })?;
            data(at, bytes).with_context(name)?;
            // Zeros fill dm-verity's last block.
            let filled = len.max(clip(shape.data_bytes() - at, len.next_multiple_of(block)));
            piece[len..filled].fill(0);
            for block in piece[..filled].chunks(block) {
                builder.push(block, &mut put)?;
            }
            at += len as u64;
            self.progress.reach(self.before + at);
        }
        let root = builder.finish(&mut put)?;
        failed.with_context(name)?;
        let mut more = [0];
        if part.file.read_at(&mut more, part.bytes).with_context(name)? > 0 {
            bail!("{}: became longer", part.path.display());
        }
        Ok(root)
    }

    /// Writes the tree into a file of its own.
    fn beside(&mut self, args: &SealArgs) -> Result<Root> {
        let path = self.part.beside(args);
        if self.shape.levels() == 0 {
            return self.run(&mut |_, _| Ok(()), &mut |_, _| Ok(()));
        }
        let file = NamedTempFile::new_in(&args.out).with_context(|| path.display().to_string())?;
        let mut node = |at, bytes: &[u8]| file.as_file().write_all_at(bytes, at);
        let root = self.run(&mut |_, _| Ok(()), &mut node)?;
        publish(file, &path, args.force)?;
        Ok(root)
    }

    /// Copies the data, with superblock and tree after it, and writes what containerd writes beside.
    fn append(&mut self, args: &SealArgs) -> Result<Root> {
        let (path, node_bytes) = (self.part.copy(args), self.shape.hash_block());
        let name = || path.display().to_string();
        let offset = node_bytes.ceil(self.shape.data_bytes()).context("beyond 64 bits")?;
        let first = offset + node_bytes.get();
        let file = NamedTempFile::new_in(&args.out).with_context(name)?;
        let out = file.as_file();
        out.set_len(first + self.shape.tree_bytes()).with_context(name)?;
        let mut data = |at, bytes: &[u8]| out.write_all_at(bytes, at);
        let mut node = |at: u64, bytes: &[u8]| out.write_all_at(bytes, first + at);
        let root = self.run(&mut data, &mut node)?;
        // A UUID that the content gives, so that sealing twice gives the same bytes.
        let uuid = root.digest().as_bytes().first_chunk().copied().context("a short digest")?;
        let head = superblock(self.shape, uuid)?;
        out.write_all_at(&head, offset).with_context(name)?;
        publish(file, &path, args.force)?;
        let json = serde_json::json!({
            "roothash": root.digest().to_string(),
            "hashoffset": offset,
        });
        let beside = args.out.join(with(&self.part.name, ".dmverity"));
        write(&beside, args.force, |file| {
            io::Write::write_all(file, format!("{json:#}").as_bytes())
        })?;
        Ok(root)
    }
}
