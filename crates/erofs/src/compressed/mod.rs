//! The map of a compressed file: finds the extent that covers a byte of the file.
//!
//! Always: pure, except for reads of index bytes, which lie between the map's header and its end.
//! An extent covers the byte that was asked for, and lies in the file. A pcluster has at most
//! [`ENCODED_BYTES_MAX`] bytes and decodes to at most [`DECODED_BYTES_MAX`].
//!
//! A compressed file is cut into logical clusters (lclusters) of equal size and, across them, into
//! extents: each has the decoded bytes of one physical cluster (pcluster), or a prefix of them.
//! Index forms: 8 bytes per lcluster, packs of 2 or 4 bytes per lcluster, and records per extent.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h`, as `fs/erofs/zmap.c` reads it.

mod compact;
mod corrupt;
mod entry;
mod extent;
mod header;
mod index;
mod metadata;
mod records;
mod window;

pub use corrupt::MapFault;
pub use metadata::Metadata;

use entry::{Head, HeadKind};
use header::{Advise, HEADER_BYTES, Header};
use index::Index;
use records::Records;

use super::block::{BlockSize, Nid, Span};
use super::codec::Algorithm;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::feature::Incompat;
use super::inode::Inode;
use super::layout::{CompressedForm, Layout, block_limit};
use super::superblock::Superblock;
use rootlet_base::num::OrBug;
use rootlet_base::units::{ByteRange, Pow2};

pub use super::compression::{DECODED_BYTES_MAX, ENCODED_BYTES_MAX};
/// The longest packed inode, in bytes.
const FRAGMENTS_BYTES_MAX: u64 = i64::MAX.unsigned_abs();
/// The number of [`Algorithm::Lz4`].
const LZ4: u8 = 0;
/// The bit of a nid inside the metabox.
const METABOX: u64 = 1 << 63;

/// A part of a file that is stored in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte of the file in the extent.
    pub offset: u64,
    /// The number of bytes of the file in the extent, at least 1. An extent ends within the file.
    pub len: u64,
    /// Whether its pcluster may decode to more than `len` bytes: the extent is a prefix of them.
    pub partial: bool,
    /// The source of the bytes.
    pub data: Data,
}

/// The source of an extent's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// A hole: zeros.
    Hole,
    /// Data of the packed inode, decoded.
    Fragment {
        /// The first byte, in the packed inode's data. The sum with the extent's length is below
        /// 2^63; the caller must check it against the length of the packed inode.
        at: u64,
    },
    /// A pcluster.
    Encoded {
        /// The place of the encoded bytes.
        place: Place,
        /// The number of encoded bytes, padding included: 1 to [`ENCODED_BYTES_MAX`].
        len: u64,
        /// The encoding of the bytes.
        encoding: Encoding,
    },
}

/// The place of a pcluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of a device. In some images they do not begin at a multiple of the block size.
    Blocks {
        /// The first byte, in the unified address space (device id 0).
        at: u64,
    },
    /// Bytes after the inode's index, within one block.
    Inline {
        /// The first byte, in the inode's metadata space.
        at: u64,
    },
}

/// The encoding of a pcluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Uncompressed: the first bytes are the extent's.
    Plain,
    /// Uncompressed but rotated, so that each byte has the same offset in its block as in the file.
    Interlaced {
        /// The stored byte that is the extent's first. After the last stored byte the extent
        /// continues at stored byte 0.
        first: u64,
    },
    /// Compressed by an algorithm.
    Coded(Algorithm),
}

/// The parsed header of a map, and the position of the last search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedMap {
    nid: Nid,
    size: u64,
    block_size: BlockSize,
    /// The limit of block numbers: a pcluster ends before this block.
    blocks: u64,
    /// Bit *n* is set if the image uses algorithm *n*.
    algorithms: u16,
    /// The most encoded bytes of a pcluster of LZ4.
    lz4_bytes: u64,
    advise: Advise,
    /// The algorithms of HEAD1 and HEAD2.
    heads: [u8; 2],
    tail: Option<Tail>,
    /// The last pcluster, if it lies after the index.
    inline: Option<Span>,
    form: Form,
}

/// The last part of a file, which lies in the packed inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    start: u64,
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The file is one fragment.
    Whole,
    Index(Index),
    Records(Records),
}

