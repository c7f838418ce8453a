//! Why a text does not say what some data is.
//!
//! Always: one message for each cause, which names the word at fault and what would fit.

use super::words::Key;
use crate::hash::Algorithm;
use core::fmt;
use heapless::String;

/// Characters of a word in a message.
const WORD_CHARS: usize = 32;

/// The front of a word, in characters that can be shown.
pub type Shown = String<WORD_CHARS>;

/// Returns the front of a word.
pub(super) fn word(text: &str) -> Shown {
    text.chars()
        .map(|char| if char.is_ascii_graphic() { char } else { '?' })
        .take(WORD_CHARS)
        .collect()
}

/// The fault of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// The word before the digest is not hash and block size.
    Kind(Shown),
    /// The text has no such option, and nothing but the text may say it.
    Missing(Key),
    /// The word is not an option.
    Unknown(Shown),
    /// The option occurs again.
    Twice(Shown),
    /// The option belongs to the other notation.
    Foreign {
        /// The option.
        key: Key,
        /// The notation.
        of: &'static str,
    },
    /// The digest is not one of its hash.
    Digest {
        /// The option; `None` for the digest of fs-verity.
        key: Option<Key>,
        /// The hash.
        hash: Algorithm,
        /// The front of the text.
        text: Shown,
        /// The length of the text.
        len: usize,
    },
    /// The salt is not hex digits.
    Salt(Shown),
    /// The salt is too long.
    LongSalt {
        /// The bytes of the salt.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The hash is not known.
    Algorithm(Shown),
    /// The hash type is not known.
    Format(Shown),
    /// The value is not a number.
    Number(Key, Shown),
    /// The value is not the size of a block.
    Size(Key, Shown),
    /// There are 0 data blocks.
    NoBlocks,
    /// The data or the tree end beyond 64 bits.
    TooLong,
    /// The tree has a source without a name.
    NoSource,
    /// The source is shorter than the data that the digest covers.
    Short {
        /// The bytes of the source.
        got: u64,
        /// The bytes that the digest covers.
        covers: u64,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(word) => write!(
                f,
                "{word}: a hash and the base 2 logarithm of a block's bytes are wanted before the \
                 digest, sha256-12 or sha512-12; 10 to 16 are known"
            ),
            Self::Missing(key) => write!(f, "{key} is missing; it cannot be taken from the disk"),
            Self::Unknown(word) => write!(
                f,
                "unknown word {word:?}; known are sha256-12:HEX, root_hash=, salt=, data_blocks=, \
                 data_block_size=, hash_block_size=, hash=, format=, bytes=, tree= and at="
            ),
            Self::Twice(key) => write!(f, "{key} is given a second time"),
            Self::Foreign { key, of } => write!(f, "{key} does not belong to {of}"),
            Self::Digest { key, hash, text, len } => {
                match key {
                    Some(key) => write!(f, "{key}={text}")?,
                    None => f.write_str(text)?,
                }
                let digits = if *hash == Algorithm::Sha256 { 64 } else { 128 };
                write!(f, ": {len} characters, {hash} has {digits} hex digits")
            }
            Self::Salt(text) => write!(f, "salt={text}: hex digits are wanted, or - for none"),
            Self::LongSalt { bytes, most } => {
                write!(f, "the salt has {bytes} bytes, and may have {most}")
            }
            Self::Algorithm(name) => {
                write!(f, "hash={name}: an unknown hash; known are sha256 and sha512")
            }
            Self::Format(text) => write!(f, "format={text}: 1 is wanted, or 0 for Chrome OS"),
            Self::Number(key, text) => write!(f, "{key}={text}: a decimal number is wanted"),
            Self::Size(key, text) => {
                write!(f, "{key}={text}: a power of two from 512 to 524288 is wanted")
            }
            Self::NoBlocks => f.write_str("data_blocks=0: there is nothing to verify"),
            Self::TooLong => f.write_str("the data or the tree end beyond 64 bits"),
            Self::NoSource => f.write_str("tree=: the name of a source is wanted, or self"),
            Self::Short { got, covers } => write!(f, "{got} bytes, its digest covers {covers}"),
        }
    }
}

impl core::error::Error for SpecError {}
