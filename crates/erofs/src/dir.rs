//! A block of a directory: entries of 12 bytes, then their names, sorted by bytes.
//!
//! Always: the name of a returned entry has 1 to 255 bytes without slash or NUL, and lies in the
//! block after all entries.

use core::cmp::Ordering;
use core::ops::Range;

use super::block::Nid;
use super::corrupt::{Corrupt, NameFault};
use super::error::FormatError;
use super::kind::FileKind;
use super::record::Record;
use rootlet_base::num::OrBug;

const ENTRY_LEN: usize = 12;
const NAME_BYTES_MAX: usize = 255;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'b> {
    /// The number of the inode.
    pub nid: Nid,
    /// The type of the file, as a number; see [`Dirent::kind`].
    pub file_type: u8,
    /// The name.
    pub name: &'b [u8],
}

impl Dirent<'_> {
    /// Returns the type of the file; `None` if its number is 0 or unknown. The type in the inode is
    /// the right one; this is a hint.
    pub fn kind(&self) -> Option<FileKind> {
        Some(match self.file_type {
            1 => FileKind::Regular,
            2 => FileKind::Directory,
            3 => FileKind::CharDevice,
            4 => FileKind::BlockDevice,
            5 => FileKind::Fifo,
            6 => FileKind::Socket,
            7 => FileKind::Symlink,
            _ => return None,
        })
    }
}

/// A block of a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirBlock<'b> {
    bytes: &'b [u8],
    entries: &'b [[u8; ENTRY_LEN]],
    nid: Nid,
    block: u64,
    /// The offset of the first name, which is the end of the entries.
    names: u16,
}

impl<'b> DirBlock<'b> {
    /// The length of an entry in bytes, without its name.
    pub const ENTRY_BYTES: u16 = 12;

    /// Parses block `block` of directory `nid`. `bytes` is the whole block; the last block is cut
    /// to the directory's size. Checks the first entry only.
    pub fn from_bytes(bytes: &'b [u8], nid: Nid, block: u64) -> Result<Self, FormatError> {
        let wrong = |nameoff| Corrupt::FirstNameoff { nid, block, nameoff, len: bytes.len() };
        let raw = Record::<ENTRY_LEN>::first_of(bytes).ok_or(wrong(0))?;
        let names = raw.u16::<8>();
        if names == 0 || !names.is_multiple_of(Self::ENTRY_BYTES) {
            return Err(wrong(names).into());
        }
        // A name has at least one byte, so the first name begins before the end.
        let (entries, rest) = bytes.split_at_checked(usize::from(names)).ok_or(wrong(names))?;
        if rest.is_empty() {
            return Err(wrong(names).into());
        }
        Ok(Self { bytes, entries: entries.as_chunks().0, nid, block, names })
    }

    /// Returns the number of entries in the block, at least one.
    pub fn len(&self) -> u16 {
        self.names / Self::ENTRY_BYTES
    }

