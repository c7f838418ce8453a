//! `check`: verifies everything in an image and its blobs that can be verified.
//!
//! Always: a fault does not end the check; a directory is entered once; a [`Budget`] bounds the work,
//! which is a multiple of the bytes of the devices. One thread checks; the data of files is read
//! beside it.

mod body;
mod digests;
mod fingerprint;
mod report;
mod seen;
mod stack;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::{Result, bail};
use rootlet::erofs::{Compat, DirBlock, Dirent, FileKind, Inode, Nid, Superblock};
use rootlet::read::XATTR_BYTES_MAX;
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, MountError};
use serde_json::json;

use super::args::{self, CheckArgs, named};
use super::jobs::Jobs;
use super::ordered::ordered;
use crate::interrupt::Interrupt;
use crate::note;
use crate::output;
use crate::progress::Progress;
use crate::say;
use crate::shown::shown;
use crate::size::{counted, human};
use crate::source::{AVB_NOTICE, Prepared};
use digests::Digests;
use report::{Report, reader};
use seen::Seen;

/// Bytes of names and values of xattrs for each byte of a device: one that is shared counts for
/// every inode that has it.
const XATTR_FACTOR: u128 = 1024;
/// Decoded bytes of compressed files for each byte of a device.
const DECODED_FACTOR: u128 = 4096;

/// How much may be read yet: wider than lengths, so that no sum or product of them overflows.
#[derive(Debug)]
struct Budget {
    what: &'static str,
    left: u128,
    told: bool,
}

impl Budget {
    fn new(what: &'static str, left: u128) -> Self {
        Self { what, left, told: false }
    }
}

/// The names of an inode that is not a directory.
struct Links {
    names: u64,
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
    dirs: u64,
}

/// How many files have fingerprints.
#[derive(Clone, Copy, Default)]
struct Fingerprints {
    /// Those that are compared with the data.
    compared: u64,
    /// Those of a kind that is not known.
    unknown: u64,
}

struct Check<'c, 'w, 'r, S> {
    root: &'r GuestRoot<S>,
    superblock: Superblock,
    /// Whether the image has device slots: layers may have been merged, each with its own links.
    merged: bool,
    report: Report<'c, 'w, 'r, S>,
    links: HashMap<Nid, Links>,
    /// Path of every directory.
    dirs: HashMap<Nid, Box<[u8]>>,
    seen: Seen,
    dir_budget: Budget,
    map_budget: Budget,
    xattr_budget: Budget,
    data_budget: Budget,
    xattrs: Vec<u8>,
    /// Regular files whose data was read.
    files: u64,
    fingerprints: Fingerprints,
    progress: &'c Progress,
}

/// The task. The reason why an image cannot be mounted is its only fault.
pub fn task(args: &CheckArgs, interrupt: &Interrupt) -> Result<()> {
    let read = &args.read;
    let image = named(args.image.as_ref(), &read.source)?;
    // Nothing has to be undone: the region can lose its writer at any instant.
    interrupt.ends_the_process();
    let mut prepared = Prepared::new(image, &read.source, &[], read.verbose)?;
    prepared.set_readers(args.jobs.count());
    let has_avb_footer = prepared.has_avb_footer;
    let bound = prepared.bind();
    let opened = match bound {
        Ok(mounted) if mounted.images.len() > 1 || prepared.storage.objects().is_some() => {
            return stack::check(prepared, &mounted, args);
        }
        bound => bound.and_then(|mounted| prepared.mount_bound(mounted)),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(why) => {
            // The image is named by the error of the command.
            let fault = why.downcast_ref::<MountError>();
            let fault = fault.map_or_else(|| format!("{why:#}"), |fault| format!("{fault:#}"));
            match args.json {
                true => say!("{:#}", json!({ "faults": [{ "path": "/", "fault": fault }] })),
                false => say!("/: {fault}"),
            }
            return Err(why);
        }
    };
    if has_avb_footer && !read.verbose {
        note!("{AVB_NOTICE}");
    }
    let digests = digests::read_all(opened.root.storage(), &opened.mounted);
    let room = opened.mounted.sources().map(|(_, _, of)| u128::from(of.bytes)).sum();
    let (files, result) = verify(&opened.root, room, digests, args.json, args.jobs);
    opened.end(files, &result);
    result
}

