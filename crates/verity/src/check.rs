//! The check of blocks against their leaves, and of nodes against their parents.
//!
//! Always: hashes are computed while no lock is held; a node enters the memory for nodes after its
//! check alone. What a batch needs it holds itself, however little memory there is for nodes.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use rootlet_base::Bug;
use rootlet_base::num::{OrBug, index, narrow, wide};
use rootlet_base::units::{BLOCK, count};
use rootlet_storage::{DeviceId, IoErrorKind, Storage, Transfer, Vouch};
use rootlet_trust::{Data, Node, Reason, Untrue};

use crate::Verified;
use crate::nodes::Key;
use crate::pin::{NODE_BYTES, Pin};

/// Why bytes are not handed out.
#[derive(Clone, Debug)]
pub enum Fault {
    /// They, or a node, could not be read.
    Io(IoErrorKind),
    /// Some bytes have another digest, or our own code is wrong.
    Untrue(Reason),
}

impl From<Untrue> for Fault {
    fn from(untrue: Untrue) -> Self {
        Self::Untrue(untrue.into())
    }
}

impl From<Bug> for Fault {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Untrue(bug.into())
    }
}

/// A node that is read, and not checked.
#[derive(Debug)]
struct Fresh {
    place: (DeviceId, u64),
    bytes: Vec<u8>,
    /// How the read ended.
    result: Result<(), IoErrorKind>,
}

/// The nodes that the blocks of a batch need.
#[derive(Debug, Default)]
pub struct Paths {
    /// Those that were checked.
    known: BTreeMap<Key, Arc<[u8]>>,
    fresh: BTreeMap<Key, Fresh>,
    /// The bytes of all nodes.
    bytes: usize,
}

impl Paths {
    /// Returns the bytes of all nodes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether no node has to be read.
    pub fn are_known(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Returns the transfers that bring the nodes.
    pub fn transfers(&mut self) -> impl Iterator<Item = Transfer<'_>> {
        self.fresh
            .values_mut()
            .map(|Fresh { place: (device, at), bytes, .. }| Transfer::read(*device, *at, bytes))
    }

    /// Takes the results of these transfers, in their order.
    pub fn ended(&mut self, results: &[Result<(), IoErrorKind>]) {
        let fresh = self.fresh.values_mut().zip(results);
        fresh.for_each(|(fresh, result)| fresh.result = *result);
    }
}

/// Leaves that were checked, by their nodes.
pub type Leaves = BTreeMap<Node, Arc<[u8]>>;

impl<S: Storage> Verified<S> {
    /// Adds to `paths` the nodes that the check of some blocks needs.
    pub(crate) fn find_paths(
        &self,
        pin: &Pin,
        blocks: Range<u64>,
        paths: &mut Paths,
    ) -> Result<(), Bug> {
        let shape = pin.shape();
        let mut last = None;
        for block in blocks {
            let leaf = shape.leaf(block);
            if leaf == last {
                continue;
            }
            last = leaf;
            let mut node = leaf;
            while let Some(here) = node {
                let key = (pin.number, here);
                if paths.known.contains_key(&key) || paths.fresh.contains_key(&key) {
                    break;
                }
                let node_bytes = pin.node_bytes()?;
                paths.bytes = paths.bytes.checked_add(node_bytes).or_bug()?;
                if let Some(bytes) = self.state.lock().nodes.get(key) {
                    paths.known.insert(key, bytes);
                    break;
                }
                if let Some(bytes) = pin.made(here)? {
                    paths.known.insert(key, bytes.into());
                    break;
                }
                let bytes = vec![0; node_bytes];
                let result = Err(IoErrorKind::Gone);
                paths.fresh.insert(key, Fresh { place: pin.place(here)?, bytes, result });
                node = shape.parent(here);
            }
        }
        Ok(())
    }

    /// Returns the leaves of some blocks, checked.
    pub(crate) fn leaves(
        &self,
        pin: &Pin,
        blocks: Range<u64>,
        paths: &mut Paths,
    ) -> Result<Leaves, Fault> {
        let mut leaves = Leaves::new();
        for block in blocks {
            let Some(leaf) = pin.shape().leaf(block) else { break };
            if let Entry::Vacant(place) = leaves.entry(leaf) {
                place.insert(self.checked(pin, leaf, paths)?);
            }
        }
        Ok(leaves)
    }

    /// Returns a node after the check of its path: from the node up to one that is known, and down
    /// again.
    fn checked(&self, pin: &Pin, node: Node, paths: &mut Paths) -> Result<Arc<[u8]>, Fault> {
        let mut path = Vec::new();
        let (mut above, mut next) = (None, Some(node));
        while let Some(here) = next {
            above = paths.known.get(&(pin.number, here)).cloned();
            if above.is_some() {
                break;
            }
            path.push(here);
            next = pin.shape().parent(here);
        }
        while let Some(here) = path.pop() {
            let key = (pin.number, here);
            let Fresh { bytes, result, .. } = paths.fresh.get_mut(&key).or_bug()?;
            result.map_err(Fault::Io)?;
            let tree = pin.tree().or_bug()?;
            tree.check_node(self.hasher, here, bytes, above.as_deref())?;
            // Once in memory: known nodes are asked for first.
            let bytes: Arc<[u8]> = core::mem::take(bytes).into();
            paths.known.insert(key, Arc::clone(&bytes));
            let mut state = self.state.lock();
            count(&mut state.stats.nodes, 1);
            state.used.note(pin, here)?;
            state.nodes.keep(key, Arc::clone(&bytes));
            above = Some(bytes);
        }
        Ok(above.or_bug()?)
    }