impl CompressedMap {
    /// Reads the header of the map of an inode of layout 1 or 3. For a file with a tail in the
    /// packed inode, also reads the index back to the start of the tail.
    ///
    /// `algorithms` are those that the superblock lists (`available_compr_algs`; 1, for LZ4, in an
    /// image without COMPR_CFGS): an extent that names another algorithm is corrupt.
    pub fn open<M: Metadata>(
        superblock: &Superblock,
        algorithms: u16,
        inode: &Inode,
        meta: &mut M,
    ) -> Result<Self, M::Error> {
        let (nid, size, block_size) = (inode.nid(), inode.size(), superblock.block_size());
        let Layout::Compressed(compressed) = inode.layout() else {
            return Err(MapFault::NotCompressed.of(nid).into());
        };
        let part = Part::CompressedMap(nid);
        let at = compressed.body_end.checked_next_multiple_of(8);
        let at = at.ok_or(FormatError::from(Corrupt::Overflow(part)))?;
        let mut raw = [0; HEADER_BYTES];
        within(superblock, nid, Span { at, len: 8 }, part)?;
        meta.read(at, &mut raw)?;
        let mut map = Self {
            nid,
            size,
            block_size,
            blocks: block_limit(superblock),
            algorithms,
            lz4_bytes: superblock.compression().lz4_pcluster_bytes,
            advise: Advise(0),
            heads: [0; 2],
            tail: None,
            inline: None,
            form: Form::Whole,
        };
        let header = match Header::from_bytes(&raw) {
            Ok(header) => header,
            Err(at) => {
                map.tail = Some(Tail { start: 0, at });
                return Ok(map);
            }
        };
        (map.advise, map.heads) = (header.advise, header.heads);
        let end = at.checked_add(8).or_bug().map_err(FormatError::from)?;
        let lcluster = header.lcluster(block_size).map_err(FormatError::from)?;
        if compressed.form == CompressedForm::Full && header.advise.has(Advise::EXTENTS) {
            let records = Records::new(nid, &header, end, size, lcluster)?;
            within(superblock, nid, records.span, part)?;
            map.form = Form::Records(records);
            return Ok(map);
        }
        let index = map.index(superblock, compressed.form, end, lcluster)?;
        map.form = Form::Index(index);
        let Some(last) = size.checked_sub(1) else { return Ok(map) };
        if header.advise.has(Advise::FRAGMENT) {
            let start = index.start(meta, &mut index.window()?, last)?;
            map.tail = Some(tail(compressed.form, header.fragment, start));
        } else if header.advise.has(Advise::INLINE) && header.inline_len != 0 {
            map.inline = Some(map.inline(superblock, &index, header.inline_len)?);
        }
        Ok(map)
    }

    /// Returns the extent that covers byte `offset`, which must be below the size of the file.
    ///
    /// Consecutive extents cost one or two reads of at most 256 bytes each: the map remembers its
    /// position. The result is the same for each offset inside an extent, except that holes of more
    /// than [`DECODED_BYTES_MAX`] are cut far after `offset`.
    pub fn find<M: Metadata>(&mut self, meta: &mut M, offset: u64) -> Result<Extent, M::Error> {
        let size = self.size;
        if offset >= size {
            return Err(MapFault::BeyondFile { offset, size }.of(self.nid).into());
        }
        if let Some(tail) = self.tail.filter(|tail| tail.start <= offset) {
            return Ok(self.fragment(tail.start, tail.at)?);
        }
        match &mut self.form {
            // The tail of such a file begins with the file, so it was found above.
            Form::Whole => Err(MapFault::BeyondFile { offset, size }.of(self.nid).into()),
            Form::Index(index) => {
                let limit = self.tail.map_or(size, |tail| tail.start);
                let found = index.find(meta, offset, limit)?;
                Ok(self.indexed(found)?)
            }
            Form::Records(records) => match records.find(meta, offset)? {
                Ok(found) => Ok(self.recorded(found)?),
                Err(end) => Ok(hole(0, end)?),
            },
        }
    }

    /// Returns the end of the bytes that need no [`CompressedMap::confirm`], in an extent that was
    /// found at byte `offset`.
    pub fn sure_end(&self, extent: &Extent, offset: u64) -> Result<u64, FormatError> {
        match (&self.form, extent.data) {
            (Form::Whole | Form::Records(_), _) | (_, Data::Fragment { .. }) => Ok(extent.end()),
            (Form::Index(index), _) => Ok(index.lcluster_end(offset)?.min(extent.end())),
        }
    }

