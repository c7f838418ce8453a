//! `ls`: the names in a directory, or a row for each.
//!
//! Always: an entry or target that cannot be read has a line on standard error; the list continues,
//! and the command fails at its end. A directory is listed once.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};

use anyhow::{Result, bail};
use rootlet::Error;
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::{DirEntry, PATH_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{AtPath, GuestRoot};

use super::args::{ListArgs, named, paths};
use super::row::{self, Columns};
use crate::color::Paint;
use crate::exit;
use crate::interrupt::Interrupt;
use crate::note;
use crate::output;
use crate::shown::shown;
use crate::source::open;

/// A name and its inode.
struct Entry {
    name: Vec<u8>,
    inode: Inode,
}

struct List<'a, S> {
    root: &'a GuestRoot<S>,
    args: &'a ListArgs,
    out: BufWriter<io::StdoutLock<'static>>,
    paint: Paint,
    /// Directories that are still to be listed, the next one last.
    ahead: Vec<(Vec<u8>, Inode)>,
    seen: HashSet<Nid>,
    target: Vec<u8>,
    /// Whether something was printed already.
    begun: bool,
    absent: u64,
    failed: bool,
}

/// The task.
pub fn task(args: &ListArgs, interrupt: &Interrupt) -> Result<()> {
    interrupt.ends_the_process();
    let opened =
        open(named(args.image.as_ref(), &args.read.source)?, &args.read.source, args.read.verbose)?;
    let mut list = List {
        root: &opened.root,
        args,
        out: BufWriter::new(io::stdout().lock()),
        paint: Paint::of_stdout(),
        ahead: Vec::new(),
        seen: HashSet::new(),
        target: vec![0; PATH_BYTES_MAX],
        begun: false,
        absent: 0,
        failed: false,
    };
    let ran = list.run();
    let flushed = list.out.flush().map_err(output::failed);
    let result = ran.and(flushed).and_then(|()| list.judge());
    opened.end(0, &result);
    result
}

