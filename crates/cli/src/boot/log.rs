//! The guest's log: defmt frames on the debug console, decoded live with the board's ELF.
//!
//! Always: damaged bytes cost the frames that they hit; the next frame is decoded again. What
//! waits for the end of a frame is bounded.

use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use defmt_decoder::{DecodeError, Frame, Location, Locations, StreamDecoder, Table};

use super::LogLevel;

/// More bytes than this without an end are not a frame: a frame has at most a few hundred bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 10;

/// What is needed to read an ELF's log.
pub struct Symbols {
    table: Table,
    elf: Vec<u8>,
    /// Where each message stands in the source; read from the debug information when the first
    /// message comes, which takes longer than a boot.
    locations: OnceLock<Locations>,
}

impl Symbols {
    /// Reads the log table of `elf`; `None` if it has none.
    pub fn read(elf: &[u8]) -> Result<Option<Self>> {
        let Some(table) = Table::parse(elf).context("cannot read the ELF's log table")? else {
            return Ok(None);
        };
        if !table.encoding().can_recover() {
            bail!("the ELF logs in an encoding that cannot recover from lost bytes");
        }
        Ok(Some(Self { table, elf: elf.to_vec(), locations: OnceLock::new() }))
    }

    fn locations(&self) -> &Locations {
        self.locations.get_or_init(|| self.table.get_locations(&self.elf).unwrap_or_default())
    }
}

/// Turns the bytes of the log channel into lines.
pub struct Decoder<'s> {
    symbols: &'s Symbols,
    stream: Box<dyn StreamDecoder + Send + Sync + 's>,
    level: LogLevel,
    verbose: bool,
    open_bytes: usize,
    damaged: bool,
}

impl<'s> Decoder<'s> {
    /// Returns a decoder for messages that are as severe as `level` or more. With `verbose` each
    /// message has its place in the source.
    pub fn new(symbols: &'s Symbols, level: LogLevel, verbose: bool) -> Self {
        let stream = symbols.table.new_stream_decoder();
        Self { symbols, stream, level, verbose, open_bytes: 0, damaged: false }
    }

    /// Takes bytes and calls `line` with every line that they complete.
    pub fn feed(&mut self, bytes: &[u8], line: &mut impl FnMut(String)) {
        for part in bytes.split_inclusive(|&byte| byte == 0) {
            let ends = part.last() == Some(&0);
            self.open_bytes += part.len();
            if self.open_bytes > FRAME_BYTES_MAX && !ends {
                // Start over: the decoder would keep everything up to the next end.
                self.stream = self.symbols.table.new_stream_decoder();
                self.open_bytes = 0;
                self.complain(line);
                continue;
            }
            self.stream.received(part);
            if ends {
                self.open_bytes = 0;
                self.take(line);
            }
        }
    }

    fn take(&mut self, line: &mut impl FnMut(String)) {
        let Self { stream, symbols, level, verbose, .. } = self;
        // Formatting a frame that is damaged, yet decodes, may panic inside the decoder.
        let decoded = panic::catch_unwind(AssertUnwindSafe(|| match stream.decode() {
            Ok(frame) => Ok(shown(*level, &frame).then(|| text(&frame, symbols, *verbose))),
            Err(error) => Err(error),
        }));
        match decoded {
            Ok(Ok(Some(text))) => line(text),
            Ok(Ok(None) | Err(DecodeError::UnexpectedEof)) => {}
            Ok(Err(DecodeError::Malformed)) | Err(_) => self.complain(line),
        }
    }

    fn complain(&mut self, line: &mut impl FnMut(String)) {
        if !std::mem::replace(&mut self.damaged, true) {
            line("log: damaged bytes on the log channel; going on with the next message".into());
        }
    }
}

/// How severe a frame is, in the tool's terms.
fn severity(frame: &Frame<'_>) -> Option<LogLevel> {
    match frame.level()?.as_str() {
        "error" => Some(LogLevel::Error),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        _ => Some(LogLevel::Trace),
    }
}

fn shown(level: LogLevel, frame: &Frame<'_>) -> bool {
    severity(frame).is_none_or(|severity| severity <= level)
}

/// `[0.002898] info  cache::page:42: message`, with the file where wanted.
fn text(frame: &Frame<'_>, symbols: &Symbols, verbose: bool) -> String {
    let time = frame.display_timestamp().map(|time| format!("[{time}] ")).unwrap_or_default();
    let level = severity(frame).map_or("", LogLevel::name);
    let place = symbols.locations().get(&frame.index());
    let from = place.map(|place| format!("{}{}: ", module(&place.module), line(place)));
    let file = place.filter(|_| verbose).map(|place| format!(" ({})", place.file.display()));
    let (from, file) = (from.unwrap_or_default(), file.unwrap_or_default());
    format!("{time}{level:5} {from}{}{file}", frame.display_message())
}

/// The line, unless it is that of the macro through which the library and the boards log.
fn line(place: &Location) -> String {
    let shim = place.file.ends_with("trace.rs");
    if shim { String::new() } else { format!(":{}", place.line) }
}

/// The module of a function: the debug information names `a::b::function`, or with an
/// implementation between, `a::b::{impl#0}::function`.
fn module(function: &str) -> &str {
    let end = function.find("::{").or_else(|| function.rfind("::"));
    end.map_or(function, |end| &function[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_cut_off_their_functions() {
        assert_eq!(module("rootlet_board::start::run"), "rootlet_board::start");
        assert_eq!(module("a::port::{impl#0}::fail"), "a::port");
        assert_eq!(module("main"), "main");
    }
}
