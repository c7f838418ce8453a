//! Flattened device trees: the reader, and the copy that a kernel is given.
//!
//! Always: nothing is read outside the bytes of a tree; the first thing that does not belong where
//! it stands is a [`Fault`] with its byte.
//!
//! Source: Devicetree Specification 0.4, chapter 5.

mod blob;
mod extend;

pub use blob::{Blob, Fault, Token, Tokens, number};
pub use extend::{Additions, extend};

const MAGIC: u32 = 0xd00d_feed;
/// The layout that is read; a tree says from which one on it can be read so (5.2).
const VERSION: u32 = 17;
/// Bytes of a word of the structure, at one of which each part of it begins.
const WORD: usize = 4;

/// Where the header has its fields.
mod at {
    pub const MAGIC: usize = 0;
    pub const BYTES: usize = 4;
    pub const STRUCTURE: usize = 8;
    pub const STRINGS: usize = 12;
    pub const RESERVED: usize = 16;
    pub const VERSION: usize = 20;
    pub const COMPATIBLE: usize = 24;
    pub const STRINGS_BYTES: usize = 32;
    pub const STRUCTURE_BYTES: usize = 36;
}

/// What begins with each word of the structure (5.4.1).
mod tag {
    pub const BEGIN: u32 = 1;
    pub const END: u32 = 2;
    pub const PROPERTY: u32 = 3;
    /// Nothing, in the place of something.
    pub const NOTHING: u32 = 4;
    pub const OVER: u32 = 9;
}
