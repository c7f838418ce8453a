//! A device that is pinned: its tree, proven up to the root, and where the nodes lie.
//!
//! Always: a pin exists only if the top node, or the only block, has the digest that is pinned; of
//! the device's length and of a superblock nothing is believed.

use alloc::vec::Vec;
use core::fmt;

use rootlet_base::num::{Bug, OrBug, clip, low32, narrow, wide};
use rootlet_base::units::{ByteRange, Pow2};
use spin::Once;

use rootlet_storage::{DeviceId, DeviceInfo, IoError, IoErrorKind, Storage};
use rootlet_trust::{Algorithm, Claim, Hasher, Node, Refused, Shape, Spec, Subject, Tree, Untrue};

use crate::prove::{Proven, Prover};

/// The largest data block in bytes: the read path cuts reads at blocks of 4 KiB.
pub const DATA_BLOCK_BYTES_MAX: u64 = 4096;

/// The most bytes of nodes with digests of data that one transfer needs, if a node has fewer.
const TRANSFER_NODES_BYTES: u64 = 32 << 10;

/// The bytes of a node that a region keeps: one of its blocks.
pub const NODE_BYTES: u32 = 4096;

/// Why a device was not pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinError {
    /// The device or its tree is not what is pinned.
    Refused(Refused),
    /// The device or its tree could not be read.
    Io(Subject, IoError),
    /// The device, or that of its tree, is not there.
    Absent(Subject),
    /// The device is pinned already, to other data.
    Twice(Subject, Subject),
    /// Data blocks of this length in bytes are not read.
    DataBlock(Subject, u64),
    /// The device of the tree cannot move a node from this byte on.
    Node(Subject, u64, IoErrorKind),
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Io(subject, error) => write!(f, "{subject}: {error:#}"),
            Self::Absent(subject) => {
                write!(f, "{subject}: its source or its tree is not there, so nothing verifies it")
            }
            Self::Twice(subject, other) => {
                write!(f, "{subject}: it has the source of {other}, and is pinned to other data")
            }
            Self::DataBlock(subject, bytes) => {
                write!(f, "{subject}: not supported: data blocks of {bytes} bytes; at most 4096")
            }
            Self::Node(subject, at, kind) => write!(
                f,
                "{subject}: the device of its tree cannot read a node at byte {at}: {kind}"
            ),
        }
    }
}

impl core::error::Error for PinError {}

impl From<Refused> for PinError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A device, and the tree that its bytes are checked against.
#[derive(Debug)]
pub struct Pin {
    /// What the device is.
    pub subject: Subject,
    /// The number of the tree.
    pub number: u32,
    /// The digest that names the data.
    pub content: [u8; 32],
    /// What is pinned.
    pub claim: Claim,
    /// The tree, from the moment on when the claim is proven.
    tree: Once<Tree>,
    /// The device that the nodes are on, and the byte of the first one; `None` if the source is not
    /// there.
    tree_at: Option<(DeviceId, u64)>,
    /// The device with sectors of at least a data block.
    pub info: DeviceInfo,
    /// The tree, if it was made here: its nodes need no device.
    made: Option<Vec<u8>>,
    /// The byte after the last that is read from the device: the end of the data, up to a sector.
    read_end: u64,
}

/// The top node, and its bytes.
pub type Top = (Node, Vec<u8>);

