//! A tree whose root is known: the check of a data block or of a node against its parent.
//!
//! Always: [`Claim::prove`] is the only way to a [`Tree`]; a check compares with a digest of the
//! root, or of a parent that the caller has checked before. Whether a block is right depends on
//! nothing else.

use crate::descriptor;
use crate::hash::{Algorithm, Digest, Hasher, Message};
use crate::shape::{Format, Node, Shape};
use crate::text::Brief;
use core::fmt;
use rootlet_base::num::{Bug, OrBug, clip, low8, wide};
use rootlet_base::units::ByteRange;

/// The digest that pins some data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The root hash of dm-verity, which covers the tree.
    Hash(Digest),
    /// The digest of fs-verity, which covers the size, the parameters and the root hash.
    File(Digest),
}

impl Root {
    /// Returns the digest.
    pub fn digest(&self) -> &Digest {
        let (Self::Hash(digest) | Self::File(digest)) = self;
        digest
    }
}

/// A digest and the form of the tree that it should cover, before a byte was read.
#[derive(Clone, Debug)]
pub struct Claim {
    pub(crate) shape: Shape,
    pub(crate) root: Root,
}

/// The bytes that a [`Claim`] is proved with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// These bytes of the tree: its top node.
    Tree(ByteRange),
    /// These bytes of the data: its only block.
    Data(ByteRange),
    /// None: the data is empty.
    Nothing,
}

impl Claim {
    /// Returns the claim that `root` covers the data with a tree of this form.
    pub fn new(shape: Shape, root: Root) -> Self {
        Self { shape, root }
    }

    /// Returns the form of the tree.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns which bytes prove the claim.
    ///
    /// # Errors
    /// A [`Bug`] only.
    pub fn proof(&self) -> Result<Proof, Bug> {
        Ok(match (self.shape.top(), self.shape.block_bytes(0)) {
            (Some(top), _) => Proof::Tree(self.shape.place(top)?),
            (None, Some(block)) => Proof::Data(block),
            (None, None) => Proof::Nothing,
        })
    }

    /// Returns a digest that names the data, proven or not: claims of other data, or of a part of it,
    /// have another one.
    ///
    /// # Errors
    /// A [`Bug`] only.
    pub fn content(&self, hasher: &dyn Hasher) -> Result<[u8; 32], Bug> {
        let Shape { algorithm, format, salt, data_block, hash_block, .. } = &self.shape;
        let salt = salt.as_bytes();
        let format = match format {
            Format::ChromeOs => 0,
            Format::DmVerity => 1,
            Format::FsVerity => 2,
        };
        let algorithm = match algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        };
        let form = [format, algorithm, low8(data_block.bits()), low8(hash_block.bits())];
        let mut message = Message::new(Algorithm::Sha256);
        message.add(hasher, b"rootlet content\0")?;
        message.add(hasher, &form)?;
        message.add(hasher, &self.shape.data_bytes().to_le_bytes())?;
        message.add(hasher, &wide(salt.len()).to_le_bytes())?;
        message.add(hasher, salt)?;
        message.add(hasher, self.root.digest().as_bytes())?;
        Ok(*message.finish(hasher)?.as_bytes().first_chunk().or_bug()?)
    }

    /// Returns the tree, if `bytes`, those of [`Claim::proof`], have the digest that is pinned.
    ///
    /// # Errors
    /// [`Untrue::Wrong`].
    pub fn prove(&self, hasher: &dyn Hasher, bytes: &[u8]) -> Result<Tree, Untrue> {
        let shape = &self.shape;
        let (size, what) = match (shape.top(), shape.blocks()) {
            (Some(top), _) => (shape.hash_block, What::Node(top)),
            (None, _) => (shape.data_block, What::Block(0)),
        };
        let root = match self.proof()? {
            Proof::Nothing => Digest::zero(shape.algorithm),
            Proof::Tree(_) | Proof::Data(_) => shape.hash(hasher, size, bytes)?,
        };
        let (what, found, want) = match self.root {
            Root::Hash(want) => (what, root, want),
            Root::File(want) => (What::File, descriptor::digest(hasher, shape, &root)?, want),
        };
        verdict(what, &found, &want)?;
        Ok(Tree { shape: shape.clone(), root })
    }
}

/// A data block to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Data<'d> {
    /// Its number.
    pub block: u64,
    /// At least its bytes.
    pub data: &'d [u8],
    /// The bytes of its [`Shape::leaf`], which were checked.
    pub leaf: Option<&'d [u8]>,
}

