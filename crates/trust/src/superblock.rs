//! dm-verity's superblock, which lies before a tree: written as veritysetup writes it, and compared
//! with what is pinned.
//!
//! Always: no field of a superblock is believed. A superblock that agrees changes nothing, and one
//! that does not is an error, whatever the tree holds.
//!
//! Source: "Verity superblock format" of cryptsetup's wiki (DMVerity), version 1: 512 bytes,
//! little-endian, in a hash block of its own.

use crate::hash::Algorithm;
use crate::shape::{Format, SALT_BYTES_MAX, Shape};
use crate::text::Brief;
use core::fmt;
use heapless::String;
use rootlet_base::num::{Bug, OrBug, low32, wide};
use rootlet_base::units::Pow2;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a superblock; zeros fill the rest of its hash block.
pub const SUPERBLOCK_BYTES: usize = 512;

const SIGNATURE: [u8; 8] = *b"verity\0\0";
const VERSION: u32 = 1;

/// Characters of a hash's name in a message.
const NAME_CHARS: usize = 16;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    signature: [u8; 8],
    version: U32,
    hash_type: U32,
    uuid: [u8; 16],
    /// The hash's name, and zeros.
    algorithm: [u8; 32],
    data_block_size: U32,
    hash_block_size: U32,
    data_blocks: U64,
    salt_size: U16,
    padding: [u8; 6],
    salt: [u8; SALT_BYTES_MAX],
    rest: [u8; 168],
}

const _: () = assert!(size_of::<Raw>() == SUPERBLOCK_BYTES);

/// Returns whether `bytes` begin with a superblock's signature.
pub fn is_superblock(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// Returns the hash type of a format of dm-verity.
const fn hash_type(format: Format) -> u32 {
    match format {
        Format::ChromeOs => 0,
        // A tree of fs-verity without salt is one of type 1.
        Format::DmVerity | Format::FsVerity => 1,
    }
}

/// Returns the superblock of a tree of this form, as veritysetup writes it.
///
/// # Errors
/// A [`Bug`] only.
pub fn superblock(shape: &Shape, uuid: [u8; 16]) -> Result<[u8; SUPERBLOCK_BYTES], Bug> {
    let mut raw = Raw {
        signature: SIGNATURE,
        version: VERSION.into(),
        hash_type: hash_type(shape.format).into(),
        uuid,
        algorithm: [0; 32],
        data_block_size: low32(shape.data_block.get()).into(),
        hash_block_size: low32(shape.hash_block.get()).into(),
        data_blocks: shape.blocks().into(),
        salt_size: u16::try_from(shape.salt.as_bytes().len()).ok().or_bug()?.into(),
        padding: [0; 6],
        salt: [0; SALT_BYTES_MAX],
        rest: [0; 168],
    };
    let name = shape.algorithm.name().as_bytes();
    raw.algorithm.get_mut(..name.len()).or_bug()?.copy_from_slice(name);
    let salt = shape.salt.as_bytes();
    raw.salt.get_mut(..salt.len()).or_bug()?.copy_from_slice(salt);
    let mut bytes = [0; SUPERBLOCK_BYTES];
    bytes.copy_from_slice(raw.as_bytes());
    Ok(bytes)
}

/// Compares a superblock, which begins with its signature, with the form of the tree that is
/// pinned. The UUID may be any.
///
/// # Errors
/// [`Differs`]: the first field that says something else.
pub fn compare(bytes: &[u8; SUPERBLOCK_BYTES], shape: &Shape) -> Result<(), Differs> {
    let raw: Raw = zerocopy::transmute!(*bytes);
    let number = |words, says: u64, wants: u64| {
        let differs = Differs { words, says: Value::Number(says), wants: Value::Number(wants) };
        if says == wants { Ok(()) } else { Err(differs) }
    };
    number("version {}", raw.version.get().into(), VERSION.into())?;
    number("hash type {}", raw.hash_type.get().into(), hash_type(shape.format).into())?;
    let name = raw.algorithm.split(|byte| *byte == 0).next();
    let name = name.and_then(|name| core::str::from_utf8(name).ok());
    if name.and_then(Algorithm::named) != Some(shape.algorithm) {
        // Signs alone that can be shown.
        let signs = name.into_iter().flat_map(str::chars).filter(char::is_ascii_graphic);
        let signs = signs.take(NAME_CHARS);
        let (says, wants) = (signs.collect(), shape.algorithm.name().chars().collect());
        let (says, wants) = (Value::Name(says), Value::Name(wants));
        return Err(Differs { words: "hash {}", says, wants });
    }
    let [data, hash] = [shape.data_block, shape.hash_block].map(Pow2::get);
    number("data blocks of {} bytes", raw.data_block_size.get().into(), data)?;
    number("hash blocks of {} bytes", raw.hash_block_size.get().into(), hash)?;
    number("{} data blocks", raw.data_blocks.get(), shape.blocks())?;
    let (salt, len) = (shape.salt.as_bytes(), usize::from(raw.salt_size.get()));
    number("a salt of {} bytes", wide(len), wide(salt.len()))?;
    if raw.salt.get(..len) != Some(salt) {
        let says = Value::Salt(Brief::of(raw.salt.split_at(len.min(SALT_BYTES_MAX)).0));
        return Err(Differs { words: "salt {}", says, wants: Value::Salt(Brief::of(salt)) });
    }
    Ok(())
}

/// A field of a superblock that says something else than what is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The field, with `{}` for its value.
    words: &'static str,
    says: Value,
    wants: Value,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Name(String<NAME_CHARS>),
    Salt(Brief),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Salt(salt) => salt.fmt(f),
        }
    }
}

impl Differs {
    /// Writes what the superblock says, and after that what `key` says.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, key: &dyn fmt::Display) -> fmt::Result {
        let (before, after) = self.words.split_once("{}").ok_or(fmt::Error)?;
        let Self { says, wants, .. } = self;
        write!(f, "its superblock says {before}{says}{after}, {key} says {wants}")
    }
}
