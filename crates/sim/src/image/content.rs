//! The bytes of a regular file, with holes.
//!
//! Always: pieces do not overlap and lie inside the size; what no piece covers is a hole.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Rng;

/// The bytes of a file: pieces of data in a space of zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    size: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Content {
    /// `size` bytes of hole.
    pub fn hole(size: u64) -> Self {
        Self { size, pieces: BTreeMap::new() }
    }

    /// Exactly these bytes, none of them a hole.
    pub fn bytes(data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        let mut content = Self::hole(data.len() as u64);
        content.put(0, data);
        content
    }

    /// `len` bytes of noise that `seed` decides.
    pub fn seeded(seed: u64, len: usize) -> Self {
        let mut data = vec![0; len];
        Rng::new(seed).fill(&mut data);
        Self::bytes(data)
    }

    /// `len` bytes of words that `seed` decides, about as compressible as sources are.
    pub fn words(seed: u64, len: usize) -> Self {
        let (mut rng, mut text) = (Rng::new(seed), Vec::with_capacity(len + 16));
        while text.len() < len {
            // Low numbers more often than high ones: frequent words, and some noise.
            let rank = rng.below(2000);
            let word = rng.below(1 + rank);
            text.extend_from_slice(format!("{:x} ", word * 0x9e37).as_bytes());
        }
        text.truncate(len);
        Self::bytes(text)
    }

    /// Adds a piece of data at byte `at`; the file grows to hold it.
    ///
    /// # Panics
    /// When the piece overlaps another one: the description is wrong.
    pub fn put(&mut self, at: u64, data: impl Into<Vec<u8>>) -> &mut Self {
        let data = data.into();
        let end = at + data.len() as u64;
        assert!(self.is_hole(at..end), "piece at {at} overlaps another");
        self.size = self.size.max(end);
        if !data.is_empty() {
            self.pieces.insert(at, data);
        }
        self
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether no piece touches `range`.
    pub fn is_hole(&self, range: Range<u64>) -> bool {
        self.pieces_in(&range).next().is_none()
    }

    /// Copies bytes from `at` on into `out`, and returns how many the file has there.
    pub fn read_at(&self, at: u64, out: &mut [u8]) -> usize {
        let got = self.size.saturating_sub(at).min(out.len() as u64) as usize;
        let out = &mut out[..got];
        out.fill(0);
        let range = at..at + got as u64;
        for (start, data) in self.pieces_in(&range) {
            let from = start.max(range.start);
            let to = (start + data.len() as u64).min(range.end);
            out[(from - range.start) as usize..(to - range.start) as usize]
                .copy_from_slice(&data[(from - start) as usize..(to - start) as usize]);
        }
        got
    }

    /// All bytes, holes as zeros.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.size as usize];
        self.read_at(0, &mut out);
        out
    }

    fn pieces_in(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, &Vec<u8>)> {
        let start = range.start;
        let end = range.end;
        let touching = self.pieces.range(..end).rev();
        touching
            .take_while(move |(at, data)| start < end && *at + data.len() as u64 > start)
            .map(|(at, data)| (*at, data))
    }
}
