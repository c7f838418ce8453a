//! `extract`: restores what lies below a path of an image into a directory of this machine.
//!
//! Always: nothing is written outside that directory; a restored file has all its bytes; an entry
//! that cannot be restored has a line on standard error, and the command continues, unless the disk
//! is full.

mod counts;
mod entry;
mod walk;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rootlet::storage::Storage;
use rootlet_guest::{AtPath, GuestRoot};
use rustix::fs::Mode;

use super::args::{ExtractArgs, named, paths};
use super::ordered::ordered;
use crate::exit::{FAILED, stop, usage};
use crate::interrupt::Interrupt;
use crate::note;
use crate::progress::Progress;
use crate::source::open_for;
use counts::Counts;
use entry::Setup;
use walk::{Walk, restorer};

/// The task.
pub fn task(args: &ExtractArgs, interrupt: &Interrupt) -> Result<()> {
    let image = named(args.image.as_ref(), &args.read.source)?;
    let dir = args.dir.as_ref().ok_or_else(|| usage("no DIR given (see --help)"))?;
    let opened = open_for(args.jobs.count(), image, &args.read.source, args.read.verbose)?;
    let mut counts = Counts::default();
    let result = restore(&opened.root, args, Path::new(dir), interrupt, &mut counts);
    opened.end(counts.files, &result);
    result
}

/// Restores what lies below each path into `dir`. Memory: a path for every inode that is restored.
fn restore<S: Storage + Sync>(
    root: &GuestRoot<S>,
    args: &ExtractArgs,
    dir: &Path,
    interrupt: &Interrupt,
    counts: &mut Counts,
) -> Result<()> {
    let mut tops = Vec::new();
    for path in paths(&args.paths) {
        match root.metadata(path.as_bytes()) {
            Ok(top) => tops.push((path, top)),
            Err(error) => {
                counts.failed += 1;
                note!("rootlet: {}", AtPath(path.as_bytes(), &error));
            }
        }
    }
    if tops.is_empty() {
        return Err(stop(FAILED, ""));
    }
    let setup = Setup {
        root,
        force: args.force,
        interrupt,
        progress: Progress::of_entries(root.superblock().inodes()),
    };
    let base = open_dir(dir, args.force)?;
    let umask = rustix::process::umask(Mode::empty());
    let result = ordered(
        args.jobs,
        || restorer(&setup),
        |work| Walk::new(&setup, base, counts).run(&tops, work),
    );
    rustix::process::umask(umask);
    drop(setup);
    result.and_then(|()| counts.tell(rustix::process::geteuid().is_root()))
}

/// Makes the directory, or takes one that is empty.
fn open_dir(dir: &Path, force: bool) -> Result<OwnedFd> {
    let of_dir = || dir.display().to_string();
    fs::create_dir_all(dir).with_context(of_dir)?;
    if !force && fs::read_dir(dir).with_context(of_dir)?.next().is_some() {
        bail!("{}: is not empty; --force replaces what has the same names", dir.display());
    }
    Ok(File::open(dir).with_context(of_dir)?.into())
}