/// Verifies what is mounted. Returns how many files were read, and whether there was a fault.
/// What is mounted proves that superblock, device table and lengths were right; its sources have
/// `room` bytes together. Memory: a path for every inode.
fn verify<S: Storage + Sync>(
    root: &GuestRoot<S>,
    room: u128,
    digests: Option<Digests>,
    as_json: bool,
    jobs: Jobs,
) -> (u64, Result<()>) {
    let superblock = root.superblock();
    let dir_bytes = root.directory_bytes_max();
    let progress = &Progress::of_entries(superblock.inodes());
    ordered(
        jobs,
        || reader(root, progress),
        |work| {
            let mut check = Check {
                root,
                merged: superblock.extra_devices() > 0,
                superblock,
                report: Report::new(work, progress, as_json),
                links: HashMap::new(),
                dirs: HashMap::new(),
                seen: Seen::default(),
                dir_budget: Budget::new("bytes of directories", dir_bytes.into()),
                // An entry has at least 4 bytes.
                map_budget: Budget::new("chunk map entries", (dir_bytes / 4).into()),
                xattr_budget: Budget::new("bytes of xattrs", room * XATTR_FACTOR),
                data_budget: Budget::new("decoded bytes", room * DECODED_FACTOR),
                xattrs: vec![0; XATTR_BYTES_MAX],
                files: 0,
                fingerprints: Fingerprints::default(),
                progress,
            };
            let result = check.run(digests);
            (check.files, result)
        },
    )
}

