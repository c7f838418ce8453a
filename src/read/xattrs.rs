//! The extended attributes of an inode: all of them, or one by its name.
//!
//! Always: at most 255 shared entries and as many inline ones as the body has room for; the
//! caller's buffer bounds the memory.

use super::Root;
use super::inner::Inner;
use crate::cache::Layer;
use crate::erofs::xattr::{Body, Entry, Header, LongPrefix, Prefix, filter_bit, prefix, split};
use crate::erofs::{Compat, Corrupt, Inode, Nid, Part, Space, Span};
use crate::error::{Error, PathError};
use crate::storage::Storage;

/// A buffer of this many bytes is enough for the xattrs of any inode.
pub const XATTR_BYTES_MAX: usize = 262_148 + Entry::BYTES_MAX;

/// The full name of an xattr, in the parts that the image has it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrName<'n> {
    /// The fixed prefix, as in `user.`.
    pub prefix: &'static str,
    /// The rest of a long prefix; mostly empty.
    pub infix: &'n [u8],
    /// What follows.
    pub rest: &'n [u8],
}

impl<'n> XattrName<'n> {
    /// The parts, which make the name when put together.
    pub fn parts(&self) -> [&'n [u8]; 3] {
        [self.prefix.as_bytes(), self.infix, self.rest]
    }
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Calls `each` with name and value of every xattr of `inode`, inline ones first. `buffer`
    /// holds the body and one shared entry; [`XATTR_BYTES_MAX`] always do.
    pub fn xattrs(
        &self,
        inode: &Inode,
        buffer: &mut [u8],
        mut each: impl FnMut(&XattrName<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(span) = inode.xattrs else { return Ok(()) };
        let too_small = PathError::BufferTooSmall(span.len);
        let len = usize::try_from(span.len).unwrap_or(usize::MAX);
        let (body, rest) = buffer.split_at_mut_checked(len).ok_or(too_small)?;
        self.lock().meta(inode.nid.space(), span.at, body)?;
        let body = Body::from_bytes(inode.nid, body)?;
        for entry in body.entries() {
            self.named(&entry?, &mut each)?;
        }
        for id in body.shared() {
            let (space, at) = self.lock().superblock.shared_xattr_at(id)?;
            let mut header = [0; Entry::HEADER_BYTES];
            self.lock().meta(space, at, &mut header)?;
            let need = Entry::bytes_needed(header);
            let too_small = PathError::BufferTooSmall(u64::try_from(need).unwrap_or(u64::MAX));
            let len = u64::try_from(need).unwrap_or(u64::MAX);
            self.lock().superblock.check_shared_xattr(id, (space, at), len)?;
            let raw = rest.get_mut(..need).ok_or(too_small)?;
            self.lock().meta(space, at, raw)?;
            self.named(&Entry::from_shared(id, raw)?, &mut each)?;
        }
        Ok(())
    }

    /// Calls `each` with an entry under its full name.
    fn named(
        &self,
        entry: &Entry<'_>,
        each: &mut impl FnMut(&XattrName<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut memory = [0; LongPrefix::BYTES_MAX];
        let (index, infix) = match entry.prefix()? {
            Prefix::Short(index) => (index, [].as_slice()),
            Prefix::Long(number) => {
                let long = self.lock().long_prefix(number, &mut memory)?;
                (long.index, long.infix)
            }
        };
        let prefix = prefix(index).unwrap_or_default();
        each(&XattrName { prefix, infix, rest: entry.name }, entry.value)
    }

    /// The value of the xattr `name` of `inode`, in `out`; `None` if it has none of that name,
    /// which the image's filter of names mostly tells without looking for it.
    pub fn xattr<'o>(
        &self,
        inode: &Inode,
        name: &[u8],
        out: &'o mut [u8],
    ) -> Result<Option<&'o [u8]>, Error> {
        let Some(span) = inode.xattrs else { return Ok(None) };
        let Some((index, rest)) = split(name) else { return Ok(None) };
        let wanted = Wanted { nid: inode.nid, index, rest };
        let Some(value) = self.lock().find_xattr(span, &wanted)? else { return Ok(None) };
        let (space, span) = value;
        let too_small = PathError::BufferTooSmall(span.len);
        let len = usize::try_from(span.len).unwrap_or(usize::MAX);
        let out = out.get_mut(..len).ok_or(too_small)?;
        self.lock().meta(space, span.at, out)?;
        Ok(Some(out))
    }
}

