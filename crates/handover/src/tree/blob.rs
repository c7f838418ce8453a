//! The flattened form of a device tree (Devicetree Specification 0.4, chapter 5).
//!
//! Always: nothing is read outside the blob; the first thing that does not belong where it stands
//! is a [`Fault`] with its byte, and nobody is given what follows.
//!
//! Our own reader, because no crate reads every tree that is met and survives every other one.
//! dtoolkit 0.4 refuses names longer than the specification allows, as vendors write them (QEMU's
//! Versal; `tree_with_names_longer_than_the_specification_has_is_read` of the boards), and panics
//! for a broken tree that it has not checked. fdt 0.1.5 does not check: of QEMU's virt, cut after
//! each word of its structure, it panics for four of five trees and takes the others for whole, and
//! it panics for a node whose name is not UTF-8. fdt 0.2 is not released yet, and has a license that
//! images here may not have (MPL). What of a node counts would be ours with each: `ranges` of every
//! bus above it, `bus-range`, and their states.

use core::ffi::CStr;
use core::fmt;
use core::ops::Range;

use rootlet_base::num::{index, low64};

use super::{MAGIC, VERSION, WORD, at, tag};
use crate::bytes::be32;

/// The reason why bytes are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first word is another.
    Magic(u32),
    /// It cannot be read as version 17.
    Version(u32),
    /// Its header or its parts do not lie in this number of bytes.
    Short(usize),
    /// What is at this byte does not belong there, or ends too early.
    Structure {
        /// The byte.
        at: usize,
    },
    /// The list of reserved memory has an entry at this byte that does not end, or no last one.
    Reservation {
        /// The byte.
        at: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(word) => write!(f, "begins with {word:#x}, not with {MAGIC:#x}"),
            Self::Version(version) => write!(f, "version {version}, not {VERSION}"),
            Self::Short(bytes) => write!(f, "its parts do not lie in its {bytes} bytes"),
            Self::Structure { at } => {
                write!(f, "byte {at}: a part that ends early, or does not belong there")
            }
            Self::Reservation { at } => {
                write!(f, "byte {at}: no entry of the list of reserved memory")
            }
        }
    }
}

impl core::error::Error for Fault {}

/// A flattened tree.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'t> {
    /// The tree, up to the end of its structure.
    pub(super) structure: &'t [u8],
    /// Where the structure begins.
    pub(super) begin: usize,
    pub(super) strings: &'t [u8],
    /// The tree, of which reservations begin here.
    pub(super) bytes: &'t [u8],
    reserved: usize,
}

/// A step through the nodes. Properties of a node come before the nodes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'t> {
    /// A node of this name begins; the root's is empty.
    Begin(&'t [u8]),
    /// A property of the node that began last: name and value.
    Property(&'t [u8], &'t [u8]),
    /// The node ends that began last of those that have not ended.
    End,
    /// The tree ends.
    Over,
}

impl<'t> Blob<'t> {
    /// Returns how long the tree is whose first bytes these are.
    ///
    /// # Errors
    ///
    /// [`Fault::Magic`].
    pub const fn bytes_of(first: &[u8; 8]) -> Result<usize, Fault> {
        let [a, b, c, d, total @ ..] = *first;
        match u32::from_be_bytes([a, b, c, d]) {
            MAGIC => Ok(index(u32::from_be_bytes(total))),
            other => Err(Fault::Magic(other)),
        }
    }

    /// Returns the tree in these bytes.
    ///
    /// # Errors
    ///
    /// [`Fault`]: of the header.
    pub fn new(bytes: &'t [u8]) -> Result<Self, Fault> {
        let short = Fault::Short(bytes.len());
        let field = |at| be32(bytes, at).ok_or(short);
        match field(at::MAGIC)? {
            MAGIC => {}
            other => return Err(Fault::Magic(other)),
        }
        let (newest, oldest) = (field(at::VERSION)?, field(at::COMPATIBLE)?);
        if !(oldest..=newest).contains(&VERSION) {
            return Err(Fault::Version(newest));
        }
        let (begin, len) = (index(field(at::STRUCTURE)?), index(field(at::STRUCTURE_BYTES)?));
        let end = begin.checked_add(len).ok_or(short)?;
        let (start, len) = (index(field(at::STRINGS)?), index(field(at::STRINGS_BYTES)?));
        let strings = bytes.get(start..).and_then(|strings| strings.get(..len));
        Ok(Self {
            structure: bytes.get(..end).ok_or(short)?,
            begin,
            strings: strings.ok_or(short)?,
            bytes,
            reserved: index(field(at::RESERVED)?),
        })
    }

