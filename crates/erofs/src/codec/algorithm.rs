//! The compression algorithms of the format, and a set of them.
//!
//! Always: numbers and bits are those of the image (`Z_EROFS_COMPRESSION_*` in `erofs_fs.h`).

use core::fmt;

/// The algorithm that encoded a pcluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// An LZ4 block, without a frame.
    Lz4,
    /// LZMA without a header: the properties byte, inverted, in place of the first (zero) byte.
    MicroLzma,
    /// A raw DEFLATE stream.
    Deflate,
    /// A Zstandard frame.
    Zstd,
}

impl Algorithm {
    /// All algorithms, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Lz4, Self::MicroLzma, Self::Deflate, Self::Zstd];

    /// Returns the algorithm with the number `number` in map headers and extents; `None` if the
    /// format has no such number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Lz4),
            1 => Some(Self::MicroLzma),
            2 => Some(Self::Deflate),
            3 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the bit of the algorithm in the superblock's `available_compr_algs`.
    #[must_use]
    pub const fn bit(self) -> u16 {
        match self {
            Self::Lz4 => 1,
            Self::MicroLzma => 2,
            Self::Deflate => 4,
            Self::Zstd => 8,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lz4 => "LZ4",
            Self::MicroLzma => "MicroLZMA",
            Self::Deflate => "DEFLATE",
            Self::Zstd => "Zstandard",
        })
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// Every algorithm.
    pub const ALL: Self = Self(15);

    /// Returns the set in the superblock's `available_compr_algs`; `None` if a bit has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// Returns the set as the superblock's `available_compr_algs`.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Returns the set with `algorithm` added.
    #[must_use]
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | algorithm.bit())
    }

    /// Returns whether the set has `algorithm`.
    #[must_use]
    pub const fn has(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }
}

impl From<Algorithm> for Algorithms {
    fn from(algorithm: Algorithm) -> Self {
        Self(algorithm.bit())
    }
}
