//! `check`: verifies everything in an image and its blobs that can be verified.
//!
//! Always: goes on after a fault; enters a directory once; reads of each kind of thing no more
//! than [`Budget`] allows, which is a multiple of the devices' bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rootlet::erofs::{Compat, DirBlock, Dirent, FileKind, Inode, Layout, Nid, Superblock};
use rootlet::read::{File, PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, Mounted, catch_up};

use crate::data::chunk_end;
use crate::interrupt::Interrupt;
use crate::output::{self, say};
use crate::seen::Seen;
use crate::shown::shown;

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes of names and values of xattrs for each byte of a device: one that is shared counts for
/// every inode that has it.
const XATTR_FACTOR: u64 = 1024;
/// Decoded bytes of compressed files for each byte of a device.
const DECODED_FACTOR: u64 = 4096;

/// How much may be read yet.
#[derive(Debug)]
struct Budget {
    what: &'static str,
    left: u64,
    told: bool,
}

impl Budget {
    fn new(what: &'static str, left: u64) -> Self {
        Self { what, left, told: false }
    }
}

/// What was found of an inode that is no directory.
struct Links {
    names: u32,
    says: u32,
    path: Box<[u8]>,
}

/// A directory that is to be read.
struct Ahead {
    inode: Inode,
    parent: Nid,
    path: Vec<u8>,
}

/// What was found of `.` and `..`, and the subdirectories.
#[derive(Default)]
struct Found {
    dot: Option<Nid>,
    dotdot: Option<Nid>,
    dirs: u32,
}

struct Check<'r, S> {
    root: &'r GuestRoot<S>,
    superblock: Superblock,
    /// Whether the image has device slots: layers may have been merged, each with its own links.
    merged: bool,
    faults: u64,
    links: HashMap<Nid, Links>,
    /// Path of every directory.
    dirs: HashMap<Nid, Box<[u8]>>,
    seen: Seen,
    dir_budget: Budget,
    map_budget: Budget,
    xattr_budget: Budget,
    data_budget: Budget,
    data: Vec<u8>,
    xattrs: Vec<u8>,
    bytes: u64,
    bar: ProgressBar,
}

/// The task. `mounted` proves that superblock, device table and lengths were right. Memory: a path
/// for every inode.
pub fn task<S: Storage>(
    root: &GuestRoot<S>,
    mounted: &Mounted,
    interrupt: &Interrupt,
) -> Result<()> {
    let superblock = root.superblock();
    let room = mounted.sources.iter().fold(0, |sum: u64, source| sum.saturating_add(source.bytes));
    let dir_bytes = root.directory_bytes_max();
    let bar = ProgressBar::new(superblock.inodes);
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} of {len} inodes  {wide_msg}")?);
    let mut check = Check {
        root,
        merged: superblock.extra_devices > 0,
        superblock,
        faults: 0,
        links: HashMap::new(),
        dirs: HashMap::new(),
        seen: Seen::default(),
        dir_budget: Budget::new("bytes of directories", dir_bytes),
        // An entry has at least 4 bytes.
        map_budget: Budget::new("chunk map entries", dir_bytes / 4),
        xattr_budget: Budget::new("bytes of xattrs", room.saturating_mul(XATTR_FACTOR)),
        data_budget: Budget::new("decoded bytes", room.saturating_mul(DECODED_FACTOR)),
        data: vec![0; PIECE_BYTES],
        xattrs: vec![0; XATTR_BYTES_MAX],
        bytes: 0,
        bar,
    };
    check.run(interrupt)
}

