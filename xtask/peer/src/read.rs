//! The steps of a race, as a Linux program does them best with one thread.
//!
//! Always: the pieces and sums are the library's.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootlet_guest::race::{BATCH, PIECE_BYTES_MAX, Pieces, Sum, What};
use rustix::fs::{Advice, OFlags, fadvise};

use crate::machine::Machine;
use crate::{ROOT, SHARE};

/// What direct reads want their memory aligned to.
const ALIGN: usize = 4096;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes of files.
    pub bytes: u64,
    /// Pieces, entries or files.
    pub ops: u64,
    /// Their sum.
    pub sum: Sum,
}

impl Done {
    fn sampled(&mut self, at: u64, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.ops += 1;
        self.sum.sample(at, piece);
    }
}

/// Memory for one piece, aligned.
pub struct Memory {
    bytes: Vec<u8>,
    start: usize,
}

impl Memory {
    /// Allocates it, and has it touched before anything is timed.
    pub fn new() -> Self {
        let bytes = vec![1; PIECE_BYTES_MAX + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN);
        Self { bytes, start }
    }

    fn piece(&mut self, size: u64) -> &mut [u8] {
        let size = usize::try_from(size).map_or(PIECE_BYTES_MAX, |size| size.min(PIECE_BYTES_MAX));
        &mut self.bytes[self.start..self.start + size]
    }
}

fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// Reads the first byte of a file.
pub fn first(path: &str) -> Result<()> {
    File::open(inside(path))?.read_exact(&mut [0]).with_context(|| path.to_string())
}

/// Does one step.
pub fn step(machine: &Machine, what: What, path: &str, memory: &mut Memory) -> Result<Done> {
    match what {
        What::First | What::Fresh => Ok(Done::default()),
        What::Raw(_) => direct(machine.disk(path)?.as_ref(), what, memory),
        What::Share(_) => direct(&Path::new(SHARE).join(path), what, memory),
        What::Sequence(_) => sequence(&inside(path), what, memory),
        What::Random(_) | What::Again(_) => pieces(&inside(path), what, memory),
        What::Batch(_) | What::Jobs(_) => batches(&inside(path), what, memory),
        What::Walk => walk(&inside(path)),
        What::Files => files(&inside(path), memory),
        What::Sum => {
            let mut done = Done::default();
            content(&inside(path), memory, &mut done)?;
            Ok(done)
        }
    }
}

fn open(path: &Path, what: What, flags: OFlags) -> Result<(File, Pieces)> {
    let flags = flags.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // The size of a disk is not in its metadata.
    let bytes = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let pieces = what.pieces(bytes).context("it is too short")?;
    Ok((file, pieces))
}

/// Reads past the page cache.
fn direct(path: &Path, what: What, memory: &mut Memory) -> Result<Done> {
    let (file, pieces) = open(path, what, OFlags::DIRECT)?;
    read_at(&file, &pieces, memory)
}

fn pieces(path: &Path, what: What, memory: &mut Memory) -> Result<Done> {
    let (file, pieces) = open(path, what, OFlags::empty())?;
    read_at(&file, &pieces, memory)
}

fn read_at(file: &File, pieces: &Pieces, memory: &mut Memory) -> Result<Done> {
    let mut done = Done::default();
    for n in 0..pieces.count() {
        let piece = memory.piece(pieces.bytes());
        file.read_exact_at(piece, pieces.at(n)?)?;
        done.sampled(pieces.at(n)?, piece);
    }
    Ok(done)
}

fn sequence(path: &Path, what: What, memory: &mut Memory) -> Result<Done> {
    let (mut file, pieces) = open(path, what, OFlags::empty())?;
    let mut done = Done::default();
    for n in 0..pieces.count() {
        let piece = memory.piece(pieces.bytes());
        file.read_exact(piece)?;
        done.sampled(pieces.at(n)?, piece);
    }
    Ok(done)
}

/// Reads in batches: all pieces of one are announced, then read: they are under way at once.
fn batches(path: &Path, what: What, memory: &mut Memory) -> Result<Done> {
    let (file, pieces) = open(path, what, OFlags::empty())?;
    let mut done = Done::default();
    let (batch, size) = (BATCH as u64, std::num::NonZeroU64::new(pieces.bytes()));
    for first in (0..pieces.count()).step_by(BATCH) {
        let of = first..pieces.count().min(first + batch);
        for n in of.clone() {
            fadvise(&file, pieces.at(n)?, size, Advice::WillNeed)?;
        }
        for n in of {
            let piece = memory.piece(pieces.bytes());
            file.read_exact_at(piece, pieces.at(n)?)?;
            done.sampled(pieces.at(n)?, piece);
        }
    }
    Ok(done)
}

fn walk(path: &Path) -> Result<Done> {
    let mut done = Done::default();
    let mut seen = |of: &fs::Metadata| {
        done.ops += 1;
        done.sum.word(u64::from(of.mode()), if of.is_dir() { 0 } else { of.size() });
    };
    seen(&fs::symlink_metadata(path)?);
    let mut open = vec![path.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            seen(&entry.metadata()?);
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(done)
}

fn files(path: &Path, memory: &mut Memory) -> Result<Done> {
    let mut done = Done::default();
    let mut open = vec![path.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                content(&entry.path(), memory, &mut done)?;
            }
        }
    }
    Ok(done)
}

/// Reads all bytes of a file. A read that is short ended at its end.
fn content(path: &Path, memory: &mut Memory, done: &mut Done) -> Result<()> {
    let mut file = File::open(path)?;
    done.ops += 1;
    let mut at = 0;
    loop {
        let piece = memory.piece(PIECE_BYTES_MAX as u64);
        let got = file.read(piece)?;
        done.sum.all(at, &piece[..got]);
        at += got as u64;
        if got < piece.len() {
            break;
        }
    }
    done.bytes += at;
    Ok(())
}
