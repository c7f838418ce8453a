//! Objects: where one lies, its proof, and the nodes of its tree that a region has.
//!
//! Always: an object is proved before its file is opened, by nodes out of the region or by all its
//! bytes. What an image of objects says leads to bytes, and decides nothing else: their digest does.

use super::guard::Guard;
#[cfg(feature = "alloc")]
use super::io::{Extent, source_of};
#[cfg(feature = "alloc")]
use super::plan::{Plan, in_tail};
use super::stop::Stop;
use crate::cache::Layer;
#[cfg(feature = "alloc")]
use crate::cache::{Residence, Why};
#[cfg(feature = "alloc")]
use crate::erofs::{FileKind, Inode, Layout, Nid, Space};
#[cfg(feature = "alloc")]
use crate::num::OrBug;
#[cfg(feature = "alloc")]
use crate::storage::ObjectPiece;
use crate::storage::{ObjectFault, ObjectPlace, Storage};
#[cfg(feature = "alloc")]
use crate::units::{BLOCK, ByteRange, Pow2};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

/// The most pieces of an object in an image.
#[cfg(feature = "alloc")]
const PIECES_MAX: usize = 16 << 10;
/// The data that a leaf of an object's tree covers at least, in bytes.
#[cfg(feature = "alloc")]
const LEAF_COVERS: Pow2 = match Pow2::of(256 << 10) {
    Some(bytes) => bytes,
    None => panic!("256 KiB are a power of two"),
};

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the byte of the objects' device at which the object of `bytes` bytes with this digest
    /// begins, after its proof.
    pub fn object_at(
        &mut self,
        digest: &[u8],
        bytes: u64,
    ) -> Result<Result<u64, ObjectFault>, Stop> {
        let at = match self.storage.object(digest, bytes, ObjectPlace::Known) {
            Err(ObjectFault::Absent) => match self.find_object(digest, bytes)? {
                Ok(at) => at,
                Err(why) => return Ok(Err(why)),
            },
            Ok(at) => at,
            Err(why) => return Ok(Err(why)),
        };
        self.load_nodes(at)?;
        Ok(self.released(|storage| storage.prove_object(at)).map(|()| at))
    }

    /// Finds an object that nobody asked for before.
    #[cfg(not(feature = "alloc"))]
    fn find_object(&mut self, digest: &[u8], bytes: u64) -> Result<Result<u64, ObjectFault>, Stop> {
        Ok(self.storage.object(digest, bytes, ObjectPlace::Folder))
    }

    /// Without a heap there is no region.
    #[cfg(not(feature = "alloc"))]
    fn load_nodes(&mut self, _: u64) -> Result<(), Stop> {
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Finds an object that nobody asked for before.
    fn find_object(&mut self, digest: &[u8], bytes: u64) -> Result<Result<u64, ObjectFault>, Stop> {
        let Some(root) = self.shared.objects_root else {
            return Ok(self.storage.object(digest, bytes, ObjectPlace::Folder));
        };
        let file = match self.file_of_object(root, digest)? {
            Some(file) if file.size() != bytes => {
                return Ok(Err(ObjectFault::Length(file.size())));
            }
            Some(file) => file,
            None => return Ok(Err(ObjectFault::Absent)),
        };
        match self.pieces(&file)? {
            Ok(pieces) => Ok(self.storage.object(digest, bytes, ObjectPlace::Pieces(&pieces))),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Returns the file `xx/rest` of the image of objects with this root.
    fn file_of_object(&mut self, root: Nid, digest: &[u8]) -> Result<Option<Inode>, Stop> {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).or_bug();
        let mut name = alloc::string::String::new();
        for byte in digest {
            name.push(digit(byte >> 4)?);
            name.push(digit(byte & 15)?);
        }
        let (first, rest) = name.split_at_checked(2).or_bug()?;
        let mut at = self.inode(root)?;
        for name in [first, rest] {
            if at.kind() != FileKind::Directory {
                return Ok(None);
            }
            let Some(nid) = self.lookup(&at, name.as_bytes())? else { return Ok(None) };
            at = self.inode(nid)?;
        }
        Ok(Some(at).filter(|at| at.kind() == FileKind::Regular))
    }

    /// Returns the pieces of a file's data, or why they cannot be had.
    fn pieces(&mut self, file: &Inode) -> Result<Result<Vec<ObjectPiece>, ObjectFault>, Stop> {
        if let Layout::Compressed(_) = file.layout() {
            return Ok(Err(ObjectFault::Compressed));
        }
        let mut pieces = Vec::new();
        let mut rest = ByteRange::first(file.size());
        // Each round takes at least a byte.
        while let Some(want) = rest.non_empty() {
            if let Some(at) = in_tail(file, want.start())? {
                if file.nid().space() != Space::Image {
                    return Ok(Err(ObjectFault::Metabox));
                }
                let (device, at) = self.meta_source(Space::Image, at)?.or_bug()?;
                pieces.push(ObjectPiece::Bytes { device, at, len: want.len() });
                break;
            }
            let mut plan = Plan::new();
            self.plan(file, want, &mut plan)?;
            if pieces.len().checked_add(plan.extents().len()).or_bug()? > PIECES_MAX {
                return Ok(Err(ObjectFault::Scattered));
            }
            for extent in plan.extents() {
                pieces.push(match *extent {
                    Extent::Hole(len) => ObjectPiece::Zeros(len),
                    Extent::Blob { slot, range } => {
                        let source = source_of(&self.shared.sources, slot, range)?;
                        let (device, at) = source.at(range.start())?;
                        ObjectPiece::Bytes { device, at, len: range.len() }
                    }
                });
            }
            rest = want.skip(plan.bytes());
        }
        Ok(Ok(pieces))
    }

    /// Loads the nodes that a check of bytes of an object needs, as far as the region has them.
    pub fn load_nodes_of(&mut self, object: u64, want: ByteRange) -> Result<(), Stop> {
        for leaf in LEAF_COVERS.numbers(want) {
            let inside = LEAF_COVERS.times(leaf).or_bug()?.max(want.start());
            self.load_nodes(object.checked_add(inside).or_bug()?)?;
        }
        Ok(())
    }

    /// Loads the nodes that a check of byte `at` of the objects' device needs, from the top down, as
    /// far as the region has them.
    fn load_nodes(&mut self, at: u64) -> Result<(), Stop> {
        let (slot, storage) = (self.shared.objects.or_bug()?, self.storage);
        let Some(blob) = self.source(slot).or_bug()?.blob else { return Ok(()) };
        let mut last = None;
        // A round for each level of the tree.
        while let Some(node) = storage.object_node(at).filter(|node| Some(*node) != last) {
            let range = ByteRange::sized(node, BLOCK.get()).or_bug()?;
            self.io.layer.prepare(storage, blob, BLOCK.numbers(range), Why::Read);
            let (residence, _) = self.io.layer.locate(blob, BLOCK.numbers(range));
            if residence == Residence::Absent {
                break;
            }
            let mut bytes = alloc::vec![0; crate::cache::BLOCK_BYTES];
            match self.fetch(&[Extent::Blob { slot, range }], &mut bytes) {
                Ok(()) => last = Some(node),
                Err(Stop::Wait) => return Err(Stop::Wait),
                // The proof by all bytes says what is wrong.
                Err(Stop::Error(_)) => break,
            }
        }
        Ok(())
    }
}