    /// Returns false: a block has at least one entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns entry `entry`. Does not compare its name with other names.
    pub fn entry(&self, entry: u16) -> Result<Dirent<'b>, FormatError> {
        let raw = self.raw(entry)?;
        Ok(dirent(raw, self.name(entry, raw)?))
    }

    /// Returns the inode number of entry `entry`, without a check of the name.
    pub fn target(&self, entry: u16) -> Option<Nid> {
        self.raw(entry).ok().map(|raw| Nid(raw.u64::<0>()))
    }

    /// Returns the name of the first entry, to choose a block.
    pub fn first_name(&self) -> Result<&'b [u8], FormatError> {
        self.name(0, self.raw(0)?)
    }

    /// Returns the name of the last entry, to compare with the first name of the next block.
    pub fn last_name(&self) -> Result<&'b [u8], FormatError> {
        let last = self.len().checked_sub(1).or_bug()?;
        self.name(last, self.raw(last)?)
    }

    /// Returns the name of an entry that was returned before: its bytes were checked then.
    pub fn name_bytes(&self, entry: u16) -> Result<&'b [u8], FormatError> {
        self.bytes_of_name(entry, self.raw(entry)?)
    }

    /// Returns the entries in order. The first error is the last item.
    pub fn entries(&self) -> Entries<'b> {
        Entries { block: *self, numbers: 0..self.len(), previous: None }
    }

    /// Returns the entry with the name `name`, by binary search. Refuses entries that it finds out
    /// of order.
    pub fn find(&self, name: &[u8]) -> Result<Option<Dirent<'b>>, FormatError> {
        let (mut low, mut high) = (0, self.len());
        let (mut below, mut above): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        // Each round halves the range: at most 13 rounds for the 5,461 entries of 64 KiB.
        while low < high {
            let middle = low.midpoint(high);
            let raw = self.raw(middle)?;
            let probe = self.name(middle, raw)?;
            if below.is_some_and(|below| probe <= below)
                || above.is_some_and(|above| probe >= above)
            {
                return Err(self.name_fault(middle, NameFault::Order).into());
            }
            match name.cmp(probe) {
                Ordering::Equal => return Ok(Some(dirent(raw, probe))),
                Ordering::Less => (high, above) = (middle, Some(probe)),
                Ordering::Greater => {
                    (low, below) = (middle.checked_add(1).or_bug()?, Some(probe));
                }
            }
        }
        Ok(None)
    }

    fn raw(&self, entry: u16) -> Result<Record<'b, ENTRY_LEN>, Corrupt> {
        let (nid, block, entries) = (self.nid, self.block, self.len());
        let raw = self.entries.get(usize::from(entry)).map(Record);
        raw.ok_or(Corrupt::NoEntry { nid, block, entry, entries })
    }

    /// Returns the name of an entry. Refuses a name that no directory can hold.
    fn name(&self, entry: u16, raw: Record<'b, ENTRY_LEN>) -> Result<&'b [u8], FormatError> {
        let name = self.bytes_of_name(entry, raw)?;
        match fault(name) {
            None => Ok(name),
            Some(fault) => Err(self.name_fault(entry, fault).into()),
        }
    }

    /// Returns the bytes from the entry's nameoff to the next entry's; for the last entry, to a NUL
    /// or the end of the block.
    fn bytes_of_name(
        &self,
        entry: u16,
        raw: Record<'b, ENTRY_LEN>,
    ) -> Result<&'b [u8], FormatError> {
        let start = self.nameoff(entry, raw, self.names)?;
        match entry.checked_add(1).filter(|next| *next < self.len()) {
            Some(next) => {
                let end = self.nameoff(next, self.raw(next)?, start)?;
                Ok(self.bytes.get(usize::from(start)..usize::from(end)).or_bug()?)
            }
            None => {
                let rest = self.bytes.get(usize::from(start)..).or_bug()?;
                Ok(rest.split(|&byte| byte == 0).next().or_bug()?)
            }
        }
    }

    /// Returns the offset of an entry's name. Refuses an offset below `low` or after the block.
    fn nameoff(&self, entry: u16, raw: Record<'b, ENTRY_LEN>, low: u16) -> Result<u16, Corrupt> {
        let (nameoff, high) = (raw.u16::<8>(), self.bytes.len());
        if nameoff >= low && usize::from(nameoff) <= high {
            return Ok(nameoff);
        }
        let (nid, block) = (self.nid, self.block);
        Err(Corrupt::Nameoff { nid, block, entry, nameoff, low, high })
    }

    fn name_fault(&self, entry: u16, fault: NameFault) -> Corrupt {
        Corrupt::Name { nid: self.nid, block: self.block, entry, fault }
    }
}

fn dirent<'b>(raw: Record<'b, ENTRY_LEN>, name: &'b [u8]) -> Dirent<'b> {
    Dirent { nid: Nid(raw.u64::<0>()), file_type: raw.u8::<10>(), name }
}

/// Returns the fault of a name; `None` if the name is valid.
fn fault(name: &[u8]) -> Option<NameFault> {
    match name.len() {
        0 => return Some(NameFault::Empty),
        len if len > NAME_BYTES_MAX => return Some(NameFault::Long(len)),
        _ => {}
    }
    // Looks at all bytes: a loop that stops at the first bad byte is slower for valid names.
    if !name.iter().fold(false, |bad, byte| bad | matches!(byte, 0 | b'/')) {
        return None;
    }
    let first = name.iter().find(|byte| matches!(byte, 0 | b'/'));
    Some(if first == Some(&0) { NameFault::Nul } else { NameFault::Slash })
}

