//! Extended attributes: the xattr body of an inode, and entries in the body or shared by inodes.
//!
//! Always: names and values lie in the bytes that they were parsed from.

use super::block::Nid;
use super::corrupt::{Corrupt, Part};
use super::error::FormatError;
use super::record::Record;
use twox_hash::XxHash32;

const HEADER_BYTES: usize = 12;
const ENTRY_HEADER_BYTES: usize = 4;
const ENTRY_ALIGN: usize = 4;
const LONG_PREFIX: u8 = 0x80;
const FILTER_SEED: u32 = 0x25bb_e08f;

/// Returns the prefix with the index `index`; `None` if the index is unknown.
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

/// Splits a full name into the index of its prefix and the rest; `None` if no prefix fits.
pub fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    (1..=6).find_map(|index| {
        let rest = name.strip_prefix(prefix(index)?.as_bytes())?;
        // The prefixes of ACLs are whole names.
        (rest.is_empty() == matches!(index, 2 | 3)).then_some((index, rest))
    })
}

/// Returns the bit of [`Body::name_filter`] that is set if no name with this hash is present.
pub fn filter_bit(index: u8, name: &[u8]) -> u32 {
    let hash = XxHash32::oneshot(FILTER_SEED + u32::from(index), name);
    1 << (hash & 31)
}

/// The prefix of an entry's name. An entry with an unknown prefix is not an attribute: tools leave
/// such entries as padding, and Linux skips them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// The fixed prefix with this index, if [`prefix`] knows it.
    Short(u8),
    /// The long prefix with this number in the image's table, if the table has it.
    Long(u8),
}

/// A long prefix, which the image itself defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongPrefix<'b> {
    /// The index of the fixed prefix at its start, known or not.
    pub index: u8,
    /// The rest of the long prefix.
    pub infix: &'b [u8],
}

impl<'b> LongPrefix<'b> {
    /// The most bytes of a long prefix in the table, without its length field.
    pub const BYTES_MAX: usize = 256;

    /// Parses long prefix `number`.
    pub fn from_bytes(number: u8, bytes: &'b [u8]) -> Result<Self, FormatError> {
        match bytes.split_first() {
            Some((index, infix)) if infix.len() < Self::BYTES_MAX => {
                Ok(Self { index: *index, infix })
            }
            _ => Err(Self::wrong_len(number, bytes.len())),
        }
    }

    /// Returns the error for a long prefix of `len` bytes.
    pub fn wrong_len(prefix: u8, len: usize) -> FormatError {
        Corrupt::XattrPrefixLen { prefix, len }.into()
    }
}

/// The header of an xattr body: its first 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// A bit per hash of a name that is absent; 0 says nothing.
    pub name_filter: u32,
    /// The number of shared entries.
    pub shared: u8,
}

impl Header {
    /// The length of a header in bytes.
    pub const BYTES: usize = HEADER_BYTES;

    /// Parses a header.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let raw = Record(&bytes);
        Self { name_filter: raw.u32::<0>(), shared: raw.u8::<4>() }
    }
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
    /// Parses the xattr body of inode `nid`: all bytes of [`super::Inode::xattrs`].
    pub fn from_bytes(nid: Nid, bytes: &'b [u8]) -> Result<Self, FormatError> {
        let (part, got) = (Part::Xattrs(nid), bytes.len());
        let short = Corrupt::Short { part, need: HEADER_BYTES, got };
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let raw = Record(header);
        let count = raw.u8::<4>();
        // Each id has 4 bytes.
        let split = rest.split_at_checked(usize::from(count) << 2);
        let (shared, inline) = split.ok_or(Corrupt::SharedCount { nid, count, body: got })?;
        Ok(Self { name_filter: raw.u32::<0>(), nid, shared, inline })
    }

    /// Returns the ids of shared entries, for [`super::Superblock::shared_xattr_at`]; at most 255.
    pub fn shared(&self) -> impl ExactSizeIterator<Item = u32> + 'b {
        self.shared.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id))
    }

    /// Returns the entries in the body. The first error is the last item.
    pub fn entries(&self) -> Entries<'b> {
        Entries { part: Part::Xattrs(self.nid), rest: self.inline, at: self.inline_at() }
    }

    /// Returns the offset of the first entry in the body, for messages.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 255 ids of 4 bytes")]
    fn inline_at(&self) -> usize {
        HEADER_BYTES + self.shared.len()
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    /// The index of the name's prefix.
    pub index: u8,
    /// The name after its prefix; may be empty.
    pub name: &'b [u8],
    /// The value.
    pub value: &'b [u8],
}