    /// Refuses the map if it assigns a byte of `range`, all of which lie in `extent`, to another
    /// extent. The map has two ways to find an extent, and in a hostile map they disagree: the
    /// bytes of a read would then depend on where the read began. Reads one entry for each lcluster
    /// of `range`, and the entries that these lead back to.
    pub fn confirm<M: Metadata>(
        &self,
        meta: &mut M,
        extent: &Extent,
        range: ByteRange,
    ) -> Result<(), M::Error> {
        match (&self.form, extent.data) {
            (Form::Whole | Form::Records(_), _) | (_, Data::Fragment { .. }) => Ok(()),
            (Form::Index(index), _) => index.confirm(meta, extent.offset, range),
        }
    }

    /// Returns the algorithms that extents may name, as in the superblock: bit *n* is algorithm
    /// *n*.
    pub fn algorithms(&self) -> u16 {
        match self.form {
            Form::Whole => 0,
            Form::Index(_) => self.heads.into_iter().fold(0, |bits, head| bits | bit(head)),
            Form::Records(_) => self.algorithms,
        }
    }

    fn index(
        &self,
        superblock: &Superblock,
        form: CompressedForm,
        header_end: u64,
        lcluster: Pow2,
    ) -> Result<Index, FormatError> {
        let (nid, advise, size) = (self.nid, self.advise, self.size);
        let (first, second) = (advise.has(Advise::BIG_1), advise.has(Advise::BIG_2));
        if (first || second) && !superblock.incompat().has(Incompat::COMPR_CFGS) {
            return Err(MapFault::BigPclusters { advise: advise.0 }.of(nid));
        }
        let index = match form {
            CompressedForm::Full => Index::full(nid, advise, header_end, size, lcluster)?,
            CompressedForm::Compact if first != second => {
                return Err(MapFault::UnequalHeads { advise: advise.0 }.of(nid));
            }
            CompressedForm::Compact => {
                let block_size = superblock.block_size();
                Index::compact(nid, advise, header_end, size, block_size, lcluster)?
            }
        };
        within(superblock, nid, index.span, Part::CompressedMap(nid))?;
        Ok(index)
    }

    /// Returns the bytes of the inline pcluster, which lies right after the index.
    fn inline(
        &self,
        superblock: &Superblock,
        index: &Index,
        len: u64,
    ) -> Result<Span, FormatError> {
        let at = index.span.end().or_bug()?;
        let block = self.block_size.bytes();
        // The length has 16 bits, the offset 17.
        if self.block_size.offset_in(at).checked_add(len).or_bug()? > block {
            return Err(MapFault::InlineCrossesBlock { at, len, block }.of(self.nid));
        }
        within(superblock, self.nid, Span { at, len }, Part::InlinePcluster(self.nid))?;
        Ok(Span { at, len })
    }

    fn indexed(&self, found: index::IndexedExtent) -> Result<Extent, FormatError> {
        let algorithm = match found.head.kind {
            HeadKind::Plain => None,
            HeadKind::First => self.heads.first().copied(),
            HeadKind::Second => self.heads.last().copied(),
        };
        let (place, encoded) = match self.inline {
            Some(inline) if found.end >= self.size => (Place::Inline { at: inline.at }, inline.len),
            _ => {
                let blocks = found.blocks.map_err(|fault| fault.of(self.nid))?;
                // A block number and a count have 32 bits here, and a block at most 17.
                let bytes = |blocks| self.block_size.pow2().times(u64::from(blocks)).or_bug();
                (Place::Blocks { at: bytes(found.head.block)? }, bytes(blocks)?)
            }
        };
        let extent = hole(found.start, found.end)?;
        if encoded == 0 {
            return Ok(extent);
        }
        let extent = Extent { partial: found.head.partial, ..extent };
        self.encoded(extent, place, encoded, algorithm)
    }

    fn recorded(&self, found: records::RecordedExtent) -> Result<Extent, FormatError> {
        if found.last && self.advise.has(Advise::FRAGMENT) {
            return self.fragment(found.start, found.fragment());
        }
        let extent = hole(found.start, found.end)?;
        if found.len() == 0 {
            return Ok(extent);
        }
        let extent = Extent { partial: found.partial(), ..extent };
        self.encoded(extent, Place::Blocks { at: found.at }, found.len(), found.algorithm())
    }

