//! The text that commands print, and the form of names, modes and faults in it.
//!
//! Always: an error of the output is reported as one; nothing else can go wrong with printing.

use core::fmt;
use embedded_io::WriteFmtError;
use rootlet::Error;
use rootlet::erofs::{FileKind, Inode, Layout, Unsupported};

/// Returns the error of the output, if `write!` gave one: all that is printed here can be formatted.
pub fn printed<E>(written: Result<(), WriteFmtError<E>>) -> Result<(), E> {
    match written {
        Ok(()) => Ok(()),
        Err(WriteFmtError::Other(error)) => Err(error),
        Err(WriteFmtError::FmtError) => unreachable!("formatting fails by its output alone"),
    }
}

/// A fault of a file, with the path of the file.
#[derive(Clone, Copy, Debug)]
pub struct AtPath<'f>(pub &'f [u8], pub &'f Error);

impl fmt::Display for AtPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, error) = self;
        let path = path.escape_ascii();
        match error {
            // The words of this message follow the path.
            Error::Unsupported(
                file @ (Unsupported::Elsewhere { .. } | Unsupported::Rafs { .. }),
            ) => {
                write!(f, "not supported: {path}: {file}")
            }
            _ => write!(f, "{path}: {error:#}"),
        }
    }
}

/// The mode of an inode as `ls -l` shows it.
pub struct Mode<'i>(pub &'i Inode);

impl fmt::Display for Mode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind() {
            FileKind::Regular => "-",
            FileKind::Directory => "d",
            FileKind::CharDevice => "c",
            FileKind::BlockDevice => "b",
            FileKind::Fifo => "p",
            FileKind::Socket => "s",
            FileKind::Symlink => "l",
        })?;
        let bits = self.0.permissions();
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let three = bits >> shift;
            f.write_str(if three & 4 != 0 { "r" } else { "-" })?;
            f.write_str(if three & 2 != 0 { "w" } else { "-" })?;
            let x = match (bits & special != 0, three & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            };
            write!(f, "{x}")?;
        }
        Ok(())
    }
}

/// A name for a terminal: control characters and bytes that are not UTF-8 are escaped.
pub struct Escaped<'n>(pub &'n [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// The layout of a file's data in words.
pub struct Shape<'i>(pub &'i Inode);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.layout() {
            Layout::None => f.write_str("no data"),
            Layout::Plain { start: Some(start) } => write!(f, "flat from block {start}"),
            Layout::Plain { start: None } => f.write_str("one hole"),
            Layout::Inline { tail, .. } => write!(f, "flat, {} bytes inline", tail.len),
            Layout::Object { .. } => f.write_str("an object"),
            Layout::Chunked(map) => {
                write!(f, "{} chunks of 2^{} bytes", map.count(), map.chunk_bits())
            }
            Layout::Compressed(compressed) => {
                write!(f, "compressed (layout {})", compressed.form.number())
            }
        }
    }
}
