//! One message: the header of a request, and the checks that every reply must pass.
//!
//! Always: a reply counts only as far as the header, the device and the lent buffer agree on its
//! length.

use fuse_abi::linux::{fuse_in_header, fuse_opcode, fuse_out_header};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Transport;
use super::error::{Cause, Error, Operation, Want};
use crate::storage::IoErrorKind;

/// Length of a request header in bytes.
pub(super) const REQUEST_HEADER_BYTES: usize = size_of::<fuse_in_header>();
/// Length of a reply header in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<fuse_out_header>();
/// The longest body of a reply of fixed form in bytes: that of LOOKUP.
const BODY_BYTES_MAX: usize = 128;
/// The longest reply of fixed form in bytes.
const REPLY_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// Error fields lie above this one (Linux `fuse_dev_do_write`).
const ERRNO_END: u32 = 512;

const _: () = assert!(REQUEST_HEADER_BYTES == 40 && HEADER_BYTES == 16);

/// The number of an operation.
#[expect(clippy::as_conversions, reason = "an enum of repr(u32) has no other way to its number")]
const fn number(opcode: fuse_opcode) -> u32 {
    opcode as u32
}

/// The header of a request whose parts after it have `body_bytes` bytes in all.
pub(super) fn header(
    opcode: fuse_opcode,
    unique: u64,
    nodeid: u64,
    body_bytes: usize,
) -> fuse_in_header {
    let bytes = REQUEST_HEADER_BYTES.saturating_add(body_bytes);
    fuse_in_header {
        // Bodies are a few hundred bytes: a name or one of the fixed structures.
        len: u32::try_from(bytes).unwrap_or(u32::MAX),
        opcode: number(opcode),
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
/// Returns the length of the body in bytes.
///
/// All three rules are those of `/dev/fuse` (Linux `fuse_dev_do_write`): the header's length is
/// the whole length, the error is 0 or a negative errno over -512, and an error has no body.
pub(super) fn check(reply: fuse_out_header, unique: u64, device_len: u32) -> Result<u32, Cause> {
    let malformed = |what, got, want| Err(Cause::Malformed { what, got, want });
    if reply.len != device_len {
        let want = Want::Exactly(u64::from(device_len));
        return malformed("the length in the reply header", u64::from(reply.len), want);
    }
    let Some(body) = u32::try_from(HEADER_BYTES).ok().and_then(|head| reply.len.checked_sub(head))
    else {
        return malformed("the reply's length", u64::from(reply.len), Want::AtLeast(16));
    };
    if reply.unique != unique {
        return malformed("the reply's unique number", reply.unique, Want::Exactly(unique));
    }
    match (reply.error, reply.error.unsigned_abs()) {
        (0, _) => Ok(body),
        (..0, errno @ ..ERRNO_END) if body == 0 => Err(Cause::Errno(errno)),
        (..0, ..ERRNO_END) => {
            malformed("the length of an error reply", u64::from(reply.len), Want::Exactly(16))
        }
        (1.., magnitude) => {
            malformed("the error field, positive,", u64::from(magnitude), Want::Exactly(0))
        }
        (_, magnitude) => malformed(
            "the errno",
            u64::from(magnitude),
            Want::AtMost(u64::from(ERRNO_END.saturating_sub(1))),
        ),
    }
}

/// One request with a reply.
pub(super) struct Call<'a> {
    /// For the error.
    pub operation: Operation,
    pub opcode: fuse_opcode,
    pub nodeid: u64,
    /// What follows the header.
    pub parts: [&'a [u8]; 2],
    /// The shortest body that is a whole reply, in bytes; a shorter reply is refused.
    pub body_bytes_min: usize,
}

impl Call<'_> {
    /// Sends the request as number `unique` and returns the reply's body, with the length in bytes
    /// of what arrived of it; the rest is zero.
    pub(super) fn run<B: FromBytes + IntoBytes + Immutable>(
        &self,
        unique: u64,
        transport: &mut impl Transport,
    ) -> Result<(B, usize), Error> {
        const { assert!(size_of::<B>() <= BODY_BYTES_MAX) };
        let mut body = B::new_zeroed();
        let mut reply = [0; REPLY_BYTES_MAX];
        let room = HEADER_BYTES.saturating_add(size_of::<B>());
        let arrived =
            self.exchange(unique, transport, reply.get_mut(..room).unwrap_or_default())?;
        for (to, from) in body.as_mut_bytes().iter_mut().zip(arrived) {
            *to = *from;
        }
        Ok((body, arrived.len()))
    }

    /// Sends the request as number `unique`, lends `reply` for header and body, and returns what
    /// arrived of the body.
    pub(super) fn exchange<'r>(
        &self,
        unique: u64,
        transport: &mut impl Transport,
        reply: &'r mut [u8],
    ) -> Result<&'r [u8], Error> {
        let used = self.send(unique, transport, reply).map_err(Cause::Io);
        let body = used.and_then(|used| self.checked(unique, reply, used));
        body.map_err(|cause| Error { operation: self.operation, cause })
    }

    fn send(
        &self,
        unique: u64,
        transport: &mut impl Transport,
        reply: &mut [u8],
    ) -> Result<usize, IoErrorKind> {
        let [first, second] = self.parts;
        let header =
            header(self.opcode, unique, self.nodeid, first.len().saturating_add(second.len()));
        transport.exchange(&[header.as_bytes(), first, second], reply)
    }

    /// The body of a reply of which the device says that `used` bytes arrived.
    fn checked<'r>(&self, unique: u64, reply: &'r [u8], used: usize) -> Result<&'r [u8], Cause> {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let malformed =
            |want| Cause::Malformed { what: "the reply's length", got: wide(used), want };
        let arrived = reply.get(..used);
        let arrived = arrived.ok_or_else(|| malformed(Want::AtMost(wide(reply.len()))))?;
        let (head, body) = fuse_out_header::read_from_prefix(arrived)
            .map_err(|_| malformed(Want::AtLeast(wide(HEADER_BYTES))))?;
        check(head, unique, u32::try_from(used).unwrap_or(u32::MAX))?;
        if body.len() < self.body_bytes_min {
            let bytes = HEADER_BYTES.saturating_add(self.body_bytes_min);
            return Err(malformed(Want::AtLeast(wide(bytes))));
        }
        Ok(body)
    }
}
