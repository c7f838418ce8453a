//! What a text says of some data: a digest, and all that has to be known to check against it.
//!
//! Always: nothing of a [`Spec`] is left to a disk. A text has exactly one error for each cause,
//! and never a default for a word that is missing.
//!
//! Two notations, with options by commas:
//! ```text
//! sha256-12:HEX          fs-verity's digest, in composefs's words: hash, log2 of the block's bytes
//!   [,bytes=N]           the length of the file; without it that of the source
//!   [,salt=HEX]          fs-verity's salt; composefs has none
//! root_hash=HEX,salt=HEX|-,data_blocks=N,data_block_size=N,hash_block_size=N
//!                        dm-verity, in Kata's words (kernel_verity_params), in any order
//!   [,hash=sha256|sha512][,format=1]
//! [,tree=SRC][,at=BYTE]  where the tree lies, and from which byte on, for both
//! ```
//! `v1-sha256-12:HEX` (composefs.digest=) is `sha256-12:HEX`.

mod error;
mod words;

pub use error::SpecError;
pub use words::Key;

use crate::hash::{Algorithm, Digest};
use crate::shape::{FS_SALT_BYTES_MAX, Format, SALT_BYTES_MAX, Salt, Shape};
use crate::text::decimal;
use crate::tree::{Claim, Root};
use rootlet_base::units::Pow2;
use words::Words;

/// The sizes of a block of fs-verity in bytes, as powers of two.
const FS_BLOCK_BITS: core::ops::RangeInclusive<u32> = 10..=16;

/// A digest of some data, and all that has to be known to check against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec<'t> {
    root: Root,
    format: Format,
    salt: Salt,
    blocks: [Pow2; 2],
    /// The length of the data in bytes, where the text says it.
    bytes: Option<u64>,
    /// Where the tree lies.
    tree: Place<'t>,
    /// From which byte on.
    at: Option<u64>,
}

/// Where a tree lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place<'t> {
    /// Nobody says it: with the data, or beside it under a name that the data's gives.
    #[default]
    Unsaid,
    /// With the data (`tree=self`).
    Data,
    /// In another source, by its name.
    Source(&'t str),
}

impl<'t> Spec<'t> {
    /// Parses the text.
    ///
    /// # Errors
    /// [`SpecError`]: the first fault of the text.
    pub fn parse(text: &'t str) -> Result<Self, SpecError> {
        let first = text.split(',').next();
        match first.filter(|first| !first.contains('=')).and_then(|first| first.split_once(':')) {
            Some((kind, digits)) => {
                let options = text.split_once(',').map(|(_, options)| options);
                Self::of_file(kind, digits, &Words::parse(options)?)
            }
            None => Self::of_device(&Words::parse(Some(text))?),
        }
    }

    /// Returns what fs-verity's digest says.
    fn of_file(kind: &str, digits: &str, words: &Words<'t>) -> Result<Self, SpecError> {
        let unversioned = ["v1-", "v2-"].into_iter().find_map(|version| kind.strip_prefix(version));
        let name = unversioned.unwrap_or(kind);
        let known = name.split_once('-').and_then(|(name, bits)| {
            let bits = decimal(bits).and_then(|bits| u32::try_from(bits).ok())?;
            Some((Algorithm::named(name)?, Pow2::from_bits(bits)?))
        });
        let known = known.filter(|(_, block)| FS_BLOCK_BITS.contains(&block.bits()));
        let (algorithm, block) = known.ok_or_else(|| SpecError::Kind(error::word(kind)))?;
        words.only(&[Key::Salt, Key::Bytes, Key::Tree, Key::At], "fs-verity's digest")?;
        let salt = words.get(Key::Salt).map(|salt| parse_salt(salt, FS_SALT_BYTES_MAX));
        Self {
            root: Root::File(parse_digest(None, algorithm, digits)?),
            format: Format::FsVerity,
            salt: salt.unwrap_or(Ok(Salt::NONE))?,
            blocks: [block; 2],
            bytes: words.number(Key::Bytes)?,
            tree: words.tree()?,
            at: words.number(Key::At)?,
        }
        .checked()
    }

