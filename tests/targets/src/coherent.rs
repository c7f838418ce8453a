//! Whether the map of a compressed file says the same of a byte, wherever one begins to look.
//!
//! Always: asked only where two reads differ. An index says things twice, by its heads and by the
//! distances to them. In a hostile image they contradict each other, and which of them counts
//! depends on where a read begins, in Linux too; a reader that checked all of them would read the
//! index of a whole extent for each of its bytes.

use rootlet::cache::NoRegion;
use rootlet::erofs::compressed::{CompressedMap, Data, Extent, Metadata};
use rootlet::erofs::{FormatError, Inode, Layout, Space};
use rootlet::read::Root;

use crate::memory::{Device, Devices};

/// Bytes between two places that are looked at: the smallest lcluster.
const STEP: u64 = 512;
/// Extents of one file that are looked at.
const EXTENTS_MAX: usize = 1 << 12;
/// The metabox is looked at whole, to this size.
const METABOX_BYTES: u64 = 4 << 20;

/// A mounted image and its primary device.
pub struct Maps<'m> {
    pub root: &'m Root<Devices, NoRegion>,
    pub device: &'m Device,
}

/// Metadata of one space.
struct InSpace<'m> {
    device: &'m Device,
    root: &'m Root<Devices, NoRegion>,
    space: Space,
}

impl Metadata for InSpace<'_> {
    type Error = Option<FormatError>;

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        if self.space == Space::Image {
            self.device.read(at, out);
            return Ok(());
        }
        let metabox = self.root.superblock().metabox.ok_or(None)?;
        let inode = self.root.inode(metabox).map_err(|_| None)?;
        let read = self.root.open_inode(inode).and_then(|file| file.read_at(at, out));
        read.is_ok_and(|got| got == out.len()).then_some(()).ok_or(None)
    }
}

impl Maps<'_> {
    /// Whether all that bytes `from..to` of the file come from is said once, or twice alike.
    pub fn are_coherent(&self, inode: &Inode, from: u64, to: u64) -> bool {
        let metabox = self.root.superblock().metabox;
        let in_metabox = inode.nid.space() == Space::Metabox;
        // What its index says depends on the map of the metabox.
        let below = metabox.filter(|_| in_metabox).is_none_or(|metabox| {
            let inode = self.root.inode(metabox);
            inode.is_ok_and(|inode| self.are_coherent(&inode, 0, inode.size.min(METABOX_BYTES)))
        });
        below
            && (!matches!(inode.layout, Layout::Compressed(_)) || self.is_coherent(inode, from, to))
    }

    fn is_coherent(&self, inode: &Inode, from: u64, to: u64) -> bool {
        let superblock = self.root.superblock();
        let algorithms = superblock.compression.algorithms.bits();
        let space = &mut InSpace { device: self.device, root: self.root, space: inode.nid.space() };
        let Ok(map) = CompressedMap::open(&superblock, algorithms, inode, space) else {
            return false;
        };
        let mut at = from;
        for _ in 0..EXTENTS_MAX {
            if at >= to {
                return true;
            }
            let Ok(extent) = map.clone().find(space, at) else { return false };
            let (start, end) = (extent.offset.max(from), extent.end().min(to));
            let mut places = (start..end).step_by(STEP as usize).chain([end - 1]);
            let same = places.all(|at| map.clone().find(space, at).is_ok_and(|it| it == extent));
            if !same || !self.fragment_is_coherent(&extent, start, end) {
                return false;
            }
            at = extent.end();
        }
        false
    }

    fn fragment_is_coherent(&self, extent: &Extent, start: u64, end: u64) -> bool {
        let Data::Fragment { at } = extent.data else { return true };
        let packed = self.root.superblock().packed.and_then(|nid| self.root.inode(nid).ok());
        let from = at + (start - extent.offset);
        packed.is_some_and(|packed| self.are_coherent(&packed, from, from + (end - start)))
    }
}
