//! The map of a compressed file: for a byte of the file, the extent that covers it.
//!
//! Always: pure but for reads of index bytes, which lie between the map's header and its end; an
//! extent covers the byte asked for and lies in the file; encoded bytes are at most
//! [`ENCODED_BYTES_MAX`] and decode to at most [`DECODED_BYTES_MAX`].
//!
//! A compressed file is cut into logical clusters (lclusters) of equal size and, across them, into
//! extents: each gives the decoded bytes of one physical cluster (pcluster), or a prefix of them.
//! Index forms: 8 bytes per lcluster, packs of 2 or 4 bytes per lcluster, and records per extent.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h` and what `fs/erofs/zmap.c` does with it.

mod compact;
mod corrupt;
mod entry;
mod extent;
mod header;
mod index;
mod records;
mod window;

pub use corrupt::MapFault;

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
/// The most bytes of a file.
const FRAGMENTS_BYTES_MAX: u64 = i64::MAX.unsigned_abs();
/// The number of [`Algorithm::Lz4`].
const LZ4: u8 = 0;
/// The bit of a nid inside the metabox.
const METABOX: u64 = 1 << 63;

/// Bytes of the metadata space that an inode lies in: the primary device, or the metabox.
pub trait Metadata {
    /// What a read may fail with.
    type Error: From<FormatError>;

    /// Fills `out` with the bytes from byte `at` of the space on, or fails.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}

/// A part of a file that comes from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte of the file that it gives.
    pub offset: u64,
    /// The number of bytes of the file that it gives, at least 1; it ends with the file at the latest.
    pub len: u64,
    /// Whether its pcluster may decode to more than `len` bytes, which are its first.
    pub partial: bool,
    /// The source of the bytes.
    pub data: Data,
}

/// Where the bytes of an extent come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nowhere: zeros.
    Hole,
    /// The data of the packed inode, uncompressed as that inode gives it.
    Fragment {
        /// The byte of the packed inode's data that is the extent's first. Below 2^63 together
        /// with the extent's length; whether the packed inode is that long is not checked.
        at: u64,
    },
    /// A pcluster.
    Encoded {
        /// The place of its bytes.
        place: Place,
        /// The number of encoded bytes, padding included: 1 to [`ENCODED_BYTES_MAX`].
        len: u64,
        /// How they are encoded.
        encoding: Encoding,
    },
}

/// Where a pcluster lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a device. Not at a multiple of the block size in every image.
    Blocks {
        /// The first byte, in the unified address space (device id 0).
        at: u64,
    },
    /// Behind the inode's index, in one block.
    Inline {
        /// The first byte, in the inode's metadata space.
        at: u64,
    },
}

/// How the bytes of a pcluster are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all: the first bytes are the extent's.
    Plain,
    /// Not encoded but rotated, so that bytes lie as deep in their block as in the file.
    Interlaced {
        /// The encoded byte that is the extent's first, below the encoded length. Behind the last
        /// encoded byte follows the first.
        first: u64,
    },
    /// By an algorithm.
    Coded(Algorithm),
}

/// The parsed header of a map, and where the last extent was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedMap {
    nid: Nid,
    size: u64,
    block_size: BlockSize,
    /// Every block of a pcluster is below.
    blocks: u64,
    /// Bit n: the image says that it uses algorithm n.
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