impl Pin {
    /// Pins a device to what `prover` proves of it. `lengths` are the lengths in bytes that the data may
    /// have, of which the digest covers one. Returns the pin, and its top node.
    ///
    /// # Errors
    /// [`PinError`]: that of the first length.
    pub fn new<S: Storage>(
        prover: &Prover<'_, S>,
        number: u32,
        lengths: &[u64],
    ) -> Result<(Self, Option<Top>), PinError> {
        let (subject, hasher) = (prover.subject, prover.hasher);
        let bug = |bug: Bug| PinError::from(subject.refused(bug));
        let mut first = None;
        for bytes in lengths {
            match prover.prove(*bytes) {
                Ok(Proven { claim, tree, tree_at, made, top }) => {
                    let info = raised(*prover.info, claim.shape()).or_bug().map_err(bug)?;
                    let sector = Pow2::of(prover.info.sector_bytes.into()).or_bug().map_err(bug)?;
                    let read_end = sector.ceil(claim.shape().data_bytes()).or_bug().map_err(bug)?;
                    let content = claim.content(hasher).map_err(bug)?;
                    let (tree, tree_at) = (Once::initialized(tree), Some(tree_at));
                    let pin = Self {
                        subject,
                        number,
                        content,
                        claim,
                        tree,
                        tree_at,
                        info,
                        made,
                        read_end,
                    };
                    return Ok((pin, top));
                }
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        Err(first.or_bug().unwrap_or_else(bug))
    }

    /// Pins a source of `bytes` bytes that is not there: what a region holds of it can be checked
    /// once its top node, or its only block, has proven the claim.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn absent(
        hasher: &dyn Hasher,
        (subject, number): (Subject, u32),
        spec: &Spec<'_>,
        bytes: u64,
    ) -> Result<Self, PinError> {
        let bug = |bug: Bug| PinError::from(subject.refused(bug));
        let claim = spec.claim(bytes).map_err(|error| PinError::from(subject.refused(error)))?;
        let shape = claim.shape();
        if shape.data_block().get() > DATA_BLOCK_BYTES_MAX {
            return Err(PinError::DataBlock(subject, shape.data_block().get()));
        }
        let length = shape.data_block().ceil(shape.data_bytes()).or_bug().map_err(bug)?;
        let info = raised(DeviceInfo::new(length, low32(shape.data_block().get())), shape);
        let info = info.or_bug().map_err(bug)?;
        let content = claim.content(hasher).map_err(bug)?;
        let (tree, tree_at, made, read_end) = (Once::new(), None, None, length);
        Ok(Self { subject, number, content, claim, tree, tree_at, info, made, read_end })
    }

    /// Returns the form of the tree.
    pub fn shape(&self) -> &Shape {
        self.claim.shape()
    }

    /// Returns the tree; `None` if the claim is not proven.
    pub fn tree(&self) -> Option<&Tree> {
        self.tree.get()
    }

    /// Proves the claim with the bytes of the top node, or of the only block.
    pub fn prove(&self, hasher: &dyn Hasher, bytes: &[u8]) -> Result<&Tree, Untrue> {
        let tree = self.claim.prove(hasher, bytes)?;
        Ok(self.tree.call_once(|| tree))
    }

    /// Returns whether the source is not there.
    pub fn is_absent(&self) -> bool {
        self.tree_at.is_none()
    }

    /// Returns the device and the byte of a node.
    pub fn place(&self, node: Node) -> Result<(DeviceId, u64), Bug> {
        self.place_of(self.shape().place(node)?.start())
    }

    /// Returns the device and the byte of byte `at` of the tree.
    pub fn place_of(&self, at: u64) -> Result<(DeviceId, u64), Bug> {
        let (device, start) = self.tree_at.or_bug()?;
        Ok((device, start.checked_add(at).or_bug()?))
    }

    /// Returns the device that stands for the tree, whose own device is `below`.
    pub fn nodes_info(&self, below: Option<DeviceInfo>) -> DeviceInfo {
        let info = DeviceInfo::new(self.shape().tree_bytes(), NODE_BYTES);
        let info = info.with_read_only(true).with_pinned(true);
        let node = rootlet_base::units::BLOCK;
        let most = below.map(|below| low32(node.floor(below.transfer_bytes_max.into())));
        match most {
            Some(most) => info.with_transfer_bytes_max(most),
            None => info,
        }
    }

    /// Returns whether a region may keep the tree: its nodes have the length of a block there, and
    /// lie on a device.
    pub fn is_kept(&self) -> bool {
        let shape = self.shape();
        let has_nodes = shape.levels() > 0 && shape.hash_block().get() == u64::from(NODE_BYTES);
        has_nodes && self.made.is_none()
    }

    /// Returns the digest that names the tree.
    pub fn tree_content(&self, hasher: &dyn Hasher) -> Result<[u8; 32], Bug> {
        let named = [&b"rootlet tree\0"[..], &self.content].concat();
        let digest = rootlet_trust::digest(hasher, Algorithm::Sha256, &named)?;
        Ok(*digest.as_bytes().first_chunk().or_bug()?)
    }

    /// Returns the bytes of a node of a tree that was made here.
    pub fn made(&self, node: Node) -> Result<Option<&[u8]>, Bug> {
        let Some(made) = &self.made else { return Ok(None) };
        let place = self.shape().place(node)?;
        let bytes = made.get(narrow(place.start())?..narrow(place.end())?);
        bytes.or_bug().map(Some)
    }

    /// Returns the length of a node.
    pub fn node_bytes(&self) -> Result<usize, Bug> {
        narrow(self.shape().hash_block().get())
    }

    /// Returns the most bytes of nodes that a transfer of `len` bytes needs: those with its digests, and
    /// on each level above two beside each other.
    pub fn nodes_bytes(&self, len: usize) -> usize {
        let shape = self.shape();
        let leaves = shape.leaf_bytes().and_then(|bytes| wide(len).checked_div(bytes));
        // A transfer is shorter than 4 GiB, a leaf covers 4 KiB, and there are at most 19 levels.
        let nodes =
            leaves.map_or(0, |leaves| leaves).wrapping_add(wide(shape.levels()).wrapping_mul(2));
        clip(shape.hash_block().get().wrapping_mul(nodes), usize::MAX)
    }

    /// Returns how many of `len` bytes from byte `at` on are read from the device; zeros follow.
    pub fn read_bytes(&self, at: u64, len: usize) -> usize {
        let left = ByteRange::first(self.read_end).skip(at).len();
        clip(left, len)
    }

    /// Returns the blocks of `len` bytes from byte `at` on.
    ///
    /// # Errors
    /// [`IoErrorKind::Unaligned`] and [`IoErrorKind::OutOfRange`] for other than whole blocks.
    pub fn blocks(&self, at: u64, len: usize) -> Result<core::ops::Range<u64>, IoErrorKind> {
        let block = self.shape().data_block();
        let range = ByteRange::sized(at, wide(len)).ok_or(IoErrorKind::OutOfRange)?;
        if block.offset(at) != 0 || block.offset(wide(len)) != 0 {
            return Err(IoErrorKind::Unaligned);
        }
        let numbers = block.numbers(range);
        Ok(numbers.start..numbers.end.min(self.shape().blocks()))
    }
}

/// Returns a device with sectors of at least a data block, which ends with the last data block.
fn raised(info: DeviceInfo, shape: &Shape) -> Option<DeviceInfo> {
    let block = low32(shape.data_block().get());
    let sector = Pow2::of(info.sector_bytes.max(block).into())?;
    let mut raised = info;
    raised.sector_bytes = low32(sector.get());
    raised.bytes = sector.ceil(shape.data_bytes())?;
    // So few that a batch can hold the nodes of one transfer.
    let node = shape.hash_block().get();
    let leaves = TRANSFER_NODES_BYTES.checked_div(node)?.max(1);
    let most = shape.leaf_bytes()?.checked_mul(leaves)?.min(info.transfer_bytes_max.into());
    raised.transfer_bytes_max = low32(sector.floor(most));
    Some(raised.with_read_only(true).with_pinned(true))
}
