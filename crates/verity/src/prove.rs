//! The proof of what a text says of a device: the top node of its tree, or its only block, has the
//! digest that is pinned.
//!
//! Always: of the device's length and of a superblock nothing is believed; one read brings the
//! superblock, if there is one, and the top node after it.

use alloc::vec;
use alloc::vec::Vec;

use rootlet_base::num::{Bug, OrBug, index, narrow, wide};
use rootlet_base::units::{ByteRange, Pow2};
use rootlet_storage::{DeviceId, DeviceInfo, Storage, Transfer};
use rootlet_trust::{
    Builder, Claim, Hasher, Proof, Reason, Refused, SUPERBLOCK_BYTES, Shape, Spec, SpecError,
    Subject, Tree, Untrue, compare, is_superblock,
};

use crate::pin::{DATA_BLOCK_BYTES_MAX, PinError, Top};

/// Bytes of a device that were read before it is pinned; not checked.
#[derive(Debug)]
pub struct Head {
    pub device: DeviceId,
    pub at: u64,
    pub bytes: Vec<u8>,
}

/// What was proven of a device.
pub struct Proven {
    pub claim: Claim,
    pub tree: Tree,
    pub tree_at: (DeviceId, u64),
    pub made: Option<Vec<u8>>,
    pub top: Option<Top>,
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

/// The proof of a claim over a device.
pub struct Prover<'p, S> {
    pub storage: &'p S,
    pub hasher: &'p dyn Hasher,
    pub subject: Subject,
    pub device: DeviceId,
    pub info: &'p DeviceInfo,
    pub spec: &'p Spec<'p>,
    /// The device of the tree; `None` if that is `device`.
    pub tree: Option<DeviceId>,
    pub without: Without,
    pub heads: &'p [Head],
}

