//! The compression settings of an image: its algorithms, and the memory that decoding takes for
//! each.
//!
//! Always: no setting exceeds the format's limit (Linux `fs/erofs/erofs_fs.h`): dictionaries of 8
//! MiB for MicroLZMA, windows of 1 MiB for Zstandard, 64 KiB for LZ4 and 32 KiB for DEFLATE.

use super::block::BlockSize;
use super::codec::{Algorithm, Algorithms};
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::record::Record;

/// The most encoded bytes of a pcluster (Linux `Z_EROFS_PCLUSTER_MAX_SIZE`).
pub const ENCODED_BYTES_MAX: u64 = 1 << 20;
/// The most bytes that a pcluster decodes to (Linux `Z_EROFS_PCLUSTER_MAX_DSIZE`).
pub const DECODED_BYTES_MAX: u64 = 12 << 20;

const LZMA_DICTIONARY_MIN: u32 = 4096;
const LZMA_DICTIONARY_MAX: u32 = 8 << 20;
/// The smallest window; the image stores how often it is doubled.
const ZSTD_WINDOW_MIN: u32 = 1 << 10;
const ZSTD_DOUBLINGS_MAX: u8 = 10;
/// Records begin at a multiple of this many bytes.
const ALIGN: usize = 4;

/// The compression settings of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// The algorithms that files may use.
    pub algorithms: Algorithms,
    /// The largest distance of an LZ4 match, in bytes.
    pub lz4_distance: u16,
    /// The most encoded bytes of a pcluster of LZ4.
    pub lz4_pcluster_bytes: u64,
    /// The dictionary of MicroLZMA, in bytes.
    pub lzma_dictionary_bytes: u32,
    /// The window of Zstandard, in bytes.
    pub zstd_window_bytes: u32,
}

impl Compression {
    /// Returns the settings of an image that stores none: it may use LZ4, with `distance` as the
    /// largest distance of a match, 0 for the default.
    pub(super) fn implied(distance: u16) -> Self {
        Self {
            algorithms: Algorithm::Lz4.into(),
            lz4_distance: if distance == 0 { u16::MAX } else { distance },
            lz4_pcluster_bytes: ENCODED_BYTES_MAX,
            lzma_dictionary_bytes: 0,
            zstd_window_bytes: 0,
        }
    }

    /// Parses the settings after the superblock, from byte `at` of `first`, the first bytes of an
    /// image. For each bit of `algorithms`, the lowest first, there is a length *n* in two bytes,
    /// and a record of *n* bytes.
    pub(super) fn from_bytes(
        algorithms: u16,
        block_size: BlockSize,
        first: &[u8],
        mut at: usize,
    ) -> Result<Self, FormatError> {
        let algorithms =
            Algorithms::from_bits(algorithms).ok_or(Unsupported::Algorithms(algorithms))?;
        let mut compression = Self { algorithms, ..Self::implied(0) };
        for algorithm in Algorithm::ALL.into_iter().filter(|one| algorithms.has(*one)) {
            let part = Part::Compression(algorithm);
            let short = |need: usize| Corrupt::Short { part, need, got: first.len() };
            let head = at.checked_next_multiple_of(ALIGN).ok_or(Corrupt::Overflow(part))?;
            let body = head.checked_add(2).ok_or(Corrupt::Overflow(part))?;
            let head = first.get(head..).and_then(Record::<2>::first_of).ok_or(short(body))?;
            let len = match head.u16::<0>() {
                // As in Linux: a length of 65,536.
                0 => 65_536,
                len => usize::from(len),
            };
            at = body.checked_add(len).ok_or(Corrupt::Overflow(part))?;
            let record = first.get(body..at).ok_or(short(at))?;
            compression.take(algorithm, block_size, record)?;
        }
        Ok(compression)
    }

    /// Parses the record of one algorithm.
    fn take(
        &mut self,
        algorithm: Algorithm,
        block_size: BlockSize,
        record: &[u8],
    ) -> Result<(), FormatError> {
        let part = Part::Compression(algorithm);
        let short = |need| Corrupt::Short { part, need, got: record.len() };
        let limit = |value: u32| Corrupt::CompressionLimit { algorithm, value };
        match algorithm {
            Algorithm::Lz4 => {
                let raw = Record::<14>::first_of(record).ok_or(short(14))?;
                let blocks = u64::from(raw.u16::<2>().max(1));
                let bytes = block_size.pow2().times(blocks);
                let bytes = bytes.filter(|bytes| *bytes <= ENCODED_BYTES_MAX);
                self.lz4_pcluster_bytes = bytes.ok_or(limit(u32::from(raw.u16::<2>())))?;
                self.lz4_distance = match raw.u16::<0>() {
                    0 => u16::MAX,
                    distance => distance,
                };
            }
            Algorithm::MicroLzma => {
                let raw = Record::<14>::first_of(record).ok_or(short(14))?;
                let (bytes, format) = (raw.u32::<0>(), raw.u16::<4>());
                if format != 0 {
                    return Err(Unsupported::CompressionFormat { algorithm, format }.into());
                }
                if !(LZMA_DICTIONARY_MIN..=LZMA_DICTIONARY_MAX).contains(&bytes) {
                    return Err(limit(bytes).into());
                }
                self.lzma_dictionary_bytes = bytes;
            }
            Algorithm::Deflate => {
                let raw = Record::<6>::first_of(record).ok_or(short(6))?;
                if !(8..=15).contains(&raw.u8::<0>()) {
                    return Err(limit(u32::from(raw.u8::<0>())).into());
                }
            }
            Algorithm::Zstd => {
                let raw = Record::<6>::first_of(record).ok_or(short(6))?;
                let (format, doublings) = (u16::from(raw.u8::<0>()), raw.u8::<1>());
                if format != 0 {
                    return Err(Unsupported::CompressionFormat { algorithm, format }.into());
                }
                if doublings > ZSTD_DOUBLINGS_MAX {
                    return Err(limit(u32::from(doublings)).into());
                }
                self.zstd_window_bytes = ZSTD_WINDOW_MIN << doublings;
            }
        }
        Ok(())
    }

