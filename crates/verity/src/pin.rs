//! A device that is pinned: its tree, proven up to the root, and where the nodes lie.
//!
//! Always: a pin exists only if the top node, or the only block, has the digest that is pinned; of
//! the device's length and of a superblock nothing is believed.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rootlet_base::num::{Bug, OrBug, index, low32, narrow, wide};
use rootlet_base::units::{ByteRange, Pow2};
use spin::Once;

use rootlet_storage::{DeviceId, DeviceInfo, IoError, IoErrorKind, Storage, Transfer};
use rootlet_trust::{
    Algorithm, Builder, Claim, Hasher, Node, Proof, Reason, Refused, SUPERBLOCK_BYTES, Shape, Spec,
    SpecError, Subject, Tree, Untrue, compare, is_superblock,
};

/// The largest data block in bytes: the read path cuts reads at blocks of 4 KiB.
const DATA_BLOCK_BYTES_MAX: u64 = 4096;

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
    pub number: u16,
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

/// What was proven of a device.
struct Proven {
    claim: Claim,
    tree: Tree,
    tree_at: (DeviceId, u64),
    made: Option<Vec<u8>>,
    top: Option<Top>,
}

/// What to do where there is no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// The device is refused.
    Refuse,
    /// The tree is made of all data, if it is short enough to be kept in memory.
    Make,
}

/// The longest tree that is made, in bytes: that of 128 MiB of data.
const MADE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of data that are read at once to make a tree: whole blocks.
const PIECE_BYTES: u64 = 512 << 10;

/// The top node, and its bytes.
pub type Top = (Node, Vec<u8>);