impl<'b> Entry<'b> {
    /// The length of an entry's header, before name and value, in bytes.
    pub const HEADER_BYTES: usize = ENTRY_HEADER_BYTES;

    /// The longest entry, in bytes.
    pub const BYTES_MAX: usize = 4 + 255 + 65_535;

    /// Returns the length in bytes, without padding, of the entry with this header.
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of 8 and 16 bits")]
    pub fn bytes_needed(header: [u8; ENTRY_HEADER_BYTES]) -> usize {
        let [name_len, _, low, high] = header;
        let value_len = usize::from(u16::from_le_bytes([low, high]));
        Self::HEADER_BYTES + usize::from(name_len) + value_len
    }

    /// Parses the shared entry `id`. `bytes` begin with the entry, of [`Entry::bytes_needed`]
    /// bytes; more are ignored.
    pub fn from_shared(id: u32, bytes: &'b [u8]) -> Result<Self, FormatError> {
        Ok(Self::first_of(Part::SharedXattr(id), 0, bytes)?.0)
    }

    /// Returns the prefix of the name.
    pub fn prefix(&self) -> Prefix {
        match self.index & LONG_PREFIX {
            0 => Prefix::Short(self.index),
            _ => Prefix::Long(self.index & !LONG_PREFIX),
        }
    }

