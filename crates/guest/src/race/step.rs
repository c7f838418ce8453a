//! The steps of a race: what is read, and in which pieces.
//!
//! Always: pure; any guest that runs the same steps over the same files reads the same bytes in
//! the same order.

use crate::bench::pieces::Pieces;
use crate::config::number;
use alloc::string::{String, ToString};
use core::fmt;
use rootlet_base::num::wide;
use rootlet_base::units::{ByteRange, Pow2};

/// The most bytes that are read in sequence in pieces under 1 MiB.
const SMALL_BYTES_MAX: u64 = 64 << 20;
/// Reads at random places.
const RANDOM_OPS: u64 = 2048;
/// Reads of what was read before.
const AGAIN_OPS: u64 = 4096;
/// The bytes that are read again.
const AGAIN_BYTES: u64 = 2 << 20;
/// Reads in one batch.
pub const BATCH: usize = 16;
/// The longest piece in bytes.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// The longest piece of a batch in bytes: a batch has the memory of one longest piece.
const BATCH_PIECE_BYTES_MAX: usize = PIECE_BYTES_MAX / BATCH;
/// The shortest piece in bytes: a block.
const PIECE_BYTES_MIN: u64 = 4096;

/// One step: `NAME=WHAT:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name of the step in the output.
    pub name: String,
    /// What the step does.
    pub what: What,
    /// The file, the directory, the disk's serial or the file's name on a share.
    pub path: String,
}

/// What a step does, with the size of its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Reads one byte, and reports how long the machine took to get there (`first`).
    First,
    /// Mounts again, so that nothing is in memory (`fresh`).
    Fresh,
    /// Reads a file from its start, piece by piece (`seq-SIZE`).
    Sequence(Pow2),
    /// Reads pieces of a file at random places, one after another (`rand-SIZE`).
    Random(Pow2),
    /// Reads pieces of a file at random places in batches of [`BATCH`] (`batch-SIZE`).
    Batch(Pow2),
    /// Reads pieces of a file at random places as background jobs, [`BATCH`] of them under way at
    /// once (`jobs-SIZE`).
    Jobs(Pow2),
    /// Reads pieces at random places in 2 MiB that were read just before (`again-SIZE`).
    Again(Pow2),
    /// Reads a disk from its start, past the file system and any cache (`raw-SIZE`).
    Raw(Pow2),
    /// Reads a file of a share from its start, past any cache (`share-SIZE`).
    Share(Pow2),
    /// Lists a directory and all below, with the attributes of each entry (`walk`).
    Walk,
    /// Opens and reads every file below a directory (`files`).
    Files,
    /// Reads all bytes of a file (`sum`).
    Sum,
}

/// Why a word is not a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(String);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a step: expected NAME=WHAT:PATH, with WHAT first, fresh, walk, files, sum, or \
             seq-, rand-, batch-, jobs-, again-, raw- or share- and a size from 4K to 1M",
            self.0
        )
    }
}

impl core::error::Error for StepError {}

impl Step {
    /// Parses a step.
    ///
    /// # Errors
    /// [`StepError`].
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
        let (verb, size) = match word.split_once('-') {
            Some((verb, size)) => (verb, Some(size)),
            None => (word, None),
        };
        let piece = |most| {
            let size = Pow2::of(number(size?)?)?;
            (PIECE_BYTES_MIN..=most).contains(&size.get()).then_some(size)
        };
        let most = wide(PIECE_BYTES_MAX);
        match (verb, size) {
            ("seq", _) => piece(most).map(Self::Sequence),
            ("rand", _) => piece(most).map(Self::Random),
            ("batch", _) => piece(wide(BATCH_PIECE_BYTES_MAX)).map(Self::Batch),
            ("jobs", _) => piece(wide(BATCH_PIECE_BYTES_MAX)).map(Self::Jobs),
            ("again", _) => piece(most).map(Self::Again),
            ("raw", _) => piece(most).map(Self::Raw),
            ("share", _) => piece(most).map(Self::Share),
            ("first", None) => Some(Self::First),
            ("fresh", None) => Some(Self::Fresh),
            ("walk", None) => Some(Self::Walk),
            ("files", None) => Some(Self::Files),
            ("sum", None) => Some(Self::Sum),
            _ => None,
        }
    }

    /// Returns the pieces of a file of `bytes` that this step reads; `None` if it reads no pieces,
    /// or the file is shorter than one.
    pub fn pieces(self, bytes: u64) -> Option<Pieces> {
        let file = ByteRange::first(bytes);
        let pieces = match self {
            Self::Sequence(size) if size.get() < wide(PIECE_BYTES_MAX) => {
                Pieces::sequence(size, file.take(SMALL_BYTES_MAX))
            }
            Self::Sequence(size) | Self::Raw(size) | Self::Share(size) => {
                Pieces::sequence(size, file)
            }
            Self::Random(size) | Self::Batch(size) | Self::Jobs(size) => {
                Pieces::random(size, RANDOM_OPS, file)?
            }
            Self::Again(size) => Pieces::random(size, AGAIN_OPS, file.take(AGAIN_BYTES))?,
            Self::First | Self::Fresh | Self::Walk | Self::Files | Self::Sum => return None,
        };
        (pieces.count() > 0).then_some(pieces)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn size(bytes: u64) -> Pow2 {
        Pow2::of(bytes).unwrap()
    }

    #[test]
    fn words_are_steps_or_refused() {
        let step = |word| Step::parse(word);
        let seq =
            Step { name: "a".into(), what: What::Sequence(size(1 << 20)), path: "/x:y".into() };
        assert_eq!(step("a=seq-1M:/x:y"), Ok(seq));
        assert_eq!(step("b=walk:/").map(|step| step.what), Ok(What::Walk));
        assert_eq!(step("b=batch-4K:/f").map(|step| step.what), Ok(What::Batch(size(4096))));
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
            "a=jobs-1M:/",
            "a=run:/",
            "a b=walk:/",
        ] {
            let error = step(wrong).map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("is not a step")), "{wrong}");
        }
    }

    #[test]
    fn pieces_lie_within_the_file() {
        for what in [
            What::Sequence(size(1 << 20)),
            What::Sequence(size(4096)),
            What::Random(size(4096)),
            What::Batch(size(4096)),
            What::Jobs(size(4096)),
            What::Again(size(4096)),
        ] {
            for bytes in [4096_u64, 5000, 3 << 20, 100 << 20] {
                let Some(pieces) = what.pieces(bytes) else { continue };
                for n in 0..pieces.count() {
                    let piece = ByteRange::sized(pieces.at(n).unwrap(), pieces.bytes()).unwrap();
                    assert!(piece.end() <= bytes, "{what:?} {bytes}");
                }
            }
        }
        assert_eq!(What::Sequence(size(1 << 20)).pieces(5000), None);
        assert_eq!(What::Random(size(4096)).pieces(100), None);
    }
}
