//! Restoring one entry: a directory, a file with its data, a symlink, a device.
//!
//! Always: a file gets its name once it has all its bytes; attributes come after the data.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, anyhow, bail};
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::PATH_BYTES_MAX;
use rootlet::storage::Storage;
use rootlet_guest::catch_up;

use super::{Extract, First, PIECE_BYTES};
use crate::host::data::run_at;
use crate::host::restore::{Place, Target};
use crate::shown::shown;

impl<S: Storage> Extract<'_, S> {
    /// Restores the last name of `path`, which begins at `start`; a directory comes back open and
    /// empty.
    pub fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        start: usize,
        nid: Nid,
    ) -> Result<Option<(OwnedFd, Inode)>> {
        let inode = self.root.inode(nid)?;
        if inode.kind() != FileKind::Directory {
            return self.other(dir, path, start, &inode).map(|()| None);
        }
        if !self.dirs.insert(nid) {
            bail!("directory nid {nid} has another name already, and is restored there");
        }
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        Ok(Some((place.make_dir(self.force)?, inode)))
    }

    /// Restores an entry that is not a directory.
    pub fn other(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        start: usize,
        inode: &Inode,
    ) -> Result<()> {
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        // A regular file replaces the old entry once it is whole.
        if self.force
            && (inode.kind() != FileKind::Regular || self.names.contains_key(&inode.nid()))
        {
            place.clear()?;
        }
        if let Some(First { path: first, .. }) = self.names.get(&inode.nid()) {
            let split = first.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let dir = self.reopen(&first[..split])?;
            let first = Place::new(dir.as_fd(), &first[split + 1..]).ok_or_else(not_a_name)?;
            place.make_link(first)?;
            self.counts.links += 1;
            return Ok(());
        }
        match inode.kind() {
            FileKind::Regular => self.file(place, inode)?,
            FileKind::Symlink => {
                let mut target = vec![0; PATH_BYTES_MAX];
                place.make_symlink(self.root.read_link_inode(inode, &mut target)?)?;
                self.dress(Target::Named(place), inode)?;
                self.counts.others += 1;
            }
            _ => match place.make_node(inode) {
                Err(error) if denied(&error) => {
                    self.counts.no_device += 1;
                    return Ok(());
                }
                made => {
                    made?;
                    self.dress(Target::Named(place), inode)?;
                    self.counts.others += 1;
                }
            },
        }
        let has_more = inode.nlink() > 1;
        self.names.insert(inode.nid(), First { path: path.into(), has_more });
        Ok(())
    }

    /// Restores a file, which gets its name once all bytes are written: half a file would pass for a
    /// whole one.
    fn file(&mut self, place: Place<'_>, inode: &Inode) -> Result<()> {
        let draft = place.draft()?;
        self.fill(draft.file(), inode)?;
        self.dress(Target::Open(draft.file().as_fd()), inode)?;
        draft.publish(self.force)?;
        self.counts.files += 1;
        Ok(())
    }

    /// Writes the data; holes stay holes.
    fn fill(&mut self, file: &File, inode: &Inode) -> Result<()> {
        let from = self.root.open_inode(*inode)?;
        file.set_len(inode.size())?;
        let mut offset = 0;
        while offset < inode.size() {
            let run = run_at(self.root, inode, offset, PIECE_BYTES as u64)?;
            while !run.hole && offset < run.end {
                let len = self.data.len().min((run.end - offset) as usize);
                let got = from.read_at(offset, &mut self.data[..len])?;
                if got != len {
                    bail!("only {got} of {len} bytes at byte {offset}");
                }
                file.write_all_at(&self.data[..len], offset)?;
                catch_up(self.root);
                self.interrupt.check()?;
                self.progress.touch();
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
        self.root.xattrs(inode, &mut self.xattrs, |name, value| {
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

/// Returns the error for a name that would lead elsewhere.
pub fn not_a_name() -> anyhow::Error {
    anyhow!("this is no name for a file")
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
