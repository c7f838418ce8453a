//! Restoring one entry: a file with its data, a symlink, a device, and the attributes of each.
//!
//! Always: a file gets its name once it has all its bytes; attributes come after the data.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, catch_up};

use super::counts::Counts;
use crate::host::data::run_at;
use crate::host::restore::{Place, Target};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::shown::shown;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;

/// What all entries of a run are restored with.
pub struct Setup<'r, S> {
    /// Where they come from.
    pub root: &'r GuestRoot<S>,
    /// Whether they replace what has the same names.
    pub force: bool,
    /// Whether someone asked to end.
    pub interrupt: &'r Interrupt,
    /// How far the run is.
    pub progress: Progress,
}

/// Restores one entry after the other, on one thread.
pub struct Restorer<'r, S> {
    setup: &'r Setup<'r, S>,
    /// The bytes on their way; allocated for the first file.
    data: Vec<u8>,
    xattrs: Vec<u8>,
    /// What was done since the counts were taken last.
    counts: Counts,
}

impl<'r, S: Storage> Restorer<'r, S> {
    /// Nothing restored yet.
    pub fn new(setup: &'r Setup<'r, S>) -> Self {
        let xattrs = vec![0; XATTR_BYTES_MAX];
        Self { setup, data: Vec::new(), xattrs, counts: Counts::default() }
    }

    /// Returns what was done since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Restores a file, which gets its name once all bytes are written: half a file would pass for a
    /// whole one.
    pub fn file(&mut self, place: Place<'_>, inode: &Inode) -> Result<()> {
        let draft = place.draft()?;
        self.fill(draft.file(), inode)?;
        self.dress(Target::Open(draft.file().as_fd()), inode)?;
        draft.publish(self.setup.force)?;
        self.counts.files += 1;
        Ok(())
    }

    /// Makes a second name of a file that was restored.
    pub fn link(&mut self, place: Place<'_>, first: Place<'_>) -> Result<()> {
        place.make_link(first)?;
        self.counts.links += 1;
        Ok(())
    }

    /// Restores a symlink, device, fifo or socket. Returns whether it is there now: not every user may
    /// make a device.
    pub fn special(&mut self, place: Place<'_>, inode: &Inode) -> Result<bool> {
        if inode.kind() == FileKind::Symlink {
            let mut target = vec![0; PATH_BYTES_MAX];
            place.make_symlink(self.setup.root.read_link_inode(inode, &mut target)?)?;
        } else {
            match place.make_node(inode) {
                Err(error) if denied(&error) => {
                    self.counts.no_device += 1;
                    return Ok(false);
                }
                made => made?,
            }
        }
        self.dress(Target::Named(place), inode)?;
        self.counts.others += 1;
        Ok(true)
    }

    /// Writes the data; holes stay holes.
    fn fill(&mut self, file: &File, inode: &Inode) -> Result<()> {
        let Setup { root, interrupt, progress, .. } = self.setup;
        let from = root.open_inode(*inode)?;
        file.set_len(inode.size())?;
        self.data.resize(PIECE_BYTES, 0);
        let mut offset = 0;
        while offset < inode.size() {
            let run = run_at(root, from.inode(), offset, PIECE_BYTES as u64)?;
            while !run.hole && offset < run.end {
                let len = self.data.len().min((run.end - offset) as usize);
                let got = from.read_at(offset, &mut self.data[..len])?;
                if got != len {
                    bail!("only {got} of {len} bytes at byte {offset}");
                }
                file.write_all_at(&self.data[..len], offset)?;
                catch_up(root);
                interrupt.check()?;
                progress.touch();
                offset += len as u64;
                self.counts.bytes += len as u64;
            }
            offset = run.end;
        }
        Ok(())
    }

    /// Owner first, because that takes set-id bits and capabilities away; the time last.
    pub fn dress(&mut self, target: Target<'_>, inode: &Inode) -> Result<()> {
        let owned = match target.set_owner(inode.uid(), inode.gid()) {
            Ok(()) => true,
            Err(error) if denied(&error) || is_unknown_owner(&error) => false,
            Err(error) => return Err(error).context("owner"),
        };
        self.counts.no_owner += u64::from(!owned);
        let denials = &mut self.counts.no_xattr;
        let mut failed = Ok(());
        self.setup.root.xattrs(inode, &mut self.xattrs, |name, value| {
            let name = name.parts().concat();
            match target.set_xattr(OsStr::from_bytes(&name), value) {
                Err(error) if denied(&error) => *denials += 1,
                Err(error) => {
                    failed = Err(error).with_context(|| format!("xattr {}", shown(&name)));
                }
                Ok(()) => {}
            }
            Ok(())
        })?;
        failed?;
        let set_id = if owned { 0 } else { 0o6000 };
        target.set_permissions(inode.permissions() & !set_id).context("mode")?;
        target.set_mtime(inode.mtime()).context("mtime")
    }
}

/// Returns whether the user namespace of this process has no such owner or group (chown(2), EINVAL).
fn is_unknown_owner(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}

/// Whether the user or the file system does not allow it, whatever the image says.
fn denied(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error();
    [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP].iter().any(|e| errno == Some(e.raw_os_error()))
}
