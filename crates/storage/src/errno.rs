//! Error numbers of Linux, in words.
//!
//! Always: a message shows the number too, so that a number without words here loses nothing.

use core::fmt;

/// An error number of Linux (`include/uapi/asm-generic/errno.h`), as hosts and daemons report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u32);

impl Errno {
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Input/output error.
    pub const EIO: Self = Self(5);
    /// Bad file descriptor.
    pub const EBADF: Self = Self(9);

    /// Returns whether a retry may help: the error concerns the moment or a device, not the file or
    /// the rights of its reader.
    pub fn may_pass(self) -> bool {
        // EINTR, EIO, EAGAIN, ENOMEM, EBUSY, ENFILE, EMFILE, ECONNABORTED, ECONNRESET, ENOTCONN,
        // ETIMEDOUT, ECONNREFUSED, ESTALE, EREMOTEIO.
        matches!(self.0, 4 | 5 | 11 | 12 | 16 | 23 | 24 | 103 | 104 | 107 | 110 | 111 | 116 | 121)
    }

    fn words(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "operation not permitted",
            2 => "no such file or directory",
            4 => "interrupted system call",
            5 => "input/output error",
            6 => "no such device or address",
            9 => "bad file descriptor",
            11 => "resource temporarily unavailable",
            12 => "out of memory",
            13 => "permission denied",
            16 => "device or resource busy",
            17 => "file exists",
            18 => "invalid cross-device link",
            19 => "no such device",
            20 => "not a directory",
            21 => "is a directory",
            22 => "invalid argument",
            23 => "too many open files in system",
            24 => "too many open files",
            27 => "file too large",
            28 => "no space left on device",
            30 => "read-only file system",
            36 => "file name too long",
            38 => "function not implemented",
            40 => "too many levels of symbolic links",
            61 => "no data available",
            71 => "protocol error",
            74 => "bad message",
            75 => "value too large",
            95 => "operation not supported",
            103 => "connection aborted",
            104 => "connection reset",
            107 => "not connected",
            110 => "connection timed out",
            111 => "connection refused",
            116 => "stale file handle",
            117 => "structure needs cleaning",
            121 => "remote input/output error",
            122 => "disk quota exceeded",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some(words) => write!(f, "{words} (errno {})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}
