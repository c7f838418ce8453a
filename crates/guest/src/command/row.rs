//! Rows of `ls`, `sum` and `manifest`: the output for one entry.
//!
//! Always: a row is printed as a whole or not at all, because the whole entry is read before the
//! first byte goes out. A row is absent if its xattrs as text do not fit in the memory for them.

use super::json;
use super::print::{Escaped, Mode, Shape, printed};
use super::run::GuestRoot;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;
use embedded_io::{ErrorType, Write, WriteFmtError};
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet::{Error, PathError};
use rootlet_base::num::wide;

/// Why a row is not there.
#[derive(Debug)]
pub enum RowFault<E> {
    /// A read failed, or the memory is too small, and nothing was printed.
    Absent(Error),
    /// The output failed.
    Output(E),
}

impl<E> From<Error> for RowFault<E> {
    fn from(error: Error) -> Self {
        Self::Absent(error)
    }
}

/// Whether a row was printed, or why not.
pub type Row<W> = Result<(), RowFault<<W as ErrorType>::Error>>;

/// The memory of a row.
pub struct RowMemory {
    /// Xattrs as they are read, see [`rootlet::read::Root::xattrs`].
    pub xattrs: Box<[u8]>,
    /// The target of a symlink.
    pub target: Box<[u8]>,
    printed: Kept,
}

impl RowMemory {
    /// Allocates memory for a row: with room for xattrs if those are wanted, and for `printed` bytes
    /// of them as text.
    pub fn new(xattrs: bool, printed: usize) -> Self {
        let memory = |wanted, bytes| vec![0; if wanted { bytes } else { 0 }].into_boxed_slice();
        Self {
            xattrs: memory(xattrs, XATTR_BYTES_MAX),
            target: memory(true, PATH_BYTES_MAX),
            printed: Kept::new(printed),
        }
    }

    /// Returns the target of a symlink.
    pub fn target_of<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        inode: &Inode,
    ) -> Result<&[u8], Error> {
        root.read_link_inode(inode, &mut self.target)
    }
}

/// Prints the row of `ls`.
pub fn list<S: Storage, W: Write>(
    root: &GuestRoot<S>,
    memory: &mut RowMemory,
    out: &mut W,
    inode: &Inode,
    name: &[u8],
) -> Row<W> {
    let target = match inode.kind() {
        FileKind::Symlink => Some(memory.target_of(root, inode)?),
        _ => None,
    };
    let mode = Mode(inode);
    let (nlink, uid, gid, size) = (inode.nlink(), inode.uid(), inode.gid(), inode.size());
    let mut print = || {
        match inode.rdev() {
            Some(rdev) => {
                write!(out, "{mode} {nlink:3} {uid:5} {gid:5} {:4}, {:4} ", rdev.major, rdev.minor)?
            }
            None => write!(out, "{mode} {nlink:3} {uid:5} {gid:5} {size:10} ")?,
        }
        write!(out, "{:>10} {}", inode.mtime().seconds, Escaped(name))?;
        if let Some(target) = target {
            write!(out, " -> {}", Escaped(target))?;
        }
        writeln!(out)
    };
    printed(print()).map_err(RowFault::Output)
}

/// Prints the row of `sum`.
pub fn sum<W: Write>(out: &mut W, digest: &[u8; 32], path: &[u8]) -> Row<W> {
    json::write_hex(out, digest).map_err(RowFault::Output)?;
    printed(writeln!(out, "  {}", Escaped(path))).map_err(RowFault::Output)
}

/// Prints the row of `manifest`; `digest` is that of a regular file.
pub fn manifest<S: Storage, W: Write>(
    root: &GuestRoot<S>,
    memory: &mut RowMemory,
    out: &mut W,
    (inode, path): (&Inode, &[u8]),
    digest: Option<[u8; 32]>,
) -> Row<W> {
    let RowMemory { xattrs, target, printed: kept } = memory;
    kept.clear();
    match print_xattrs(root, xattrs, kept, inode) {
        Ok(()) => {}
        Err(RowFault::Absent(error)) => return Err(error.into()),
        Err(RowFault::Output(never)) => match never {},
    }
    let printed = kept.bytes()?;
    let target = match inode.kind() {
        FileKind::Symlink => Some(root.read_link_inode(inode, target)?),
        _ => None,
    };
    print_facts(out, inode, path, digest, target).map_err(RowFault::Output)?;
    out.write_all(printed).map_err(RowFault::Output)?;
    out.write_all(b"}\n").map_err(RowFault::Output)
}

