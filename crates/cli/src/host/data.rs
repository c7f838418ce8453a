//! Where the data and the holes of a file are.
//!
//! Always: a hole is what the image stores as one; of zeros that are stored nobody makes a hole.

use rootlet::Error;
use rootlet::cache::Layer;
use rootlet::erofs::{Inode, Layout};
use rootlet::read::Root;
use rootlet::storage::Storage;

/// A run of one kind that begins at the offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Zeros that are not stored.
    pub hole: bool,
    /// Where it ends in the file.
    pub end: u64,
}

/// The run at `offset` of an open file's inode; `offset` is a multiple of the chunk size and below the file's size. It ends
/// at the latest in the chunk in which `max` bytes are reached; the next may be of the same kind.
pub fn run_at<S: Storage, L: Layer<S>>(
    root: &Root<S, L>,
    inode: &Inode,
    offset: u64,
    max: u64,
) -> Result<Run, Error> {
    let map = match inode.layout() {
        Layout::None | Layout::Plain { start: None } => {
            return Ok(Run { hole: true, end: inode.size() });
        }
        Layout::Chunked(map) => map,
        _ => {
            let end = offset.checked_add(max).map_or(inode.size(), |end| end.min(inode.size()));
            return Ok(Run { hole: false, end });
        }
    };
    let hole = root.source_of(inode, offset)?.is_none();
    let mut end = offset;
    loop {
        end = chunk_end(map.chunk_bits(), end, inode.size());
        let more = end < inode.size() && end - offset < max;
        // What cannot be located is left to the next call.
        if !more || root.source_of(inode, end).map(|source| source.is_none()) != Ok(hole) {
            return Ok(Run { hole, end });
        }
    }
}

/// The end of the chunk that holds byte `at` of a file of `size` bytes.
pub fn chunk_end(chunk_bits: u32, at: u64, size: u64) -> u64 {
    let below = 1_u64.checked_shl(chunk_bits).map_or(u64::MAX, |bytes| bytes - 1);
    (at | below).checked_add(1).map_or(size, |end| end.min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_behind_their_last_byte_and_with_their_file() {
        assert_eq!(chunk_end(12, 0, 9000), 4096);
        assert_eq!(chunk_end(12, 4095, 9000), 4096);
        assert_eq!(chunk_end(12, 4096, 9000), 8192);
        assert_eq!(chunk_end(12, 8192, 9000), 9000);
        assert_eq!(chunk_end(64, 5, u64::MAX), u64::MAX);
    }
}