    /// Parses the entry at the start of `bytes`. Returns it with its length, without padding. `at`
    /// is the offset of `bytes` in `part`, for messages.
    fn first_of(part: Part, at: usize, bytes: &'b [u8]) -> Result<(Self, usize), Corrupt> {
        let overrun = |need| Corrupt::XattrOverrun { part, at, need, left: bytes.len() };
        let header =
            Record::<ENTRY_HEADER_BYTES>::first_of(bytes).ok_or(overrun(Self::HEADER_BYTES))?;
        let need = Self::bytes_needed(*header.0);
        let body = bytes.get(Self::HEADER_BYTES..need).ok_or(overrun(need))?;
        let split = body.split_at_checked(usize::from(header.u8::<0>()));
        let (name, value) = split.ok_or(overrun(need))?;
        Ok((Self { index: header.u8::<1>(), name, value }, need))
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

    /// Returns the next entry. Takes at least the 4 bytes of a header, so a body has at most 65,534
    /// entries.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`at` counts bytes of a slice that is there"
    )]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let left = self.rest.len();
        let (used, item) = match Entry::first_of(self.part, self.at, self.rest) {
            // The last entry may lack its padding.
            Ok((entry, len)) => (len.next_multiple_of(ENTRY_ALIGN).min(left), Ok(entry)),
            Err(error) => (left, Err(error.into())),
        };
        self.rest = self.rest.split_at(used).1;
        self.at += used;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Superblock;
    use super::super::sample::TINY;
    use super::*;
    use std::vec::Vec;

    const NID: Nid = Nid(9);

    /// A body with two shared ids and two entries.
    const BODY: &[u8] = b"\x12\x34\x56\x78\x02\0\0\0\0\0\0\0\x05\0\0\0\x09\0\0\0\
        \x04\x01\x03\0nameabc\0\0\x02\x01\0\xff\0\0\0";

    fn body(bytes: &[u8]) -> Body<'_> {
        Body::from_bytes(NID, bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn body_has_a_filter_shared_ids_and_entries() {
        let body = body(BODY);
        assert_eq!(body.name_filter, 0x7856_3412);
        assert_eq!(body.shared().collect::<Vec<_>>(), [5, 9]);
        let entries: Result<Vec<_>, _> = body.entries().collect();
        let first = Entry { index: 1, name: b"name", value: b"abc" };
        let second = Entry { index: 2, name: b"", value: b"\xff" };
        assert_eq!(entries, Ok([first, second].to_vec()));
    }

    #[test]
    fn what_mkfs_wrote_is_read() {
        let superblock = Superblock::from_bytes(TINY).unwrap_or_else(|error| panic!("{error}"));
        // /hello has its own attribute, /sub/a only a shared one.
        let inline = TINY.get(45 * 32 + 32..45 * 32 + 56).unwrap_or(&[]);
        let note = Entry { index: 1, name: b"note", value: b"nice" };
        assert_eq!(body(inline).entries().collect::<Vec<_>>(), [Ok(note)]);
        let shared = TINY.get(86 * 32 + 32..86 * 32 + 48).unwrap_or(&[]);
        let id = body(shared).shared().next().unwrap_or(u32::MAX);
        let at = superblock.shared_xattr_at(id).ok().and_then(|(_, at)| usize::try_from(at).ok());
        let entry = Entry::from_shared(id, TINY.get(at.unwrap_or(0)..).unwrap_or(&[]));
        let want = Entry { index: 6, name: b"shared", value: b"common value" };
        assert_eq!(entry, Ok(want));
        assert_eq!(want.prefix(), Prefix::Short(6));
    }

    #[test]
    fn more_shared_ids_than_the_body_holds_are_corrupt() {
        let mut bytes = [0; 20];
        bytes[4] = 2;
        assert_eq!(body(&bytes).entries().count(), 0);
        bytes[4] = 3;
        let error = Corrupt::SharedCount { nid: NID, count: 3, body: 20 };
        assert_eq!(Body::from_bytes(NID, &bytes).err(), Some(error.into()));
    }

    #[test]
    fn body_shorter_than_its_header_is_corrupt() {
        let error = Corrupt::Short { part: Part::Xattrs(NID), need: 12, got: 11 };
        assert_eq!(Body::from_bytes(NID, &[0; 11]).err(), Some(error.into()));
    }

    #[test]
    fn entry_that_overruns_the_body_ends_the_list_with_an_error() {
        let cut = BODY.get(..BODY.len().saturating_sub(4)).unwrap_or(&[]);
        let last = body(cut).entries().last();
        let error = Corrupt::XattrOverrun { part: Part::Xattrs(NID), at: 32, need: 5, left: 4 };
        assert_eq!(last, Some(Err(error.into())));
        assert_eq!(body(cut).entries().count(), 2);
    }

    #[test]
    fn shared_entry_cut_short_is_corrupt() {
        let bytes = b"\x02\x06\x04\x00abcd";
        let part = Part::SharedXattr(3);
        let error = Corrupt::XattrOverrun { part, at: 0, need: 10, left: 8 };
        assert_eq!(Entry::from_shared(3, bytes), Err(error.into()));
        assert_eq!(Entry::bytes_needed([2, 6, 4, 0]), 10);
        assert_eq!(Entry::bytes_needed([255; 4]), Entry::BYTES_MAX);
    }

    #[test]
    fn prefix_is_short_or_long_or_means_nothing() {
        let entry = |index| Entry { index, name: b"", value: b"" };
        assert_eq!(entry(0x83).prefix(), Prefix::Long(3));
        assert_eq!(entry(3).prefix(), Prefix::Short(3));
        // 0 is what tools pad with, 5 was another file system's.
        for index in [0, 5, 7, 0x7f] {
            assert_eq!(entry(index).prefix(), Prefix::Short(index));
            assert_eq!(prefix(index), None);
        }
    }

    #[test]
    fn long_prefix_has_an_index_and_up_to_255_bytes() {
        let read = LongPrefix::from_bytes(1, b"\x04overlay.");
        assert_eq!(read, Ok(LongPrefix { index: 4, infix: b"overlay." }));
        assert!(LongPrefix::from_bytes(1, &[1; 256]).is_ok());
        for len in [0, 257] {
            let error = Corrupt::XattrPrefixLen { prefix: 9, len };
            assert_eq!(
                LongPrefix::from_bytes(9, [1; 257].get(..len).unwrap_or(&[])),
                Err(error.into())
            );
        }
        let nothing = LongPrefix::from_bytes(0, b"\x09x");
        assert_eq!(nothing, Ok(LongPrefix { index: 9, infix: b"x" }));
    }

    #[test]
    fn full_name_has_an_index_and_a_rest() {
        assert_eq!(split(b"user.note"), Some((1, b"note".as_slice())));
        assert_eq!(split(b"security.capability"), Some((6, b"capability".as_slice())));
        assert_eq!(split(b"system.posix_acl_access"), Some((2, b"".as_slice())));
        for name in [b"user.".as_slice(), b"system.posix_acl_accessx", b"other.x", b""] {
            assert_eq!(split(name), None);
        }
    }

    #[test]
    fn filter_of_what_mkfs_wrote_has_no_bit_of_a_name_that_is_there() {
        let inline = TINY.get(45 * 32 + 32..45 * 32 + 56).unwrap_or(&[]);
        let header = Header::from_bytes(inline.first_chunk().copied().unwrap_or_default());
        assert_eq!((header.name_filter, header.shared), (body(inline).name_filter, 0));
        assert_eq!(header.name_filter & filter_bit(1, b"note"), 0);
    }
}
