//! The checks of objects: their proof, their blocks, and the nodes that these need.
//!
//! Always: a node enters the memory for nodes after its check alone: after that of its parent, or of
//! all data. A block is handed out after the check against its leaf.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use rootlet_base::num::{OrBug, clip, index, narrow, wide};
use rootlet_base::units::{BLOCK, ByteRange, Pow2, count};
use rootlet_storage::{IoErrorKind, Lent, ObjectFault, Storage, Transfer, Vouch};
use rootlet_trust::{Builder, Node, Root};

use super::bytes::Bytes;
use super::{Entry, OBJECTS, Objects, bug};
use crate::Verified;
use crate::check::{Fault, Leaves};
use crate::pin::NODE_BYTES;

/// The bytes of a block of data.
const BLOCK_BYTES: usize = 4096;
/// The most bytes of nodes that are kept until all data is proved.
const UNPROVED_BYTES: usize = 1 << 20;

/// A node, and its bytes.
type Named = (Node, Vec<u8>);

impl<S: Storage> Verified<S> {
    /// Compares all bytes of the object that begins at byte `at` with its digest, unless its tree is
    /// known.
    pub(crate) fn prove_object_at(&self, objects: &Objects, at: u64) -> Result<(), ObjectFault> {
        let entry = objects.at(at).map_err(ObjectFault::Io)?;
        match entry.pin.tree() {
            Some(_) => Ok(()),
            None => self.prove(objects, &entry, None).map(|_| ()),
        }
    }

    /// Reads all bytes of an object once, compares their digest, and keeps nodes of the tree. Returns
    /// the node `wanted`.
    fn prove(
        &self,
        objects: &Objects,
        entry: &Entry,
        wanted: Option<Node>,
    ) -> Result<Option<Vec<u8>>, ObjectFault> {
        let (nodes, found) = objects.with_bytes(&self.storage, entry, |bytes| {
            let (shape, len) = (entry.pin.shape(), bytes.len()?);
            // A file is its object; in an image the inode has the length.
            if len != shape.data_bytes() {
                return Err(ObjectFault::Length(len));
            }
            self.build(entry, wanted, bytes)
        })?;
        let top = nodes.iter().find(|(node, _)| Some(*node) == entry.pin.shape().top());
        if let Some((_, bytes)) = top {
            entry.pin.prove(self.hasher, bytes).ok().or_bug().map_err(bug)?;
        }
        let mut state = self.state.lock();
        for (node, bytes) in nodes {
            state.nodes.keep((entry.pin.number, node), bytes.into());
        }
        Ok(found)
    }

