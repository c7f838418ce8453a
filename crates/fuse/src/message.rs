//! One message: the bytes of a request, and the checks that every reply must pass.
//!
//! Always: a reply is used only up to the length that its header, the device and the lent buffer
//! agree on.

use core::ops::RangeInclusive;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::abi::{EntryOut, ForgetIn, InHeader, Opcode, OutHeader};
use super::error::{Cause, Error, Operation, Want};
use rootlet_base::num::{low16, low32, wide};
use rootlet_storage::IoErrorKind;
use rootlet_storage::share::NAME_BYTES_MAX;

/// The length of a reply header in bytes.
pub(super) const HEADER_BYTES: usize = size_of::<OutHeader>();
/// The longest body of a reply of fixed form, in bytes: that of LOOKUP.
const BODY_BYTES_MAX: usize = size_of::<EntryOut>();
/// The longest target of a symbolic link in bytes (`PATH_MAX` of Linux). A daemon may not answer at
/// all if its target does not fit in the reply.
pub(super) const TARGET_BYTES_MAX: u16 = 4096;
/// The longest reply in bytes, READ excepted: that to READLINK.
pub const REPLY_BYTES_MAX: usize = 16 + 4096;
/// The longest reply of fixed form, in bytes: that to LOOKUP.
pub(super) const FIXED_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// The longest request in bytes: a LOOKUP of a name, which ends in a zero byte.
const REQUEST_BYTES_MAX: usize = size_of::<InHeader>() + NAME_BYTES_MAX + 1;
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

/// A request as it is sent, READ excepted: its bytes, and the room that its reply needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: heapless::Vec<u8, REQUEST_BYTES_MAX>,
    reply_bytes: usize,
}

impl Message {
    /// Returns the bytes of the request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes to lend for the reply, its header included; 0 for a request that has no
    /// reply (FORGET), for which nobody waits.
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Returns the request to give one lookup of a node back.
    pub(super) fn forget(unique: u64, nodeid: u64) -> Self {
        let (body, bytes) = (ForgetIn { nlookup: 1 }, length_of::<ForgetIn>());
        let header = header(Opcode::FORGET, unique, nodeid, bytes);
        let parts = [header.as_bytes(), body.as_bytes()];
        Self { bytes: parts.into_iter().flatten().copied().collect(), reply_bytes: 0 }
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
    /// The shortest valid body of the reply and the longest that has room, in bytes.
    pub body_bytes: RangeInclusive<u16>,
}

impl Call<'_> {
    /// Returns the request with the number `unique`, and the check of its reply.
    ///
    /// # Panics
    /// If the request is too long: a name was not checked.
    #[expect(clippy::expect_used, reason = "all names of a path are checked before one is sent")]
    pub(super) fn message(&self, unique: u64) -> (Message, Expected) {
        let &Self { operation, opcode, nodeid, parts: [first, second], .. } = self;
        let length = first.len().checked_add(second.len());
        let length = length.and_then(|length| u16::try_from(length).ok()).expect("a short name");
        let header = header(opcode, unique, nodeid, length);
        let parts = [header.as_bytes(), first, second];
        let bytes = parts.into_iter().flatten().copied().collect();
        let reply_bytes = HEADER_BYTES + usize::from(*self.body_bytes.end());
        let body_bytes_min = *self.body_bytes.start();
        (Message { bytes, reply_bytes }, Expected { operation, unique, body_bytes_min })
    }
}

/// The check of the reply to a request, kept while the request is under way.
#[derive(Debug)]
pub(super) struct Expected {
    /// The operation that an error names.
    pub operation: Operation,
    unique: u64,
    body_bytes_min: u16,
}

impl Expected {
    /// Returns the body of a reply, and the number of its bytes that arrived; the others are zero.
    /// `lent` and `used` are those of [`Expected::body`].
    pub(super) fn fixed<B: FromBytes + IntoBytes + Immutable>(
        &self,
        lent: &[u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<(B, usize), Error> {
        const { assert!(size_of::<B>() <= BODY_BYTES_MAX) };
        let arrived = self.body(lent, used)?;
        let mut body = B::new_zeroed();
        for (to, from) in body.as_mut_bytes().iter_mut().zip(arrived) {
            *to = *from;
        }
        Ok((body, arrived.len()))
    }

    /// Returns the bytes of a reply's body. `lent` was lent for the reply, and `used` is the length of
    /// the reply that the device reports, or why there is none.
    pub(super) fn body<'r>(
        &self,
        lent: &'r [u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<&'r [u8], Error> {
        let body = used.map_err(Cause::Io).and_then(|used| self.checked(lent, used));
        body.map_err(|cause| Error { operation: self.operation, cause })
    }

    fn checked<'r>(&self, lent: &'r [u8], used: usize) -> Result<&'r [u8], Cause> {
        let malformed =
            |want| Cause::Malformed { what: "the reply's length", got: wide(used), want };
        let arrived = lent.get(..used);
        let arrived = arrived.ok_or_else(|| malformed(Want::AtMost(wide(lent.len()))))?;
        let (head, body) = OutHeader::read_from_prefix(arrived)
            .map_err(|_| malformed(Want::AtLeast(wide(HEADER_BYTES))))?;
        check(head, self.unique, wide(used))?;
        if body.len() < usize::from(self.body_bytes_min) {
            let bytes = HEADER_LEN + u32::from(self.body_bytes_min);
            return Err(malformed(Want::AtLeast(u64::from(bytes))));
        }
        Ok(body)
    }
}