    /// Checks `data`, which begins with the first of `blocks`.
    pub(crate) fn check(
        &self,
        pin: &Pin,
        blocks: Range<u64>,
        data: &[u8],
        leaves: &Leaves,
    ) -> Result<(), Fault> {
        let shape = pin.shape();
        let size = narrow(shape.data_block().get())?;
        let tree = pin.tree().or_bug()?;
        let mut blocks = blocks.zip(data.chunks(size)).map(|(block, data)| {
            let leaf = shape.leaf(block).map(|leaf| leaves.get(&leaf).or_bug()).transpose()?;
            Ok::<_, Bug>(Data { block, data, leaf: leaf.map(|leaf| &**leaf) })
        });
        while let Some(first) = blocks.next().transpose()? {
            match blocks.next().transpose()? {
                Some(second) => tree.check_pair(self.hasher, [first, second])?,
                None => tree.check_block(self.hasher, first)?,
            }
        }
        count(&mut self.state.lock().stats.verified_bytes, wide(data.len()));
        Ok(())
    }

    /// Judges bytes of a pinned device that came from elsewhere; reads the nodes that are not kept.
    pub(crate) fn vouch_pinned(&self, pin: &Pin, at: u64, data: &[u8]) -> Vouch {
        let Ok(blocks) = pin.blocks(at, data.len()) else { return Vouch::Unknown };
        if pin.tree().is_none() && (pin.shape().levels() > 0 || !self.is_proven_by(pin, data)) {
            return Vouch::Unknown;
        }
        let mut paths = Paths::default();
        if self.find_paths(pin, blocks.clone(), &mut paths).is_err() {
            return Vouch::Unknown;
        }
        if !paths.are_known() {
            let mut transfers: Vec<_> = paths.transfers().collect();
            self.storage.run(&mut transfers, &mut |_, _| {});
            let results: Vec<_> = transfers.iter().map(result).collect();
            paths.ended(&results);
        }
        let leaves = match self.leaves(pin, blocks.clone(), &mut paths) {
            Ok(leaves) => leaves,
            Err(fault) => {
                self.blame(pin, fault);
                return Vouch::Unknown;
            }
        };
        match self.check(pin, blocks, data, &leaves) {
            Ok(()) => Vouch::Right,
            Err(_) => {
                count(&mut self.state.lock().stats.wrong_elsewhere, 1);
                Vouch::Wrong
            }
        }
    }

    /// Returns whether `data` is the only block of a source that is not there.
    fn is_proven_by(&self, pin: &Pin, data: &[u8]) -> bool {
        pin.prove(self.hasher, data).is_ok()
    }

    /// Judges bytes of a tree: nodes whose parents are known. Keeps those that are right.
    pub(crate) fn vouch_nodes(&self, pin: &Pin, at: u64, data: &[u8]) -> Vouch {
        let node_bytes = index(NODE_BYTES);
        let mut vouch = Vouch::Right;
        for (number, bytes) in (BLOCK.whole(at)..).zip(data.chunks(node_bytes)) {
            let Some(node) = pin.shape().nth(number) else { return Vouch::Unknown };
            match self.judge_node(pin, node, bytes) {
                Ok(true) => {}
                Ok(false) => vouch = Vouch::Unknown,
                Err(Untrue::Wrong(_)) => {
                    count(&mut self.state.lock().stats.wrong_elsewhere, 1);
                    return Vouch::Wrong;
                }
                Err(Untrue::Bug(_)) => return Vouch::Unknown,
            }
        }
        vouch
    }

    /// Checks a node and keeps it; returns whether its parent is known.
    fn judge_node(&self, pin: &Pin, node: Node, bytes: &[u8]) -> Result<bool, Untrue> {
        let known = |node| self.state.lock().nodes.get((pin.number, node));
        match (pin.shape().parent(node), pin.tree()) {
            (None, None) => _ = pin.prove(self.hasher, bytes)?,
            (None, Some(tree)) => tree.check_node(self.hasher, node, bytes, None)?,
            (Some(_), None) => return Ok(false),
            (Some(parent), Some(tree)) => {
                let Some(parent) = known(parent) else { return Ok(false) };
                tree.check_node(self.hasher, node, bytes, Some(&parent))?;
            }
        }
        self.state.lock().nodes.keep((pin.number, node), Arc::from(bytes));
        Ok(true)
    }

    /// Notes the fault of a source, and returns the result of a transfer that has it.
    pub(crate) fn blame(&self, pin: &Pin, fault: Fault) -> IoErrorKind {
        match fault {
            Fault::Io(kind) => kind,
            Fault::Untrue(why) => {
                count(&mut self.state.lock().stats.wrong, 1);
                self.refuse(pin.subject.refused(why));
                IoErrorKind::Untrue
            }
        }
    }
}

/// Returns how a transfer ended.
pub fn result(transfer: &Transfer<'_>) -> Result<(), IoErrorKind> {
    transfer.outcome().map_err(|error| error.kind)
}