    /// Makes the tree of `bytes`, and compares its digest. Returns nodes of the tree, as many as there
    /// is room for, the top one in any case; and the node `wanted`.
    fn build(
        &self,
        entry: &Entry,
        wanted: Option<Node>,
        bytes: &Bytes<'_, S>,
    ) -> Result<(Vec<Named>, Option<Vec<u8>>), ObjectFault> {
        let shape = entry.pin.shape();
        let mut builder = Builder::new(self.hasher, shape.clone()).map_err(bug)?;
        let (mut nodes, mut found, mut left) = (Vec::new(), None, UNPROVED_BYTES);
        let mut put = |at: u64, bytes: &[u8]| {
            let Some(node) = shape.nth(BLOCK.whole(at)) else { return };
            if Some(node) == wanted {
                found = Some(bytes.to_vec());
            }
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None if Some(node) != shape.top() => return,
                None => {}
            }
            nodes.push((node, bytes.to_vec()));
        };
        let group = group(entry);
        let (mut first, mut buffer) = (Vec::new(), Vec::new());
        for number in 0..group.cover(shape.data_bytes()) {
            let range = bytes_of(entry, number)?;
            buffer.resize(narrow(range.len()).map_err(bug)?, 0);
            bytes.read(range.start(), &mut buffer).map_err(ObjectFault::Io)?;
            for block in buffer.chunks(BLOCK_BYTES) {
                builder.push(block, &mut put).map_err(bug)?;
            }
            if shape.levels() == 0 {
                first.clone_from(&buffer);
            }
        }
        if builder.finish(&mut put).map_err(bug)? != Root::File(entry.digest) {
            return Err(ObjectFault::Untrue);
        }
        if shape.levels() == 0 {
            // The tree is the digest of the only block.
            entry.pin.prove(self.hasher, &first).ok().or_bug().map_err(bug)?;
        }
        Ok((nodes, found))
    }

    /// Runs a batch with transfers of the device of the objects: runs of those, and of others, one
    /// after the other. Few batches have both.
    pub(crate) fn run_with_objects<'b>(
        &self,
        objects: &Objects,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        let is_object = |transfer: &Transfer<'_>| transfer.device == OBJECTS;
        let mut first = 0_usize;
        for part in batch.chunk_by_mut(|one, next| is_object(one) == is_object(next)) {
            let len = part.len();
            let mut done =
                |at: usize, transfer: &mut Transfer<'b>| done(first.wrapping_add(at), transfer);
            if part.first().is_some_and(is_object) {
                for (number, transfer) in part.iter_mut().enumerate() {
                    self.run_object(objects, transfer);
                    done(number, transfer);
                }
            } else {
                self.run(part, &mut done);
            }
            first = first.wrapping_add(len);
        }
    }

    /// Runs a transfer of the device of the objects.
    fn run_object(&self, objects: &Objects, transfer: &mut Transfer<'_>) {
        let at = transfer.at;
        let result = match &mut transfer.lent {
            Lent::Read(out) => {
                let read = self.read_object(objects, at, out);
                read.inspect_err(|_| out.fill(0))
            }
            Lent::Write(_) => Err(IoErrorKind::ReadOnly),
            Lent::Flush => Ok(()),
        };
        transfer.result = Some(result);
    }

    /// Fills `out` with whole blocks from byte `at` of the device on: of the data of one object, or
    /// nodes of its tree.
    fn read_object(&self, objects: &Objects, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let entry = objects.at(at)?;
        let Some(inside) = at.checked_sub(entry.data) else {
            return self.read_nodes(objects, &entry, at, out);
        };
        let blocks = entry.pin.blocks(inside, out.len())?;
        let end = at.checked_add(wide(out.len())).zip(entry.end());
        end.filter(|(end, last)| end <= last).ok_or(IoErrorKind::OutOfRange)?;
        let read = self.read_blocks(objects, &entry, inside, &blocks, out);
        let again = match read {
            // What is wrong is read once more.
            Err(Fault::Untrue(_)) => self.read_blocks(objects, &entry, inside, &blocks, out),
            read => read,
        };
        again.map_err(|fault| self.wrong(fault))
    }

    /// Returns the fault of a read. Who reads names the object.
    fn wrong(&self, fault: Fault) -> IoErrorKind {
        match fault {
            Fault::Io(kind) => kind,
            Fault::Untrue(_) => {
                count(&mut self.state.lock().stats.wrong, 1);
                IoErrorKind::Untrue
            }
        }
    }

    /// Reads blocks of data, and compares each.
    fn read_blocks(
        &self,
        objects: &Objects,
        entry: &Entry,
        at: u64,
        blocks: &Range<u64>,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let shape = entry.pin.shape();
        let have = ByteRange::first(shape.data_bytes()).skip(at).len();
        let (data, zeros) = out.split_at_mut(clip(have, out.len()));
        zeros.fill(0);
        let read = objects.with_bytes(&self.storage, entry, |bytes| {
            bytes.read(at, data).map_err(ObjectFault::Io)
        });
        read.map_err(|fault| Fault::Io(as_io(fault)))?;
        if shape.levels() == 0 {
            entry.pin.prove(self.hasher, data)?;
        }
        let mut leaves = Leaves::new();
        for block in blocks.clone() {
            let Some(leaf) = shape.leaf(block) else { break };
            if let alloc::collections::btree_map::Entry::Vacant(place) = leaves.entry(leaf) {
                place.insert(self.node(objects, entry, leaf)?);
                self.note_path(objects, entry, leaf)?;
            }
        }
        self.check(&entry.pin, blocks.clone(), out, &leaves)
    }

    /// Notes that a region should keep the path from a leaf to the top.
    fn note_path(&self, objects: &Objects, entry: &Entry, leaf: Node) -> Result<(), Fault> {
        let mut node = Some(leaf);
        while let Some(here) = node {
            let place = entry.pin.shape().place(here)?.start();
            objects.note_used(entry.nodes.checked_add(place).or_bug()?);
            node = entry.pin.shape().parent(here);
        }
        Ok(())
    }

    /// Fills `out` with nodes of an object that was proved.
    fn read_nodes(
        &self,
        objects: &Objects,
        entry: &Entry,
        at: u64,
        out: &mut [u8],
    ) -> Result<(), IoErrorKind> {
        let first = at.checked_sub(entry.nodes).map(|at| BLOCK.whole(at));
        let first = first.ok_or(IoErrorKind::OutOfRange)?;
        if entry.pin.tree().is_none() || BLOCK.offset(at) != 0 {
            return Err(IoErrorKind::Gone);
        }
        for (number, out) in (first..).zip(out.chunks_mut(index(NODE_BYTES))) {
            let node = entry.pin.shape().nth(number).ok_or(IoErrorKind::OutOfRange)?;
            let bytes = self.node(objects, entry, node);
            let bytes = bytes.map_err(|fault| self.wrong(fault))?;
            out.copy_from_slice(bytes.get(..out.len()).ok_or(IoErrorKind::Unaligned)?);
        }
        Ok(())
    }

    /// Returns a node that is kept, or makes it again of the data that it covers.
    fn node(&self, objects: &Objects, entry: &Entry, node: Node) -> Result<Arc<[u8]>, Fault> {
        let key = (entry.pin.number, node);
        if let Some(bytes) = self.state.lock().nodes.get(key) {
            return Ok(bytes);
        }
        let parent = entry.pin.shape().parent(node);
        let parent = parent.map(|parent| (entry.pin.number, parent));
        let parent = parent.and_then(|parent| self.state.lock().nodes.get(parent));
        let (0, Some(parent), Some(tree)) = (node.level, parent, entry.pin.tree()) else {
            // All data makes all nodes.
            let found = self.prove(objects, entry, Some(node));
            let found = found.map_err(|fault| Fault::Io(as_io(fault)))?;
            return Ok(Arc::from(found.or_bug()?));
        };
        let read = objects.with_bytes(&self.storage, entry, |bytes| {
            let range = bytes_of(entry, node.index)?;
            let mut data = vec![0; narrow(range.len()).map_err(bug)?];
            bytes.read(range.start(), &mut data).map_err(ObjectFault::Io)?;
            self.leaf_of(entry, &data)
        });
        let bytes: Arc<[u8]> = read.map_err(|fault| Fault::Io(as_io(fault)))?.into();
        tree.check_node(self.hasher, node, &bytes, Some(&parent))?;
        self.state.lock().nodes.keep(key, Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Returns the leaf that covers `data`, which begins with the first block of a leaf.
    fn leaf_of(&self, entry: &Entry, data: &[u8]) -> Result<Vec<u8>, ObjectFault> {
        let shape = entry.pin.shape();
        let mut node = Vec::with_capacity(index(NODE_BYTES));
        let mut block = [0; BLOCK_BYTES];
        for data in data.chunks(block.len()) {
            let (front, rest) = block.split_at_mut(data.len());
            front.copy_from_slice(data);
            rest.fill(0);
            let digest = rootlet_trust::digest(self.hasher, shape.algorithm(), &block);
            node.extend_from_slice(digest.map_err(bug)?.as_bytes());
        }
        node.resize(block.len(), 0);
        Ok(node)
    }

    /// Returns the byte of the next node that a check of byte `at` of the device needs and that is not
    /// known, or that of the only block of an object that is not proved.
    pub(crate) fn node_before(&self, objects: &Objects, at: u64) -> Option<u64> {
        let entry = objects.at(at).ok()?;
        let shape = entry.pin.shape();
        let Some(leaf) = shape.leaf(BLOCK.whole(at.checked_sub(entry.data)?)) else {
            let is_unproved = entry.pin.tree().is_none() && shape.data_bytes() > 0;
            return is_unproved.then_some(entry.data);
        };
        let (mut missing, mut node) = (None, Some(leaf));
        while let Some(here) = node {
            let known = self.state.lock().nodes.get((entry.pin.number, here)).is_some();
            if !known || entry.pin.tree().is_none() {
                missing = Some(here);
            } else {
                break;
            }
            node = shape.parent(here);
        }
        let place = shape.place(missing?).ok()?;
        entry.nodes.checked_add(place.start())
    }

    /// Judges bytes of objects that came from elsewhere; of those that nobody has asked for nobody can
    /// say.
    pub(crate) fn vouch_object(&self, objects: &Objects, at: u64, data: &[u8]) -> Vouch {
        let Ok(entry) = objects.at(at) else { return Vouch::Unknown };
        let end = at.checked_add(wide(data.len()));
        if end.zip(entry.end()).is_none_or(|(end, last)| end > last) {
            return Vouch::Unknown;
        }
        match (at.checked_sub(entry.data), at.checked_sub(entry.nodes)) {
            (Some(inside), _) => self.vouch_pinned(&entry.pin, inside, data),
            (None, Some(inside)) => self.vouch_nodes(&entry.pin, inside, data),
            (None, None) => Vouch::Unknown,
        }
    }
}

/// Returns the length of the data that a leaf covers.
fn group(entry: &Entry) -> Pow2 {
    /// Digests of 32 and of 64 bytes in a node.
    const GROUPS: [Pow2; 2] = [
        match Pow2::of(512 << 10) {
            Some(group) => group,
            None => panic!("512 KiB are a power of two"),
        },
        match Pow2::of(256 << 10) {
            Some(group) => group,
            None => panic!("256 KiB are a power of two"),
        },
    ];
    let [of_sha256, of_sha512] = GROUPS;
    match entry.pin.shape().algorithm() {
        rootlet_trust::Algorithm::Sha256 => of_sha256,
        rootlet_trust::Algorithm::Sha512 => of_sha512,
    }
}

/// Returns the data that the leaf with this number covers.
fn bytes_of(entry: &Entry, number: u64) -> Result<ByteRange, ObjectFault> {
    let size = group(entry);
    let start = size.times(number).or_bug().map_err(bug)?;
    let all = ByteRange::first(entry.pin.shape().data_bytes());
    all.skip(start).take(size.get()).non_empty().or_bug().map_err(bug)
}

/// Returns the fault of a read for the fault of an object.
fn as_io(fault: ObjectFault) -> IoErrorKind {
    use rootlet_storage::DiscoverError;
    match fault {
        ObjectFault::Io(kind) | ObjectFault::Search(DiscoverError::Daemon(kind)) => kind,
        ObjectFault::Untrue => IoErrorKind::Untrue,
        ObjectFault::Length(_) => IoErrorKind::Changed,
        _ => IoErrorKind::Gone,
    }
}
