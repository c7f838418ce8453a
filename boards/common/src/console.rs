//! The console: standard output and standard error of the guest over one serial line.
//!
//! Always: bytes of one channel keep their order; what stands on the line is either plain (both
//! channels mixed, for a person) or frames (`rootlet::command::frame`, for the host tool), as
//! `console=framed` on the command line says.

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};

use embedded_io::{ErrorType, Write};
use rootlet::command::frame::{self, FRAME_BYTES_MAX, Kind, PAYLOAD_BYTES_MAX};
use spin::Mutex;

use crate::serial;

static FRAMED: AtomicBool = AtomicBool::new(false);
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

/// Chooses between plain bytes and frames.
pub(crate) fn set_framed(framed: bool) {
    FRAMED.store(framed, Ordering::Relaxed);
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
/// are left behind rather than waited for.
pub(crate) fn flush_what_is_free() {
    for buffer in [&OUTPUT, &ERROR] {
        if let Some(mut buffer) = buffer.try_lock() {
            buffer.flush();
        }
    }
}

/// Sends `bytes` at once, past the buffers and without a lock.
pub(crate) fn emit(kind: Kind, bytes: &[u8]) {
    if !FRAMED.load(Ordering::Relaxed) {
        serial::send(bytes);
        return;
    }
    let mut out = [0; FRAME_BYTES_MAX];
    for payload in bytes.chunks(PAYLOAD_BYTES_MAX) {
        if let Some(frame) = frame::encode(kind, payload, &mut out) {
            serial::send(frame);
        }
    }
}

/// Ends the line of a verdict where a person reads it; a frame needs none.
pub(crate) fn end_line() {
    if !FRAMED.load(Ordering::Relaxed) {
        serial::send(b"\n");
    }
}
