//! The steps of a race: what is read, in which pieces, and how it is summed.
//!
//! Always: pure; whoever runs the same steps over the same files reads the same bytes in the same
//! order, and gets the same sums.

use crate::config::number;
use alloc::string::{String, ToString};
use core::fmt;

/// Bytes read at most in sequence in pieces under 1 MiB.
const SMALL_BYTES_MAX: u64 = 64 << 20;
/// Reads at random places.
const RANDOM_OPS: u64 = 2048;
/// Reads of what was read before, and of how many bytes.
const AGAIN_OPS: u64 = 4096;
const AGAIN_BYTES: u64 = 2 << 20;
/// Reads in one batch.
pub const BATCH: usize = 16;
/// The largest piece in bytes.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Sums look at one word in each so many bytes.
const BLOCK: u64 = 4096;

/// One step: `NAME=WHAT:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What its lines call it.
    pub name: String,
    /// What it does.
    pub what: What,
    /// The file, the directory, the disk's serial or the file's name on a share.
    pub path: String,
}

/// What a step does. Pieces are sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Reads one byte and tells the time (`first`).
    First,
    /// Forgets what is in memory: mounts anew (`fresh`).
    Fresh,
    /// A file from its start, piece by piece (`seq-SIZE`).
    Sequence(u64),
    /// Pieces of a file at random places, one after the other (`rand-SIZE`).
    Random(u64),
    /// The same in batches of [`BATCH`] (`batch-SIZE`).
    Batch(u64),
    /// Pieces at random places of 2 MiB that were read just before (`again-SIZE`).
    Again(u64),
    /// A disk from its start, past the file system and any cache (`raw-SIZE`).
    Raw(u64),
    /// A file of a share from its start, past any cache (`share-SIZE`).
    Share(u64),
    /// A directory with all below it, and the attributes of each (`walk`).
    Walk,
    /// Every file below a directory, opened and read (`files`).
    Files,
    /// All bytes of a file, for their sum (`sum`).
    Sum,
}

/// Why a word is no step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(String);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no step: expected NAME=WHAT:PATH, with WHAT first, fresh, walk, files, sum, or \
             seq-, rand-, batch-, again-, raw- or share- and a size from 4K to 1M",
            self.0
        )
    }
}

impl core::error::Error for StepError {}

impl Step {
    /// Reads a step.
    pub fn parse(word: &str) -> Result<Self, StepError> {
        let error = || StepError(word.to_string());
        let (name, rest) = word.split_once('=').ok_or_else(error)?;
        let (what, path) = rest.split_once(':').ok_or_else(error)?;
        let plain = !name.is_empty() && !name.contains(char::is_whitespace);
        let what = What::parse(what).filter(|_| plain && !path.is_empty()).ok_or_else(error)?;
        Ok(Self { name: name.to_string(), what, path: path.to_string() })
    }
}

impl What {
    fn parse(word: &str) -> Option<Self> {
        let (verb, size) = word.split_once('-').unwrap_or((word, ""));
        let piece = || {
            let most = u64::try_from(PIECE_BYTES_MAX).unwrap_or(0);
            number(size).filter(|size| size.is_power_of_two() && (BLOCK..=most).contains(size))
        };
        match verb {
            "seq" => piece().map(Self::Sequence),
            "rand" => piece().map(Self::Random),
            "batch" => {
                let fits = |size: &u64| size.saturating_mul(16) <= 1 << 20;
                piece().filter(fits).map(Self::Batch)
            }
            "again" => piece().map(Self::Again),
            "raw" => piece().map(Self::Raw),
            "share" => piece().map(Self::Share),
            _ if !size.is_empty() => None,
            "first" => Some(Self::First),
            "fresh" => Some(Self::Fresh),
            "walk" => Some(Self::Walk),
            "files" => Some(Self::Files),
            "sum" => Some(Self::Sum),
            _ => None,
        }
    }
}

/// The pieces of a file that a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Bytes of each.
    pub size: u64,
    /// How many.
    pub count: u64,
    random_in: Option<u64>,
}

impl Pieces {
    /// The pieces of `what` in a file of `bytes`; `None` if it reads none, or the file is too
    /// short for them.
    pub fn of(what: What, bytes: u64) -> Option<Self> {
        let whole = |size: u64, bytes: u64| Self {
            size,
            count: bytes.checked_div(size).unwrap_or(0),
            random_in: None,
        };
        let random =
            |size: u64, count, bytes: u64| Self { size, count, random_in: bytes.checked_div(size) };
        let pieces = match what {
            What::Sequence(size) if size < 1 << 20 => whole(size, bytes.min(SMALL_BYTES_MAX)),
            What::Sequence(size) | What::Raw(size) | What::Share(size) => whole(size, bytes),
            What::Random(size) | What::Batch(size) => random(size, RANDOM_OPS, bytes),
            What::Again(size) => random(size, AGAIN_OPS, bytes.min(AGAIN_BYTES)),
            _ => return None,
        };
        (pieces.count > 0 && pieces.random_in != Some(0)).then_some(pieces)
    }

