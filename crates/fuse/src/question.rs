//! The question whether a daemon still knows an open file: a restarted daemon does not.
//!
//! Always: a question changes nothing, waits for no disk, and may be asked again while earlier
//! questions are under way. It is a FLUSH, which a daemon answers from its table of open files.

use super::abi::{FlushCall, FlushIn, Opcode, OutHeader};
use super::error::Cause;
use super::message::{self, HEADER_BYTES, length_of};
use rootlet_storage::{Errno, IoErrorKind};

/// The length of a question in bytes.
const QUESTION_BYTES: usize = size_of::<FlushCall>();
/// The number of the first question. A session's other requests have smaller numbers.
const UNIQUE_FIRST: u64 = 1 << 62;
/// Questions take even numbers, as all requests do.
const UNIQUE_STEP: u64 = 2;

const _: () = assert!(QUESTION_BYTES == 64);

/// The question about one open file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    nodeid: u64,
    fh: u64,
    unique: u64,
}

/// The number by which the answer to a question is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    unique: u64,
}

impl Question {
    pub(super) fn new(nodeid: u64, fh: u64) -> Self {
        Self { nodeid, fh, unique: UNIQUE_FIRST }
    }

    /// Returns the bytes of the question, with a new number, and the check of its answer.
    pub fn ask(&mut self) -> ([u8; QUESTION_BYTES], Answer) {
        self.unique = self.unique.wrapping_add(UNIQUE_STEP) | UNIQUE_FIRST;
        let body = FlushIn { fh: self.fh, unused: 0, padding: 0, lock_owner: 0 };
        let (opcode, length) = (Opcode::FLUSH, length_of::<FlushIn>());
        let header = message::header(opcode, self.unique, self.nodeid, length);
        (zerocopy::transmute!(FlushCall { header, body }), Answer { unique: self.unique })
    }
}

impl Answer {
    /// Returns whether the daemon knows the file. `header` is the reply's header, `device_len` the
    /// length of the reply that the device reported.
    ///
    /// A daemon without a session refuses every request with EIO (libfuse, and so the daemon of
    /// QEMU), or refuses a file that it has not opened with EBADF (virtiofsd in Rust). Every other
    /// errno, such as ENOSYS, comes from a daemon that knows the file.
    ///
    /// # Errors
    /// [`IoErrorKind::Protocol`] if header, device and question do not agree.
    pub fn knows(&self, header: &[u8; HEADER_BYTES], device_len: u32) -> Result<bool, IoErrorKind> {
        let header: OutHeader = zerocopy::transmute!(*header);
        match message::check(header, self.unique, u64::from(device_len)) {
            Ok(0) => Ok(true),
            Err(Cause::Errno(errno)) => Ok(![Errno::EIO, Errno::EBADF].contains(&Errno(errno))),
            Ok(_) | Err(_) => Err(IoErrorKind::Protocol),
        }
    }
}