impl<S: Storage> Check<'_, '_, '_, S> {
    fn run(&mut self, digests: Option<Digests>) -> Result<()> {
        let verified = match digests {
            Some(Digests { bytes, faults }) => {
                faults.iter().try_for_each(|fault| self.fault(b"/", None, fault))?;
                Some(bytes)
            }
            None => None,
        };
        let root = self.root.metadata(b"/")?;
        self.dirs.insert(root.nid(), b"/".as_slice().into());
        self.body(&root, b"/")?;
        let mut ahead = vec![Ahead { inode: root, parent: root.nid(), path: Vec::new() }];
        while let Some(dir) = ahead.pop() {
            self.directory(&dir, &mut ahead)?;
        }
        self.link_counts()?;
        let inodes = (self.links.len() + self.dirs.len()) as u64 + self.hidden()?;
        let says = self.superblock.inodes();
        if says != inodes && !self.merged {
            let what = format!("the superblock counts {says} inodes, {inodes} are reachable");
            self.fault(b"/", None, what)?;
        }
        let Fingerprints { compared, unknown } = self.fingerprints;
        let all = self.report.all()?;
        let faults = all.faults;
        if let Some(told) = &all.told {
            let object = json!({
                "inodes": inodes,
                "read_bytes": all.bytes,
                "verified_bytes": verified,
                "fingerprints": { "compared": compared, "unknown": unknown },
                "superblock_checksum": self.superblock.compat().has(Compat::SB_CHKSUM),
                "faults": told,
            });
            self.progress.suspend(|| output::line(format_args!("{object:#}")))?;
            return judged(faults);
        }
        let sum = match self.superblock.compat().has(Compat::SB_CHKSUM) {
            true => "superblock checksum right",
            false => "no superblock checksum",
        };
        let bytes = human(all.bytes);
        let digests = verified.map_or_else(String::new, |bytes| {
            format!("{} of the sources verified, ", human(bytes))
        });
        let known = match compared {
            0 => String::new(),
            compared => format!("{} compared, ", counted(compared, "fingerprint", "fingerprints")),
        };
        let others = match unknown {
            0 => String::new(),
            unknown => format!("{} not known, ", counted(unknown, "fingerprint", "fingerprints")),
        };
        let (inodes, found) =
            (counted(inodes, "inode", "inodes"), counted(faults, "fault", "faults"));
        say!("{inodes}, {bytes} of data read, {digests}{known}{others}{sum}, {found}");
        judged(faults)
    }

    fn fault(&mut self, path: &[u8], nid: Option<Nid>, what: impl std::fmt::Display) -> Result<()> {
        self.report.fault(path, nid, what)
    }

    /// Takes `much` from a budget. Returns false, and reports a fault the first time, when the budget is
    /// spent.
    fn spend(
        &mut self,
        of: fn(&mut Self) -> &mut Budget,
        much: u64,
        path: &[u8],
        nid: Nid,
    ) -> Result<bool> {
        let budget = of(self);
        if let Some(left) = budget.left.checked_sub(much.into()) {
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
    fn directory(&mut self, dir: &Ahead, ahead: &mut Vec<Ahead>) -> Result<()> {
        let Ahead { inode, path, .. } = dir;
        let size = self.superblock.block_size();
        let mut bytes = vec![0; size.bytes_usize()];
        let mut last: Vec<u8> = Vec::new();
        let mut found = Found::default();
        for number in 0..size.blocks_of(inode.size()) {
            // The bytes of the directory alone: a directory after its inode does not fill its block.
            let start = number << size.bits();
            let len = size.bytes().min(inode.size() - start);
            if !self.spend(|check| &mut check.dir_budget, len, path, inode.nid())? {
                return Ok(());
            }
            let got = match self.root.read_dir_block(inode, number, &mut bytes) {
                Ok(got) => got,
                Err(error) => {
                    self.fault(path, Some(inode.nid()), format!("block {number}: {error:#}"))?;
                    continue;
                }
            };
            let block = match DirBlock::from_bytes(&bytes[..got], inode.nid(), number) {
                Ok(block) => block,
                Err(error) => {
                    self.fault(path, Some(inode.nid()), error)?;
                    continue;
                }
            };
            for entry in 0..block.len() {
                let dirent = match block.entry(entry) {
                    Ok(dirent) => dirent,
                    Err(error) => {
                        self.fault(path, Some(inode.nid()), error)?;
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

    /// Checks one entry, and the inode that the entry names if that inode is new.
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
        if tells_otherwise(&dirent, inode.kind()) {
            let says = match dirent.kind() {
                Some(kind) => kind.to_string(),
                None => format!("type {}", dirent.file_type),
            };
            let what = format!("the entry says {says}, the inode is a {}", inode.kind());
            self.fault(&path, Some(nid), what)?;
        }
        if inode.kind() == FileKind::Directory {
            found.dirs += 1;
            if let Some(first) = self.dirs.get(&nid) {
                let what = format!("the directory has another name, {}", shown(first));
                return self.fault(&path, Some(nid), what);
            }
            self.dirs.insert(nid, path.as_slice().into());
            self.body(&inode, &path)?;
            ahead.push(Ahead { inode, parent: dir.inode.nid(), path });
            return Ok(());
        }
        match self.links.entry(nid) {
            Entry::Occupied(mut links) => {
                links.get_mut().names += 1;
                Ok(())
            }
            Entry::Vacant(links) => {
                links.insert(Links { names: 1, says: inode.nlink(), path: path.as_slice().into() });
                self.body(&inode, &path)
            }
        }
    }

    /// `.`, `..` and the link count of a directory whose entries were read.
    fn own_entries(&mut self, dir: &Ahead, found: &Found) -> Result<()> {
        let Ahead { inode, parent, path } = dir;
        let (nid, nlink) = (inode.nid(), u64::from(inode.nlink()));
        let dot = if inode.dot_omitted() { None } else { Some(nid) };
        for (name, want, got) in [(".", dot, found.dot), ("..", Some(*parent), found.dotdot)] {
            let said = |nid: Option<Nid>| nid.map_or("missing".into(), |nid| format!("nid {nid}"));
            if want != got && !(want.is_none() && got == Some(nid)) {
                let what = format!("`{name}` is {}, should be {}", said(got), said(want));
                self.fault(path, Some(nid), what)?;
            }
        }
        let want = found.dirs + 2;
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
        let wrong = self.links.iter().filter(|(_, links)| links.names != u64::from(links.says));
        let mut wrong: Vec<_> = wrong
            .map(|(nid, Links { names, says, path })| {
                (path.clone(), *nid, format!("link count {says}, {names} names lead there"))
            })
            .collect();
        wrong.sort();
        wrong.into_iter().try_for_each(|(path, nid, what)| self.fault(&path, Some(nid), what))
    }
}

/// Returns the result of a check that found `faults` faults.
fn judged(faults: u64) -> Result<()> {
    match faults {
        0 => Ok(()),
        _ => bail!("{}", counted(faults, "fault", "faults")),
    }
}

/// Returns whether an entry names another type than its inode; 0 names none.
fn tells_otherwise(dirent: &Dirent<'_>, kind: FileKind) -> bool {
    dirent.file_type != 0 && dirent.kind() != Some(kind)
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    [dir, b"/", name].concat()
}
