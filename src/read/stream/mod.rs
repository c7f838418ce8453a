//! A stream: a file read from front to back, ahead of its reader, without a copy.
//!
//! Always: the same bytes as [`File::read_at`](super::File::read_at) gives, or its error, at their
//! place; what is read ahead in vain costs time, never an error. Reads ahead are background jobs:
//! they go on while the reader works on the bytes before.

mod ahead;
mod pool;
mod prefetch;

pub(super) use pool::Pool;
pub(super) use prefetch::Prefetch;

use super::Root;
use super::inner::Inner;
use super::pieces::{BLOCK_SHIFT, Extent, Origin, Source};
use crate::cache::{BlobIndex, Layer, Residence};
use crate::erofs::Inode;
use crate::error::{Error, PathError};
use crate::storage::{Background, Buffer, DeviceId, IoError, IoErrorKind, Spin};
use ahead::{Kind, Piece};
use core::ops::Range;
use embedded_io::SeekFrom;
use pool::{BUFFERS_MAX, Landing};

/// What is read ahead at first.
const WINDOW_BYTES_MIN: u64 = 128 << 10;
/// What is read ahead at most, if there are buffers for it.
const WINDOW_BYTES_MAX: u64 = 2 << 20;
/// Reads of at least this many bytes that find nothing read ahead go straight to the reader's
/// memory.
const DIRECT_BYTES: usize = 64 << 10;
const EDGE_BYTES: usize = 4096;

static ZEROS: [u8; EDGE_BYTES] = [0; EDGE_BYTES];

/// An open regular file that is read from front to back.
///
/// [`BufRead::fill_buf`](embedded_io::BufRead::fill_buf) lends bytes where they landed by DMA;
/// [`Read::read`](embedded_io::Read::read) copies them, but for large reads at a place where
/// nothing was read ahead. What is read ahead grows from 128 KiB to 2 MiB while nobody seeks, and
/// is at most half of [`Budget::stream_bytes`](super::Budget::stream_bytes). Compressed files are
/// decoded when it is their bytes' turn.
#[derive(Debug)]
pub struct Stream<'r, S: Background, L: Layer<S>> {
    root: &'r Root<S, L>,
    inode: Inode,
    position: u64,
    /// Bytes from `position` on that are here.
    here: Here,
    /// What follows them, in the order of the file.
    pieces: heapless::Deque<Piece, BUFFERS_MAX>,
    /// The byte of the file behind the last piece.
    next: u64,
    window: u64,
    /// Bytes given to the reader, and copied for it, that are not counted yet.
    asked: usize,
    copied: usize,
    edge: [u8; EDGE_BYTES],
}

/// Where the bytes at the position are.
#[derive(Debug)]
enum Here {
    Nowhere,
    Lent(Buffer, Range<usize>),
    Zeros(u64),
    /// In the stream itself, for want of a buffer.
    Edge(Range<usize>),
}

impl<'r, S: Background, L: Layer<S>> Stream<'r, S, L> {
    pub(super) fn new(root: &'r Root<S, L>, inode: Inode) -> Self {
        root.lock().join = Some(Inner::join);
        Self {
            root,
            inode,
            position: 0,
            here: Here::Nowhere,
            pieces: heapless::Deque::new(),
            next: 0,
            window: WINDOW_BYTES_MIN,
            asked: 0,
            copied: 0,
            edge: [0; EDGE_BYTES],
        }
    }

    /// The bytes at the position: at least one, and none at the end of the file.
    ///
    /// # Errors
    /// As [`File::read_at`](super::File::read_at); the position stays, and the next call tries
    /// again.
    pub fn lend(&mut self) -> Result<&[u8], Error> {
        if self.is_used_up() && self.position < self.inode.size {
            self.fetch()?;
        }
        Ok(match &self.here {
            Here::Nowhere => &[],
            Here::Lent(buffer, range) => buffer.get(range.clone()).unwrap_or_default(),
            Here::Zeros(len) => {
                let len = usize::try_from(*len).unwrap_or(usize::MAX).min(ZEROS.len());
                ZEROS.get(..len).unwrap_or_default()
            }
            Here::Edge(range) => self.edge.get(range.clone()).unwrap_or_default(),
        })
    }

    /// Moves the position `bytes` on, at most behind what was lent.
    pub fn advance(&mut self, bytes: usize) {
        let taken = match &mut self.here {
            Here::Nowhere => 0,
            Here::Lent(_, range) | Here::Edge(range) => {
                let taken = bytes.min(range.len());
                range.start = range.start.saturating_add(taken);
                taken
            }
            Here::Zeros(len) => {
                let taken = u64::try_from(bytes).unwrap_or(u64::MAX).min(*len);
                *len = len.saturating_sub(taken);
                usize::try_from(taken).unwrap_or(bytes)
            }
        };
        self.asked = self.asked.saturating_add(taken);
        self.position = self.position.saturating_add(u64::try_from(taken).unwrap_or(0));
    }

