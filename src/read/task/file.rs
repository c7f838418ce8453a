//! embedded-io-async over an open file, and reads that hand over the buffer in which bytes landed.
//!
//! Always: at each position a file gives the bytes of [`File::read_at`], or its error. A buffer that
//! was handed over belongs to who got it; the pool makes another one.

use crate::cache::Layer;
use crate::erofs::Inode;
use crate::error::Error;
use crate::num::{OrBug, clip, narrow, wide};
use crate::read::guard::Guard;
use crate::read::{File, Root};
use crate::storage::{Buffer, Storage};
use crate::units::{ByteRange, Fill};
use embedded_io::SeekFrom;

/// The bytes that a file lends at a time where no buffer can be handed over.
const LENT_BYTES: usize = 64 << 10;

/// Bytes of a file that it lends.
#[derive(Debug)]
pub struct Lent {
    /// The byte of the file that is the first of `bytes`.
    at: u64,
    bytes: Buffer,
}

impl Lent {
    /// Returns the bytes from byte `at` of the file on; `None` if there are none.
    fn from(&self, at: u64) -> Option<&[u8]> {
        let skip = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(skip..).filter(|bytes| !bytes.is_empty())
    }
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Returns `len` bytes of a regular file from `offset` on, or less at the end of the file. Other
    /// futures read meanwhile.
    ///
    /// Bytes that one transfer brings are not copied: the buffer in which they landed is handed over,
    /// and the mount allocates another one when it needs one. Bytes of several transfers, decoded
    /// bytes and those in memory are copied into a new buffer.
    ///
    /// # Errors
    /// As [`Root::read`].
    pub async fn read_owned(
        &self,
        inode: &Inode,
        offset: u64,
        len: usize,
    ) -> Result<Buffer, Error> {
        let inode = &self.readable(inode).await?;
        let want = ByteRange::first(inode.size()).skip(offset).take(wide(len));
        let first = self.front_owned(inode, want, clip(want.len(), len)).await?;
        if wide(first.len()) == want.len() {
            return Ok(first);
        }
        let mut all = Buffer::new(narrow(want.len())?);
        let mut out = Fill::new(all.get_mut().or_bug()?);
        out.next(wide(first.len()))?.copy_from_slice(&first);
        let rest = want.skip(wide(first.len()));
        self.read_data(inode, rest, out.unfilled()).await?;
        Ok(all)
    }

    /// Returns the first bytes of `want`, at least one unless it is empty: in the buffer in which
    /// they landed if one has them, else copied into a buffer of at most `copied_max` bytes.
    async fn front_owned(
        &self,
        inode: &Inode,
        want: ByteRange,
        copied_max: usize,
    ) -> Result<Buffer, Error> {
        if want.is_empty() {
            return Ok(Buffer::new(0));
        }
        let mut copy: Option<Buffer> = None;
        self.task(|guard: &mut Guard<'_, S, L>| {
            guard.set_file(Some(inode.nid().0));
            let handed = match &copy {
                None => guard.hand_over(inode, want)?,
                Some(_) => None,
            };
            if let Some(buffer) = handed {
                guard.note_read(buffer.len());
                return Ok(Some(buffer));
            }
            let buffer = copy
                .get_or_insert_with(|| Buffer::new(copied_max.min(clip(want.len(), copied_max))));
            let filled = guard.front(inode, want, buffer.get_mut().or_bug()?)?;
            let mut buffer = copy.take().or_bug()?;
            if !buffer.set_len(filled) {
                return Err(Error::bug().into());
            }
            guard.note_read(filled);
            Ok(Some(buffer))
        })
        .await
    }
}

impl<S: Storage, L: Layer<S>> File<'_, S, L> {
    fn rest(&self) -> ByteRange {
        ByteRange::first(self.inode.size()).skip(self.position)
    }
}

/// Reads at the position, and does not wait.
impl<S: Storage, L: Layer<S>> embedded_io_async::Read for File<'_, S, L> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let lent = self.lent.as_ref().and_then(|lent| lent.from(self.position));
        let len = match lent {
            Some(lent) => {
                let len = lent.len().min(out.len());
                let mut out = Fill::new(out);
                out.next(wide(len))?.copy_from_slice(lent.get(..len).or_bug()?);
                len
            }
            None => {
                let want = self.rest().take(wide(out.len()));
                let out = out.get_mut(..clip(want.len(), out.len())).or_bug()?;
                self.root.read_data(&self.inode, want, out).await?;
                out.len()
            }
        };
        self.position = self.position.checked_add(wide(len)).or_bug()?;
        Ok(len)
    }
}

/// Lends bytes in the buffer in which they landed, and does not wait.
impl<S: Storage, L: Layer<S>> embedded_io_async::BufRead for File<'_, S, L> {
    async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        if self.lent.as_ref().and_then(|lent| lent.from(self.position)).is_none() {
            let want = self.rest();
            self.lent = None;
            if want.is_empty() {
                return Ok(&[]);
            }
            let bytes = self.root.front_owned(&self.inode, want, LENT_BYTES).await?;
            self.lent = Some(Lent { at: self.position, bytes });
        }
        let lent = self.lent.as_ref().and_then(|lent| lent.from(self.position));
        Ok(lent.or_bug()?)
    }

    fn consume(&mut self, bytes: usize) {
        let lent = self.lent.as_ref().and_then(|lent| lent.from(self.position));
        let lent = lent.map_or(0, <[u8]>::len);
        let rest = self.rest().skip(wide(bytes.min(lent)));
        self.position = rest.start();
    }
}

impl<S: Storage, L: Layer<S>> embedded_io_async::Seek for File<'_, S, L> {
    async fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        embedded_io::Seek::seek(self, to)
    }
}