    /// Calls `each` with what memory is reserved apart from nodes (5.3).
    ///
    /// # Errors
    ///
    /// [`Fault::Reservation`].
    pub fn reserved(&self, mut each: impl FnMut(Range<u64>)) -> Result<(), Fault> {
        const ENTRY_BYTES: usize = 16;
        let rest = self.bytes.get(self.reserved..);
        let mut at = self.reserved;
        let (entries, _) = rest.ok_or(Fault::Reservation { at })?.as_chunks::<ENTRY_BYTES>();
        for entry in entries {
            let entry = u128::from_be_bytes(*entry);
            let (start, bytes) = (low64(entry >> 64), low64(entry));
            if entry == 0 {
                return Ok(());
            }
            each(start..start.checked_add(bytes).ok_or(Fault::Reservation { at })?);
            at = at.checked_add(ENTRY_BYTES).ok_or(Fault::Reservation { at })?;
        }
        Err(Fault::Reservation { at })
    }

    /// Returns the nodes, from the root's beginning on.
    pub const fn tokens(&self) -> Tokens<'t> {
        let (structure, at) = (self.structure, self.begin);
        Tokens { structure, at, last: at, strings: self.strings }
    }
}

/// What is left of the nodes.
#[derive(Clone, Debug)]
pub struct Tokens<'t> {
    structure: &'t [u8],
    at: usize,
    /// Where the last token began.
    last: usize,
    strings: &'t [u8],
}

impl<'t> Tokens<'t> {
    /// Returns the byte of the tree at which the next token begins.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Returns the byte of the tree at which the last token began.
    pub const fn last(&self) -> usize {
        self.last
    }

    /// Returns the fault that the last token does not belong where it stands.
    pub const fn misplaced(&self) -> Fault {
        Fault::Structure { at: self.last }
    }

    /// Returns the next token.
    ///
    /// # Errors
    ///
    /// [`Fault::Structure`].
    pub fn step(&mut self) -> Result<Token<'t>, Fault> {
        // Ends: each round moves on by a word.
        loop {
            self.last = self.at;
            match self.word()? {
                tag::BEGIN => {
                    let rest = self.structure.get(self.at..).ok_or_else(|| self.misplaced())?;
                    let name = self.text(rest)?;
                    self.take(name.len().checked_add(1).ok_or_else(|| self.misplaced())?)?;
                    return Ok(Token::Begin(name));
                }
                tag::END => return Ok(Token::End),
                tag::PROPERTY => {
                    let (bytes, name) = (index(self.word()?), index(self.word()?));
                    let name = self.strings.get(name..).ok_or_else(|| self.misplaced())?;
                    return Ok(Token::Property(self.text(name)?, self.take(bytes)?));
                }
                tag::NOTHING => {}
                tag::OVER => return Ok(Token::Over),
                _ => return Err(self.misplaced()),
            }
        }
    }

    /// Passes over the node that began last and everything in it.
    ///
    /// # Errors
    ///
    /// [`Fault::Structure`].
    pub fn skip(&mut self) -> Result<(), Fault> {
        let mut open = 1_usize;
        while open > 0 {
            let now = match self.step()? {
                Token::Begin(_) => open.checked_add(1),
                Token::End => open.checked_sub(1),
                Token::Property(..) => Some(open),
                Token::Over => None,
            };
            open = now.ok_or_else(|| self.misplaced())?;
        }
        Ok(())
    }

    /// Returns the text that begins these bytes, without its zero.
    fn text(&self, bytes: &'t [u8]) -> Result<&'t [u8], Fault> {
        let text = CStr::from_bytes_until_nul(bytes).map_err(|_| self.misplaced())?;
        Ok(text.to_bytes())
    }

    fn word(&mut self) -> Result<u32, Fault> {
        let fault = Fault::Structure { at: self.at };
        let word = be32(self.structure, self.at).ok_or(fault)?;
        self.at = self.at.checked_add(WORD).ok_or(fault)?;
        Ok(word)
    }

    /// Takes `bytes`, and what follows up to a whole word.
    fn take(&mut self, bytes: usize) -> Result<&'t [u8], Fault> {
        let fault = Fault::Structure { at: self.at };
        let padded = bytes.checked_next_multiple_of(WORD).ok_or(fault)?;
        let end = self.at.checked_add(padded).ok_or(fault)?;
        let taken = self.structure.get(self.at..end).and_then(|taken| taken.get(..bytes));
        self.at = end;
        taken.ok_or(fault)
    }
}

/// Returns the number in these words, if they are whole and it is below 2^64; 0 for no word.
pub fn number(words: &[u8]) -> Option<u64> {
    let (words, rest) = words.as_chunks();
    let number = words.iter().try_fold(0_u64, |number, word| {
        (number >> 32 == 0).then(|| number << 32 | u64::from(u32::from_be_bytes(*word)))
    })?;
    rest.is_empty().then_some(number)
}