/// The entries of a block. The name of each is checked to be greater than the name before it.
#[derive(Clone, Debug)]
pub struct Entries<'b> {
    block: DirBlock<'b>,
    numbers: Range<u16>,
    previous: Option<&'b [u8]>,
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Dirent<'b>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.numbers.next()?;
        let item = match self.block.entry(entry) {
            Ok(dirent) if self.previous.is_some_and(|previous| dirent.name <= previous) => {
                Err(self.block.name_fault(entry, NameFault::Order).into())
            }
            item => item,
        };
        match &item {
            Ok(dirent) => self.previous = Some(dirent.name),
            Err(_) => self.numbers = 0..0,
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{TINY, dir_block};
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    const DIR: Nid = Nid(36);

    fn parse(bytes: &[u8]) -> Result<DirBlock<'_>, FormatError> {
        DirBlock::from_bytes(bytes, DIR, 2)
    }

    fn valid(bytes: &[u8]) -> DirBlock<'_> {
        parse(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the walk over these bytes ends with.
    fn walk_error(bytes: &[u8]) -> Option<FormatError> {
        valid(bytes).entries().find_map(Result::err)
    }

    fn named(entry: u16, fault: NameFault) -> Option<FormatError> {
        Some(Corrupt::Name { nid: DIR, block: 2, entry, fault }.into())
    }

    fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
        if let Some(place) = bytes.get_mut(at..).and_then(|tail| tail.get_mut(..with.len())) {
            place.copy_from_slice(with);
        }
    }

    #[test]
    fn what_mkfs_wrote_is_read() {
        // The root's entries are inline, right after its 32 bytes: it has no xattrs.
        let size = TINY.get(37 * 32 + 8..).and_then(|tail| tail.first_chunk()).copied();
        let size = usize::try_from(u32::from_le_bytes(size.unwrap_or_default())).unwrap_or(0);
        let bytes = TINY.get(37 * 32 + 32..).and_then(|tail| tail.get(..size));
        let block = DirBlock::from_bytes(bytes.unwrap_or(&[]), Nid(37), 0);
        let block = block.unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<_> = block.entries().map(|entry| entry.map(|entry| entry.name)).collect();
        let want: [&[u8]; 9] =
            [b".", b"..", b"empty", b"hello", b"link", b"long", b"null", b"pipe", b"sub"];
        assert_eq!(names, want.map(Ok));
        let found = block.find(b"hello").map(|found| found.map(|entry| (entry.nid, entry.kind())));
        assert_eq!(found, Ok(Some((Nid(45), Some(FileKind::Regular)))));
    }

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..37).map(|n| format!("{n:02}")).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        for count in 1..=names.len() {
            let names = names.get(..count).unwrap_or(&[]);
            let bytes = dir_block(names, 1024);
            let block = valid(&bytes);
            for name in names {
                assert_eq!(
                    block.find(name).map(|found| found.map(|entry| entry.name)),
                    Ok(Some(*name))
                );
                assert_eq!(block.find(&[*name, b"!"].concat()), Ok(None));
            }
            assert_eq!(block.find(b"").map(|found| found.is_some()), Ok(false));
            assert_eq!(block.first_name(), Ok(b"00".as_slice()));
            assert_eq!(Some(block.last_name()), names.last().map(|name| Ok(*name)));
        }
    }

    #[test]
    fn last_name_ends_at_the_end_of_its_bytes_too() {
        let bytes = dir_block(&[b"a", b"last"], 24 + 5);
        assert_eq!(valid(&bytes).last_name(), Ok(b"last".as_slice()));
    }

    #[test]
    fn first_nameoff_says_how_many_entries_there_are() {
        for nameoff in [0_u16, 1, 11, 13, 512, 516, 0xffff] {
            let mut bytes = dir_block(&[b"a", b"b"], 512);
            patch(&mut bytes, 8, &nameoff.to_le_bytes());
            let error = Corrupt::FirstNameoff { nid: DIR, block: 2, nameoff, len: 512 };
            assert_eq!(parse(&bytes).err(), Some(error.into()));
        }
        let error = Corrupt::FirstNameoff { nid: DIR, block: 2, nameoff: 0, len: 11 };
        assert_eq!(parse(&[1; 11]).err(), Some(error.into()));
    }

    #[test]
    fn nameoff_beyond_the_block_is_corrupt() {
        let mut bytes = dir_block(&[b"a", b"b"], 512);
        patch(&mut bytes, 20, &513_u16.to_le_bytes());
        let (entry, nameoff, low, high) = (1, 513, 24, 512);
        let error = Corrupt::Nameoff { nid: DIR, block: 2, entry, nameoff, low, high };
        assert_eq!(walk_error(&bytes), Some(error.into()));
    }

    #[test]
    fn nameoff_among_the_entries_or_before_its_neighbour_is_corrupt() {
        let mut bytes = dir_block(&[b"aa", b"bb", b"cc"], 512);
        patch(&mut bytes, 32, &37_u16.to_le_bytes());
        let (entry, nameoff, low, high) = (2, 37, 38, 512);
        let error = Corrupt::Nameoff { nid: DIR, block: 2, entry, nameoff, low, high };
        assert_eq!(walk_error(&bytes), Some(error.into()));
        patch(&mut bytes, 32, &12_u16.to_le_bytes());
        let (nameoff, low) = (12, 36);
        let error = Corrupt::Nameoff { nid: DIR, block: 2, entry, nameoff, low, high };
        assert_eq!(valid(&bytes).last_name(), Err(error.into()));
    }

    #[test]
    fn empty_names_are_corrupt() {
        assert_eq!(walk_error(&dir_block(&[b"", b"b"], 512)), named(0, NameFault::Empty));
        assert_eq!(walk_error(&dir_block(&[b"a", b""], 512)), named(1, NameFault::Empty));
    }

    #[test]
    fn name_of_256_bytes_is_corrupt() {
        let longest = dir_block(&[&[b'n'; 255]], 512);
        assert_eq!(walk_error(&longest), None);
        let bytes = dir_block(&[&[b'n'; 256]], 512);
        assert_eq!(walk_error(&bytes), named(0, NameFault::Long(256)));
    }

    #[test]
    fn slash_or_nul_in_a_name_is_corrupt() {
        assert_eq!(walk_error(&dir_block(&[b"a/b"], 512)), named(0, NameFault::Slash));
        assert_eq!(walk_error(&dir_block(&[b"a\0b", b"c"], 512)), named(0, NameFault::Nul));
        let bytes = dir_block(&[b"a/b"], 512);
        assert_eq!(valid(&bytes).find(b"a/b").err(), named(0, NameFault::Slash));
    }

    #[test]
    fn names_out_of_order_or_repeated_are_corrupt() {
        assert_eq!(walk_error(&dir_block(&[b"b", b"a"], 512)), named(1, NameFault::Order));
        assert_eq!(walk_error(&dir_block(&[b"a", b"a"], 512)), named(1, NameFault::Order));
        let bytes = dir_block(&[b"x", b"m", b"n"], 512);
        assert_eq!(valid(&bytes).find(b"a").err(), named(0, NameFault::Order));
        let bytes = dir_block(&[b"a", b"m", b"b"], 512);
        assert_eq!(valid(&bytes).find(b"z").err(), named(2, NameFault::Order));
    }

    #[test]
    fn an_error_ends_the_walk() {
        let bytes = dir_block(&[b"a", b"/", b"c"], 512);
        assert_eq!(valid(&bytes).entries().count(), 2);
    }

    #[test]
    fn nid_may_lie_in_the_metabox() {
        let mut bytes = dir_block(&[b"a"], 512);
        patch(&mut bytes, 7, &[0x80]);
        assert_eq!(valid(&bytes).entry(0).map(|entry| entry.nid), Ok(Nid(1 << 63 | 1)));
    }

    #[test]
    fn file_types_zero_and_eight_say_nothing() {
        let mut bytes = dir_block(&[b"a"], 512);
        for file_type in [0, 8, 255] {
            patch(&mut bytes, 10, &[file_type]);
            let entry = valid(&bytes).entry(0);
            assert_eq!(entry.map(|entry| (entry.file_type, entry.kind())), Ok((file_type, None)));
            assert_eq!(walk_error(&bytes), None);
        }
    }

    #[test]
    fn entry_beyond_the_last_is_an_error() {
        let bytes = dir_block(&[b"a"], 512);
        let error = Corrupt::NoEntry { nid: DIR, block: 2, entry: 1, entries: 1 };
        assert_eq!(valid(&bytes).entry(1), Err(error.into()));
    }
}
