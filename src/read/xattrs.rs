//! The extended attributes of an inode: all, or one by name.
//!
//! Always: at most 255 shared entries, and the inline entries that the body has room for; the
//! caller's buffer bounds the memory.

use super::Root;
use super::guard::Guard;
use super::stop::{Blocking, Stop};
use crate::cache::Layer;
use crate::erofs::overlay::Marks;
use crate::erofs::xattr::{Body, Entry, Header, LongPrefix, Prefix, filter_bit, prefix, split};
use crate::erofs::{Compat, Corrupt, Inode, Part, Space, Span};
use crate::error::{Error, PathError};
use crate::num::{OrBug, narrow, wide};
use crate::storage::Storage;
use crate::units::{ByteRange, Fill, Pow2};

/// The size of a buffer that is enough for the xattrs of any inode.
pub const XATTR_BYTES_MAX: usize = 262_148 + Entry::BYTES_MAX;

/// The longest name of an xattr after its prefix, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Entries begin at multiples of 4 bytes.
const ALIGN: Pow2 = match Pow2::of(4) {
    Some(align) => align,
    None => panic!("4 is a power of two"),
};

/// The full name of an xattr, in the parts that the image stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct XattrName<'n> {
    /// The fixed prefix, as in `user.`.
    pub prefix: &'static str,
    /// The rest of a long prefix; mostly empty.
    pub infix: &'n [u8],
    /// The end of the name, after prefix and infix.
    pub rest: &'n [u8],
}

impl<'n> XattrName<'n> {
    /// Returns the parts in order: joined, they are the name.
    pub fn parts(&self) -> [&'n [u8]; 3] {
        [self.prefix.as_bytes(), self.infix, self.rest]
    }
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Calls `each` with the name and value of every xattr of `inode`, inline ones first. Skips
    /// entries with an unknown prefix, as Linux does. `buffer` takes the body and one shared entry:
    /// [`XATTR_BYTES_MAX`] bytes are always enough.
    pub fn xattrs(
        &self,
        inode: &Inode,
        buffer: &mut [u8],
        mut each: impl FnMut(&XattrName<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.own(inode)?;
        let Some(span) = inode.xattrs() else { return Ok(()) };
        let too_small = PathError::BufferTooSmall(span.len);
        let len = usize::try_from(span.len).ok();
        let split = len.and_then(|len| buffer.split_at_mut_checked(len));
        let (body, rest) = split.ok_or(too_small)?;
        self.lock_at(inode).meta(inode.nid().space(), span.at, body).blocking()?;
        let body = Body::from_bytes(inode.nid(), body)?;
        for entry in body.entries() {
            self.named(inode, &entry?, &mut each)?;
        }
        for id in body.shared() {
            let (space, at) = self.lock_at(inode).mount().superblock().shared_xattr_at(id)?;
            let mut header = [0; Entry::HEADER_BYTES];
            self.lock_at(inode).meta(space, at, &mut header).blocking()?;
            let need = Entry::bytes_needed(header);
            let span = Span { at, len: wide(need) };
            self.lock_at(inode).mount().superblock().check_shared_xattr(id, space, span)?;
            let raw = rest.get_mut(..need).ok_or(PathError::BufferTooSmall(wide(need)))?;
            self.lock_at(inode).meta(space, at, raw).blocking()?;
            self.named(inode, &Entry::from_shared(id, raw)?, &mut each)?;
        }
        Ok(())
    }

    /// Calls `each` with the full name and the value of `entry`, unless its prefix is unknown.
    fn named(
        &self,
        inode: &Inode,
        entry: &Entry<'_>,
        each: &mut impl FnMut(&XattrName<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut memory = [0; LongPrefix::BYTES_MAX];
        let (index, infix) = match entry.prefix() {
            Prefix::Short(index) => (index, [].as_slice()),
            Prefix::Long(number) => {
                match self.lock_at(inode).long_prefix(number, &mut memory).blocking()? {
                    Some(long) => (long.index, long.infix),
                    None => return Ok(()),
                }
            }
        };
        let Some(prefix) = prefix(index) else { return Ok(()) };
        let name = XattrName { prefix, infix, rest: entry.name };
        match self.shown(index, name) {
            Some(name) => each(&name, entry.value),
            None => Ok(()),
        }
    }

    /// Reads the value of the xattr `name` of `inode` into `out`, and returns it; `None` if the
    /// inode has no xattr of this name, which the image's filter of names mostly tells without a
    /// search.
    pub fn xattr<'o>(
        &self,
        inode: &Inode,
        name: &[u8],
        out: &'o mut [u8],
    ) -> Result<Option<&'o [u8]>, Error> {
        self.own(inode)?;
        let Some((index, rest)) = split(name) else { return Ok(None) };
        let mut stored = [0; NAME_BYTES_MAX];
        let Some(rest) = self.stored(index, rest, &mut stored) else { return Ok(None) };
        let found = self.lock().find_xattr(inode, &[Wanted { index, rest }]).blocking()?;
        found.map(|found| self.value(inode, &found, out)).transpose()
    }