/// Prints a row of `manifest` up to its xattrs.
fn print_facts<W: Write>(
    out: &mut W,
    inode: &Inode,
    path: &[u8],
    digest: Option<[u8; 32]>,
    target: Option<&[u8]>,
) -> Result<(), W::Error> {
    out.write_all(b"{\"path\": ")?;
    json::write_string(out, path)?;
    let (uid, gid, size, nlink) = (inode.uid(), inode.gid(), inode.size(), inode.nlink());
    let (mode, mtime) = (inode.mode(), inode.mtime().total_ns());
    printed(write!(
        out,
        ", \"mode\": {mode}, \"uid\": {uid}, \"gid\": {gid}, \"mtime_ns\": {mtime}"
    ))?;
    if let Some(digest) = digest {
        printed(write!(out, ", \"size\": {size}, \"nlink\": {nlink}, \"sha256\": \""))?;
        json::write_hex(out, &digest)?;
        out.write_all(b"\"")?;
    }
    if let Some(target) = target {
        out.write_all(b", \"target\": ")?;
        json::write_string(out, target)?;
    }
    match inode.rdev() {
        Some(rdev) => printed(write!(out, ", \"rdev\": [{}, {}]", rdev.major, rdev.minor)),
        None => Ok(()),
    }
}

/// Prints the xattrs of a row of `manifest`, if the inode has any.
fn print_xattrs<S: Storage, W: Write>(
    root: &GuestRoot<S>,
    buffer: &mut [u8],
    out: &mut W,
    inode: &Inode,
) -> Row<W> {
    // The error of the output, which ends the printing, and whether no xattr came yet.
    let (mut failed, mut first) = (None, true);
    root.xattrs(inode, buffer, |name, value| {
        let mut pair = || {
            out.write_all(if first { b", \"xattr\": {\"" } else { b", \"" })?;
            for part in name.parts() {
                json::write_inside(out, part)?;
            }
            out.write_all(b"\": \"")?;
            json::write_hex(out, value)?;
            out.write_all(b"\"")
        };
        if failed.is_none() {
            failed = pair().err();
        }
        first = false;
        Ok(())
    })?;
    match failed {
        Some(error) => Err(RowFault::Output(error)),
        None if first => Ok(()),
        None => out.write_all(b"}").map_err(RowFault::Output),
    }
}

/// Prints what `stat` says of an inode, except its xattrs.
pub fn print_stat<W: Write>(
    out: &mut W,
    inode: &Inode,
    path: &[u8],
    target: Option<&[u8]>,
) -> Result<(), WriteFmtError<W::Error>> {
    let form = if inode.extended() { "extended" } else { "compact" };
    writeln!(out, "path   {}\ntype   {}", Escaped(path), inode.kind())?;
    writeln!(out, "nid    {} ({form})", inode.nid())?;
    writeln!(out, "mode   {:04o} {}", inode.permissions(), Mode(inode))?;
    writeln!(out, "owner  {}:{}\nlinks  {}", inode.uid(), inode.gid(), inode.nlink())?;
    match inode.rdev() {
        Some(rdev) => writeln!(out, "rdev   {}, {}", rdev.major, rdev.minor)?,
        None => writeln!(out, "size   {}", inode.size())?,
    }
    writeln!(out, "mtime  {}.{:09}", inode.mtime().seconds, inode.mtime().nanoseconds)?;
    writeln!(out, "layout {}", Shape(inode))?;
    match target {
        Some(target) => writeln!(out, "target {}", Escaped(target)),
        None => Ok(()),
    }
}

/// An output that keeps its bytes while there is room, and counts all of them.
struct Kept {
    /// Never longer than allocated.
    bytes: Vec<u8>,
    room: usize,
    /// The number of bytes that were written.
    got: u64,
}

impl Kept {
    fn new(room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), room, got: 0 }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.got = 0;
    }

    /// Returns all bytes that were written.
    ///
    /// # Errors
    /// [`PathError::XattrsTooLong`] if some were not kept.
    fn bytes(&self) -> Result<&[u8], Error> {
        if wide(self.bytes.len()) == self.got {
            Ok(&self.bytes)
        } else {
            Err(PathError::XattrsTooLong { bytes: self.got, room: wide(self.room) }.into())
        }
    }
}

impl ErrorType for Kept {
    type Error = Infallible;
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // A row has less than 2^32 bytes: 255 shared entries, and the bytes of a body.
        self.got = self.got.wrapping_add(wide(bytes.len()));
        if self.got <= wide(self.room) {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
