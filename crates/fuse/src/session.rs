//! A session with one daemon: the handshake, the terms, and the files that are open.
//!
//! Always: nothing waits here; an [`OpenFile`] is a regular file, open for reading.

use zerocopy::IntoBytes;

use super::abi::{self, InitIn, InitOut, Opcode};
use super::error::{Cause, Error, Operation, Want};
use super::message::{Call, Expected, Message, length_of};
use super::question::Question;
use super::read::ReadRequest;
use rootlet_base::num::wide;
use rootlet_storage::IoErrorKind;

/// The longest read in bytes, whatever a daemon offers: not all daemons take more than 256 pages.
const READ_BYTES_MAX: u32 = 1 << 20;

/// The minor version that INIT offers.
const MINOR: u32 = 38;
/// The binary logarithm of a page of the protocol.
const PAGE_BITS: u32 = 12;
/// The pages of a message without an agreement on MAX_PAGES (`FUSE_DEFAULT_MAX_PAGES_PER_REQ`).
const PAGES_DEFAULT: u32 = 32;
/// Requests take even numbers: the next odd number names a request's interrupt
/// (`FUSE_INT_REQ_BIT`).
const UNIQUE_STEP: u64 = 2;
/// The body of a reply to INIT up to protocol 7.4.
const INIT_4_BYTES: u16 = abi::COMPAT_INIT_OUT_BYTES;
/// The body of a reply to INIT up to protocol 7.22.
const INIT_22_BYTES: u16 = abi::COMPAT_22_INIT_OUT_BYTES;

/// A session: the terms agreed with a daemon.
///
/// Its methods that take a [`Transport`](super::Transport) wait for the daemon. [`Handshake`],
/// [`Opening`](super::Opening) and [`Session::read_request`] only make messages and check replies:
/// who carries those may have many under way, and does something else meanwhile.
///
/// ```
/// use rootlet_fuse::{Error, REPLY_HEADER_BYTES, Session, Transport};
///
/// /// Reads the first bytes of a file of a share into `out`, which holds a reply's header too.
/// fn read<'o>(
///     transport: &mut impl Transport,
///     path: &[u8],
///     out: &'o mut [u8],
/// ) -> Result<&'o [u8], Box<dyn std::error::Error>> {
///     let mut session = Session::connect(transport)?;
///     let file = session.open(transport, path)?;
///     let room = out.len().saturating_sub(REPLY_HEADER_BYTES);
///     let size = session.read_bytes_max().min(u32::try_from(room)?);
///     let request = session.read_request(&file, 0, size);
///     let reported = transport.exchange(request.bytes(), out).map_err(|kind| kind.to_string())?;
///     let (header, data) = out.split_first_chunk().ok_or("no room for a reply")?;
///     let len = request.reply(header, u32::try_from(reported)?).map_err(|kind| kind.to_string())?;
///     session.close(transport, file)?;
///     Ok(&data[..usize::try_from(len)?])
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    minor: u32,
    read_bytes_max: u32,
    unique: u64,
}

/// A regular file, open for reading until [`Session::close`].
#[derive(Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// The daemon's number for the node.
    pub nodeid: u64,
    /// The daemon's number for the open file.
    pub fh: u64,
    /// The length in bytes, at most `i64::MAX`.
    pub size: u64,
    /// A number that changes when the content may have changed
    /// ([`FileStamp::version`](rootlet_storage::FileStamp::version)).
    pub version: u64,
}

impl OpenFile {
    /// Returns the question whether the daemon still knows the file.
    pub fn question(&self) -> Question {
        Question::new(self.nodeid, self.fh)
    }
}

/// The beginning of a session, without a transport: one request (INIT) and its reply.
#[derive(Debug)]
pub struct Handshake(Expected);

impl Handshake {
    /// Returns the request to send, and the handshake that takes the reply.
    pub fn begin() -> (Message, Self) {
        let body = InitIn {
            major: abi::KERNEL_VERSION,
            minor: MINOR,
            max_readahead: READ_BYTES_MAX,
            flags: abi::ASYNC_READ | abi::BIG_WRITES | abi::MAX_PAGES,
            flags2: 0,
            unused: [0; 11],
        };
        let call = Call {
            operation: Operation::Init,
            opcode: Opcode::INIT,
            nodeid: 0,
            parts: [body.as_bytes(), &[]],
            body_bytes: INIT_4_BYTES..=length_of::<InitOut>(),
        };
        let (message, expected) = call.message(UNIQUE_STEP);
        (message, Self(expected))
    }

    /// Takes the reply, and returns the session. `lent` was lent for the reply, and `used` is the
    /// length of the reply that the device reports, or why there is none.
    ///
    /// # Errors
    /// [`Cause::Version`] if the major version is not 7; failures of the daemon or the transport.
    pub fn answer(self, lent: &[u8], used: Result<usize, IoErrorKind>) -> Result<Session, Error> {
        let operation = Operation::Init;
        let (reply, body_bytes) = self.0.fixed::<InitOut>(lent, used)?;
        let (major, minor) = (reply.major, reply.minor);
        if major != abi::KERNEL_VERSION {
            return Err(Error { operation, cause: Cause::Version { major, minor } });
        }
        // The minor version in the reply says how long the reply is (fuse.h, changes in 7.5 and
        // 7.23). A longer reply is fine: its further fields are ignored.
        let want = match minor {
            ..5 => INIT_4_BYTES,
            5..23 => INIT_22_BYTES,
            23.. => length_of::<InitOut>(),
        };
        if body_bytes < usize::from(want) {
            let (what, want) = ("the length of the reply's body", Want::AtLeast(want.into()));
            return Err(Error::malformed(operation, what, wide(body_bytes), want));
        }
        // MAX_PAGES came with 7.28. A daemon that agrees to 0 pages means 1 (Linux
        // `process_init_reply`).
        let pages = match reply.flags & abi::MAX_PAGES {
            0 => PAGES_DEFAULT,
            _ if minor < 28 => PAGES_DEFAULT,
            _ => u32::from(reply.max_pages).max(1),
        };
        let read_bytes_max = pages.min(READ_BYTES_MAX >> PAGE_BITS) << PAGE_BITS;
        Ok(Session { minor: minor.min(MINOR), read_bytes_max, unique: UNIQUE_STEP })
    }
}

impl Session {
    /// Returns the longest read that the daemon agreed to, in bytes: a multiple of 4096, at most
    /// 1 MiB.
    pub fn read_bytes_max(&self) -> u32 {
        self.read_bytes_max
    }

    /// Returns a request for `size` bytes at byte `offset` of an open file. The daemon may refuse a
    /// `size` over [`Session::read_bytes_max`], or send fewer bytes.
    pub fn read_request(&mut self, file: &OpenFile, offset: u64, size: u32) -> ReadRequest {
        ReadRequest::new(self.next_unique(), file.nodeid, file.fh, offset, size)
    }

    /// Returns the minor version of the protocol.
    pub(super) fn minor(&self) -> u32 {
        self.minor
    }

    /// Returns the number of the next request. Numbers repeat after 2^63 requests.
    pub(super) fn next_unique(&mut self) -> u64 {
        self.unique = self.unique.wrapping_add(UNIQUE_STEP);
        self.unique
    }
}