    /// Reads the fingerprint of a file's data into `out`, and returns it: the value of the xattr that
    /// the image calls so, by custom `sha256:` and the 32 bytes of the digest. `None` if the image has
    /// no fingerprints, or this file has none.
    pub fn fingerprint<'o>(
        &self,
        inode: &Inode,
        out: &'o mut [u8],
    ) -> Result<Option<&'o [u8]>, Error> {
        self.own(inode)?;
        let mut memory = [0; LongPrefix::BYTES_MAX];
        let table = self.lock_at(inode).mount().superblock().xattr_prefixes();
        let Some(number) = table.and_then(|table| table.fingerprint) else { return Ok(None) };
        let name = self.lock_at(inode).long_prefix(number, &mut memory).blocking()?;
        let Some(LongPrefix { index, infix }) = name else { return Ok(None) };
        let found = self.lock().find_xattr(inode, &[Wanted { index, rest: infix }]).blocking()?;
        found.map(|found| self.value(inode, &found, out)).transpose()
    }

    /// Reads the value of an xattr into `out`, and returns it.
    fn value<'o>(
        &self,
        inode: &Inode,
        FoundXattr { space, value, .. }: &FoundXattr,
        out: &'o mut [u8],
    ) -> Result<&'o [u8], Error> {
        let too_small = PathError::BufferTooSmall(value.len);
        let len = usize::try_from(value.len).map_err(|_| too_small)?;
        let out = out.get_mut(..len).ok_or(too_small)?;
        self.lock_at(inode).meta(*space, value.at, out).blocking()?;
        Ok(out)
    }
}

/// The names of overlayfs: hidden in a stack, unless they were escaped.
impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Returns the name as it is seen; `None` for one that is hidden.
    fn shown<'n>(&self, index: u8, name: XattrName<'n>) -> Option<XattrName<'n>> {
        if !self.is_stack() || index != Marks::Trusted.index() {
            return Some(name);
        }
        let once = without(Marks::ESCAPE, (name.infix, name.rest));
        match once {
            None => Some(name),
            // What was escaped is shown without the first of the two.
            Some((infix, rest)) => {
                without(Marks::ESCAPE, (infix, rest)).map(|_| XattrName { infix, rest, ..name })
            }
        }
    }

    /// Returns the name under which an xattr is stored that is seen as `rest`; `None` if there is no
    /// such name.
    fn stored<'n>(
        &self,
        index: u8,
        rest: &'n [u8],
        memory: &'n mut [u8; NAME_BYTES_MAX],
    ) -> Option<&'n [u8]> {
        if !self.is_stack() || index != Marks::Trusted.index() || !rest.starts_with(Marks::ESCAPE) {
            return Some(rest);
        }
        let (escape, place) = memory.split_at_mut_checked(Marks::ESCAPE.len())?;
        escape.copy_from_slice(Marks::ESCAPE);
        place.get_mut(..rest.len())?.copy_from_slice(rest);
        memory.get(..Marks::ESCAPE.len().checked_add(rest.len())?)
    }

    /// Returns whether the mount is a stack of images.
    fn is_stack(&self) -> bool {
        self.shared.mount.superblock().layer() != 0
    }
}

/// Returns the parts of a name after `start`; `None` if the name begins in another way.
fn without<'n>(start: &[u8], (infix, rest): (&'n [u8], &'n [u8])) -> Option<(&'n [u8], &'n [u8])> {
    match infix.strip_prefix(start) {
        Some(infix) => Some((infix, rest)),
        None => {
            let rest = rest.strip_prefix(start.strip_prefix(infix)?)?;
            Some((&[], rest))
        }
    }
}