impl<S: Storage> Check<'_, S> {
    fn run(&mut self, interrupt: &Interrupt) -> Result<()> {
        let root = self.root.metadata(b"/")?;
        self.dirs.insert(root.nid, b"/".as_slice().into());
        self.body(&root, b"/")?;
        let mut ahead = vec![Ahead { inode: root, parent: root.nid, path: Vec::new() }];
        while let Some(dir) = ahead.pop() {
            self.directory(&dir, &mut ahead, interrupt)?;
        }
        self.link_counts()?;
        let inodes = (self.links.len() + self.dirs.len()) as u64 + self.hidden()?;
        let says = self.superblock.inodes;
        if says != inodes && !self.merged {
            let what = format!("the superblock counts {says} inodes, {inodes} are reachable");
            self.fault(b"/", None, what)?;
        }
        self.bar.finish_and_clear();
        let sum = match self.superblock.compat.has(Compat::SB_CHKSUM) {
            true => "superblock checksum right",
            false => "no superblock checksum",
        };
        let bytes = crate::size::human(self.bytes);
        let faults = self.faults;
        say!("{inodes} inodes, {bytes} of data read, {sum}, {faults} faults");
        match faults {
            0 => Ok(()),
            1 => bail!("1 fault"),
            _ => bail!("{faults} faults"),
        }
    }

    fn fault(&mut self, path: &[u8], nid: Option<Nid>, what: impl std::fmt::Display) -> Result<()> {
        self.faults += 1;
        self.bar.suspend(|| match nid {
            Some(nid) => output::line(format_args!("{} (nid {nid}): {what}", shown(path))),
            None => output::line(format_args!("{}: {what}", shown(path))),
        })
    }

    /// Takes `much` of a budget; false, and a fault the first time, when there is no more.
    fn spend(
        &mut self,
        of: fn(&mut Self) -> &mut Budget,
        much: u64,
        path: &[u8],
        nid: Nid,
    ) -> Result<bool> {
        let budget = of(self);
        if let Some(left) = budget.left.checked_sub(much) {
            budget.left = left;
            return Ok(true);
        }
        let what = budget.what;
        if !std::mem::replace(&mut budget.told, true) {
            let what = format!("more {what} than the devices can hold; no more are verified");
            self.fault(path, Some(nid), what)?;
        }
        Ok(false)
    }

    /// The entries of one directory, block by block.
    fn directory(
        &mut self,
        dir: &Ahead,
        ahead: &mut Vec<Ahead>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let Ahead { inode, path, .. } = dir;
        let size = self.superblock.block_size;
        let mut bytes = vec![0; size.bytes_usize()];
        let mut last: Vec<u8> = Vec::new();
        let mut found = Found::default();
        for number in 0..size.blocks_of(inode.size) {
            interrupt.check()?;
            // As many as the directory has: those that lie behind their inodes fill no block.
            let start = number << size.bits();
            let len = size.bytes().min(inode.size - start);
            if !self.spend(|check| &mut check.dir_budget, len, path, inode.nid)? {
                return Ok(());
            }
            let got = match self.root.read_dir_block(inode, number, &mut bytes) {
                Ok(got) => got,
                Err(error) => {
                    self.fault(path, Some(inode.nid), format!("block {number}: {error}"))?;
                    continue;
                }
            };
            let block = match DirBlock::from_bytes(&bytes[..got], inode.nid, number) {
                Ok(block) => block,
                Err(error) => {
                    self.fault(path, Some(inode.nid), error)?;
                    continue;
                }
            };
            for entry in 0..block.len() {
                let dirent = match block.entry(entry) {
                    Ok(dirent) => dirent,
                    Err(error) => {
                        self.fault(path, Some(inode.nid), error)?;
                        continue;
                    }
                };
                if !last.is_empty() && *last >= *dirent.name {
                    let what = format!(
                        "block {number} entry {entry}: the name is not above the one before it"
                    );
                    self.fault(&joined(path, dirent.name), Some(dirent.nid), what)?;
                }
                last = dirent.name.to_vec();
                self.entry(dir, dirent, &mut found, ahead)?;
            }
        }
        self.own_entries(dir, &found)
    }

    /// One entry, and what it leads to if that is new.
    fn entry(
        &mut self,
        dir: &Ahead,
        dirent: Dirent<'_>,
        found: &mut Found,
        ahead: &mut Vec<Ahead>,
    ) -> Result<()> {
        let nid = dirent.nid;
        let path = joined(&dir.path, dirent.name);
        if let b"." | b".." = dirent.name {
            let place = if dirent.name == b"." { &mut found.dot } else { &mut found.dotdot };
            *place = Some(nid);
            if tells_otherwise(&dirent, FileKind::Directory) {
                self.fault(&path, Some(nid), "the entry's type is no directory")?;
            }
            return Ok(());
        }
        let inode = match self.root.inode(nid) {
            Ok(inode) => inode,
            Err(error) => return self.fault(&path, Some(nid), error),
        };
        if tells_otherwise(&dirent, inode.kind) {
            let says = match dirent.kind() {
                Some(kind) => kind.to_string(),
                None => format!("type {}", dirent.file_type),
            };
            let what = format!("the entry says {says}, the inode is a {}", inode.kind);
            self.fault(&path, Some(nid), what)?;
        }
        if inode.kind == FileKind::Directory {
            found.dirs = found.dirs.saturating_add(1);
            if let Some(first) = self.dirs.get(&nid) {
                let what = format!("the directory has another name, {}", shown(first));
                return self.fault(&path, Some(nid), what);
            }
            self.dirs.insert(nid, path.as_slice().into());
            self.body(&inode, &path)?;
            ahead.push(Ahead { inode, parent: dir.inode.nid, path });
            return Ok(());
        }
        match self.links.entry(nid) {
            Entry::Occupied(mut links) => {
                let links = links.get_mut();
                links.names = links.names.saturating_add(1);
                Ok(())
            }
            Entry::Vacant(links) => {
                links.insert(Links { names: 1, says: inode.nlink, path: path.as_slice().into() });
                self.body(&inode, &path)
            }
        }
    }

    /// `.`, `..` and the link count of a directory whose entries were read.
    fn own_entries(&mut self, dir: &Ahead, found: &Found) -> Result<()> {
        let Ahead { inode, parent, path } = dir;
        let (nid, nlink) = (inode.nid, inode.nlink);
        let dot = if inode.dot_omitted { None } else { Some(nid) };
        for (name, want, got) in [(".", dot, found.dot), ("..", Some(*parent), found.dotdot)] {
            let said = |nid: Option<Nid>| nid.map_or("missing".into(), |nid| format!("nid {nid}"));
            if want != got && !(want.is_none() && got == Some(nid)) {
                let what = format!("`{name}` is {}, should be {}", said(got), said(want));
                self.fault(path, Some(nid), what)?;
            }
        }
        let want = found.dirs.saturating_add(2);
        // 1 stands for more than the field can hold.
        if nlink != want && nlink != 1 && !self.merged {
            let what = format!("link count {nlink}, with {} subdirectories {want}", found.dirs);
            self.fault(path, Some(nid), what)?;
        }
        Ok(())
    }

    fn link_counts(&mut self) -> Result<()> {
        if self.merged {
            return Ok(());
        }
        let wrong = self.links.iter().filter(|(_, links)| links.names != links.says);
        let mut wrong: Vec<_> = wrong
            .map(|(nid, Links { names, says, path })| {
                (path.clone(), *nid, format!("link count {says}, {names} names lead there"))
            })
            .collect();
        wrong.sort();
        wrong.into_iter().try_for_each(|(path, nid, what)| self.fault(&path, Some(nid), what))
    }

    /// What an inode has besides entries: xattrs, a target, data.
    fn body(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        self.bar.inc(1);
        self.bar.set_message(shown(path));
        let xattrs = match self.xattrs_of(inode, path)? {
            true => inode.xattrs,
            // Their fault is told already; the data is looked at without them.
            false => None,
        };
        match inode.kind {
            FileKind::Regular => self.file(&Inode { xattrs, ..*inode }, path),
            FileKind::Symlink => self.target(inode, path),
            _ => Ok(()),
        }
    }

    /// Reads the xattrs; whether they can be read.
    fn xattrs_of(&mut self, inode: &Inode, path: &[u8]) -> Result<bool> {
        let span = inode.xattrs.map_or(0, |span| span.len);
        if !self.spend(|check| &mut check.xattr_budget, span, path, inode.nid)? {
            return Ok(false);
        }
        let mut bytes: u64 = 0;
        let read = self.root.xattrs(inode, &mut self.xattrs, |name, value| {
            let name: usize = name.parts().map(<[u8]>::len).iter().sum();
            bytes = bytes.saturating_add((name + value.len()) as u64);
            Ok(())
        });
        if let Err(error) = &read {
            self.fault(path, Some(inode.nid), format!("xattrs: {error}"))?;
        }
        self.spend(|check| &mut check.xattr_budget, bytes, path, inode.nid)?;
        Ok(read.is_ok())
    }

    fn target(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        let mut target = vec![0; PATH_BYTES_MAX];
        let what = match self.root.read_link_inode(inode, &mut target) {
            Ok([]) => "the target of the symlink is empty".into(),
            Ok(target) if target.contains(&0) => "the target of the symlink holds a NUL".into(),
            Ok(_) => return Ok(()),
            Err(error) => format!("the target of the symlink: {error}"),
        };
        self.fault(path, Some(inode.nid), what)
    }

    /// Reads the inodes that hold parts of others and stand in no directory; how many there are.
    fn hidden(&mut self) -> Result<u64> {
        let mut count = 0;
        let inodes =
            [(self.superblock.packed, "(packed inode)"), (self.superblock.metabox, "(metabox)")];
        for (nid, name) in inodes {
            let Some(nid) = nid.filter(|nid| !self.links.contains_key(nid)) else { continue };
            count += 1;
            let read = match self.root.inode(nid) {
                Ok(inode) if inode.kind == FileKind::Regular => self.file(&inode, name.as_bytes()),
                Ok(inode) => {
                    let what = format!("{}, not a regular file", inode.kind);
                    self.fault(name.as_bytes(), Some(nid), what)
                }
                Err(error) => self.fault(name.as_bytes(), Some(nid), error),
            };
            read?;
        }
        Ok(count)
    }

    /// The data of a file, chunk by chunk where it has chunks.
    fn file(&mut self, inode: &Inode, path: &[u8]) -> Result<()> {
        let file = match self.root.open_inode(*inode) {
            Ok(file) => file,
            Err(error) => return self.fault(path, Some(inode.nid), error),
        };
        match inode.layout {
            Layout::None | Layout::Plain { start: None } => Ok(()),
            Layout::Plain { .. } => self.stored(&file, path, 0, inode.size),
            Layout::Inline { tail, .. } => {
                let body = inode.size.saturating_sub(tail.len);
                self.stored(&file, path, 0, body)?;
                self.stored(&file, path, body, inode.size)
            }
            Layout::Chunked(map) => {
                let mut at = 0;
                while at < inode.size {
                    if !self.spend(|check| &mut check.map_budget, 1, path, inode.nid)? {
                        return Ok(());
                    }
                    let end = chunk_end(map.chunk_bits, at).min(inode.size);
                    self.stored(&file, path, at, end)?;
                    at = end;
                }
                Ok(())
            }
            _ => {
                if !self.spend(|check| &mut check.data_budget, inode.size, path, inode.nid)? {
                    return Ok(());
                }
                self.read(&file, path, 0, inode.size)
            }
        }
    }

    /// Bytes that are stored as they are, or not at all: those of a device that were read before
    /// are not read again.
    fn stored<L: rootlet::cache::Layer<S>>(
        &mut self,
        file: &File<'_, S, L>,
        path: &[u8],
        start: u64,
        end: u64,
    ) -> Result<()> {
        let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else { return Ok(()) };
        let inode = file.inode();
        let place = |at| self.root.source_of(inode, at);
        match (place(start), place(last)) {
            (Ok(None), Ok(None)) => Ok(()),
            (Ok(Some((device, at))), Ok(Some(to)))
                if to == (device, at.saturating_add(last - start)) =>
            {
                for new in self.seen.add(device, at..at.saturating_add(end - start)) {
                    let from = start + (new.start - at);
                    self.read(file, path, from, from + (new.end - new.start))?;
                }
                Ok(())
            }
            (Err(error), _) | (_, Err(error)) => self.fault(path, Some(inode.nid), error),
            // It goes on on another device. Halves are at most 63 deep.
            _ if last > start => {
                let middle = start.midpoint(end);
                self.stored(file, path, start, middle)?;
                self.stored(file, path, middle, end)
            }
            _ => self.read(file, path, start, end),
        }
    }

    fn read<L: rootlet::cache::Layer<S>>(
        &mut self,
        file: &File<'_, S, L>,
        path: &[u8],
        start: u64,
        end: u64,
    ) -> Result<()> {
        let mut at = start;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.data.len());
            match file.read_at(at, &mut self.data[..len]) {
                Ok(got) if got == len => self.bytes += got as u64,
                Ok(got) => {
                    let what = format!("only {got} of {len} bytes at byte {at} of the file");
                    return self.fault(path, Some(file.inode().nid), what);
                }
                Err(error) => {
                    let what = format!("{len} bytes at byte {at} of the file: {error}");
                    self.fault(path, Some(file.inode().nid), what)?;
                }
            }
            catch_up(self.root);
            at += len as u64;
        }
        Ok(())
    }
}

/// Whether an entry tells another type than the inode has; 0 tells none.
fn tells_otherwise(dirent: &Dirent<'_>, kind: FileKind) -> bool {
    dirent.file_type != 0 && dirent.kind() != Some(kind)
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}
