//! The flattened form of a device tree (Devicetree Specification 0.4, chapter 5).
//!
//! Always: nothing is read outside the blob; where it is broken, the tokens end.
//!
//! Our own reader, because some machines have names longer than the specification allows (QEMU's
//! Versal, `tests`): dtoolkit refuses such a tree, and what it takes for granted of a tree that it
//! has checked is a panic in one that it has not.

use core::fmt;

use crate::text::until_zero;

const MAGIC: u32 = 0xd00d_feed;
/// The layout that is read; a tree says from which one on it can be read so (5.2).
const VERSION: u32 = 17;
/// Where the header has its fields.
mod at {
    pub const TOTAL: usize = 4;
    pub const STRUCTURE: usize = 8;
    pub const STRINGS: usize = 12;
    pub const RESERVED: usize = 16;
    pub const VERSION: usize = 20;
    pub const COMPATIBLE: usize = 24;
}

/// Why bytes are no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first word is another.
    Magic(u32),
    /// It cannot be read as version 17.
    Version(u32),
    /// It ends before its header or its parts begin.
    Short(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(word) => write!(f, "begins with {word:#x}, not with {MAGIC:#x}"),
            Self::Version(version) => write!(f, "version {version}, not {VERSION}"),
            Self::Short(bytes) => write!(f, "its parts do not lie in its {bytes} bytes"),
        }
    }
}

/// A flattened tree.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'t> {
    structure: &'t [u8],
    strings: &'t [u8],
    reserved: &'t [u8],
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
}

impl<'t> Blob<'t> {
    /// How long the tree is whose first bytes these are.
    ///
    /// # Errors
    ///
    /// [`Fault::Magic`].
    pub fn bytes_of(first: &[u8; 8]) -> Result<usize, Fault> {
        match word(first, 0) {
            Some(MAGIC) => Ok(word(first, at::TOTAL).unwrap_or(0) as usize),
            other => Err(Fault::Magic(other.unwrap_or(0))),
        }
    }

    /// The tree in these bytes.
    ///
    /// # Errors
    ///
    /// [`Fault`]: of the header. What is broken behind it ends the tokens.
    pub fn new(bytes: &'t [u8]) -> Result<Self, Fault> {
        let short = Fault::Short(bytes.len());
        let field = |at| word(bytes, at).ok_or(short);
        match field(0)? {
            MAGIC => {}
            other => return Err(Fault::Magic(other)),
        }
        let (newest, oldest) = (field(at::VERSION)?, field(at::COMPATIBLE)?);
        if !(oldest..=newest).contains(&VERSION) {
            return Err(Fault::Version(newest));
        }
        let part = |at| bytes.get(field(at)? as usize..).ok_or(short);
        Ok(Self {
            structure: part(at::STRUCTURE)?,
            strings: part(at::STRINGS)?,
            reserved: part(at::RESERVED)?,
        })
    }

    /// Address and length in bytes of what memory is reserved apart from nodes.
    pub fn reserved(&self) -> impl Iterator<Item = (u64, u64)> {
        let entries = self.reserved.chunks_exact(16).map_while(|entry| {
            let (address, bytes) = entry.split_at(8);
            Some((number(address)?, number(bytes)?))
        });
        entries.take_while(|entry| *entry != (0, 0))
    }

    /// The nodes, from the root's beginning on.
    pub fn tokens(&self) -> Tokens<'t> {
        Tokens { structure: self.structure, strings: self.strings }
    }
}

/// What is left of the nodes.
#[derive(Clone, Debug)]
pub struct Tokens<'t> {
    structure: &'t [u8],
    strings: &'t [u8],
}

impl<'t> Tokens<'t> {
    /// Passes over the node that began last and everything in it; `None` if it does not end.
    pub fn skip(&mut self) -> Option<()> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next()? {
                Token::Begin(_) => open += 1,
                Token::End => open -= 1,
                Token::Property(..) => {}
            }
        }
        Some(())
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.structure.split_first_chunk()?;
        self.structure = rest;
        Some(u32::from_be_bytes(*word))
    }

    /// Takes `bytes`, and what follows up to a whole word.
    fn take(&mut self, bytes: usize) -> Option<&'t [u8]> {
        let taken = self.structure.get(..bytes)?;
        self.structure = self.structure.get(bytes.checked_next_multiple_of(4)?..)?;
        Some(taken)
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        loop {
            match self.word()? {
                1 => {
                    let name = until_zero(self.structure);
                    self.take(name.len() + 1)?;
                    return Some(Token::Begin(name));
                }
                2 => return Some(Token::End),
                3 => {
                    let (bytes, name) = (self.word()? as usize, self.word()? as usize);
                    let name = until_zero(self.strings.get(name..)?);
                    return Some(Token::Property(name, self.take(bytes)?));
                }
                // Nothing, in the place of something.
                4 => {}
                _ => return None,
            }
        }
    }
}

/// The word at byte `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The number in these words, if it is below 2^64.
pub fn number(words: &[u8]) -> Option<u64> {
    words.as_chunks().0.iter().try_fold(0_u64, |number, word| {
        (number >> 32 == 0).then(|| number << 32 | u64::from(u32::from_be_bytes(*word)))
    })
}