    /// Where the next byte comes from.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Its inode.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    fn is_used_up(&self) -> bool {
        match &self.here {
            Here::Nowhere => true,
            Here::Lent(_, range) | Here::Edge(range) => range.is_empty(),
            Here::Zeros(len) => *len == 0,
        }
    }

    /// Brings the bytes at the position here, and reads on ahead.
    fn fetch(&mut self) -> Result<(), Error> {
        let root = self.root;
        let inner = &mut *root.lock();
        self.settle(inner);
        if self.pieces.is_empty() {
            self.next = self.position;
            self.look_ahead(inner);
        }
        let front = self.pieces.pop_front();
        let front = front.unwrap_or(Piece { len: u64::MAX, kind: Kind::Later });
        let result = self.bring(inner, &front);
        if result.is_err() {
            self.abandon(inner);
        }
        if inner.stats.first_byte_ns == 0 {
            inner.stats.first_byte_ns = inner.storage.now_ns();
        }
        result
    }

    fn bring(&mut self, inner: &mut Inner<S, L>, piece: &Piece) -> Result<(), Error> {
        let Kind::Flying { flight, skip, slot, start, origin } = piece.kind else {
            match piece.kind {
                Kind::Zeros => self.here = Here::Zeros(piece.len),
                _ => self.read_here(inner, piece.len)?,
            }
            return Ok(());
        };
        let (buffer, result) = inner.wait_for(flight);
        // While these bytes are checked and read, those behind them come.
        self.look_ahead(inner);
        let bytes = inner.judge(buffer, (slot, start, origin), result)?;
        let Some(buffer) = bytes else {
            let len = piece.len;
            return self.read_here(inner, len);
        };
        let end = skip.saturating_add(usize::try_from(piece.len).unwrap_or(usize::MAX));
        self.here = Here::Lent(buffer, skip..end);
        Ok(())
    }

    /// Reads up to `len` bytes at the position at once, as a read of a file does.
    fn read_here(&mut self, inner: &mut Inner<S, L>, len: u64) -> Result<(), Error> {
        let left = len.min(self.inode.size.saturating_sub(self.position));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        inner.layer.progress(&mut inner.storage);
        let Some(mut buffer) = inner.pool.take() else {
            let len = left.min(EDGE_BYTES);
            let out = self.edge.get_mut(..len).unwrap_or_default();
            inner.data(&self.inode, self.position, out)?;
            self.here = Here::Edge(0..len);
            return Ok(());
        };
        let len = left.min(buffer.len());
        let out = buffer.get_mut().and_then(|all| all.get_mut(..len)).unwrap_or_default();
        let result = inner.data(&self.inode, self.position, out);
        match result {
            Ok(()) => self.here = Here::Lent(buffer, 0..len),
            Err(_) => inner.pool.give(buffer),
        }
        // What is planned behind them begins where the piece ended, not where these bytes do.
        if len < left {
            self.abandon(inner);
        }
        result
    }

    /// Gives back what was lent, and counts it.
    fn settle(&mut self, inner: &mut Inner<S, L>) {
        if let Here::Lent(buffer, _) = core::mem::replace(&mut self.here, Here::Nowhere) {
            inner.pool.give(buffer);
        }
        let stats = &mut inner.stats;
        stats.reads = stats.reads.saturating_add(u64::from(self.asked > 0));
        let asked = u64::try_from(core::mem::take(&mut self.asked)).unwrap_or(0);
        stats.asked_bytes = stats.asked_bytes.saturating_add(asked);
        stats.copied(core::mem::take(&mut self.copied));
    }

    /// Gives up what is read ahead.
    fn abandon(&mut self, inner: &mut Inner<S, L>) {
        while let Some(piece) = self.pieces.pop_front() {
            if let Kind::Flying { flight, .. } = piece.kind {
                inner.pool.abandon(flight);
            }
        }
    }
}

impl<S: Background, L: Layer<S>> Drop for Stream<'_, S, L> {
    fn drop(&mut self) {
        let root = self.root;
        let inner = &mut *root.lock();
        self.settle(inner);
        self.abandon(inner);
    }
}

impl<S: Background, L: Layer<S>> Inner<S, L> {
    /// Waits for a read under way: its device answers, or is reset at its deadline.
    fn wait_for(&mut self, flight: usize) -> (Buffer, Result<(), IoErrorKind>) {
        let mut spin = Spin::default();
        loop {
            if let Some(landed) = self.pool.landed(flight) {
                return landed;
            }
            self.wait_on(&mut spin);
        }
    }

    /// Moves background work on, in a loop that has nothing else to do.
    fn wait_on(&mut self, spin: &mut Spin) {
        if self.poll() {
            *spin = Spin::default();
        } else if let Some(ns) = spin.round() {
            self.storage.rest(ns);
        }
    }

    /// Moves background work on; false if no read of a stream has ended.
    fn poll(&mut self) -> bool {
        let Some(ended) = self.layer.poll(&mut self.storage) else { return false };
        if let Some(Landing { target, buffer, result, wanted }) = self.pool.land(ended) {
            // At once, and whether or not somebody still wants it: from then on it is there for all.
            if result.is_ok() && target.origin == Origin::Source {
                self.offer(target.slot, target.start, &buffer);
            }
            if target.prefetch {
                self.prefetched(&target, &buffer, result);
            }
            if !wanted {
                self.pool.give(buffer);
            }
        }
        true
    }

