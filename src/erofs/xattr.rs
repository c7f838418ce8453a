//! Extended attributes: the body behind an inode, and the entries in it or shared by many.
//!
//! Always: a name and a value lie in the bytes that they were parsed from.

use super::block::Nid;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::record::Record;

const HEADER_BYTES: usize = 12;
const ENTRY_HEADER_BYTES: usize = 4;
const ENTRY_ALIGN: usize = 4;
const LONG_PREFIX: u8 = 0x80;

/// The prefix that a name index stands for; `None` for one that means none.
pub fn prefix(index: u8) -> Option<&'static str> {
    Some(match index {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        _ => return None,
    })
}

/// The xattr body of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Body<'b> {
    /// A bit per hash of a name that is absent; 0 says nothing.
    pub name_filter: u32,
    nid: Nid,
    shared: &'b [u8],
    inline: &'b [u8],
}

impl<'b> Body<'b> {
    /// From the bytes of [`super::Inode::xattrs`], all of them.
    pub fn from_bytes(nid: Nid, bytes: &'b [u8]) -> Result<Self, FormatError> {
        let (part, got) = (Part::Xattrs(nid), bytes.len());
        let short = Corrupt::Short { part, need: HEADER_BYTES, got };
        let raw = Record::<HEADER_BYTES>::first_of(bytes).ok_or(short)?;
        let count = raw.u8::<4>();
        let ids = usize::from(count).saturating_mul(4);
        let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let split = rest.split_at_checked(ids);
        let (shared, inline) = split.ok_or(Corrupt::SharedCount { nid, count, body: got })?;
        Ok(Self { name_filter: raw.u32::<0>(), nid, shared, inline })
    }

    /// The ids of shared entries, for [`super::Superblock::shared_xattr_at`]; at most 255.
    pub fn shared(&self) -> impl ExactSizeIterator<Item = u32> + 'b {
        self.shared.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id))
    }

    /// The entries in the body itself. An error ends them.
    pub fn entries(&self) -> Entries<'b> {
        Entries { part: Part::Xattrs(self.nid), rest: self.inline, at: self.inline_at() }
    }

    /// How far into the body the entries begin, for messages.
    fn inline_at(&self) -> usize {
        HEADER_BYTES.saturating_add(self.shared.len())
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    /// Which prefix the name has.
    pub index: u8,
    /// The name after its prefix; may be empty.
    pub name: &'b [u8],
    /// The value.
    pub value: &'b [u8],
}

impl<'b> Entry<'b> {
    /// Bytes of an entry before name and value.
    pub const HEADER_BYTES: usize = ENTRY_HEADER_BYTES;

    /// The most bytes that an entry has.
    pub const BYTES_MAX: usize = 4 + 255 + 65_535;

    /// How many bytes the entry has whose header this is, without padding.
    pub fn bytes_needed(header: [u8; ENTRY_HEADER_BYTES]) -> usize {
        let [name_len, _, low, high] = header;
        let value_len = usize::from(u16::from_le_bytes([low, high]));
        Self::HEADER_BYTES.saturating_add(usize::from(name_len)).saturating_add(value_len)
    }

    /// The shared entry `id` from the bytes at its place, [`Entry::bytes_needed`] of them; more
    /// are ignored.
    pub fn from_shared(id: u32, bytes: &'b [u8]) -> Result<Self, FormatError> {
        Ok(Self::first_of(Part::SharedXattr(id), 0, bytes)?)
    }

    /// The prefix of the name.
    ///
    /// # Errors
    /// Unsupported when it is a long one, or its index means none.
    pub fn prefix(&self) -> Result<&'static str, FormatError> {
        if self.index & LONG_PREFIX != 0 {
            return Err(Unsupported::LongXattrPrefix(self.index & !LONG_PREFIX).into());
        }
        prefix(self.index).ok_or(Unsupported::XattrIndex(self.index).into())
    }

    /// The entry that `bytes` begins with; `at` is where they lie in `part`, for messages.
    fn first_of(part: Part, at: usize, bytes: &'b [u8]) -> Result<Self, Corrupt> {
        let overrun = |need| Corrupt::XattrOverrun { part, at, need, left: bytes.len() };
        let header =
            Record::<ENTRY_HEADER_BYTES>::first_of(bytes).ok_or(overrun(Self::HEADER_BYTES))?;
        let need = Self::bytes_needed(*header.0);
        let body = bytes.get(Self::HEADER_BYTES..need).ok_or(overrun(need))?;
        let split = body.split_at_checked(usize::from(header.u8::<0>()));
        let (name, value) = split.ok_or(overrun(need))?;
        Ok(Self { index: header.u8::<1>(), name, value })
    }
}

/// The entries of a body.
#[derive(Clone, Debug)]
pub struct Entries<'b> {
    part: Part,
    rest: &'b [u8],
    at: usize,
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Entry<'b>, FormatError>;

    /// Each step consumes at least the 4 bytes of a header, so a body ends after 65,534.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = Entry::first_of(self.part, self.at, self.rest);
        let used = match &item {
            Ok(entry) => Entry::HEADER_BYTES
                .saturating_add(entry.name.len())
                .saturating_add(entry.value.len())
                .next_multiple_of(ENTRY_ALIGN),
            Err(_) => self.rest.len(),
        };
        self.rest = self.rest.get(used..).unwrap_or_default();
        self.at = self.at.saturating_add(used);
        Some(item.map_err(FormatError::from))
    }
}
