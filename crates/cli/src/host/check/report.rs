//! The data of files, which is read beside the check, and the faults, which are reported in the order
//! of the check.
//!
//! Always: the report is that of one job.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use rootlet::cache::Cache;
use rootlet::erofs::Nid;
use rootlet::read::File;
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, catch_up};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fingerprint::Fingerprint;
use crate::host::ordered::{Emit, Ordered, Unwanted};
use crate::output;
use crate::progress::Progress;
use crate::shown::shown;

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of a file that are to be read.
pub struct Range<'r, S> {
    /// The file.
    pub file: Arc<File<'r, S, Option<Cache>>>,
    /// Its path.
    pub path: Vec<u8>,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// The fingerprint of the bytes, if they are a whole file that has one.
    pub wanted: Option<Fingerprint>,
}

/// What was found, in the order of the check.
pub enum Found {
    /// A fault.
    Fault { path: Vec<u8>, nid: Option<Nid>, what: String },
    /// Bytes that could be read.
    Bytes(u64),
}

/// Returns what reads ranges on a thread of its own.
pub fn reader<'r, S: Storage>(
    root: &'r GuestRoot<S>,
    progress: &'r Progress,
) -> impl FnMut(Range<'r, S>, Emit<'_, Found>) {
    let mut data = Vec::new();
    move |range, emit| {
        data.resize(PIECE_BYTES, 0);
        let mut step = |found| {
            catch_up(root);
            progress.touch();
            emit(found)
        };
        // Where it is unwanted, the check has ended.
        let _ = range.read(&mut data, &mut step);
    }
}

impl<S: Storage> Range<'_, S> {
    fn read(&self, data: &mut [u8], found: Emit<'_, Found>) -> Result<(), Unwanted> {
        let fault = |what: String| {
            let nid = Some(self.file.inode().nid());
            Found::Fault { path: self.path.clone(), nid, what }
        };
        let mut at = self.start;
        let mut hash = self.wanted.map(|_| Sha256::new());
        while at < self.end {
            let len = (self.end - at).min(data.len() as u64) as usize;
            found(match self.file.read_at(at, &mut data[..len]) {
                Ok(got) if got == len => {
                    if let Some(hash) = &mut hash {
                        hash.update(&data[..len]);
                    }
                    Found::Bytes(got as u64)
                }
                Ok(got) => {
                    let what = format!("only {got} of {len} bytes at byte {at} of the file");
                    return found(fault(what));
                }
                Err(error) => {
                    // Nobody knows the digest of what cannot be read.
                    hash = None;
                    fault(format!("{len} bytes at byte {at} of the file: {error:#}"))
                }
            })?;
            at += len as u64;
        }
        match self.wanted.zip(hash).map(|(wanted, hash)| wanted.compare(hash)) {
            Some(Err(what)) => found(fault(what)),
            _ => Ok(()),
        }
    }
}

/// Reading under way, and what was found.
pub struct Report<'c, 'w, 'r, S> {
    work: &'c mut Ordered<'w, Range<'r, S>, Found>,
    all: All<'c>,
}

/// All that was found.
pub struct All<'c> {
    /// The number of faults.
    pub faults: u64,
    /// The number of bytes of data that could be read.
    pub bytes: u64,
    /// The faults, where one JSON object reports them at the end.
    pub told: Option<Vec<Value>>,
    progress: &'c Progress,
}

impl<'c, 'w, 'r, S: Storage> Report<'c, 'w, 'r, S> {
    /// Nothing found so far; `as_json` keeps the faults, else they are printed.
    pub fn new(
        work: &'c mut Ordered<'w, Range<'r, S>, Found>,
        progress: &'c Progress,
        as_json: bool,
    ) -> Self {
        let told = as_json.then(Vec::new);
        Self { work, all: All { faults: 0, bytes: 0, told, progress } }
    }

    /// Reports a fault.
    pub fn fault(&mut self, path: &[u8], nid: Option<Nid>, what: impl fmt::Display) -> Result<()> {
        let fault = Found::Fault { path: path.to_vec(), nid, what: format!("{what:#}") };
        self.work.add(fault, &mut |found| self.all.take(found))
    }

    /// Reads a range, now or later, and reports what cannot be read.
    pub fn read(&mut self, range: Range<'r, S>) -> Result<()> {
        let bytes = range.end - range.start;
        self.work.hand_out(range, bytes, &mut |found| self.all.take(found))
    }

    /// Waits for all reads, and returns what was found.
    pub fn all(&mut self) -> Result<&All<'c>> {
        self.work.finish(&mut |found| self.all.take(found))?;
        Ok(&self.all)
    }
}

impl All<'_> {
    fn take(&mut self, found: Found) -> Result<()> {
        let (path, nid, what) = match found {
            Found::Bytes(bytes) => {
                self.bytes += bytes;
                return Ok(());
            }
            Found::Fault { path, nid, what } => (path, nid, what),
        };
        self.faults += 1;
        if let Some(told) = &mut self.told {
            let nid = nid.map(|nid| nid.0);
            let path = String::from_utf8_lossy(&path);
            told.push(json!({ "path": path, "nid": nid, "fault": what }));
            return Ok(());
        }
        self.progress.suspend(|| match nid {
            Some(nid) => output::line(format_args!("{} (nid {nid}): {what}", shown(&path))),
            None => output::line(format_args!("{}: {what}", shown(&path))),
        })
    }
}