    /// Waits for what is on its way from a source already, where the layer will have it then.
    fn join(&mut self, extents: &[Extent]) {
        let mut spin = Spin::default();
        for extent in extents {
            let Extent::Blob { slot, at, len } = *extent else { continue };
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let kept = |source: &Source| source.blob.is_some();
            while self.sources.get(usize::from(slot)).is_some_and(kept)
                && self.pool.overlaps(slot, at, len)
            {
                self.wait_on(&mut spin);
            }
        }
    }

    /// Counts what came from a source, and offers it to the layer.
    fn offer(&mut self, slot: u16, start: u64, buffer: &Buffer) {
        self.stats.fetches = self.stats.fetches.saturating_add(1);
        let bytes = u64::try_from(buffer.len()).unwrap_or(0);
        self.stats.fetched_bytes = self.stats.fetched_bytes.saturating_add(bytes);
        if let Some(blob) = self.sources.get(usize::from(slot)).and_then(|source| source.blob) {
            let lend = self.pool.can_lend();
            self.layer.fill_from(blob, start >> BLOCK_SHIFT, buffer, lend);
        }
    }

    /// Judges what a read brought, and offers it to the layer if it came from a source. `None`
    /// if the region could not serve it, so that its source has to.
    fn judge(
        &mut self,
        buffer: Buffer,
        (slot, start, origin): (u16, u64, Origin),
        result: Result<(), IoErrorKind>,
    ) -> Result<Option<Buffer>, Error> {
        let source = self.sources.get(usize::from(slot)).copied();
        let blob = source.and_then(|source| source.blob);
        if let (Origin::Region { slot, block }, Some(blob)) = (origin, blob) {
            if self.is_right(blob, start, (slot, block), &buffer, result) {
                let bytes = u64::try_from(buffer.len()).unwrap_or(0);
                self.stats.hits = self.stats.hits.saturating_add(1);
                self.stats.hit_bytes = self.stats.hit_bytes.saturating_add(bytes);
                return Ok(Some(buffer));
            }
            self.pool.give(buffer);
            return Ok(None);
        }
        if let Err(kind) = result {
            let (device, base) =
                source.map_or((DeviceId::NONE, 0), |source| (source.device, source.base));
            let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            self.pool.give(buffer);
            return Err(Error::Io(IoError { device, at: base.saturating_add(start), len, kind }));
        }
        Ok(Some(buffer))
    }

    /// Whether a read of the region, from `block` of `slot` on, brought what byte `start` of
    /// `blob` and those behind it are; the layer is told if not.
    fn is_right(
        &mut self,
        blob: BlobIndex,
        start: u64,
        (slot, block): (u32, usize),
        data: &[u8],
        result: Result<(), IoErrorKind>,
    ) -> bool {
        let number = start >> BLOCK_SHIFT;
        // A slot may have been given to another window meanwhile.
        let still = matches!(self.layer.locate(blob, number).0,
            Residence::Resident { slot: now, block: at } if (now, at) == (slot, block));
        if !still {
            return false;
        }
        match result.map(|()| self.layer.check(blob, number, slot, block, data)) {
            Ok(Ok(())) => return true,
            Ok(Err(wrong)) => self.layer.reject(wrong),
            Err(_) => self.layer.fault(slot),
        }
        false
    }
}

impl<S: Background, L: Layer<S>> embedded_io::ErrorType for Stream<'_, S, L> {
    type Error = Error;
}

impl<S: Background, L: Layer<S>> embedded_io::BufRead for Stream<'_, S, L> {
    fn fill_buf(&mut self) -> Result<&[u8], Error> {
        self.lend()
    }

    fn consume(&mut self, bytes: usize) {
        self.advance(bytes);
    }
}

impl<S: Background, L: Layer<S>> embedded_io::Read for Stream<'_, S, L> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if out.len() >= DIRECT_BYTES && self.is_used_up() && self.pieces.is_empty() {
            let file = self.root.open_inode(self.inode)?;
            let len = file.read_at(self.position, out)?;
            self.position = self.position.saturating_add(u64::try_from(len).unwrap_or(0));
            return Ok(len);
        }
        if out.is_empty() {
            return Ok(0);
        }
        let bytes = self.lend()?;
        let len = bytes.len().min(out.len());
        let (front, _) = out.split_at_mut_checked(len).unwrap_or_default();
        front.copy_from_slice(bytes.get(..len).unwrap_or_default());
        self.copied = self.copied.saturating_add(len);
        self.advance(len);
        Ok(len)
    }
}

impl<S: Background, L: Layer<S>> embedded_io::Seek for Stream<'_, S, L> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.inode.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let position = position.ok_or(PathError::BeforeStart)?;
        if position != self.position {
            let root = self.root;
            let inner = &mut *root.lock();
            self.settle(inner);
            self.abandon(inner);
            self.window = WINDOW_BYTES_MIN;
            self.position = position;
        }
        Ok(self.position)
    }
}
