//! Reads of files as futures.
//!
//! Always: a read resolves to exactly the file's bytes or to an error, as a blocking one does; what
//! was copied stays copied while the rest is on its way.

use crate::cache::Layer;
use crate::erofs::{FileKind, Inode, Layout};
use crate::error::{Error, PathError};
use crate::num::{OrBug, clip, wide};
use crate::read::Root;
use crate::read::guard::Guard;
use crate::read::plan::{Plan, in_tail};
use crate::read::stop::Stop;
use crate::storage::{Buffer, Storage};
use crate::units::{ByteRange, count};

/// The most bytes of a step that is taken as by a reader that blocks.
const BLOCKING_BYTES: u64 = 64 << 10;
/// The most bytes that a step plans: more than a task has under way at a time.
const STEP_BYTES: u64 = 2 << 20;

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Fills `out` with the bytes of a regular file from `offset` on, and returns their number: less
    /// than `out.len()` only at the end of the file. Other futures read meanwhile.
    ///
    /// The bytes land in buffers of the mount ([`Budget::stream_bytes`](super::super::Budget)) and
    /// are copied, so the future may be dropped at any moment. Devices work while somebody polls a
    /// future of this mount or calls [`Root::drive`].
    ///
    /// # Errors
    /// As [`Root::open_inode`] and [`File::read_at`](super::super::File::read_at).
    pub async fn read(&self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<usize, Error> {
        let inode = &self.readable(inode).await?;
        let want = ByteRange::first(inode.size()).skip(offset).take(wide(out.len()));
        let out = out.get_mut(..clip(want.len(), out.len())).or_bug()?;
        self.read_data(inode, want, out).await?;
        Ok(out.len())
    }

    /// Returns the inode of a regular file of this mount as it is read, see [`Guard::placed`].
    pub(super) async fn readable(&self, inode: &Inode) -> Result<Inode, Error> {
        self.own(inode)?;
        match inode.kind() {
            FileKind::Regular if inode.xattrs().is_none() && !self.is_of_nydus() => Ok(*inode),
            FileKind::Regular => self.task(|guard| guard.placed(inode).map(Some)).await,
            FileKind::Directory => Err(PathError::IsADirectory.into()),
            _ => Err(PathError::NotAFile.into()),
        }
    }

    /// Returns whether chunks of an image are packed in blobs of Nydus.
    fn is_of_nydus(&self) -> bool {
        let mut images = core::iter::once(&self.shared.mount).chain(&self.shared.stack);
        images.any(|image| image.superblock().packed_by_nydus().is_some())
    }

    /// Fills `out` with the bytes `want` of an inode's data, which has them.
    pub(super) async fn read_data(
        &self,
        inode: &Inode,
        want: ByteRange,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let (len, mut rest) = (out.len(), want);
        self.task(|guard| {
            guard.set_file(Some(inode.nid().0));
            let done = len.checked_sub(clip(rest.len(), len)).or_bug()?;
            let filled = match rest.non_empty() {
                Some(want) => guard.front(inode, want, out.get_mut(done..).or_bug()?)?,
                None => 0,
            };
            rest = rest.skip(wide(filled));
            if !rest.is_empty() {
                return if filled > 0 { Ok(None) } else { Err(Error::bug().into()) };
            }
            guard.note_read(len);
            Ok(Some(()))
        })
        .await
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills the front of `out`, at least a byte, with bytes `want` of an inode's data. Returns the
    /// number of bytes.
    pub fn front(&mut self, inode: &Inode, want: ByteRange, out: &mut [u8]) -> Result<usize, Stop> {
        let Some(id) = self.task else {
            let here = want.take(BLOCKING_BYTES);
            let out = out.get_mut(..clip(here.len(), out.len())).or_bug()?;
            self.data(inode, here.start(), out)?;
            return Ok(out.len());
        };
        let want = want.take(STEP_BYTES);
        let out = out.get_mut(..clip(want.len(), out.len())).or_bug()?;
        if let Layout::Compressed(_) = inode.layout() {
            return self.decoded_front(id, inode, want, out);
        }
        if let Some(at) = in_tail(inode, want.start())? {
            self.turn_to(inode.nid());
            self.meta(inode.nid().space(), at, out)?;
            return Ok(out.len());
        }
        let mut plan = Plan::new();
        self.plan(inode, want, &mut plan)?;
        let (want, out) = (want.take(plan.bytes()), out.get_mut(..clip(plan.bytes(), out.len())));
        let out = out.or_bug()?;
        if self.reads_small(want) && self.serve_small(&plan, out)? {
            return Ok(out.len());
        }
        self.fetch_front(id, plan.extents(), out)
    }

    /// Returns the first bytes of `want` in the buffer in which they landed; `None` if they do not
    /// come that way.
    pub fn hand_over(&mut self, inode: &Inode, want: ByteRange) -> Result<Option<Buffer>, Stop> {
        let Some(id) = self.task else { return Ok(None) };
        let is_plain = match inode.layout() {
            Layout::Compressed(_) | Layout::None => false,
            _ => in_tail(inode, want.start())?.is_none(),
        };
        if !is_plain {
            return Ok(None);
        }
        let mut plan = Plan::new();
        self.plan(inode, want.take(STEP_BYTES), &mut plan)?;
        let buffer = self.take_buffer(id, plan.extents())?;
        if let Some(buffer) = &buffer {
            self.note_use(plan.extents(), wide(buffer.len()));
        }
        Ok(buffer)
    }

    /// Counts a read of `len` bytes that has ended.
    pub fn note_read(&mut self, len: usize) {
        count(&mut self.io.stats.reads, 1);
        count(&mut self.io.stats.asked_bytes, wide(len));
        self.note_first_byte();
        self.set_file(None);
    }
}
