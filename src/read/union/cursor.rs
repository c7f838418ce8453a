//! A merged directory in the order of its names: a cursor in each part, side by side.
//!
//! Always: an entry takes a step in each part that has its name, and a look at the next name of the
//! others; a name comes once. Bounded: a cursor and an entry for each part.

use super::super::dir::{DirCursor, DirEntry};
use super::super::guard::Guard;
use super::super::stop::Stop;
use crate::cache::Layer;
use crate::erofs::{DirBlock, FileKind, Inode, Nid};
use crate::num::OrBug;
use crate::storage::Storage;
use alloc::vec::Vec;

/// A position has the place of the last entry in its part, and this bit.
const AFTER: u64 = 1;

/// What a part has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// Nobody has looked.
    Unknown,
    /// Its entry.
    Entry,
    /// Nothing more.
    End,
}

/// A part of the directory.
#[derive(Clone, Debug)]
struct Part {
    cursor: DirCursor,
    entry: DirEntry,
    /// The place of `entry`, or of an entry that is left out right before it.
    place: u64,
    offer: Offer,
}

/// A position in a merged directory.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The topmost first.
    parts: Vec<Part>,
    /// The position after the last entry.
    position: u64,
}

impl Merged {
    /// Returns the position of the next entry: 0 at the start, else where the last entry lies.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the directories that are merged, the topmost first.
    pub fn parts(&self) -> impl Iterator<Item = &Inode> {
        self.parts.iter().map(|part| part.cursor.dir())
    }

    /// Writes the next entry to `entry`, and returns its inode; `None` at the end.
    ///
    /// # Errors
    /// As [`DirCursor::next_inode`].
    pub fn next<S: Storage, L: Layer<S>>(
        &mut self,
        guard: &mut Guard<'_, S, L>,
        entry: &mut DirEntry,
    ) -> Result<Option<Inode>, Stop> {
        // Each round takes the entries of a name.
        loop {
            entry.name.clear();
            for part in self.parts.iter_mut().filter(|part| part.offer == Offer::Unknown) {
                part.look(guard)?;
            }
            let offers = self.parts.iter().filter(|part| part.offer == Offer::Entry);
            // The first of several is the topmost.
            let Some(first) = offers.min_by(|a, b| a.entry.name.cmp(&b.entry.name)) else {
                return Ok(None);
            };
            entry.clone_from(&first.entry);
            self.position = (first.place | AFTER) | Nid(0).in_layer(first.layer())?.0;
            let mut found: Vec<Nid> = Vec::new();
            let has_it =
                |part: &&mut Part| part.offer == Offer::Entry && part.entry.name == entry.name;
            for part in self.parts.iter_mut().filter(has_it) {
                found.push(part.entry.nid);
                part.offer = Offer::Unknown;
            }
            let inode = guard.inode(entry.nid)?;
            entry.kind = Some(inode.kind());
            if guard.is_whiteout(&inode)? {
                continue;
            }
            if inode.kind() == FileKind::Directory {
                let above = self.parts.first().or_bug()?.cursor.dir().nid();
                guard.merge(above, &inode, &found)?;
            }
            return Ok(Some(inode));
        }
    }
}

impl Part {
    fn layer(&self) -> u8 {
        self.cursor.dir().nid().layer()
    }

    /// Looks at the next entry.
    fn look<S: Storage, L: Layer<S>>(&mut self, guard: &mut Guard<'_, S, L>) -> Result<(), Stop> {
        self.place = self.cursor.position()?;
        let is_entry = self.cursor.advance(guard, &mut self.entry, true)?;
        self.offer = if is_entry { Offer::Entry } else { Offer::End };
        Ok(())
    }

    /// Moves to the first entry after `name`.
    fn seek<S: Storage, L: Layer<S>>(
        &mut self,
        guard: &mut Guard<'_, S, L>,
        name: &[u8],
    ) -> Result<(), Stop> {
        let dir = *self.cursor.dir();
        guard.turn_to(dir.nid());
        let size = guard.mount().superblock().block_size();
        let (mut low, mut high) = (0, size.blocks_of(dir.size()));
        // Each round halves the range of at most 2^54 blocks.
        while low < high {
            let middle = low.midpoint(high);
            let block = DirBlock::from_bytes(guard.dir_block(&dir, middle)?, dir.nid(), middle)?;
            if block.last_name()? <= name {
                low = middle.checked_add(1).or_bug()?;
            } else {
                high = middle;
            }
        }
        self.cursor = DirCursor::new(dir, size, size.pow2().times(low).or_bug()?)?;
        // At most the entries of a block.
        loop {
            self.look(guard)?;
            if self.offer == Offer::End || self.entry.name.as_slice() > name {
                return Ok(());
            }
        }
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Notes the parts of the directory `inode`, which is the first of `found`: the inodes of one
    /// name, the topmost first.
    fn merge(&mut self, above: Nid, inode: &Inode, found: &[Nid]) -> Result<(), Stop> {
        if self.dirs.get(inode.nid()).is_some() {
            return Ok(());
        }
        let mut parts = alloc::vec![inode.nid()];
        let (mut last, lower) = (*inode, found.get(1..).or_bug()?);
        for nid in lower {
            if self.is_opaque(&last)? {
                break;
            }
            last = self.inode(*nid)?;
            if last.kind() != FileKind::Directory {
                break;
            }
            parts.push(*nid);
        }
        self.dirs.note(above, &parts);
        Ok(())
    }

    /// Returns a cursor at `position` of the merged directory `dir`; at the end if no entry has given
    /// that position.
    #[inline(never)]
    pub fn open_merged(&mut self, dir: &Inode, position: u64) -> Result<Merged, Stop> {
        let mut parts = Vec::new();
        for nid in self.parts_of(dir.nid())? {
            let part = self.inode(nid)?;
            let cursor = DirCursor::new(part, self.mount().superblock().block_size(), 0)?;
            parts.push(Part {
                cursor,
                entry: DirEntry::default(),
                place: 0,
                offer: Offer::Unknown,
            });
        }
        if position > 0 {
            self.seek_merged(&mut parts, position)?;
        }
        Ok(Merged { parts, position })
    }

    /// Moves to the first name after that of the entry at `position`.
    fn seek_merged(&mut self, parts: &mut [Part], position: u64) -> Result<(), Stop> {
        let layer = Nid(position).layer();
        let place = Nid(position).slot() & !(Nid(0).in_layer(layer)?.0 | AFTER);
        let mut last = None;
        if let Some(part) = parts.iter().find(|part| part.layer() == layer) {
            self.turn_to(part.cursor.dir().nid());
            let size = self.mount().superblock().block_size();
            let mut cursor = DirCursor::new(*part.cursor.dir(), size, place)?;
            let mut entry = DirEntry::default();
            last = cursor.advance(self, &mut entry, false)?.then_some(entry.name);
        }
        for part in parts {
            match &last {
                Some(name) => part.seek(self, name)?,
                None => part.offer = Offer::End,
            }
        }
        Ok(())
    }
}
