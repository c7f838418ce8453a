//! The flattened form of a device tree (Devicetree Specification 0.4, chapter 5).
//!
//! Always: nothing is read outside the blob; the first thing that does not belong where it stands
//! is a [`Fault`] with its byte, and nobody is given what follows.
//!
//! Our own reader, because no crate reads every tree that is met and survives every other one.
//! dtoolkit 0.4 refuses names longer than the specification allows, as vendors write them (QEMU's
//! Versal; `tree_with_names_longer_than_the_specification_has_is_read`), and panics for a broken
//! tree that it has not checked. fdt 0.1.5 does not check: of QEMU's virt, cut after each word of
//! its structure, it panics for four of five trees and takes the others for whole, and it panics
//! for a node whose name is not UTF-8. fdt 0.2 is not released yet, and has a license that images
//! here may not have (MPL). What of a node counts would be ours with each: `ranges` of every bus
//! above it, `bus-range`, and their states.

use core::ffi::CStr;
use core::fmt;
use core::ops::Range;

const MAGIC: u32 = 0xd00d_feed;
/// The layout that is read; a tree says from which one on it can be read so (5.2).
const VERSION: u32 = 17;
/// Where the header has its fields.
mod at {
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

/// The path of a node for a message, cut where it is full.
pub type PathText = heapless::String<88>;

/// The reason why bytes are not a tree, or one that is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A node reserves memory, and does not say which.
    Reserved {
        /// The node.
        path: PathText,
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
            Self::Reserved { path } => {
                write!(f, "{path}: it reserves memory, and its reg does not say which")
            }
        }
    }
}

/// A flattened tree.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'t> {
    /// The tree, up to the end of its structure.
    structure: &'t [u8],
    /// Where the structure begins.
    begin: usize,
    strings: &'t [u8],
    /// The tree, of which reservations begin here.
    bytes: &'t [u8],
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
    pub fn bytes_of(first: &[u8; 8]) -> Result<usize, Fault> {
        let [a, b, c, d, total @ ..] = *first;
        match u32::from_be_bytes([a, b, c, d]) {
            MAGIC => Ok(u32::from_be_bytes(total) as usize),
            other => Err(Fault::Magic(other)),
        }
    }

    /// Returns the tree in these bytes.
    ///
    /// # Errors
    ///
    /// [`Fault`]: of the header.
    pub fn new(bytes: &'t [u8]) -> Result<Self, Fault> {
        let short = || Fault::Short(bytes.len());
        let field = |at| word(bytes, at).ok_or_else(short);
        match field(0)? {
            MAGIC => {}
            other => return Err(Fault::Magic(other)),
        }
        let (newest, oldest) = (field(at::VERSION)?, field(at::COMPATIBLE)?);
        if !(oldest..=newest).contains(&VERSION) {
            return Err(Fault::Version(newest));
        }
        let part = |at, len| {
            let (start, len) = (field(at)? as usize, field(len)? as usize);
            let part = start..start.checked_add(len).ok_or_else(short)?;
            if part.end <= bytes.len() { Ok(part) } else { Err(short()) }
        };
        let structure = part(at::STRUCTURE, at::STRUCTURE_BYTES)?;
        Ok(Self {
            structure: &bytes[..structure.end],
            begin: structure.start,
            strings: &bytes[part(at::STRINGS, at::STRINGS_BYTES)?],
            bytes,
            reserved: field(at::RESERVED)? as usize,
        })
    }

    /// Calls `each` with what memory is reserved apart from nodes (5.3).
    ///
    /// # Errors
    ///
    /// [`Fault::Reservation`].
    pub fn reserved(&self, mut each: impl FnMut(Range<u64>)) -> Result<(), Fault> {
        let mut at = self.reserved;
        loop {
            let entry = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<16>);
            let (start, bytes) = entry.ok_or(Fault::Reservation { at })?.split_at(8);
            let (start, bytes) = number(start).zip(number(bytes)).expect("two words each");
            if (start, bytes) == (0, 0) {
                return Ok(());
            }
            each(start..start.checked_add(bytes).ok_or(Fault::Reservation { at })?);
            at += 16;
        }
    }

    /// Returns the nodes, from the root's beginning on.
    pub fn tokens(&self) -> Tokens<'t> {
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
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the fault that the last token does not belong where it stands.
    pub fn misplaced(&self) -> Fault {
        Fault::Structure { at: self.last }
    }

    /// Returns the next token.
    ///
    /// # Errors
    ///
    /// [`Fault::Structure`].
    pub fn step(&mut self) -> Result<Token<'t>, Fault> {
        loop {
            self.last = self.at;
            match self.word()? {
                tag::BEGIN => {
                    let name = self.text(&self.structure[self.at..])?;
                    self.take(name.len() + 1)?;
                    return Ok(Token::Begin(name));
                }
                tag::END => return Ok(Token::End),
                tag::PROPERTY => {
                    let (bytes, name) = (self.word()? as usize, self.word()? as usize);
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
            match self.step()? {
                Token::Begin(_) => open += 1,
                Token::End => open -= 1,
                Token::Property(..) => {}
                Token::Over => return Err(self.misplaced()),
            }
        }
        Ok(())
    }

    /// Returns the text that begins these bytes, without its zero.
    fn text(&self, bytes: &'t [u8]) -> Result<&'t [u8], Fault> {
        let text = CStr::from_bytes_until_nul(bytes).map_err(|_| self.misplaced())?;
        Ok(text.to_bytes())
    }

    fn word(&mut self) -> Result<u32, Fault> {
        let word = word(self.structure, self.at).ok_or(Fault::Structure { at: self.at })?;
        self.at += 4;
        Ok(word)
    }

    /// Takes `bytes`, and what follows up to a whole word.
    fn take(&mut self, bytes: usize) -> Result<&'t [u8], Fault> {
        let padded = bytes.checked_next_multiple_of(4);
        let rest = &self.structure[self.at..];
        let taken = padded.filter(|padded| *padded <= rest.len()).map(|_| &rest[..bytes]);
        let taken = taken.ok_or(Fault::Structure { at: self.at })?;
        self.at += bytes.next_multiple_of(4);
        Ok(taken)
    }
}

/// Returns the word at byte `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// Returns the number in these words, if they are whole and it is below 2^64; 0 for no word.
pub fn number(words: &[u8]) -> Option<u64> {
    let (words, rest) = words.as_chunks();
    let number = words.iter().try_fold(0_u64, |number, word| {
        (number >> 32 == 0).then(|| number << 32 | u64::from(u32::from_be_bytes(*word)))
    })?;
    rest.is_empty().then_some(number)
}