    /// Checks a pcluster of `len` bytes, and returns `extent` with the pcluster as its source.
    fn encoded(
        &self,
        extent: Extent,
        place: Place,
        len: u64,
        algorithm: Option<u8>,
    ) -> Result<Extent, FormatError> {
        let (nid, offset) = (self.nid, extent.offset);
        if len > ENCODED_BYTES_MAX {
            return Err(MapFault::EncodedLength { offset, len }.of(nid));
        }
        if let Place::Blocks { at } = place {
            let end = at.checked_add(len);
            if end.is_none_or(|end| self.block_size.blocks_of(end) > self.blocks) {
                return Err(MapFault::BeyondBlocks { offset, at, len, blocks: self.blocks }.of(nid));
            }
        }
        // The buffer of Linux has this size.
        if algorithm == Some(LZ4) && len > self.lz4_bytes {
            let max = self.lz4_bytes;
            return Err(MapFault::PclusterLimit { offset, len, max }.of(nid));
        }
        let encoding = match algorithm {
            None => self.plain(extent, place, len)?,
            Some(algorithm) => self.algorithm(extent, algorithm)?,
        };
        Ok(Extent { data: Data::Encoded { place, len, encoding }, ..extent })
    }

    fn plain(&self, extent: Extent, place: Place, stored: u64) -> Result<Encoding, FormatError> {
        let Extent { offset, len, .. } = extent;
        if len > stored {
            return Err(MapFault::PlainLength { offset, len, stored }.of(self.nid));
        }
        let whole = |bytes| self.block_size.offset_in(bytes) == 0;
        // Only whole blocks are rotated: mkfs does not rotate an inline tail.
        match place {
            Place::Blocks { at }
                if self.advise.has(Advise::INTERLACED) && whole(at) && whole(stored) =>
            {
                // The stored bytes are whole blocks, at least one.
                let last_block = stored.checked_sub(self.block_size.bytes()).or_bug()?;
                let first = last_block.checked_add(self.block_size.offset_in(offset)).or_bug()?;
                Ok(Encoding::Interlaced { first })
            }
            _ => Ok(Encoding::Plain),
        }
    }

    fn algorithm(&self, extent: Extent, algorithm: u8) -> Result<Encoding, FormatError> {
        let Extent { offset, len, .. } = extent;
        let (nid, listed) = (self.nid, self.algorithms);
        let encoding = Algorithm::from_number(algorithm)
            .map(Encoding::Coded)
            .ok_or(FormatError::from(Unsupported::Algorithm { nid, algorithm }))?;
        if listed & bit(algorithm) == 0 {
            return Err(MapFault::Algorithm { offset, algorithm, listed }.of(nid));
        }
        if len > DECODED_BYTES_MAX {
            return Err(MapFault::DecodedLength { offset, len }.of(nid));
        }
        Ok(encoding)
    }

    /// Returns the extent from byte `offset` to the end of the file, whose bytes are those from
    /// byte `at` on of the packed inode.
    fn fragment(&self, offset: u64, at: u64) -> Result<Extent, FormatError> {
        let len = self.size.checked_sub(offset).or_bug()?;
        match at.checked_add(len) {
            Some(end) if end <= FRAGMENTS_BYTES_MAX => {
                Ok(Extent { offset, len, partial: false, data: Data::Fragment { at } })
            }
            _ => Err(MapFault::Fragment { offset, at, len }.of(self.nid)),
        }
    }
}

/// Returns a hole from byte `start` to byte `end` of the file.
fn hole(start: u64, end: u64) -> Result<Extent, FormatError> {
    let len = end.checked_sub(start).or_bug()?;
    Ok(Extent { offset: start, len, partial: false, data: Data::Hole })
}

/// Returns the bit of an algorithm in the superblock's list, which has 16 bits; the number of an
/// algorithm has 4.
fn bit(algorithm: u8) -> u16 {
    1 << (algorithm & 15)
}

/// Returns the tail that begins with the head `head`. In a full index, the block field of the head
/// is the high half of the tail's offset in the packed inode.
fn tail(form: CompressedForm, low: u32, (start, head): (u64, Head)) -> Tail {
    let high = if form == CompressedForm::Full { head.block } else { 0 };
    Tail { start, at: u64::from(high) << 32 | u64::from(low) }
}

/// Refuses a span that ends after the image. Reads of the metabox check its length themselves.
fn within(superblock: &Superblock, nid: Nid, span: Span, part: Part) -> Result<(), FormatError> {
    if nid.0 & METABOX != 0 {
        return Ok(());
    }
    Ok(superblock.within(span, part)?)
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