/// A name that is looked for.
struct Wanted<'n> {
    nid: Nid,
    index: u8,
    rest: &'n [u8],
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Where the value of a name lies.
    fn find_xattr(
        &mut self,
        body: Span,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(Space, Span)>, Error> {
        let space = wanted.nid.space();
        let mut header = [0; Header::BYTES];
        self.meta(space, body.at, &mut header)?;
        let header = Header::from_bytes(header);
        let filtered = self.superblock.compat.has(Compat::XATTR_FILTER);
        if filtered && header.name_filter & filter_bit(wanted.index, wanted.rest) != 0 {
            return Ok(None);
        }
        let end = body.at.saturating_add(body.len);
        let ids = body.at.saturating_add(u64::try_from(Header::BYTES).unwrap_or(0));
        let mut at = ids.saturating_add(u64::from(header.shared).saturating_mul(4));
        if at > end {
            let (nid, count) = (wanted.nid, header.shared);
            let body = usize::try_from(body.len).unwrap_or(usize::MAX);
            return Err(Corrupt::SharedCount { nid, count, body }.into());
        }
        // Each step goes on by at least the 4 bytes of an entry's header.
        while at < end {
            let (need, next) = self.xattr_len(space, at)?;
            if at.saturating_add(need) > end {
                let part = Part::Xattrs(wanted.nid);
                let here = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                let (left, into) = (here(end.saturating_sub(at)), here(at.saturating_sub(body.at)));
                return Err(Corrupt::XattrOverrun { part, at: into, need: here(need), left }.into());
            }
            let value = self.match_xattr(space, Span { at, len: need }, wanted)?;
            if value.is_some() {
                return Ok(value.map(|value| (space, value)));
            }
            at = next;
        }
        for number in 0..u64::from(header.shared) {
            let mut id = [0; 4];
            self.meta(space, ids.saturating_add(number.saturating_mul(4)), &mut id)?;
            let id = u32::from_le_bytes(id);
            let (space, at) = self.superblock.shared_xattr_at(id)?;
            let (len, _) = self.xattr_len(space, at)?;
            self.superblock.check_shared_xattr(id, (space, at), len)?;
            if let Some(value) = self.match_xattr(space, Span { at, len }, wanted)? {
                return Ok(Some((space, value)));
            }
        }
        Ok(None)
    }

    /// How many bytes the entry at byte `at` has, and where the next one begins.
    fn xattr_len(&mut self, space: Space, at: u64) -> Result<(u64, u64), Error> {
        let mut header = [0; Entry::HEADER_BYTES];
        self.meta(space, at, &mut header)?;
        let len = u64::try_from(Entry::bytes_needed(header)).unwrap_or(u64::MAX);
        Ok((len, at.saturating_add(len.next_multiple_of(4))))
    }

    /// Where the value of an entry lies, if it has the name.
    fn match_xattr(
        &mut self,
        space: Space,
        entry: Span,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Span>, Error> {
        let at = entry.at;
        let mut header = [0; Entry::HEADER_BYTES];
        self.meta(space, at, &mut header)?;
        let [name_len, ..] = header;
        let mut name = [0; 255];
        let name = name.get_mut(..usize::from(name_len)).unwrap_or_default();
        let name_at = at.saturating_add(u64::try_from(Entry::HEADER_BYTES).unwrap_or(0));
        let probe = Entry { index: header[1], name: &[], value: &[] };
        let mut memory = [0; LongPrefix::BYTES_MAX];
        let (index, infix) = match probe.prefix()? {
            Prefix::Short(index) => (index, [].as_slice()),
            Prefix::Long(number) => {
                let long = self.long_prefix(number, &mut memory)?;
                (long.index, long.infix)
            }
        };
        let rest = wanted.rest.strip_prefix(infix).filter(|rest| rest.len() == name.len());
        let Some(rest) = rest.filter(|_| index == wanted.index) else { return Ok(None) };
        self.meta(space, name_at, name)?;
        if rest != name {
            return Ok(None);
        }
        let value_at = name_at.saturating_add(u64::from(name_len));
        let value = at.saturating_add(entry.len).saturating_sub(value_at);
        Ok(Some(Span { at: value_at, len: value }))
    }

    /// The long prefix of this number; its bytes are put in `memory`.
    pub fn long_prefix<'m>(
        &mut self,
        number: u8,
        memory: &'m mut [u8; LongPrefix::BYTES_MAX],
    ) -> Result<LongPrefix<'m>, Error> {
        let table = self.superblock.xattr_prefixes;
        let prefixes = table.map_or(0, |table| table.count);
        let missing = Corrupt::NoXattrPrefix { prefix: number, prefixes };
        let table = table.filter(|table| number < table.count).ok_or(missing)?;
        let mut at = table.at;
        // At most the 128 numbers that an entry can name.
        for current in 0..=number {
            let mut len = [0; 2];
            self.prefix_bytes(at, &mut len)?;
            let len = usize::from(u16::from_le_bytes(len));
            if len > memory.len() {
                return Err(LongPrefix::wrong_len(current, len).into());
            }
            if current == number {
                let bytes = memory.get_mut(..len).unwrap_or_default();
                self.prefix_bytes(at.saturating_add(2), bytes)?;
                return Ok(LongPrefix::from_bytes(number, bytes)?);
            }
            let len = u64::try_from(len).unwrap_or(u64::MAX);
            at = at.saturating_add(len.saturating_add(2)).next_multiple_of(4);
        }
        Err(missing.into())
    }

    /// Bytes of the table of prefixes: in the image, in the metabox, or in the packed inode.
    fn prefix_bytes(&mut self, at: u64, out: &mut [u8]) -> Result<(), Error> {
        let plain = self.superblock.xattr_prefixes.is_none_or(|table| table.plain);
        match (plain, self.superblock.metabox, self.superblock.packed) {
            (false, Some(_), _) => self.meta(Space::Metabox, at, out),
            (false, None, Some(packed)) => {
                let packed = self.inode(packed)?;
                let len = u64::try_from(out.len()).unwrap_or(u64::MAX);
                if at.saturating_add(len) > packed.size {
                    let (nid, packed) = (packed.nid, packed.size);
                    return Err(Corrupt::FragmentBeyondPacked { nid, at, len, packed }.into());
                }
                self.data(&packed, at, out)
            }
            _ => self.meta(Space::Image, at, out),
        }
    }
}
