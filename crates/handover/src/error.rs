//! Why a file cannot be started.
//!
//! Always: an error names what the file has, and what it would have to have.

use core::fmt;

use crate::kernel::Arch;

/// Why a file is no kernel that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The file is no kernel, and begins with these bytes.
    NoKernel {
        /// The machine's architecture.
        arch: Arch,
        /// The first bytes, as far as there are any.
        first: [u8; 4],
    },
    /// The file is an ELF, which is a kernel by a note in it at best.
    Elf,
    /// The file is a kernel for another architecture.
    Other {
        /// The machine's architecture.
        arch: Arch,
        /// The architecture of the kernel.
        of: Arch,
    },
    /// The file ends in the middle of this part.
    Short(&'static str),
    /// The boot protocol has no entry in 64 bits.
    Old(u16),
    /// The kernel has no entry in 64 bits, by its flags.
    NoEntry(u16),
    /// The kernel runs at one address only.
    Fixed,
    /// A field has a value that nothing can be done with.
    Field {
        /// The name of the field in the documentation of the format.
        name: &'static str,
        /// The value.
        value: u64,
        /// The values that it may have.
        wanted: &'static str,
    },
    /// The kernel is packed in a way that is not unpacked here; the name's first bytes.
    Packed([u8; 8]),
    /// The kernel is for a big-endian processor.
    BigEndian,
    /// The command line is longer than the kernel takes.
    CommandLine {
        /// The length in bytes.
        bytes: u64,
        /// The bytes that the kernel takes.
        most: u64,
    },
    /// The memory map has more entries than the kernel takes.
    Map(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernel { arch, first } => {
                let [a, b, c, d] = first;
                write!(
                    f,
                    "no kernel for {arch}: it begins with {a:02x} {b:02x} {c:02x} {d:02x}; {}",
                    arch.wanted()
                )
            }
            Self::Elf => f.write_str(
                "an ELF, which is not started, be it by PVH's note or by Hermit's: give the kernel as \
                 a bzImage or an Image",
            ),
            Self::Other { arch, of } => {
                write!(f, "a kernel for {of}, and this machine is {arch}")
            }
            Self::Short(part) => write!(f, "ends in the middle of {part}"),
            Self::Old(version) => {
                let [major, minor] = version.to_be_bytes();
                write!(
                    f,
                    "boot protocol {major}.{minor:02} is too old: an entry in 64 bits has 2.12 (Linux \
                     3.8) and later"
                )
            }
            Self::NoEntry(flags) => write!(
                f,
                "no entry in 64 bits (xloadflags {flags:#x}): a kernel of 32 bits is not started"
            ),
            Self::Fixed => {
                f.write_str("not relocatable: build the kernel with CONFIG_RELOCATABLE=y")
            }
            Self::Field { name, value, wanted } => {
                write!(f, "{name} is {value:#x}; it may be {wanted}")
            }
            Self::Packed(name) => {
                let end = name.iter().position(|byte| *byte == 0);
                let name = end.map_or(&name[..], |end| name.split_at(end).0);
                write!(
                    f,
                    "packed with {}, which is not unpacked here: gzip is, and a plain Image",
                    name.escape_ascii()
                )
            }
            Self::BigEndian => f.write_str("a kernel for a big-endian processor"),
            Self::CommandLine { bytes, most } => {
                write!(f, "command line of {bytes} bytes: this kernel takes at most {most}")
            }
            Self::Map(entries) => {
                write!(f, "memory map of {entries} entries: the kernel takes at most 128")
            }
        }
    }
}

impl core::error::Error for Refused {}