/// A name to look for, as [`split`] returns it.
#[derive(Clone, Copy)]
pub struct Wanted<'n> {
    /// The index of the fixed prefix.
    pub index: u8,
    /// The name after the fixed prefix.
    pub rest: &'n [u8],
}

/// The xattr that a search found.
pub struct FoundXattr {
    /// The index of its name among the wanted names.
    pub which: usize,
    /// The space that holds its value.
    pub space: Space,
    /// The bytes of its value in `space`.
    pub value: Span,
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the first xattr of `inode` that has one of the wanted names. Reads nothing if the
    /// inode has no xattrs, and only the header if the filter of names excludes all of them: then a
    /// fault of the header is an error, and a fault of an entry is not noticed.
    pub fn find_xattr(
        &mut self,
        inode: &Inode,
        wanted: &[Wanted<'_>],
    ) -> Result<Option<FoundXattr>, Stop> {
        let Some(body) = inode.xattrs() else { return Ok(None) };
        self.turn_to(inode.nid());
        let (nid, space) = (inode.nid(), inode.nid().space());
        let mut header = [0; Header::BYTES];
        self.meta(space, body.at, &mut header)?;
        let header = Header::from_bytes(header);
        let all = ByteRange::sized(body.at, body.len).or_bug()?;
        let (ids, entries) = all.skip(wide(Header::BYTES)).split(u64::from(header.shared) << 2);
        let (count, shared) = (header.shared, ids.len() >> 2);
        if shared != u64::from(count) {
            return Err(Corrupt::SharedCount { nid, count, body: narrow(body.len)? }.into());
        }
        let filtered = self.mount().superblock().compat().has(Compat::XATTR_FILTER);
        let absent =
            |name: &Wanted<'_>| header.name_filter & filter_bit(name.index, name.rest) != 0;
        if filtered && wanted.iter().all(absent) {
            return Ok(None);
        }
        let mut rest = entries;
        // Each round advances by at least the 4 bytes of an entry's header.
        while let Some(here) = rest.non_empty() {
            let need = self.xattr_len(space, here.start())?;
            if need > here.len() {
                let at = here.start().checked_sub(body.at).or_bug()?;
                let (need, left) = (narrow(need)?, narrow(here.len())?);
                let overrun =
                    Corrupt::XattrOverrun { part: Part::Xattrs(nid), at: narrow(at)?, need, left };
                return Err(overrun.into());
            }
            let found = self.match_xattr(space, here.take(need), wanted)?;
            if found.is_some() {
                return Ok(found);
            }
            rest = here.skip(ALIGN.ceil(need).or_bug()?);
        }
        let mut rest = ids;
        while let Some(here) = rest.non_empty() {
            let mut id = [0; 4];
            self.meta(space, here.start(), &mut id)?;
            rest = here.skip(4);
            let id = u32::from_le_bytes(id);
            let (space, at) = self.mount().superblock().shared_xattr_at(id)?;
            let len = self.xattr_len(space, at)?;
            self.mount().superblock().check_shared_xattr(id, space, Span { at, len })?;
            let entry = ByteRange::sized(at, len).or_bug()?;
            let found = self.match_xattr(space, entry, wanted)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the length in bytes of the entry at byte `at`, without padding.
    fn xattr_len(&mut self, space: Space, at: u64) -> Result<u64, Stop> {
        let mut header = [0; Entry::HEADER_BYTES];
        self.meta(space, at, &mut header)?;
        Ok(wide(Entry::bytes_needed(header)))
    }

    /// Returns the entry's value if the entry has one of the wanted names. Compares the end of the
    /// name first: it lies in the entry, and a long prefix lies elsewhere.
    fn match_xattr(
        &mut self,
        space: Space,
        entry: ByteRange,
        wanted: &[Wanted<'_>],
    ) -> Result<Option<FoundXattr>, Stop> {
        let mut header = [0; Entry::HEADER_BYTES];
        self.meta(space, entry.start(), &mut header)?;
        let [name_len, index, ..] = header;
        let prefix = Entry { index, name: &[], value: &[] }.prefix();
        let may_be = |wanted: &Wanted<'_>| match prefix {
            Prefix::Short(index) => {
                index == wanted.index && usize::from(name_len) == wanted.rest.len()
            }
            Prefix::Long(_) => usize::from(name_len) <= wanted.rest.len(),
        };
        if !wanted.iter().any(may_be) {
            return Ok(None);
        }
        let (name_at, value) = entry.skip(wide(Entry::HEADER_BYTES)).split(name_len.into());
        let mut name = [0; 255];
        let name = Fill::new(&mut name).next(name_len.into())?;
        self.meta(space, name_at.start(), name)?;
        if !wanted.iter().any(|wanted| wanted.rest.ends_with(name)) {
            return Ok(None);
        }
        let mut memory = [0; LongPrefix::BYTES_MAX];
        let (index, infix) = match prefix {
            Prefix::Short(index) => (index, [].as_slice()),
            Prefix::Long(number) => match self.long_prefix(number, &mut memory)? {
                Some(long) => (long.index, long.infix),
                None => return Ok(None),
            },
        };
        let is = |wanted: &Wanted<'_>| {
            wanted.index == index && wanted.rest.strip_prefix(infix) == Some(name)
        };
        let Some(which) = wanted.iter().position(is) else { return Ok(None) };
        Ok(Some(FoundXattr { which, space, value: Span { at: value.start(), len: value.len() } }))
    }

    /// Reads long prefix `number` into `memory`, and returns it; `None` if the table is shorter.
    fn long_prefix<'m>(
        &mut self,
        number: u8,
        memory: &'m mut [u8; LongPrefix::BYTES_MAX],
    ) -> Result<Option<LongPrefix<'m>>, Stop> {
        let table = self.mount().superblock().xattr_prefixes().filter(|table| number < table.count);
        let Some(table) = table else { return Ok(None) };
        let mut at = table.at;
        // At most 127 rounds: numbers have 7 bits.
        for current in 0..number {
            let len = self.prefix_len(current, at)?;
            let end = at.checked_add(2 + u64::from(len));
            let next = end.and_then(|end| end.checked_next_multiple_of(4));
            at = next.ok_or(Corrupt::Overflow(Part::XattrPrefix(current)))?;
        }
        let len = self.prefix_len(number, at)?;
        let wrong_len = LongPrefix::wrong_len(number, usize::from(len));
        let bytes = memory.get_mut(..usize::from(len)).ok_or(wrong_len)?;
        let at = at.checked_add(2).ok_or(Corrupt::Overflow(Part::XattrPrefix(number)))?;
        self.prefix_bytes(at, bytes)?;
        Ok(Some(LongPrefix::from_bytes(number, bytes)?))
    }