/// The part of a file, to its end, that lies in the packed inode.
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
    /// Reads the header of an inode of layout 1 or 3, and of a file with a tail in the packed
    /// inode the index back to that tail.
    ///
    /// `algorithms` is what the superblock lists (`available_compr_algs`; 1, for LZ4, in an image
    /// without COMPR_CFGS): an extent that names another is corrupt.
    pub fn open<M: Metadata>(
        superblock: &Superblock,
        algorithms: u16,
        inode: &Inode,
        meta: &mut M,
    ) -> Result<Self, M::Error> {
        let (nid, size, block_size) = (inode.nid, inode.size, superblock.block_size);
        let Layout::Compressed(compressed) = inode.layout else {
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
            lz4_bytes: superblock.compression.lz4_pcluster_bytes,
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
    /// Consecutive extents cost one or two reads of at most 256 bytes each: the map remembers
    /// where it was. From any offset inside an extent that extent is found, but for holes of more
    /// than [`DECODED_BYTES_MAX`]: of these the part far after `offset` is left out.
    pub fn find<M: Metadata>(&mut self, meta: &mut M, offset: u64) -> Result<Extent, M::Error> {
        let size = self.size;
        if offset >= size {
            return Err(MapFault::BeyondFile { offset, size }.of(self.nid).into());
        }
        if let Some(tail) = self.tail.filter(|tail| tail.start <= offset) {
            return Ok(self.fragment(tail.start, tail.at)?);
        }
        match &mut self.form {
            // Its tail begins with the file.
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

    /// Returns the byte up to which an extent that was found at byte `offset` needs no
    /// [`CompressedMap::confirm`].
    pub fn sure_end(&self, extent: &Extent, offset: u64) -> Result<u64, FormatError> {
        match (&self.form, extent.data) {
            (Form::Whole | Form::Records(_), _) | (_, Data::Fragment { .. }) => Ok(extent.end()),
            (Form::Index(index), _) => Ok(index.lcluster_end(offset)?.min(extent.end())),
        }
    }

    /// Refuses the map if it says of a byte of `range`, all of which are the extent's, that it is
    /// another extent's. A map can say so in two ways, and a hostile one says two things: what a
    /// read gives would depend on where it began. Looks at one entry for each lcluster of the
    /// range, and at those that it leads back to.
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

    /// Returns the algorithms that extents may name, as in the superblock: bit n is algorithm n.
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
        if (first || second) && !superblock.incompat.has(Incompat::COMPR_CFGS) {
            return Err(MapFault::BigPclusters { advise: advise.0 }.of(nid));
        }
        let index = match form {
            CompressedForm::Full => Index::full(nid, advise, header_end, size, lcluster)?,
            CompressedForm::Compact if first != second => {
                return Err(MapFault::UnequalHeads { advise: advise.0 }.of(nid));
            }
            CompressedForm::Compact => {
                let block_size = superblock.block_size;
                Index::compact(nid, advise, header_end, size, block_size, lcluster)?
            }
        };
        within(superblock, nid, index.span, Part::CompressedMap(nid))?;
        Ok(index)
    }

    /// Returns the place of the inline pcluster, which follows the index.
    fn inline(
        &self,
        superblock: &Superblock,
        index: &Index,
        len: u64,
    ) -> Result<Span, FormatError> {
        let at = index.span.end().or_bug()?;
        let block = self.block_size.bytes();
        // The length has 16 bits, a block at most 17.
        if self.block_size.offset_in(at).checked_add(len).or_bug()? > block {
            return Err(MapFault::InlineCrossesBlock { at, len, block }.of(self.nid));
        }
        within(superblock, self.nid, Span { at, len }, Part::InlinePcluster(self.nid))?;
        Ok(Span { at, len })
    }

    fn indexed(&self, found: index::Found) -> Result<Extent, FormatError> {
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

    fn recorded(&self, found: records::Found) -> Result<Extent, FormatError> {
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

    /// Returns the extent with its pcluster of `len` bytes, checked.
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
        // Linux has no larger buffer for one.
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
        // Only whole blocks are rotated: mkfs writes an inline tail as it is.
        match place {
            Place::Blocks { at }
                if self.advise.has(Advise::INTERLACED) && whole(at) && whole(stored) =>
            {
                // At least one block is stored, and whole ones.
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

    /// Returns the extent from `offset` to the end of the file, in the packed inode.
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

/// Returns the extent of the zeros from byte `start` up to `end`.
fn hole(start: u64, end: u64) -> Result<Extent, FormatError> {
    let len = end.checked_sub(start).or_bug()?;
    Ok(Extent { offset: start, len, partial: false, data: Data::Hole })
}

/// Returns the bit of an algorithm in the superblock's list, which has 16; the field in a map has
/// 4 bits.
fn bit(algorithm: u8) -> u16 {
    1 << (algorithm & 15)
}

/// Returns the tail that begins with a head. In full indexes its place has 64 bits, of which the
/// head has the high half.
fn tail(form: CompressedForm, low: u32, (start, head): (u64, Head)) -> Tail {
    let high = if form == CompressedForm::Full { head.block } else { 0 };
    Tail { start, at: u64::from(high) << 32 | u64::from(low) }
}

/// Refuses a span beyond the image. How long the metabox is, its reads have to know.
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