impl<S: Storage> Prover<'_, S> {
    fn refused(&self, why: impl Into<Reason>) -> PinError {
        self.subject.refused(why).into()
    }

    /// Proves that the first `bytes` bytes of the device, or as many of these as the digest covers,
    /// are what is pinned.
    pub fn prove(&self, bytes: u64) -> Result<Proven, PinError> {
        let claim = self.claim(bytes)?;
        let shape = claim.shape();
        let is_made = self.without == Without::Make && shape.tree_bytes() <= MADE_BYTES_MAX;
        let place = match self.place(shape) {
            Err(PinError::Refused(Refused { why: Reason::ShortTree { .. }, .. })) if is_made => {
                return self.prove_made(claim);
            }
            place => place?,
        };
        let (tree_at, bytes) = match claim.proof().map_err(|bug| self.refused(bug))? {
            Proof::Tree(_) => self.read_top(shape, place)?,
            Proof::Data(range) => (place.0, self.read(self.device, 0, range.len())?),
            Proof::Nothing => (place.0, Vec::new()),
        };
        let tree = self.believe(&claim, &bytes)?;
        let top = tree.shape().top().map(|node| (node, bytes));
        Ok(Proven { claim, tree, tree_at, made: None, top })
    }

    /// Proves a claim by a tree that is made of all data.
    fn prove_made(&self, claim: Claim) -> Result<Proven, PinError> {
        let bug = |bug: Bug| self.refused(bug);
        let made = self.make(claim.shape())?;
        let Proof::Tree(range) = claim.proof().map_err(bug)? else {
            return Err(bug(Bug::here()));
        };
        let bytes = range.of(&made).map_err(bug)?.to_vec();
        let tree = self.believe(&claim, &bytes)?;
        let top = tree.shape().top().map(|node| (node, bytes));
        Ok(Proven { claim, tree, tree_at: (self.device, 0), made: Some(made), top })
    }

    /// Returns the device and the bytes that a proof over `bytes` bytes will read first; `None` if it
    /// reads nothing.
    pub fn first_read(&self, bytes: u64) -> Result<Option<(DeviceId, ByteRange)>, PinError> {
        let claim = self.claim(bytes)?;
        let ((device, at), got) = self.place(claim.shape())?;
        Ok(match claim.proof().map_err(|bug| self.refused(bug))? {
            Proof::Tree(_) => {
                ByteRange::sized(at, head_bytes(claim.shape(), got)).map(|range| (device, range))
            }
            Proof::Data(range) => Some((self.device, range)),
            Proof::Nothing => None,
        })
    }

    /// Returns what is claimed of the first `bytes` bytes of the device.
    fn claim(&self, bytes: u64) -> Result<Claim, PinError> {
        let claim = self.spec.claim(bytes).map_err(|error| self.refused(error))?;
        let shape = claim.shape();
        if shape.data_bytes() > self.info.bytes {
            let (got, covers) = (self.info.bytes, shape.data_bytes());
            return Err(self.refused(SpecError::Short { got, covers }));
        }
        if shape.data_block().get() > DATA_BLOCK_BYTES_MAX {
            return Err(PinError::DataBlock(self.subject, shape.data_block().get()));
        }
        Ok(claim)
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

    /// Returns the device and the byte of the first node, or of a superblock before it, and the bytes
    /// that the device has from there on. Reads nothing.
    fn place(&self, shape: &Shape) -> Result<((DeviceId, u64), u64), PinError> {
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
            return Ok(((device, at), 0));
        }
        let info = self.storage.info(device).ok_or(PinError::Absent(self.subject))?;
        let (got, need) = (ByteRange::first(info.bytes).skip(at).len(), shape.tree_bytes());
        if got < need {
            return Err(self.refused(Reason::ShortTree { got, need }));
        }
        let len = narrow(node.get()).map_err(|bug| self.refused(bug))?;
        match info.check_transfer(at, len) {
            Ok(()) => Ok(((device, at), got)),
            Err(kind) => Err(PinError::Node(self.subject, at, kind)),
        }
    }

    /// Reads the top node of a tree, after a superblock that agrees. Returns the place of the tree,
    /// and the node.
    fn read_top(
        &self,
        shape: &Shape,
        ((device, at), got): ((DeviceId, u64), u64),
    ) -> Result<((DeviceId, u64), Vec<u8>), PinError> {
        let bug = |bug: Bug| self.refused(bug);
        let (node, need) = (shape.hash_block().get(), shape.tree_bytes());
        let len = narrow(node).map_err(bug)?;
        let mut head = self.read(device, at, head_bytes(shape, got))?;
        if !is_superblock(&head) {
            head.truncate(len);
            return Ok(((device, at), head));
        }
        let raw: Option<&[u8; SUPERBLOCK_BYTES]> = head.first_chunk();
        compare(raw.or_bug().map_err(bug)?, shape).map_err(|differs| self.refused(differs))?;
        let left = ByteRange::first(got).skip(node).len();
        let start = at.checked_add(node).filter(|_| left >= need);
        let start = start.ok_or_else(|| self.refused(Reason::ShortTree { got: left, need }))?;
        let top = head.get(len..).or_bug().map_err(bug)?.to_vec();
        Ok(((device, start), top))
    }

    /// Reads `len` bytes at byte `at` of a device, in one batch, unless they were read before.
    fn read(&self, device: DeviceId, at: u64, len: u64) -> Result<Vec<u8>, PinError> {
        let bug = |bug: Bug| self.refused(bug);
        let len = narrow(len).map_err(bug)?;
        let known = self.heads.iter().find(|head| (head.device, head.at) == (device, at));
        if let Some(bytes) = known.and_then(|head| head.bytes.get(..len)) {
            return Ok(bytes.to_vec());
        }
        let info = self.storage.info(device).ok_or(PinError::Absent(self.subject))?;
        let mut bytes = vec![0; whole(&info, len).or_bug().map_err(bug)?];
        let mut batch = Vec::new();
        let mut place = at;
        for part in bytes.chunks_mut(index(info.transfer_bytes_max).max(1)) {
            let len = wide(part.len());
            batch.push(Transfer::read(device, place, part));
            place = place.checked_add(len).or_bug().map_err(bug)?;
        }
        self.storage.run(&mut batch, &mut |_, _| {});
        let ended = batch.iter().try_for_each(Transfer::outcome);
        ended.map_err(|error| PinError::Io(self.subject, error))?;
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// Returns how many of `got` bytes are read at the beginning of a tree: a node, and one more, for there
/// may be a superblock before it.
fn head_bytes(shape: &Shape, got: u64) -> u64 {
    let node = shape.hash_block().get();
    // At most 512 KiB, twice.
    node.wrapping_mul(2).min(got)
}

/// Returns `len` bytes up to a whole sector of a device.
pub fn whole(info: &DeviceInfo, len: usize) -> Option<usize> {
    let bytes = Pow2::of(info.sector_bytes.into())?.ceil(wide(len))?;
    narrow(bytes).ok()
}
