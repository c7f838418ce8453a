//! The console: standard output and standard error of the guest over one serial line.
//!
//! Always: bytes of one channel keep their order; what stands on the line is plain (both channels
//! mixed, for a person), frames (`rootlet_guest::frame`, for the host tool) or lines that stand
//! a real wire (`rootlet_guest::wire`), as `console=` on the command line says.

use core::convert::Infallible;
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use embedded_io::{ErrorType, Write};
use rootlet_guest::config::Console;
use rootlet_guest::frame::{self, FRAME_BYTES_MAX, Kind, PAYLOAD_BYTES_MAX};
use rootlet_guest::wire::{self, LINE_BYTES_MAX};
use spin::Mutex;

use crate::text::Message;
use crate::{arch, board, serial};

/// [`PLAIN`], [`FRAMED`], or above it the copies of each line on a wire.
static MODE: AtomicU8 = AtomicU8::new(PLAIN);
const PLAIN: u8 = 0;
const FRAMED: u8 = 1;

/// Which boot this is, on a wire.
static RUN: AtomicU32 = AtomicU32::new(0);
/// The number of the next line on a wire.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// The most output bytes in one line on a wire: what one lost byte may cost.
const WIRE_BYTES_MAX: usize = 256;
/// How often the lines without which all others are lost are sent at least.
const WIRE_COPIES_OF_ENDS: u8 = 3;

static OUTPUT: Mutex<Buffer> = Mutex::new(Buffer::new(Kind::Output));
static ERROR: Mutex<Buffer> = Mutex::new(Buffer::new(Kind::Error));

/// Bytes on their way to the line.
struct Buffer {
    kind: Kind,
    bytes: [u8; PAYLOAD_BYTES_MAX],
    len: usize,
}

impl Buffer {
    const fn new(kind: Kind) -> Self {
        Self { kind, bytes: [0; PAYLOAD_BYTES_MAX], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.bytes[self.len..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        if self.len == self.bytes.len() {
            self.flush();
        }
        taken
    }

    fn flush(&mut self) {
        if self.len > 0 {
            emit(self.kind, &self.bytes[..self.len]);
            self.len = 0;
        }
    }
}

/// Chooses what stands on the line.
pub(crate) fn choose(console: Console) {
    let mode = match console {
        Console::Plain => PLAIN,
        Console::Framed => FRAMED,
        Console::Wire { copies } => FRAMED + copies,
    };
    MODE.store(mode, Ordering::Relaxed);
}

/// Returns how often each line is sent; `None` where no wire is.
fn wire_copies() -> Option<u8> {
    MODE.load(Ordering::Relaxed).checked_sub(FRAMED).filter(|copies| *copies > 0)
}

/// Standard output: sent when 1024 bytes are there, when flushed, and before anything is sent to
/// standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output;

/// Standard error: sent at the end of each line.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorOutput;

impl ErrorType for Output {
    type Error = Infallible;
}

impl ErrorType for ErrorOutput {
    type Error = Infallible;
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(OUTPUT.lock().push(bytes))
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        OUTPUT.lock().flush();
        Ok(())
    }
}

impl Write for ErrorOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        OUTPUT.lock().flush();
        let taken = ERROR.lock().push(bytes);
        if bytes[..taken].contains(&b'\n') {
            ERROR.lock().flush();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        OUTPUT.lock().flush();
        ERROR.lock().flush();
        Ok(())
    }
}

/// Sends what is buffered. Where a lock is held (a panic in the middle of a write) those bytes
/// are given up rather than waited for.
pub(crate) fn flush_what_is_free() {
    for buffer in [&OUTPUT, &ERROR] {
        if let Some(mut buffer) = buffer.try_lock() {
            buffer.flush();
        }
    }
}

/// Sends `bytes` at once, past the buffers and without a lock.
pub(crate) fn emit(kind: Kind, bytes: &[u8]) {
    if let Some(copies) = wire_copies() {
        let most = if kind == Kind::Verdict { PAYLOAD_BYTES_MAX } else { WIRE_BYTES_MAX };
        bytes.chunks(most).for_each(|payload| emit_line(kind.into(), payload, copies));
        return;
    }
    if MODE.load(Ordering::Relaxed) == PLAIN {
        // Nobody reads a timeline: there it stands as lines that a tool finds again.
        match kind {
            Kind::Timeline => bytes
                .chunks(WIRE_BYTES_MAX)
                .for_each(|payload| emit_line(wire::Kind::Timeline, payload, 1)),
            _ => serial::send(bytes),
        }
        return;
    }
    let mut out = [0; FRAME_BYTES_MAX];
    for payload in bytes.chunks(PAYLOAD_BYTES_MAX) {
        if let Some(frame) = frame::encode(kind, payload, &mut out) {
            serial::send(frame);
        }
    }
}

/// Sends a part of the timeline, after all output.
pub(crate) fn timeline(payload: &[u8]) {
    flush_what_is_free();
    emit(Kind::Timeline, payload);
}

/// Says how far the guest is, where someone at the other end of a wire waits.
pub(crate) fn progress(text: fmt::Arguments<'_>) {
    if let Some(copies) = wire_copies() {
        let mut message = Message::new();
        // A text that is too long is cut.
        let _ = message.write_fmt(text);
        emit_line(wire::Kind::Progress, message.as_str().as_bytes(), copies);
    }
}

/// Sends one line of a wire; before the first one, who speaks.
fn emit_line(kind: wire::Kind, payload: &[u8], copies: u8) {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        let ticks = arch::ticks();
        RUN.store((ticks ^ ticks >> 16 ^ ticks >> 32) as u32 & 0xffff, Ordering::Relaxed);
        let mut hello = Message::new();
        let (name, version) = (board::BOARD.name, env!("CARGO_PKG_VERSION"));
        let _ = write!(hello, "board={name} version={version}");
        send_line(wire::Kind::Hello, number, hello.as_str().as_bytes(), copies);
        emit_line(kind, payload, copies);
    } else {
        send_line(kind, number, payload, copies);
    }
}

fn send_line(kind: wire::Kind, number: u32, payload: &[u8], copies: u8) {
    let run = (RUN.load(Ordering::Relaxed) & 0xffff) as u16;
    let mut out = [0; LINE_BYTES_MAX];
    let Some(line) = wire::encode(&wire::Frame { run, number, kind, payload }, &mut out) else {
        return;
    };
    let copies = match kind {
        wire::Kind::Hello | wire::Kind::Verdict => copies.max(WIRE_COPIES_OF_ENDS),
        _ => copies,
    };
    (0..copies).for_each(|_| serial::send(line));
}

/// Ends the line of a verdict where a person reads it; a frame needs none.
pub(crate) fn end_line() {
    if MODE.load(Ordering::Relaxed) == PLAIN {
        serial::send(b"\n");
    }
}
