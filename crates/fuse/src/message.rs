//! One message: the header of a request, and the checks that every reply must pass.
//!
//! Always: a reply is used only up to the length that its header, the device and the lent buffer
//! agree on.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Transport;
use super::abi::{EntryOut, InHeader, Opcode, OutHeader};
use super::error::{Cause, Error, Operation, Want};
use rootlet_base::num::{low16, low32, wide};
use rootlet_storage::PathFault;

/// The length of a reply header in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<OutHeader>();
/// The longest body of a reply of fixed form, in bytes: that of LOOKUP.
const BODY_BYTES_MAX: usize = size_of::<EntryOut>();
/// The longest reply of fixed form, in bytes.
const REPLY_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// The largest errno of an error field (Linux `fuse_dev_do_write`).
const ERRNO_MAX: u32 = 511;
/// The length of a request header, as a field of a header.
const REQUEST_HEADER_LEN: u32 = low32(wide(size_of::<InHeader>()));
/// [`HEADER_BYTES`] as a field of a header.
const HEADER_LEN: u32 = low32(wide(HEADER_BYTES));

/// Returns the length of the body `B` in bytes.
pub(super) const fn length_of<B>() -> u16 {
    const { assert!(size_of::<B>() <= BODY_BYTES_MAX) };
    low16(low32(wide(size_of::<B>())))
}

/// Returns the header of a request whose other parts have `body_bytes` bytes together.
pub(super) fn header(opcode: Opcode, unique: u64, nodeid: u64, body_bytes: u16) -> InHeader {
    InHeader {
        len: REQUEST_HEADER_LEN + u32::from(body_bytes),
        opcode: opcode.0,
        unique,
        nodeid,
        uid: 0,
        gid: 0,
        pid: 0,
        total_extlen: 0,
        padding: 0,
    }
}

/// Checks a reply header against the request's `unique` and the length that the device reported.
/// Returns the length of the reply's body in bytes.
///
/// All three rules are those of `/dev/fuse` (Linux `fuse_dev_do_write`): the header's length is
/// the whole length, the error is 0 or a negative errno over -512, and an error has no body.
pub(super) fn check(reply: OutHeader, unique: u64, device_len: u64) -> Result<u32, Cause> {
    let malformed = |what, got, want| Err(Cause::Malformed { what, got, want });
    if u64::from(reply.len) != device_len {
        let want = Want::Exactly(device_len);
        return malformed("the length in the reply header", u64::from(reply.len), want);
    }
    let Some(body) = reply.len.checked_sub(HEADER_LEN) else {
        return malformed("the reply's length", u64::from(reply.len), Want::AtLeast(16));
    };
    if reply.unique != unique {
        return malformed("the reply's unique number", reply.unique, Want::Exactly(unique));
    }
    match (reply.error, reply.error.unsigned_abs()) {
        (0, _) => Ok(body),
        (..0, errno @ ..=ERRNO_MAX) if body == 0 => Err(Cause::Errno(errno)),
        (..0, ..=ERRNO_MAX) => {
            malformed("the length of an error reply", u64::from(reply.len), Want::Exactly(16))
        }
        (1.., magnitude) => {
            malformed("the error field, positive,", u64::from(magnitude), Want::Exactly(0))
        }
        (_, magnitude) => {
            malformed("the errno", u64::from(magnitude), Want::AtMost(u64::from(ERRNO_MAX)))
        }
    }
}

/// A request that has a reply.
pub(super) struct Call<'a> {
    /// The operation that an error names.
    pub operation: Operation,
    pub opcode: Opcode,
    pub nodeid: u64,
    /// The parts after the header.
    pub parts: [&'a [u8]; 2],
    /// The shortest valid body of the reply, in bytes.
    pub body_bytes_min: u16,
}

impl Call<'_> {
    /// Sends the request with the number `unique`. Returns the reply's body, and the number of its
    /// bytes that arrived; the others are zero.
    pub(super) fn run<B: FromBytes + IntoBytes + Immutable>(
        &self,
        unique: u64,
        transport: &mut impl Transport,
    ) -> Result<(B, usize), Error> {
        const { assert!(size_of::<B>() <= BODY_BYTES_MAX) };
        let mut body = B::new_zeroed();
        let mut reply = [0; REPLY_BYTES_MAX];
        let (reply, _) = reply.split_at_mut(const { HEADER_BYTES + size_of::<B>() });
        let arrived = self.exchange(unique, transport, reply)?;
        for (to, from) in body.as_mut_bytes().iter_mut().zip(arrived) {
            *to = *from;
        }
        Ok((body, arrived.len()))
    }

    /// Sends the request with the number `unique`, lends `reply` for header and body, and returns
    /// the bytes of the body that arrived.
    pub(super) fn exchange<'r>(
        &self,
        unique: u64,
        transport: &mut impl Transport,
        reply: &'r mut [u8],
    ) -> Result<&'r [u8], Error> {
        let used = self.send(unique, transport, reply);
        let body = used.and_then(|used| self.checked(unique, reply, used));
        body.map_err(|cause| Error { operation: self.operation, cause })
    }

    /// Sends the request, and returns the length of the reply that the device reports.
    fn send(
        &self,
        unique: u64,
        transport: &mut impl Transport,
        reply: &mut [u8],
    ) -> Result<usize, Cause> {
        let [first, second] = self.parts;
        let bytes = first.len().checked_add(second.len());
        // Only a name can be too long.
        let bytes = bytes.and_then(|bytes| u16::try_from(bytes).ok());
        let bytes = bytes.ok_or(Cause::Path(PathFault::Long(first.len())))?;
        let header = header(self.opcode, unique, self.nodeid, bytes);
        transport.exchange(&[header.as_bytes(), first, second], reply).map_err(Cause::Io)
    }

    /// Returns the body of a reply; `used` is the length of the reply that the device reports.
    fn checked<'r>(&self, unique: u64, reply: &'r [u8], used: usize) -> Result<&'r [u8], Cause> {
        let malformed =
            |want| Cause::Malformed { what: "the reply's length", got: wide(used), want };
        let arrived = reply.get(..used);
        let arrived = arrived.ok_or_else(|| malformed(Want::AtMost(wide(reply.len()))))?;
        let (head, body) = OutHeader::read_from_prefix(arrived)
            .map_err(|_| malformed(Want::AtLeast(wide(HEADER_BYTES))))?;
        check(head, unique, wide(used))?;
        if body.len() < usize::from(self.body_bytes_min) {
            let bytes = HEADER_LEN + u32::from(self.body_bytes_min);
            return Err(malformed(Want::AtLeast(u64::from(bytes))));
        }
        Ok(body)
    }
}