    /// Returns what a root hash of dm-verity and its parameters say.
    fn of_device(words: &Words<'t>) -> Result<Self, SpecError> {
        let algorithm = words.get(Key::Hash).map_or(Ok(Algorithm::Sha256), |name| {
            Algorithm::named(name).ok_or_else(|| SpecError::Algorithm(error::word(name)))
        })?;
        let format = match words.get(Key::Format) {
            None | Some("1") => Format::DmVerity,
            Some("0") => Format::ChromeOs,
            Some(other) => return Err(SpecError::Format(error::word(other))),
        };
        if words.get(Key::Bytes).is_some() {
            let of = "a root hash, whose length is data_blocks";
            return Err(SpecError::Foreign { key: Key::Bytes, of });
        }
        let root = words.needed(Key::RootHash)?;
        let salt = words.needed(Key::Salt)?;
        let count = words.number(Key::DataBlocks)?.ok_or(SpecError::Missing(Key::DataBlocks))?;
        let blocks = [words.size(Key::DataBlockSize)?, words.size(Key::HashBlockSize)?];
        if count == 0 {
            return Err(SpecError::NoBlocks);
        }
        let [data, _] = blocks;
        Self {
            root: Root::Hash(parse_digest(Some(Key::RootHash), algorithm, root)?),
            format,
            salt: parse_salt(salt, SALT_BYTES_MAX)?,
            blocks,
            bytes: Some(data.times(count).ok_or(SpecError::TooLong)?),
            tree: words.tree()?,
            at: words.number(Key::At)?,
        }
        .checked()
    }

    /// Returns the statement, if the tree that belongs to it ends within 64 bits.
    fn checked(self) -> Result<Self, SpecError> {
        match self.bytes.is_none_or(|bytes| self.shape(bytes).is_some()) {
            true => Ok(self),
            false => Err(SpecError::TooLong),
        }
    }

    /// Returns the form of the tree over this many bytes.
    fn shape(&self, bytes: u64) -> Option<Shape> {
        Shape::new(self.root.digest().algorithm(), self.format, self.salt, self.blocks, bytes)
    }

    /// Returns the digest that the data is pinned by.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Returns where the tree lies.
    pub fn tree(&self) -> Place<'t> {
        self.tree
    }

    /// Returns the byte of its source from which on the tree lies, or a superblock and the tree.
    pub fn at(&self) -> Option<u64> {
        self.at
    }

    /// Returns what is claimed of a source with `source` bytes.
    ///
    /// # Errors
    /// [`SpecError::Short`] if the digest covers more; [`SpecError::TooLong`].
    pub fn claim(&self, source: u64) -> Result<Claim, SpecError> {
        let (covers, [block, _]) = (self.bytes.unwrap_or(source), self.blocks);
        let is_short = match self.format {
            Format::FsVerity => source < covers,
            // Zeros fill the last block, whether they are stored or not.
            Format::ChromeOs | Format::DmVerity => block.cover(source) < block.cover(covers),
        };
        if is_short {
            return Err(SpecError::Short { got: source, covers });
        }
        let shape = self.shape(covers.min(source)).ok_or(SpecError::TooLong)?;
        Ok(Claim::new(shape, self.root))
    }
}

/// Returns the digest that `digits` write; `key` names them in an error.
fn parse_digest(key: Option<Key>, hash: Algorithm, digits: &str) -> Result<Digest, SpecError> {
    let wrong = || SpecError::Digest { key, hash, text: error::word(digits), len: digits.len() };
    Digest::from_hex(hash, digits).ok_or_else(wrong)
}

/// Returns the salt that `digits` write, or none for `-`.
fn parse_salt(digits: &str, most: usize) -> Result<Salt, SpecError> {
    let bytes = digits.len() / 2;
    if bytes > most {
        return Err(SpecError::LongSalt { bytes, most });
    }
    Salt::from_hex(digits).ok_or_else(|| SpecError::Salt(error::word(digits)))
}