impl<S: Storage> List<'_, S> {
    /// Lists the paths: first those that are not directories, as ls(1) does.
    fn run(&mut self) -> Result<()> {
        let (mut entries, mut dirs) = (Vec::new(), Vec::new());
        for path in paths(&self.args.paths) {
            let name = path.as_bytes().to_vec();
            match self.first(&name) {
                Ok(inode) if inode.kind() == FileKind::Directory && !self.args.directory => {
                    dirs.push((name, inode));
                }
                Ok(inode) => entries.push(Entry { name, inode }),
                Err(error) => {
                    self.failed = true;
                    note!("rootlet: {}", AtPath(&name, &error));
                }
            }
        }
        self.print(b"", entries)?;
        for dir in dirs {
            self.seen.clear();
            self.ahead.push(dir);
            self.walk()?;
        }
        Ok(())
    }

    /// Returns the error of a list that lacks something.
    fn judge(&self) -> Result<()> {
        match self.absent {
            0 if self.failed => Err(exit::stop(exit::FAILED, "")),
            0 => Ok(()),
            1 => bail!("1 row is absent"),
            absent => bail!("{absent} rows are absent"),
        }
    }

    /// What a path of the command line stands for: a symlink to a directory is the directory, unless
    /// rows are wanted, as ls(1) has it.
    fn first(&self, path: &[u8]) -> Result<Inode, Error> {
        let own = self.root.symlink_metadata(path)?;
        if own.kind() != FileKind::Symlink || self.args.long || self.args.directory {
            return Ok(own);
        }
        match self.root.metadata(path) {
            Ok(inode) if inode.kind() == FileKind::Directory => Ok(inode),
            _ => Ok(own),
        }
    }

    /// Lists the directories in `ahead`, and with -R their subdirectories.
    fn walk(&mut self) -> Result<()> {
        while let Some((path, dir)) = self.ahead.pop() {
            if !self.seen.insert(dir.nid()) {
                self.absent += 1;
                let nid = dir.nid();
                note!("{}: directory nid {nid} was listed under another name", shown(&path));
                continue;
            }
            let entries = self.entries(&path, &dir);
            if self.args.recursive {
                let dirs = entries.iter().filter(|entry| {
                    let special = entry.name == b"." || entry.name == b"..";
                    entry.inode.kind() == FileKind::Directory && !special
                });
                let below = dirs.map(|entry| (joined(&path, &entry.name), entry.inode));
                self.ahead.extend(below.rev().collect::<Vec<_>>());
            }
            if (self.args.recursive || self.args.paths.len() > 1) && !self.args.json {
                let gap = if self.begun { "\n" } else { "" };
                writeln!(self.out, "{gap}{}:", shown(&path)).map_err(output::failed)?;
                self.begun = true;
            }
            self.print(&path, entries)?;
        }
        Ok(())
    }

    /// Returns the entries of a directory that are to be shown. A fault is printed.
    fn entries(&mut self, path: &[u8], dir: &Inode) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.args.all {
            let above = self.root.metadata(&joined(path, b"..")).unwrap_or(*dir);
            entries.push(Entry { name: b".".to_vec(), inode: *dir });
            entries.push(Entry { name: b"..".to_vec(), inode: above });
        }
        let mut cursor = match self.root.read_dir_inode(*dir) {
            Ok(cursor) => cursor,
            Err(error) => {
                self.fault(path, &error);
                return entries;
            }
        };
        let mut entry = DirEntry::default();
        loop {
            match cursor.next_inode(self.root, &mut entry) {
                Ok(None) => return entries,
                Ok(Some(_)) if entry.name.starts_with(b".") && !self.args.shows_hidden() => {}
                Ok(Some(inode)) => entries.push(Entry { name: entry.name.to_vec(), inode }),
                // The directory itself is at fault: nobody can tell what else it holds.
                Err(error) if entry.name.is_empty() => {
                    self.fault(path, &error);
                    return entries;
                }
                Err(error) => self.fault(&joined(path, &entry.name), &error),
            }
        }
    }

    /// Reports an entry that has no row.
    fn fault(&mut self, path: &[u8], error: &Error) {
        self.absent += 1;
        note!("{}", AtPath(path, error));
    }

    /// Returns the target of a symlink. One that cannot be read is reported, and the row lacks it.
    fn target(&mut self, path: &[u8], inode: &Inode) -> Option<Vec<u8>> {
        if inode.kind() != FileKind::Symlink || !(self.args.long || self.args.json) {
            return None;
        }
        match self.root.read_link_inode(inode, &mut self.target) {
            Ok(target) => Some(target.to_vec()),
            Err(error) => {
                self.failed = true;
                note!("{}", AtPath(path, &error));
                None
            }
        }
    }

    /// Prints entries of the directory `path`; an empty one stands before names that are whole.
    fn print(&mut self, path: &[u8], entries: Vec<Entry>) -> Result<()> {
        let mut rows = Vec::new();
        for Entry { name, inode } in entries {
            let whole = if path.is_empty() { name.clone() } else { joined(path, &name) };
            let target = self.target(&whole, &inode);
            if self.args.json {
                let row = row::json(&whole, &inode, target.as_deref());
                writeln!(self.out, "{row}").map_err(output::failed)?;
            } else {
                rows.push((name, inode, target));
            }
        }
        let columns = Columns::of(rows.iter().map(|(_, inode, _)| inode));
        for (name, inode, target) in &rows {
            let name = row::painted(self.paint, name, inode);
            let line = match (self.args.long, target) {
                (false, _) => name,
                (true, None) => format!("{} {name}", columns.row(inode)),
                (true, Some(target)) => {
                    format!("{} {name} -> {}", columns.row(inode), shown(target))
                }
            };
            writeln!(self.out, "{line}").map_err(output::failed)?;
        }
        self.begun |= !rows.is_empty();
        Ok(())
    }
}

/// The path of `name` in the directory `path`.
fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, if path.ends_with(b"/") { b"" } else { b"/" }, name].concat()
}