/// A tree whose root hash is known to be right.
#[derive(Clone, Debug)]
pub struct Tree {
    shape: Shape,
    root: Digest,
}

impl Tree {
    /// Returns the form of the tree.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the root hash.
    pub fn root(&self) -> &Digest {
        &self.root
    }

    /// Checks a data block; bytes that follow those of the block do not count.
    ///
    /// # Errors
    /// [`Untrue::Wrong`]; a [`Bug`] if data or leaf are missing.
    pub fn check_block(&self, hasher: &dyn Hasher, data: Data<'_>) -> Result<(), Untrue> {
        let block = data.block;
        let (data, want) = self.block(data)?;
        let found = self.shape.hash(hasher, self.shape.data_block, data)?;
        verdict(What::Block(block), &found, &want)
    }

    /// Checks two data blocks, as [`Tree::check_block`] does each, and tells of the first that is wrong.
    /// Takes less time than two checks where the hasher does.
    ///
    /// # Errors
    /// As [`Tree::check_block`].
    pub fn check_pair(&self, hasher: &dyn Hasher, pair: [Data<'_>; 2]) -> Result<(), Untrue> {
        let [(first, one), (second, other)] = [self.block(pair[0])?, self.block(pair[1])?];
        let found = self.shape.hash_pair(hasher, self.shape.data_block, [first, second])?;
        verdict(What::Block(pair[0].block), &found[0], &one)?;
        verdict(What::Block(pair[1].block), &found[1], &other)
    }

    /// Returns the bytes of a data block, and the digest that they should have.
    fn block<'d>(&self, data: Data<'d>) -> Result<(&'d [u8], Digest), Bug> {
        let Data { block, data, leaf } = data;
        let want = match (leaf, self.shape.levels()) {
            (Some(leaf), 1..) => self.shape.said(leaf, block)?,
            (None, 0) => self.root,
            _ => return Err(Bug::here()),
        };
        let range = self.shape.block_bytes(block).or_bug()?;
        Ok((data.get(..clip(range.len(), usize::MAX)).or_bug()?, want))
    }

    /// Checks the bytes of `node`. `parent` has the bytes of its [`Shape::parent`], which were
    /// checked.
    ///
    /// # Errors
    /// [`Untrue::Wrong`]; a [`Bug`] if the parent is missing, or `bytes` are not a whole node.
    pub fn check_node(
        &self,
        hasher: &dyn Hasher,
        node: Node,
        bytes: &[u8],
        parent: Option<&[u8]>,
    ) -> Result<(), Untrue> {
        let want = match (parent, self.shape.parent(node)) {
            (Some(parent), Some(_)) => self.shape.said(parent, node.index)?,
            (None, None) => self.root,
            _ => return Err(Bug::here().into()),
        };
        if wide(bytes.len()) != self.shape.hash_block.get() {
            return Err(Bug::here().into());
        }
        let found = self.shape.hash(hasher, self.shape.hash_block, bytes)?;
        verdict(What::Node(node), &found, &want)
    }
}

/// Compares the digest of some bytes with the one that they should have.
fn verdict(what: What, found: &Digest, want: &Digest) -> Result<(), Untrue> {
    if found == want {
        return Ok(());
    }
    let hash = found.algorithm();
    let [found, want] = [found, want].map(|digest| Brief::of(digest.as_bytes()));
    Err(Untrue::Wrong(Wrong { what, hash, found, want }))
}

/// The part of data or tree that a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All of it: size, parameters and root hash together, as fs-verity's digest has them.
    File,
    /// The data block of this number.
    Block(u64),
    /// A node of the tree.
    Node(Node),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("size and root hash"),
            Self::Block(block) => write!(f, "block {block}"),
            Self::Node(Node { level, index }) => write!(f, "tree, level {level}, node {index}"),
        }
    }
}

/// Bytes that have another digest than they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The part that is wrong.
    pub what: What,
    /// The hash.
    pub hash: Algorithm,
    /// The digest of the bytes.
    pub found: Brief,
    /// The digest that they should have.
    pub want: Brief,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, hash, found, want } = self;
        write!(f, "{what}: {hash} {found}, wanted {want}")
    }
}

impl core::error::Error for Wrong {}

/// Why bytes are not taken for true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrue {
    /// They have another digest.
    Wrong(Wrong),
    /// Our own code is wrong.
    Bug(Bug),
}

impl fmt::Display for Untrue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(wrong) => wrong.fmt(f),
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for Untrue {}

impl From<Bug> for Untrue {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}
