//! A FUSE client: requests as messages, replies as messages, and a session that opens and reads
//! regular files by them.
//!
//! Always: nothing here moves a byte or waits, but for the methods that take a [`Transport`], which
//! does both; no number from a daemon is used before it was checked, and no byte of a reply that did
//! not arrive.
//!
//! The format is that of Linux `include/uapi/linux/fuse.h`, protocol 7, in the byte order of this
//! machine, as virtio-fs carries it (virtio 1.2 5.11). The client sends INIT, LOOKUP, READLINK,
//! FORGET, OPEN, READ, FLUSH, RELEASE and DESTROY. It allocates nothing.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

use rootlet_storage::IoErrorKind;

mod abi;
mod blocking;
mod error;
mod message;
mod opening;
mod question;
mod read;
mod session;

pub use error::{Cause, Error, Operation, Want};
pub use message::{Message, REPLY_BYTES_MAX};
pub use opening::Opening;
pub use question::{Answer, Question};
pub use read::{REPLY_HEADER_BYTES, ReadReply, ReadRequest};
pub use rootlet_storage::PathFault;
pub use rootlet_storage::share::{COMPONENTS_MAX, LINKS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
pub use session::{Handshake, OpenFile, Session};

/// A carrier of messages to a daemon and back, which waits for each reply.
pub trait Transport {
    /// Sends one request, and waits for its reply.
    ///
    /// Returns the number of bytes that the device reports to have written to the start of `reply`.
    /// The session refuses a number over `reply.len()`.
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind>;

    /// Sends one request without a reply (FORGET).
    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind>;
}
