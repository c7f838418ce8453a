//! What inodes hold: xattrs, targets of symlinks, data.
//!
//! Always: bytes that a device stores as they are, are read once, whichever files share them, but for
//! files with fingerprints, each of which is read whole.

use std::sync::Arc;

use anyhow::Result;
use rootlet::cache::Cache;
use rootlet::erofs::{FileKind, Inode, Layout};
use rootlet::read::{File, PATH_BYTES_MAX};
use rootlet::storage::Storage;

use super::Check;
use super::fingerprint::{self, Fingerprint};
use super::report::Range;
use crate::host::data::chunk_end;
use crate::shown::shown;

/// An open file, of which several threads may read.
type Opened<'r, S> = Arc<File<'r, S, Option<Cache>>>;

impl<'r, S: Storage> Check<'_, '_, 'r, S> {
    /// What an inode has besides entries: xattrs, a target, data.
    pub fn body(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        self.progress.entry(|| shown(path));
        let inode = match self.xattrs_of(inode, path)? {
            true => *inode,
            // The fault is reported; the data is checked without the xattrs.
            false => inode.without_xattrs(),
        };
        match inode.kind() {
            FileKind::Regular => {
                self.files += 1;
                self.file(&inode, path)
            }
            FileKind::Symlink => self.target(&inode, path),
            _ => Ok(()),
        }
    }

    /// Reads the xattrs; whether they can be read.
    fn xattrs_of(&mut self, inode: &Inode, path: &[u8]) -> Result<bool> {
        let span = inode.xattrs().map_or(0, |span| span.len);
        if !self.spend(|check| &mut check.xattr_budget, span, path, inode.nid())? {
            return Ok(false);
        }
        let mut bytes: u64 = 0;
        let read = self.root.xattrs(inode, &mut self.xattrs, |name, value| {
            let name: usize = name.parts().map(<[u8]>::len).iter().sum();
            bytes += (name + value.len()) as u64;
            Ok(())
        });
        if let Err(error) = &read {
            self.fault(path, Some(inode.nid()), format!("xattrs: {error:#}"))?;
        }
        self.spend(|check| &mut check.xattr_budget, bytes, path, inode.nid())?;
        Ok(read.is_ok())
    }

    fn target(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        let mut target = vec![0; PATH_BYTES_MAX];
        let what = match self.root.read_link_inode(inode, &mut target) {
            Ok([]) => "the target of the symlink is empty".into(),
            Ok(target) if target.contains(&0) => "the target of the symlink holds a NUL".into(),
            Ok(_) => return Ok(()),
            Err(error) => format!("the target of the symlink: {error:#}"),
        };
        self.fault(path, Some(inode.nid()), what)
    }

    /// Reads the inodes that hold parts of others and stand in no directory; how many there are.
    pub fn hidden(&mut self) -> Result<u64> {
        let mut count = 0;
        let inodes = [
            (self.superblock.packed(), "(packed inode)"),
            (self.superblock.metabox(), "(metabox)"),
        ];
        for (nid, name) in inodes {
            let Some(nid) = nid.filter(|nid| !self.links.contains_key(nid)) else { continue };
            count += 1;
            let read = match self.root.inode(nid) {
                Ok(inode) if inode.kind() == FileKind::Regular => {
                    self.file(&inode, name.as_bytes())
                }
                Ok(inode) => {
                    let what = format!("{}, not a regular file", inode.kind());
                    self.fault(name.as_bytes(), Some(nid), what)
                }
                Err(error) => self.fault(name.as_bytes(), Some(nid), error),
            };
            read?;
        }
        Ok(count)
    }

    /// The fingerprint of a file, if it has one of a kind that is known.
    fn fingerprint(&mut self, inode: &Inode, path: &[u8]) -> Result<Option<Fingerprint>> {
        let mut value = vec![0; fingerprint::VALUE_BYTES_MAX];
        let value = match self.root.fingerprint(inode, &mut value) {
            Ok(None) => return Ok(None),
            Ok(Some(value)) => value,
            Err(error) => {
                self.fault(path, Some(inode.nid()), format!("fingerprint: {error:#}"))?;
                return Ok(None);
            }
        };
        let known = Fingerprint::of(value);
        self.fingerprints.unknown += u64::from(known.is_none());
        Ok(known)
    }

    /// The data of a file: all of it if it has a fingerprint; else what was not read before, chunk by
    /// chunk where it has chunks.
    fn file(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        let file = match self.root.open_inode(*inode) {
            Ok(file) => Arc::new(file),
            Err(error) => return self.fault(path, Some(inode.nid()), error),
        };
        if let Some(wanted) = self.fingerprint(inode, path)? {
            if self.spend(|check| &mut check.data_budget, inode.size(), path, inode.nid())? {
                self.fingerprints.compared += 1;
                self.report.read(Range {
                    file,
                    path: path.to_vec(),
                    start: 0,
                    end: inode.size(),
                    wanted: Some(wanted),
                })?;
            }
            return Ok(());
        }
        match inode.layout() {
            Layout::None | Layout::Plain { start: None } => Ok(()),
            Layout::Plain { .. } => self.stored(&file, path, 0, inode.size()),
            Layout::Inline { tail, .. } => {
                let body = inode.size().checked_sub(tail.len);
                let body = body.expect("the tail of a file is a part of the file");
                self.stored(&file, path, 0, body)?;
                self.stored(&file, path, body, inode.size())
            }
            Layout::Chunked(map) => {
                let mut at = 0;
                while at < inode.size() {
                    if !self.spend(|check| &mut check.map_budget, 1, path, inode.nid())? {
                        return Ok(());
                    }
                    let end = chunk_end(map.chunk_bits(), at, inode.size());
                    self.stored(&file, path, at, end)?;
                    at = end;
                }
                Ok(())
            }
            _ => {
                if !self.spend(|check| &mut check.data_budget, inode.size(), path, inode.nid())? {
                    return Ok(());
                }
                self.read(&file, path, 0, inode.size())
            }
        }
    }

    /// Bytes that are stored as they are, or not at all: those of a device that were read before
    /// are not read again.
    fn stored(&mut self, file: &Opened<'r, S>, path: &[u8], start: u64, end: u64) -> Result<()> {
        let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else { return Ok(()) };
        let inode = file.inode();
        let place = |at| self.root.source_of(inode, at);
        match (place(start), place(last)) {
            (Ok(None), Ok(None)) => Ok(()),
            (Ok(Some((device, at))), Ok(Some(to)))
                if to.0 == device && to.1.checked_sub(at) == Some(last - start) =>
            {
                for new in self.seen.add(device, at..to.1 + 1) {
                    let from = start + (new.start - at);
                    self.read(file, path, from, from + (new.end - new.start))?;
                }
                Ok(())
            }
            (Err(error), _) | (_, Err(error)) => self.fault(path, Some(inode.nid()), error),
            // The range continues on another device. Halves are at most 63 deep.
            _ if last > start => {
                let middle = start.midpoint(end);
                self.stored(file, path, start, middle)?;
                self.stored(file, path, middle, end)
            }
            _ => self.read(file, path, start, end),
        }
    }

    fn read(&mut self, file: &Opened<'r, S>, path: &[u8], start: u64, end: u64) -> Result<()> {
        self.report.read(Range {
            file: Arc::clone(file),
            path: path.to_vec(),
            start,
            end,
            wanted: None,
        })
    }
}
