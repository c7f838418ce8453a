//! READ: the bytes of a request, and the check of its reply.
//!
//! Always: a reply yields at most the bytes that were asked for, and at most those that the device
//! reports. The data itself is not seen here: it lands in the reader's buffer.

use super::abi::{Opcode, OutHeader, ReadCall, ReadIn};
use super::error::Cause;
use super::message::{self, HEADER_BYTES, length_of};
use rootlet_storage::IoErrorKind;

/// The length of a READ request in bytes.
const READ_REQUEST_BYTES: usize = size_of::<ReadCall>();
/// The length in bytes of the header before the data of a reply.
pub const REPLY_HEADER_BYTES: usize = HEADER_BYTES;

const _: () = assert!(READ_REQUEST_BYTES == 80 && REPLY_HEADER_BYTES == 16);

/// A READ request that can be sent at any time while its file is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    bytes: [u8; READ_REQUEST_BYTES],
    expected: ReadReply,
}

/// The check of the reply to a [`ReadRequest`], kept while the device owns the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadReply {
    unique: u64,
    size: u32,
}

impl ReadRequest {
    pub(super) fn new(unique: u64, nodeid: u64, fh: u64, offset: u64, size: u32) -> Self {
        let body = ReadIn { fh, offset, size, read_flags: 0, lock_owner: 0, flags: 0, padding: 0 };
        let header = message::header(Opcode::READ, unique, nodeid, length_of::<ReadIn>());
        let bytes = zerocopy::transmute!(ReadCall { header, body });
        Self { bytes, expected: ReadReply { unique, size } }
    }

    /// Returns the bytes of the request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number that ties the reply to the request.
    pub fn unique(&self) -> u64 {
        self.expected.unique
    }

    /// Returns the check of the reply.
    pub fn expected(&self) -> ReadReply {
        self.expected
    }

    /// Checks the reply as [`ReadReply::check`] does.
    ///
    /// # Errors
    /// Those of [`ReadReply::check`].
    pub fn reply(
        &self,
        header: &[u8; REPLY_HEADER_BYTES],
        device_len: u32,
    ) -> Result<u32, IoErrorKind> {
        self.expected.check(header, device_len)
    }
}

impl ReadReply {
    /// Returns the number of data bytes that arrived: fewer than asked for at the end of the file.
    /// `device_len` is the length of the whole reply, header included, that the device reported.
    ///
    /// # Errors
    /// [`IoErrorKind::Device`] with the errno if the daemon refused; [`IoErrorKind::Protocol`] if
    /// header, device and request do not agree: the number of another request, lengths that differ,
    /// more data than asked for, an error that is not an errno of Linux.
    pub fn check(
        &self,
        header: &[u8; REPLY_HEADER_BYTES],
        device_len: u32,
    ) -> Result<u32, IoErrorKind> {
        let header: OutHeader = zerocopy::transmute!(*header);
        match message::check(header, self.unique, u64::from(device_len)) {
            Ok(data) if data <= self.size => Ok(data),
            Err(Cause::Errno(errno)) => Err(IoErrorKind::Device(errno)),
            Ok(_) | Err(_) => Err(IoErrorKind::Protocol),
        }
    }
}