impl Pin {
    /// Proves what `spec` says of `device`, whose tree is on the device `tree`, or on the same.
    /// `lengths` are the lengths in bytes that the data may have, of which the digest covers one.
    /// Returns the pin, and its top node.
    ///
    /// # Errors
    /// [`PinError`]: that of the first length.
    pub fn new<S: Storage>(
        storage: &S,
        hasher: &dyn Hasher,
        (subject, number): (Subject, u16),
        device: DeviceId,
        (spec, tree, without): (&Spec<'_>, Option<DeviceId>, Without),
        lengths: &[u64],
    ) -> Result<(Self, Option<Top>), PinError> {
        let info = storage.info(device).ok_or(PinError::Absent(subject))?;
        let bug = |bug: Bug| PinError::from(subject.refused(bug));
        let mut first = None;
        for bytes in lengths {
            let info = &info;
            let prover = Prover { storage, hasher, subject, device, info, spec, tree, without };
            match prover.prove(*bytes) {
                Ok(Proven { claim, tree, tree_at, made, top }) => {
                    let info = raised(*info, claim.shape()).or_bug().map_err(bug)?;
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
        (subject, number): (Subject, u16),
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

    /// Returns how many of `len` bytes from byte `at` on are read from the device; zeros follow.
    pub fn read_bytes(&self, at: u64, len: usize) -> usize {
        let left = ByteRange::first(self.read_end).skip(at).len();
        rootlet_base::num::clip(left, len)
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
    raised.transfer_bytes_max = low32(sector.floor(info.transfer_bytes_max.into()));
    Some(raised.with_read_only(true).with_pinned(true))
}

/// The proof of a claim over a device.
struct Prover<'p, S> {
    storage: &'p S,
    hasher: &'p dyn Hasher,
    subject: Subject,
    device: DeviceId,
    info: &'p DeviceInfo,
    spec: &'p Spec<'p>,
    tree: Option<DeviceId>,
    without: Without,
}

impl<S: Storage> Prover<'_, S> {
    fn refused(&self, why: impl Into<Reason>) -> PinError {
        self.subject.refused(why).into()
    }

    /// Proves that the first `bytes` bytes of the device, or as many of these as the digest covers,
    /// are what is pinned.
    fn prove(&self, bytes: u64) -> Result<Proven, PinError> {
        let claim = self.spec.claim(bytes).map_err(|error| self.refused(error))?;
        let shape = claim.shape();
        if shape.data_bytes() > self.info.bytes {
            let (got, covers) = (self.info.bytes, shape.data_bytes());
            return Err(self.refused(SpecError::Short { got, covers }));
        }
        if shape.data_block().get() > DATA_BLOCK_BYTES_MAX {
            return Err(PinError::DataBlock(self.subject, shape.data_block().get()));
        }
        let found = self.find_tree(shape);
        let is_made = self.without == Without::Make && shape.tree_bytes() <= MADE_BYTES_MAX;
        let (tree_at, made) = match found {
            Err(PinError::Refused(Refused { why: Reason::ShortTree { .. }, .. })) if is_made => {
                ((self.device, 0), Some(self.make(shape)?))
            }
            found => (found?, None),
        };
        let bytes = match claim.proof().map_err(|bug| self.refused(bug))? {
            Proof::Tree(range) if made.is_some() => {
                let part = |made: &Vec<u8>| {
                    let (start, end) = (narrow(range.start()).ok()?, narrow(range.end()).ok()?);
                    made.get(start..end).map(<[u8]>::to_vec)
                };
                made.as_ref().and_then(part).or_bug().map_err(|bug| self.refused(bug))?
            }
            Proof::Tree(range) => self.read(tree_at.0, tree_at.1, range.len())?,
            Proof::Data(range) => self.read(self.device, 0, range.len())?,
            Proof::Nothing => Vec::new(),
        };
        let tree = self.believe(&claim, &bytes)?;
        let top = tree.shape().top().map(|node| (node, bytes));
        Ok(Proven { claim, tree, tree_at, made, top })
    }

    /// Makes the tree of all data.
    fn make(&self, shape: &Shape) -> Result<Vec<u8>, PinError> {
        let bug = |bug: Bug| self.refused(bug);
        let mut tree = vec![0; narrow(shape.tree_bytes()).map_err(bug)?];
        let mut fits = Ok(());
        let mut put = |at: u64, node: &[u8]| {
            let start: Option<usize> = narrow(at).ok();
            let place = start.and_then(|start| tree.get_mut(start..)?.get_mut(..node.len()));
            match place {
                Some(place) => place.copy_from_slice(node),
                None => fits = Err(Bug::here()),
            }
        };
        let mut builder = Builder::new(self.hasher, shape.clone()).map_err(bug)?;
        let block = narrow(shape.data_block().get()).map_err(bug)?;
        let mut rest = ByteRange::first(shape.data_bytes());
        while let Some(here) = rest.non_empty() {
            let part = here.take(PIECE_BYTES);
            for data in self.read(self.device, part.start(), part.len())?.chunks(block) {
                builder.push(data, &mut put).map_err(bug)?;
            }
            rest = here.skip(part.len());
        }
        builder.finish(&mut put).map_err(bug)?;
        fits.map_err(bug)?;
        Ok(tree)
    }

    fn believe(&self, claim: &Claim, bytes: &[u8]) -> Result<Tree, PinError> {
        claim.prove(self.hasher, bytes).map_err(|untrue: Untrue| self.refused(untrue))
    }

    /// Returns the device and the byte of the first node, after a superblock that agrees.
    fn find_tree(&self, shape: &Shape) -> Result<(DeviceId, u64), PinError> {
        let node = shape.hash_block();
        let (device, at) = match (self.tree, self.spec.at()) {
            (Some(device), at) => (device, at.map_or(0, |at| at)),
            (None, Some(at)) => (self.device, at),
            (None, None) => {
                let end = node.ceil(shape.data_bytes()).or_bug();
                (self.device, end.map_err(|bug| self.refused(bug))?)
            }
        };
        if shape.levels() == 0 {
            return Ok((device, at));
        }
        let info = self.storage.info(device).ok_or(PinError::Absent(self.subject))?;
        let (got, need) = (ByteRange::first(info.bytes).skip(at).len(), shape.tree_bytes());
        if got < need {
            return Err(self.refused(Reason::ShortTree { got, need }));
        }
        let len = narrow(node.get()).map_err(|bug| self.refused(bug))?;
        if let Err(kind) = info.check_transfer(at, len) {
            return Err(PinError::Node(self.subject, at, kind));
        }
        let head = self.read(device, at, node.get())?;
        if !is_superblock(&head) {
            return Ok((device, at));
        }
        let raw: Option<&[u8; SUPERBLOCK_BYTES]> = head.first_chunk();
        let raw = raw.or_bug().map_err(|bug| self.refused(bug))?;
        compare(raw, shape).map_err(|differs| self.refused(differs))?;
        let left = ByteRange::first(got).skip(node.get()).len();
        match at.checked_add(node.get()).filter(|_| left >= need) {
            Some(at) => Ok((device, at)),
            None => Err(self.refused(Reason::ShortTree { got: left, need })),
        }
    }

    /// Reads `len` bytes at byte `at` of a device, and maybe more, up to a sector.
    fn read(&self, device: DeviceId, at: u64, len: u64) -> Result<Vec<u8>, PinError> {
        let info = self.storage.info(device).ok_or(PinError::Absent(self.subject))?;
        let sector = Pow2::of(info.sector_bytes.into()).and_then(|sector| sector.ceil(len));
        let whole = sector.or_bug().and_then(narrow).map_err(|bug| self.refused(bug))?;
        let mut bytes = vec![0; whole];
        let piece = index(info.transfer_bytes_max);
        let mut place = at;
        for part in bytes.chunks_mut(piece.max(1)) {
            let len = wide(part.len());
            let mut batch = [Transfer::read(device, place, part)];
            self.storage.run(&mut batch, &mut |_, _| {});
            let [transfer] = &batch;
            transfer.outcome().map_err(|error| PinError::Io(self.subject, error))?;
            place = place.checked_add(len).or_bug().map_err(|bug| self.refused(bug))?;
        }
        bytes.truncate(narrow(len).map_err(|bug| self.refused(bug))?);
        Ok(bytes)
    }
}
