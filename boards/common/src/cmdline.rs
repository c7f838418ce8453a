//! The few words of the kernel command line that the machine itself reads, before there is a
//! heap. Everything else is `rootlet_guest::config`'s.
//!
//! Always: a word that is not understood is left to others.

use core::fmt;

use rootlet_guest::config::{Console, RawWords};
use spin::{Mutex, MutexGuard};

use crate::text::number;
use crate::uart::{self, Wanted};

/// The longest command line: room for the longest path with each byte escaped, and all options.
const BYTES_MAX: usize = 12 << 10;

/// The command line as the loader gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// What can be read of it, from its start.
    pub text: &'static str,
    /// Why that is not all.
    pub fault: Option<Fault>,
}

/// Why a part of a command line cannot be read. A machine that went on with the rest would do
/// something else than it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is too long.
    Long {
        /// Its bytes.
        given: usize,
        /// Those that there is room for.
        room: usize,
    },
    /// It is not UTF-8 from this byte on.
    NotUtf8 {
        /// The byte.
        at: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { given, room } => {
                write!(f, "command line: {given} bytes, there is room for {room}")
            }
            Self::NotUtf8 { at } => write!(f, "command line: not UTF-8 at byte {at}"),
        }
    }
}

impl CommandLine {
    /// Reads `kept`, the start of a line of `given` bytes.
    pub fn read(kept: &'static [u8], given: usize) -> Self {
        // What of it can be read is read, and the rest told.
        let text = kept.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let fault = if given > kept.len() {
            Some(Fault::Long { given, room: kept.len() })
        } else if text.len() < kept.len() {
            Some(Fault::NotUtf8 { at: text.len() })
        } else {
            None
        };
        Self { text, fault }
    }
}

/// Copies the line that a loader passed, so that its memory may be used. Called once: there is
/// room for one.
pub fn keep(given: &[u8]) -> CommandLine {
    static KEPT: Mutex<[u8; BYTES_MAX]> = Mutex::new([0; BYTES_MAX]);
    let room = MutexGuard::leak(KEPT.try_lock().expect("a machine has one command line"));
    let (bytes, _) = room.split_at_mut(given.len().min(BYTES_MAX));
    bytes.copy_from_slice(&given[..bytes.len()]);
    CommandLine::read(bytes, given.len())
}

/// Returns the words before the lone `--`.
fn settings(line: &str) -> impl Iterator<Item = &str> {
    RawWords::new(line).map(|word| word.text).take_while(|word| *word != "--")
}

/// Returns the form of the output: `console=` with a form. The parser of the whole line reports a
/// value that names no form later, as text for a person.
pub fn console(line: &str) -> Console {
    settings(line)
        .find_map(|word| Console::parse(word.strip_prefix("console=")?))
        .unwrap_or_default()
}

/// Returns the port on which output goes out: the last `console=` or `earlycon=` that names one.
pub fn serial(line: &str) -> Option<Wanted> {
    settings(line).filter_map(uart::named).last()
}

/// Returns the addresses of `virtio_mmio.device=SIZE@ADDRESS:IRQ`, which QEMU's microvm appends for
/// each device at the very end of the line, after the command; the word itself where it has another
/// form.
pub fn virtio_mmio(line: &str) -> impl Iterator<Item = Result<usize, &str>> {
    RawWords::new(line).filter_map(|word| {
        let value = word.text.strip_prefix("virtio_mmio.device=")?;
        Some(address(value).ok_or(word.text))
    })
}

/// Returns the address in `SIZE@ADDRESS:IRQ`.
fn address(value: &str) -> Option<usize> {
    let (_, place) = value.split_once('@')?;
    let (address, _) = place.split_once(':')?;
    number(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_word_of_the_command_is_the_commands() {
        assert_eq!(console("a=1 console=framed -- cat"), Console::Framed);
        assert_eq!(console("console=wire:3 -- cat"), Console::Wire { copies: 3 });
        assert_eq!(console("a=1 -- cat console=framed"), Console::Plain);
        assert_eq!(console(""), Console::Plain);
        assert_eq!(console("console=loud"), Console::Plain);
    }

    #[test]
    fn port_is_the_last_that_is_named_before_the_command() {
        let line =
            "console=framed console=tty0 earlycon=uart,mmio,0x10 console=hvc0 -- console=ttyS0";
        assert_eq!(serial(line), Some(Wanted::At(uart::Serial::bytes(16))));
        assert_eq!(console(line), Console::Framed);
        assert_eq!(serial("console=framed -- cat"), None);
    }

    #[test]
    fn line_that_cannot_be_read_whole_is_told_and_its_start_is_kept() {
        let whole = CommandLine::read("a=\u{e9}".as_bytes(), 4);
        assert_eq!(whole, CommandLine { text: "a=\u{e9}", fault: None });
        let long = CommandLine::read(b"abc", 5);
        assert_eq!((long.text, long.fault), ("abc", Some(Fault::Long { given: 5, room: 3 })));
        let broken = CommandLine::read(b"ab\xffc", 4);
        assert_eq!((broken.text, broken.fault), ("ab", Some(Fault::NotUtf8 { at: 2 })));
        // Cut within a character: the fault is the length.
        assert!(matches!(CommandLine::read(b"a\xc3", 9).fault, Some(Fault::Long { .. })));
    }

    #[test]
    fn devices_are_found_behind_the_command() {
        let line =
            "x -- ls / virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@3489660928:5";
        assert_eq!(virtio_mmio(line).collect::<Vec<_>>(), [Ok(0xfeb0_0e00), Ok(0xd000_0000)]);
    }

    #[test]
    fn word_that_names_no_device_is_given_as_it_stands() {
        for word in [
            "virtio_mmio.device=512@0xzz:1",
            "virtio_mmio.device=",
            "virtio_mmio.device=512@0x1000",
            "virtio_mmio.device=512@0x10000000000000000:1",
        ] {
            let line = format!("a=b {word} -- ls /");
            assert_eq!(virtio_mmio(&line).collect::<Vec<_>>(), [Err(word)]);
        }
    }
}
