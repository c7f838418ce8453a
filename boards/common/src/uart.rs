//! Serial ports: which kinds there are, and how command lines name them.
//!
//! Always: pure; a name that is not understood names no port.
//!
//! Source: Linux Documentation/admin-guide/kernel-parameters.txt, `console=` and `earlycon=`.

use core::fmt;
use core::ops::Range;

use crate::ram::{self, Beyond};
use crate::text::number;

/// How a 16550 in memory is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte at a time.
    Byte,
    /// A word of 32 bits at a time.
    Word,
}

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// A 16550 at I/O ports from this one on.
    #[cfg(target_arch = "x86_64")]
    Port(u16),
    /// A 16550 in memory.
    Ns16550 {
        /// Its first register.
        at: usize,
        /// Registers are `1 << shift` bytes apart.
        shift: u8,
        /// How each is accessed.
        width: Width,
    },
    /// Arm's PL011 at this address.
    Pl011(usize),
}

/// Kinds of ports that a name may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 16550s.
    Ns16550,
    /// PL011s.
    Pl011,
}

/// A port that a command line wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    At(Serial),
    /// The first of its kind.
    First(Family),
}

impl Serial {
    /// Returns a 16550 in memory with registers of one byte side by side.
    pub const fn bytes(at: usize) -> Self {
        Self::Ns16550 { at, shift: 0, width: Width::Byte }
    }

    /// Returns the kind.
    pub fn family(self) -> Family {
        match self {
            Self::Pl011(_) => Family::Pl011,
            _ => Family::Ns16550,
        }
    }

    /// Returns where the registers lie in memory; `None` for I/O ports.
    ///
    /// # Errors
    ///
    /// [`Beyond`], within.
    pub fn registers(self) -> Option<Result<Range<u64>, Beyond>> {
        let (at, bytes) = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Port(_) => return None,
            Self::Ns16550 { at, shift, .. } => (at as u64, 8 << shift),
            Self::Pl011(at) => (at as u64, 0x1000),
        };
        Some(ram::range(at, bytes))
    }
}

impl fmt::Display for Serial {
    /// Writes where its registers begin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Port(first) => write!(f, "{first:#x}"),
            Self::Ns16550 { at, .. } | Self::Pl011(at) => write!(f, "{at:#x}"),
        }
    }
}

/// Returns the port that a word of a kernel's command line names: `console=` or `earlycon=` with
/// `ttyS0`, `ttyAMA0`, or a kind with its place (`uart8250,mmio32,0x9000000`).
pub fn named(word: &str) -> Option<Wanted> {
    let value = word.strip_prefix("console=").or_else(|| word.strip_prefix("earlycon="))?;
    let mut parts = value.split(',');
    let (kind, space) = (parts.next()?, parts.next());
    match kind {
        #[cfg(target_arch = "x86_64")]
        "ttyS0" => Some(Wanted::At(Serial::Port(0x3f8))),
        #[cfg(target_arch = "x86_64")]
        "ttyS1" => Some(Wanted::At(Serial::Port(0x2f8))),
        #[cfg(target_arch = "x86_64")]
        "ttyS2" => Some(Wanted::At(Serial::Port(0x3e8))),
        #[cfg(target_arch = "x86_64")]
        "ttyS3" => Some(Wanted::At(Serial::Port(0x2e8))),
        #[cfg(not(target_arch = "x86_64"))]
        "ttyS0" => Some(Wanted::First(Family::Ns16550)),
        "ttyAMA0" => Some(Wanted::First(Family::Pl011)),
        "uart" | "uart8250" | "ns16550" | "ns16550a" => match space? {
            #[cfg(target_arch = "x86_64")]
            "io" => Some(Wanted::At(Serial::Port(u16::try_from(number(parts.next()?)?).ok()?))),
            "mmio" => Some(Wanted::At(Serial::bytes(number(parts.next()?)?))),
            "mmio32" => {
                let at = number(parts.next()?)?;
                Some(Wanted::At(Serial::Ns16550 { at, shift: 2, width: Width::Word }))
            }
            place => Some(Wanted::At(Serial::bytes(number(place)?))),
        },
        "pl011" => match space? {
            "mmio" | "mmio32" => Some(Wanted::At(Serial::Pl011(number(parts.next()?)?))),
            place => Some(Wanted::At(Serial::Pl011(number(place)?))),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_names_mean_ports() {
        let uart = |at| Some(Wanted::At(Serial::bytes(at)));
        assert_eq!(named("earlycon=uart,mmio,0x40002000"), uart(0x4000_2000));
        assert_eq!(named("console=uart8250,0x9000000,115200n8"), uart(0x900_0000));
        let word = Serial::Ns16550 { at: 0x1000, shift: 2, width: Width::Word };
        assert_eq!(named("earlycon=uart8250,mmio32,0x1000"), Some(Wanted::At(word)));
        let pl011 = Some(Wanted::At(Serial::Pl011(0x900_0000)));
        assert_eq!(named("earlycon=pl011,mmio,0x9000000"), pl011);
        assert_eq!(named("earlycon=pl011,0x9000000"), pl011);
        assert_eq!(named("console=ttyAMA0"), Some(Wanted::First(Family::Pl011)));
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(named("console=ttyS1,115200"), Some(Wanted::At(Serial::Port(0x2f8))));
            let port = Some(Wanted::At(Serial::Port(0x3e8)));
            assert_eq!(named("earlycon=uart8250,io,0x3e8"), port);
        }
    }

    #[test]
    fn what_is_not_understood_names_no_port() {
        for word in [
            "console=hvc0",
            "console=framed",
            "earlycon",
            "console=uart,mmio",
            "root=ttyS0",
            "console=uart,mmio,0xzz",
            "console=uart,io,70000",
            "earlycon=sbi",
            "console=tty0",
        ] {
            assert_eq!(named(word), None, "{word}");
        }
    }
}
