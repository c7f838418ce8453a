//! FUSE as a client speaks it: messages, and a session that opens and reads regular files.
//!
//! Always: nothing here moves bytes itself, a [`Transport`] does; no number that a daemon sent is
//! used before it was checked, and no reply is believed beyond the bytes that arrived.
//!
//! The format is that of Linux `include/uapi/linux/fuse.h`, protocol 7, in the byte order of this
//! machine, as virtio-fs carries it (virtio 1.2 5.11). Only what a reader needs is spoken: INIT,
//! LOOKUP, READLINK, FORGET, OPEN, READ, FLUSH, RELEASE, DESTROY. Nothing is allocated.

use crate::storage::IoErrorKind;

mod error;
mod message;
mod question;
mod read;
mod session;

pub use crate::storage::PathFault;
pub use crate::storage::share::{COMPONENTS_MAX, LINKS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
pub use error::{Cause, Error, Operation, Want};
pub use question::{Answer, QUESTION_BYTES, Question};
pub use read::{READ_REQUEST_BYTES, REPLY_HEADER_BYTES, ReadReply, ReadRequest};
pub use session::{OpenFile, READ_BYTES_MAX, Session};

/// The longest reply in bytes but for that to a READ: that to a READLINK.
pub const REPLY_BYTES_MAX: usize = REPLY_HEADER_BYTES + session::TARGET_BYTES_MAX;

/// Carries messages to a daemon and back, one at a time.
pub trait Transport {
    /// Sends one request, made of the parts in their order, and waits for its reply.
    ///
    /// Returns how many bytes the device says it wrote to `reply`, from its start. A number over
    /// `reply.len()` is a lie of the device, and is refused by the session.
    fn exchange(&mut self, request: &[&[u8]], reply: &mut [u8]) -> Result<usize, IoErrorKind>;

    /// Sends one request that has no reply (FORGET), made of the parts in their order.
    fn send(&mut self, request: &[&[u8]]) -> Result<(), IoErrorKind>;
}
