//! The bytes of an object as they lie there, not checked: those of a file, or pieces of devices.
//!
//! Always: a file is read by one reader at a time; at most [`OPEN_MAX`] files that nobody reads stay
//! open.

use alloc::format;
use alloc::vec;

use rootlet_base::num::{OrBug, narrow, wide};
use rootlet_base::units::{ByteRange, Fill, Pow2};
use rootlet_storage::{
    DeviceId, DiscoverError, IoErrorKind, ObjectFault, ObjectPiece, Storage, read_exact,
};

use super::{Entry, OPEN_MAX, Objects, Place, bug};

impl Objects {
    /// Calls `with` with a reader of the bytes of an object, which has their number.
    pub(super) fn with_bytes<S: Storage, T>(
        &self,
        storage: &S,
        entry: &Entry,
        with: impl FnOnce(&Bytes<'_, S>) -> Result<T, ObjectFault>,
    ) -> Result<T, ObjectFault> {
        if let Place::Pieces(pieces) = &entry.place {
            return with(&Bytes { storage, of: Of::Pieces(pieces) });
        }
        let open = {
            let mut state = self.state.lock();
            let at = state.open.iter().position(|(nodes, _)| *nodes == entry.nodes);
            at.map(|at| state.open.remove(at).1)
        };
        let file = match open {
            Some(file) => file,
            None => self.open(storage, entry)?,
        };
        let result = with(&Bytes { storage, of: Of::File(file) });
        let gone = {
            let mut state = self.state.lock();
            let full = state.open.len() >= OPEN_MAX;
            let gone = if full { Some(state.open.remove(0).1) } else { None };
            // A file that fails is opened anew.
            if result.is_ok() {
                state.open.push((entry.nodes, file));
            }
            gone
        };
        let closed = if result.is_ok() { None } else { Some(file) };
        gone.into_iter().chain(closed).for_each(|file| storage.close_file(file));
        result
    }

    fn open<S: Storage>(&self, storage: &S, entry: &Entry) -> Result<DeviceId, ObjectFault> {
        let Some((mount_tag, folder)) = &self.folder else { return Err(ObjectFault::Absent) };
        let hex = format!("{}", entry.digest);
        let (first, rest) = hex.split_at(2);
        let name = match folder.as_str() {
            "" => format!("{first}/{rest}"),
            folder => format!("{folder}/{first}/{rest}"),
        };
        storage.open_file(mount_tag, &name).map_err(|error| match error {
            DiscoverError::NotFound | DiscoverError::Share(2) => ObjectFault::Absent,
            error => ObjectFault::Search(error),
        })
    }
}

/// A reader of the bytes of an object.
pub(super) struct Bytes<'s, S> {
    storage: &'s S,
    of: Of<'s>,
}

/// What the bytes are those of.
enum Of<'s> {
    File(DeviceId),
    Pieces(&'s [ObjectPiece]),
}

impl<S: Storage> Bytes<'_, S> {
    /// Returns how many there are.
    pub(super) fn len(&self) -> Result<u64, ObjectFault> {
        match self.of {
            Of::File(file) => {
                let info = self.storage.info(file);
                Ok(info.ok_or(ObjectFault::Io(IoErrorKind::Gone))?.bytes)
            }
            Of::Pieces(pieces) => {
                let add = |sum: u64, piece: &ObjectPiece| sum.checked_add(piece.bytes());
                pieces.iter().try_fold(0, add).or_bug().map_err(bug)
            }
        }
    }

    /// Fills `out` with the bytes from `at` on.
    pub(super) fn read(&self, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let pieces = match self.of {
            Of::File(file) => return self.read_device(file, at, out),
            Of::Pieces(pieces) => pieces,
        };
        let mut rest = ByteRange::sized(at, wide(out.len())).ok_or(IoErrorKind::OutOfRange)?;
        let mut out = Fill::new(out);
        let mut start = 0_u64;
        for piece in pieces {
            let here = ByteRange::sized(start, piece.bytes()).ok_or(IoErrorKind::OutOfRange)?;
            start = here.end();
            let Some(want) = rest.non_empty() else { break };
            let skip = want.start().checked_sub(here.start()).ok_or(IoErrorKind::OutOfRange)?;
            let part = here.skip(skip).take(want.len());
            if part.is_empty() {
                continue;
            }
            let place = out.next(part.len()).map_err(|_| IoErrorKind::OutOfRange)?;
            match *piece {
                ObjectPiece::Zeros(_) => place.fill(0),
                ObjectPiece::Bytes { device, at, .. } => {
                    let at = at.checked_add(skip).ok_or(IoErrorKind::OutOfRange)?;
                    self.read_device(device, at, place)?;
                }
            }
            rest = want.skip(part.len());
        }
        out.finish().map_err(|_| IoErrorKind::OutOfRange)
    }

    /// Fills `out` with bytes of a device, of whose sectors `out` may be a part.
    fn read_device(&self, device: DeviceId, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let info = self.storage.info(device).ok_or(IoErrorKind::Gone)?;
        let sector = Pow2::of(info.sector_bytes.into()).ok_or(IoErrorKind::Unaligned)?;
        let whole = ByteRange::sized(at, wide(out.len())).ok_or(IoErrorKind::OutOfRange)?;
        if sector.offset(at) == 0 && sector.offset(whole.len()) == 0 {
            return read_exact(self.storage, device, at, out).map_err(|error| error.kind);
        }
        let end = sector.ceil(whole.end()).ok_or(IoErrorKind::OutOfRange)?;
        let cover = ByteRange::new(sector.floor(at), end).ok_or(IoErrorKind::OutOfRange)?;
        let bytes = narrow(cover.len()).map_err(|_| IoErrorKind::OutOfRange)?;
        let mut bytes = vec![0; bytes];
        read_exact(self.storage, device, cover.start(), &mut bytes).map_err(|error| error.kind)?;
        let skip = narrow(sector.offset(at)).map_err(|_| IoErrorKind::OutOfRange)?;
        let bytes = bytes.get(skip..).and_then(|bytes| bytes.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(IoErrorKind::OutOfRange)?);
        Ok(())
    }
}
