//! A sorted table in a file: lines of a key, a tab and a value, in the order of the keys' bytes.
//!
//! Always: one line and what stands around it is in memory, however long the table is.

use core::cmp::Ordering;
use core::fmt;

use rootlet_board::File;
use rootlet_board::rootlet::Error;

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 512;

/// A table.
pub struct Table<'r> {
    file: File<'r>,
    bytes: u64,
    /// The bytes around the place that was looked at last.
    around: [u8; 2 * LINE_BYTES_MAX],
}

/// Why a table cannot be searched.
pub enum Fault {
    /// A read failed.
    Read(Error),
    /// There is no end of a line near this byte.
    Line(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "{error:#}"),
            Self::Line(at) => {
                write!(f, "the line at byte {at} has more than {LINE_BYTES_MAX} bytes")
            }
        }
    }
}

impl<'r> Table<'r> {
    /// Returns the table in a file.
    pub fn new(file: File<'r>) -> Self {
        let bytes = file.inode().size();
        Self { file, bytes, around: [0; 2 * LINE_BYTES_MAX] }
    }

    /// Returns the line of `key`, if there is one, after some `log2` of the table's length of reads.
    pub fn find(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Fault> {
        // Lines before `low` are less than the key; those from `high` on are greater.
        let (mut low, mut high) = (0, self.bytes);
        while low < high {
            let (start, line) = self.line_around(low + (high - low) / 2)?;
            let at = start + line.start as u64;
            let text = &self.around[line.clone()];
            let found = text.split(|byte| *byte == b'\t').next().unwrap_or(text);
            match found.cmp(key) {
                Ordering::Less => low = at + line.len() as u64 + 1,
                Ordering::Greater => high = at,
                Ordering::Equal => return Ok(Some(&self.around[line])),
            }
        }
        Ok(None)
    }

    /// Reads the line that byte `at` of the file is in. Returns where in the file `around` begins,
    /// and where in `around` the line is.
    fn line_around(&mut self, at: u64) -> Result<(u64, core::ops::Range<usize>), Fault> {
        let start = at.saturating_sub(LINE_BYTES_MAX as u64);
        let len = self.file.read_at(start, &mut self.around).map_err(Fault::Read)?;
        let (before, after) = self.around[..len].split_at((at - start) as usize);
        let is_end = |byte: &u8| *byte == b'\n';
        let first = before.iter().rposition(is_end).map(|end| end + 1);
        let last = after.iter().position(is_end);
        let first = first.or((start == 0).then_some(0)).ok_or(Fault::Line(at))?;
        let is_all = start + len as u64 == self.bytes;
        let last = last.or(is_all.then_some(after.len())).ok_or(Fault::Line(at))?;
        Ok((start, first..before.len() + last))
    }
}
