//! The options of a text: `KEY=VALUE`, with commas between them.
//!
//! Always: an option occurs once, under whichever of its names, and has a value.

use super::Place;
use super::error::{SpecError, word};
use crate::shape::{BLOCK_BITS_MAX, BLOCK_BITS_MIN};
use crate::text::decimal;
use core::fmt;
use rootlet_base::units::Pow2;

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The root hash of dm-verity.
    RootHash,
    /// The salt.
    Salt,
    /// The number of data blocks.
    DataBlocks,
    /// The size of a data block in bytes.
    DataBlockSize,
    /// The size of a node in bytes.
    HashBlockSize,
    /// The hash of dm-verity.
    Hash,
    /// The hash type of dm-verity.
    Format,
    /// The length of a file in bytes.
    Bytes,
    /// Where the tree lies.
    Tree,
    /// From which byte on it lies there.
    At,
}

/// The options, each with its name and with the name that Kata's storage options
/// (`X-kata.dmverity.`) have for it.
const KEYS: [(Key, &str, &str); 10] = [
    (Key::RootHash, "root_hash", "roothash"),
    (Key::Salt, "salt", "salt"),
    (Key::DataBlocks, "data_blocks", "data_blocks"),
    (Key::DataBlockSize, "data_block_size", "blocksize"),
    (Key::HashBlockSize, "hash_block_size", "hashsize"),
    (Key::Hash, "hash", "algorithm"),
    (Key::Format, "format", "hashtype"),
    (Key::Bytes, "bytes", "bytes"),
    (Key::Tree, "tree", "tree"),
    (Key::At, "at", "hashoffset"),
];
/// What these storage options begin with.
const KATA: &str = "X-kata.dmverity.";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KEYS.iter().find(|(key, ..)| key == self).map(|(_, name, _)| *name);
        f.write_str(name.ok_or(fmt::Error)?)
    }
}

/// The options of a text, each with its value.
#[derive(Debug, Default)]
pub(super) struct Words<'t>([Option<&'t str>; KEYS.len()]);

impl<'t> Words<'t> {
    /// Parses options; `None` stands for no option.
    pub(super) fn parse(options: Option<&'t str>) -> Result<Self, SpecError> {
        let mut words = Self::default();
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            let unknown = || SpecError::Unknown(word(option));
            let (key, value) = option.split_once('=').ok_or_else(unknown)?;
            let key = key.strip_prefix(KATA).unwrap_or(key);
            let known = |(_, name, alias): &(Key, &str, &str)| key == *name || key == *alias;
            let at = KEYS.iter().position(known).ok_or_else(unknown)?;
            let place = words.0.get_mut(at).ok_or_else(unknown)?;
            if place.replace(value).is_some() {
                return Err(SpecError::Twice(word(key)));
            }
        }
        Ok(words)
    }

    /// Returns the value of an option.
    pub(super) fn get(&self, key: Key) -> Option<&'t str> {
        KEYS.iter().zip(self.0).find(|((one, ..), _)| *one == key).and_then(|(_, value)| value)
    }

    /// Returns the value of an option that the text must have.
    pub(super) fn needed(&self, key: Key) -> Result<&'t str, SpecError> {
        self.get(key).ok_or(SpecError::Missing(key))
    }

    /// Returns the value of an option that is a number.
    pub(super) fn number(&self, key: Key) -> Result<Option<u64>, SpecError> {
        let number = |value| decimal(value).ok_or_else(|| SpecError::Number(key, word(value)));
        self.get(key).map(number).transpose()
    }

    /// Returns the value of an option that is the size of a block.
    pub(super) fn size(&self, key: Key) -> Result<Pow2, SpecError> {
        let value = self.needed(key)?;
        let size = decimal(value).and_then(Pow2::of);
        let fits = |size: &Pow2| (BLOCK_BITS_MIN..=BLOCK_BITS_MAX).contains(&size.bits());
        size.filter(fits).ok_or_else(|| SpecError::Size(key, word(value)))
    }

    /// Returns where the tree lies.
    pub(super) fn tree(&self) -> Result<Place<'t>, SpecError> {
        match self.get(Key::Tree) {
            None => Ok(Place::Unsaid),
            Some("") => Err(SpecError::NoSource),
            Some("self") => Ok(Place::Data),
            Some(name) => Ok(Place::Source(name)),
        }
    }

    /// Checks that there are none but these options, which `of` may have.
    pub(super) fn only(&self, keys: &[Key], of: &'static str) -> Result<(), SpecError> {
        let others = KEYS.iter().map(|(key, ..)| *key).filter(|key| !keys.contains(key));
        others.into_iter().try_for_each(|key| match self.get(key) {
            Some(_) => Err(SpecError::Foreign { key, of }),
            None => Ok(()),
        })
    }
}
