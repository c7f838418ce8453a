//! Errors of the library: error numbers for programs, and lines on standard error for people.
//!
//! Always: an `Input/output error` has a line that says the fault in full, once for each place.
//! An error that means a wrong name has a number of its own, and no line.

use std::collections::HashSet;
use std::sync::Mutex;

use fuser::Errno;
use rootlet::erofs::Nid;
use rootlet::{Error, PathError};

use crate::note;

/// The most lines that are written: an image may be wrong everywhere.
const SAID_MAX: usize = 1000;

/// The lines that were written.
#[derive(Debug, Default)]
pub struct Faults {
    said: Mutex<HashSet<String>>,
}

impl Faults {
    /// Returns the error number for an error that was met at an inode. Writes a line where the
    /// number is that of an input/output error.
    pub fn errno(&self, nid: Nid, error: &Error) -> Errno {
        match error {
            Error::Path(PathError::NotFound) => Errno::ENOENT,
            Error::Path(PathError::NotADirectory) => Errno::ENOTDIR,
            Error::Path(PathError::IsADirectory) => Errno::EISDIR,
            Error::Path(PathError::TooLong) => Errno::ENAMETOOLONG,
            Error::Path(PathError::NotAFile | PathError::NotASymlink) => Errno::EINVAL,
            _ => {
                self.say(format!("nid {nid}: {error:#}"));
                Errno::EIO
            }
        }
    }

    /// Writes a line, unless the same line was written before.
    fn say(&self, line: String) {
        let mut said = self.said.lock().expect("nothing panics while it holds this lock");
        if said.len() >= SAID_MAX || said.contains(&line) {
            return;
        }
        tell(&line);
        said.insert(line);
        if said.len() == SAID_MAX {
            tell("more faults are not shown");
        }
    }
}

/// Writes a line of the program to standard error.
pub fn tell(line: &str) {
    note!("rootlet: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_is_said_once_for_each_place_and_wrong_names_never() {
        let faults = Faults::default();
        let said = |faults: &Faults| faults.said.lock().unwrap().len();
        let short = Error::Path(PathError::BufferTooSmall(1));
        for nid in [5, 5, 6] {
            assert_eq!(faults.errno(Nid(nid), &short).code(), Errno::EIO.code());
        }
        assert_eq!(said(&faults), 2);
        let absent = faults.errno(Nid(7), &Error::Path(PathError::NotFound));
        assert_eq!(absent.code(), Errno::ENOENT.code());
        assert_eq!(said(&faults), 2);
    }
}