    /// Returns settings whose decoders decode files of both images.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let all = Algorithm::ALL.into_iter().filter(|one| other.algorithms.has(*one));
        Self {
            algorithms: all.fold(self.algorithms, Algorithms::with),
            lz4_distance: self.lz4_distance.max(other.lz4_distance),
            lz4_pcluster_bytes: self.lz4_pcluster_bytes.max(other.lz4_pcluster_bytes),
            lzma_dictionary_bytes: self.lzma_dictionary_bytes.max(other.lzma_dictionary_bytes),
            zstd_window_bytes: self.zstd_window_bytes.max(other.zstd_window_bytes),
        }
    }

    /// Returns the limits for decoders.
    #[cfg(feature = "alloc")]
    pub fn limits(&self) -> super::codec::Limits {
        super::codec::Limits {
            lz4_distance: self.lz4_distance,
            lzma_dictionary: self.lzma_dictionary_bytes,
            zstd_window: self.zstd_window_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LZ4: [u8; 16] = [14, 0, 0xff, 0xff, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const ZSTD: [u8; 8] = [6, 0, 0, 9, 0, 0, 0, 0];

    fn read(algorithms: u16, records: &[u8]) -> Result<Compression, FormatError> {
        let block_size = BlockSize::from_bits(12).unwrap_or_else(|| unreachable!());
        Compression::from_bytes(algorithms, block_size, records, 0)
    }

    fn parsed(algorithms: u16, records: &[&[u8]]) -> Result<Compression, FormatError> {
        read(algorithms, &records.concat())
    }

    #[test]
    fn records_follow_each_other_in_the_order_of_the_bits() {
        let read = parsed(9, &[&LZ4, &ZSTD]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(read.algorithms), Algorithms::from_bits(9));
        assert_eq!((read.lz4_distance, read.lz4_pcluster_bytes), (0xffff, 65_536));
        assert_eq!(read.zstd_window_bytes, 512 << 10);
    }

    #[test]
    fn records_begin_at_multiples_of_four() {
        let odd = [6, 0, 15, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0];
        let mut long = odd;
        // A longer record of seven bytes, and three of padding.
        long[0] = 7;
        let read = read(12, &[&long[..9], &[0; 3], &ZSTD].concat());
        assert_eq!(read.map(|read| read.zstd_window_bytes), Ok(512 << 10));
    }

    #[test]
    fn unknown_algorithm_is_refused_by_its_bit() {
        assert_eq!(parsed(0x21, &[&LZ4]), Err(Unsupported::Algorithms(0x21).into()));
    }

    #[test]
    fn record_cut_short_is_corrupt() {
        let part = Part::Compression(Algorithm::Zstd);
        let error = |need, got| Err(Corrupt::Short { part, need, got }.into());
        assert_eq!(parsed(8, &[&ZSTD[..7]]), error(8, 7));
        assert_eq!(parsed(8, &[&ZSTD[..1]]), error(2, 1));
        assert_eq!(parsed(9, &[&LZ4]), error(18, 16));
        assert_eq!(parsed(8, &[&[0, 0, 1]]), error(65_538, 3));
        // The record itself is shorter than its fields.
        assert_eq!(parsed(8, &[&[5, 0, 0, 9, 0, 0, 0]]), error(6, 5));
    }

    #[test]
    fn limits_beyond_the_format_are_corrupt() {
        let limit = |algorithm, value| Err(Corrupt::CompressionLimit { algorithm, value }.into());
        let mut lz4 = LZ4;
        lz4[4..6].copy_from_slice(&257_u16.to_le_bytes());
        assert_eq!(parsed(1, &[&lz4]), limit(Algorithm::Lz4, 257));
        let lzma = |bytes: u32| [&[14, 0], bytes.to_le_bytes().as_slice(), &[0; 10]].concat();
        assert!(parsed(2, &[&lzma(8 << 20)]).is_ok());
        let above = (8 << 20) + 1;
        assert_eq!(parsed(2, &[&lzma(above)]), limit(Algorithm::MicroLzma, above));
        assert_eq!(parsed(2, &[&lzma(4095)]), limit(Algorithm::MicroLzma, 4095));
        assert_eq!(parsed(4, &[&[6, 0, 16, 0, 0, 0, 0, 0]]), limit(Algorithm::Deflate, 16));
        assert_eq!(parsed(8, &[&[6, 0, 0, 11, 0, 0, 0, 0]]), limit(Algorithm::Zstd, 11));
    }

    #[test]
    fn other_formats_of_an_algorithm_are_refused() {
        let error = |algorithm, format| {
            Err(FormatError::from(Unsupported::CompressionFormat { algorithm, format }))
        };
        assert_eq!(parsed(8, &[&[6, 0, 1, 9, 0, 0, 0, 0]]), error(Algorithm::Zstd, 1));
        let lzma = [&[14, 0, 0, 0, 1, 0, 2, 0][..], &[0; 8]].concat();
        assert_eq!(parsed(2, &[&lzma]), error(Algorithm::MicroLzma, 2));
    }

    #[test]
    fn no_distance_means_the_default() {
        assert_eq!(Compression::implied(0).lz4_distance, u16::MAX);
        assert_eq!(Compression::implied(4096).lz4_distance, 4096);
    }
}