    /// Returns the length in bytes of prefix `number`, which is stored at byte `at` of the table.
    fn prefix_len(&mut self, number: u8, at: u64) -> Result<u16, Stop> {
        let mut len = [0; 2];
        self.prefix_bytes(at, &mut len)?;
        let len = u16::from_le_bytes(len);
        match usize::from(len) {
            long if long > LongPrefix::BYTES_MAX => Err(LongPrefix::wrong_len(number, long).into()),
            _ => Ok(len),
        }
    }

    /// Fills `out` with the bytes of the table of prefixes from byte `at` on. The table lies in the
    /// image, in the metabox or in the packed inode.
    fn prefix_bytes(&mut self, at: u64, out: &mut [u8]) -> Result<(), Stop> {
        let plain = self.mount().superblock().xattr_prefixes().is_none_or(|table| table.plain);
        match (plain, self.mount().superblock().metabox(), self.mount().superblock().packed()) {
            (false, Some(_), _) => self.meta(Space::Metabox, at, out),
            (false, None, Some(packed)) => {
                let packed = self.inode(packed)?;
                let len = wide(out.len());
                if ByteRange::sized(at, len).is_none_or(|range| range.end() > packed.size()) {
                    let (nid, packed) = (packed.nid(), packed.size());
                    return Err(Corrupt::FragmentBeyondPacked { nid, at, len, packed }.into());
                }
                self.data(&packed, at, out)
            }
            _ => self.meta(Space::Image, at, out),
        }
    }
}
