//! Why nothing was started.
//!
//! Always: an error has the path of the file at fault, and says what to do where something can be
//! done.

use core::fmt;

use rootlet::Error;
use rootlet_handover::{EntryError, GzipError, Refused, tree};

use crate::command::{AtPath, CommandError, short};

/// Why a kernel was not started.
#[derive(Clone, Debug)]
pub struct BootError<'p> {
    /// The path of the file at fault; empty if none is.
    pub path: &'p str,
    /// The reason.
    pub why: Why,
}

/// The reason why a file is not started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Why {
    /// A read failed.
    Read(Error),
    /// The file is not a kernel for this machine.
    Refused(Refused),
    /// The packed kernel is wrong.
    Gzip(GzipError),
    /// A part ends beyond the file.
    Outside {
        /// The end of the part.
        end: u64,
        /// The bytes of the file.
        bytes: u64,
    },
    /// There is no memory for the kernel.
    KernelMemory {
        /// The bytes that it needs.
        bytes: u64,
        /// The lowest address that it may have.
        from: u64,
    },
    /// There is no memory for the initrd.
    InitrdMemory {
        /// The bytes that it has.
        bytes: u64,
        /// The highest address that it may have.
        last: u64,
    },
    /// There is no memory for the zero page or the device tree.
    Memory {
        /// The bytes that this takes.
        bytes: u64,
    },
    /// The image has no boot entry for this machine.
    NoEntry,
    /// The image has no boot entry of this name.
    NoSuchEntry,
    /// The file is not a boot entry.
    Entry(EntryError),
    /// The program for EFI has no kernel in it.
    NotUnified,
    /// There are more boot entries than this.
    Entries(usize),
    /// A text is too long.
    Text {
        /// Its length in bytes.
        bytes: u64,
        /// The bytes that it may have.
        most: u64,
    },
    /// The command line has a zero byte.
    Zero,
    /// The device tree cannot be added to.
    Tree(tree::Fault),
}

impl<'p> BootError<'p> {
    pub(super) const fn at(path: &'p str, why: Why) -> Self {
        Self { path, why }
    }
}

impl BootError<'_> {
    /// Returns the error of a read as that of any command, which can be blamed on a source.
    ///
    /// # Errors
    /// Any other error, as it is.
    pub fn of_read<E>(self) -> Result<CommandError<E>, Self> {
        match self.why {
            Why::Read(error) => Ok(CommandError::Read(short(self.path.as_bytes()), error)),
            _ => Err(self),
        }
    }
}

impl fmt::Display for BootError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why } = self;
        if let Why::Read(error) = why {
            return AtPath(path.as_bytes(), error).fmt(f);
        }
        if !path.is_empty() {
            write!(f, "{}: ", path.as_bytes().escape_ascii())?;
        }
        why.fmt(f)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
            Self::Gzip(error) => error.fmt(f),
            Self::Outside { end, bytes } => {
                write!(f, "a part of it ends at byte {end}, and it has {bytes}")
            }
            Self::KernelMemory { bytes, from } => write!(
                f,
                "too little memory: the kernel needs {} MiB in one piece, from {from:#x} on; give the \
                 machine more",
                mib(*bytes)
            ),
            Self::InitrdMemory { bytes, last } => {
                write!(f, "initrd too large: no piece of memory has room for {} MiB", mib(*bytes))?;
                if *last < u64::MAX {
                    write!(f, " up to {last:#x}, where this kernel wants it")?;
                }
                f.write_str("; give the machine more, or take a smaller one")
            }
            Self::Memory { bytes } => write!(
                f,
                "too little memory: {bytes} bytes for what the kernel is told; give the machine more"
            ),
            Self::NoEntry => f.write_str(
                "no boot entry for this machine in /loader/entries, /EFI/Linux, and the same below \
                 /boot: give the path of a kernel",
            ),
            Self::NoSuchEntry => f.write_str("no boot entry of this name; those above are there"),
            Self::Entry(error) => error.fmt(f),
            Self::NotUnified => f.write_str("no unified kernel image: it has no section .linux"),
            Self::Entries(most) => write!(f, "more than {most} boot entries"),
            Self::Text { bytes, most } => {
                write!(f, "a text of {bytes} bytes: at most {most} are read")
            }
            Self::Zero => f.write_str("a zero byte in the command line"),
            Self::Tree(error) => write!(f, "device tree: {error}"),
        }
    }
}

/// Returns bytes in MiB, rounded up.
const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl core::error::Error for BootError<'_> {}