    /// Where piece `n` begins.
    pub fn at(&self, n: u64) -> u64 {
        let place = match self.random_in {
            Some(places) => {
                let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ (mixed >> 31)).checked_rem(places).unwrap_or(0)
            }
            None => n,
        };
        place.saturating_mul(self.size)
    }
}

/// A sum over what was read, whatever the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Adds a word that stands at byte `at` of something.
    pub fn word(&mut self, at: u64, word: u64) {
        let mixed =
            (word ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = self.0.wrapping_add(mixed ^ (mixed >> 32));
    }

    /// Adds a sample of a piece of whole blocks at byte `at`: one word of each block, not the same
    /// in all.
    pub fn sample(&mut self, at: u64, piece: &[u8]) {
        for (block, n) in piece.chunks(4096).zip(0_u64..) {
            let number = at.checked_div(BLOCK).unwrap_or(0).wrapping_add(n);
            let within = usize::try_from(number & 511).unwrap_or(0).saturating_mul(8);
            let word = block.get(within..).and_then(|rest| rest.first_chunk());
            self.word(number, word.map_or(0, |word| u64::from_le_bytes(*word)));
        }
    }

    /// Adds all bytes of a piece at byte `at`, a multiple of 8 for all but an empty piece.
    pub fn all(&mut self, at: u64, piece: &[u8]) {
        let mut at = at;
        let (words, rest) = piece.as_chunks::<8>();
        for word in words {
            self.word(at, u64::from_le_bytes(*word));
            at = at.wrapping_add(8);
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(at, u64::from_le_bytes(word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn words_are_steps_or_told() {
        let step = |word| Step::parse(word);
        let seq = Step { name: "a".into(), what: What::Sequence(1 << 20), path: "/x:y".into() };
        assert_eq!(step("a=seq-1M:/x:y"), Ok(seq));
        assert_eq!(step("b=walk:/").map(|step| step.what), Ok(What::Walk));
        assert_eq!(step("b=batch-4K:/f").map(|step| step.what), Ok(What::Batch(4096)));
        for wrong in [
            "",
            "a",
            "a=seq-1M",
            "=walk:/",
            "a=walk:",
            "a=walk-4K:/",
            "a=seq:/",
            "a=seq-2M:/",
            "a=seq-5000:/",
            "a=batch-1M:/",
            "a=run:/",
            "a b=walk:/",
        ] {
            let error = step(wrong).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("is no step")), "{wrong}");
        }
    }

    #[test]
    fn pieces_lie_within_the_file() {
        for what in [
            What::Sequence(1 << 20),
            What::Sequence(4096),
            What::Random(4096),
            What::Batch(4096),
            What::Again(4096),
        ] {
            for bytes in [4096_u64, 5000, 3 << 20, 100 << 20] {
                let Some(pieces) = Pieces::of(what, bytes) else { continue };
                for n in 0..pieces.count {
                    assert!(pieces.at(n).saturating_add(pieces.size) <= bytes, "{what:?} {bytes}");
                }
            }
        }
        assert_eq!(Pieces::of(What::Sequence(1 << 20), 5000), None);
        assert_eq!(Pieces::of(What::Random(4096), 100), None);
    }

    #[test]
    fn sums_notice_a_block_in_the_wrong_place_and_any_byte() {
        let (mut a, mut b) = (Sum::default(), Sum::default());
        let (x, y) = (vec![1; 4096], vec![2; 4096]);
        a.sample(0, &x);
        a.sample(4096, &y);
        b.sample(0, &y);
        b.sample(4096, &x);
        assert_ne!(a, b);
        let mut whole = Sum::default();
        whole.all(0, &x);
        for at in [0, 7, 8, 4095] {
            let mut other = x.clone();
            other.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            let mut sum = Sum::default();
            sum.all(0, &other);
            assert_ne!(sum, whole);
        }
        let mut parts = Sum::default();
        parts.all(2048, x.get(2048..).unwrap_or_default());
        parts.all(0, x.get(..2048).unwrap_or_default());
        assert_eq!(parts, whole);
    }
}
