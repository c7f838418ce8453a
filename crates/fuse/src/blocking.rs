//! The methods of a session that wait: a transport carries their messages to the daemon and back.
//!
//! Always: every lookup of a node is given back by exactly one FORGET, also when an opening fails
//! half-way.

use zerocopy::IntoBytes;

use super::Transport;
use super::abi::{Opcode, ReleaseIn};
use super::error::{Cause, Error, Operation};
use super::message::{Call, FIXED_BYTES_MAX, Message, REPLY_BYTES_MAX};
use super::opening::Opening;
use super::session::{Handshake, OpenFile, Session};
use rootlet_base::trace::{self, Shown};
use rootlet_storage::IoErrorKind;

impl Session {
    /// Begins a session: agrees with the daemon on a version and the size of messages (INIT).
    ///
    /// # Errors
    /// [`Cause::Version`] if the major version is not 7; failures of the daemon or the transport.
    pub fn connect(transport: &mut impl Transport) -> Result<Self, Error> {
        let (message, handshake) = Handshake::begin();
        exchange(transport, &message, |lent, used| handshake.answer(lent, used))
    }

    /// Opens the regular file at `path`, see [`Opening::new`].
    ///
    /// # Errors
    /// [`Cause::Path`], before anything is sent; those of [`Opening::end`].
    pub fn open(&mut self, transport: &mut impl Transport, path: &[u8]) -> Result<OpenFile, Error> {
        self.carry(transport, Opening::new(path)?)
    }

    /// Reopens a file that an earlier session had open at `path`, and updates `file`. The numbers
    /// in `file` are void: the daemon of that session is gone.
    ///
    /// # Errors
    /// Those of [`Session::open`]; [`Cause::Changed`] if the file at `path` has another version.
    /// Then nothing stays looked up or open, and `file` is unchanged.
    pub fn reopen(
        &mut self,
        transport: &mut impl Transport,
        path: &[u8],
        file: &mut OpenFile,
    ) -> Result<(), Error> {
        *file = self.carry(transport, Opening::again(path, file.version)?)?;
        Ok(())
    }

    /// Carries the messages of an opening until there are no more.
    fn carry(
        &mut self,
        transport: &mut impl Transport,
        mut opening: Opening<&[u8]>,
    ) -> Result<OpenFile, Error> {
        // Ends: the components of a path are bounded, and so are the links that are followed.
        while let Some(message) = opening.next(self) {
            if message.reply_bytes() > 0 {
                exchange(transport, &message, |lent, used| opening.answer(lent, used));
            } else if let Err(kind) = transport.send(message.bytes()) {
                // It only costs the daemon memory.
                trace::warn!("FUSE FORGET: {}", Shown(&kind));
            }
        }
        opening.end()
    }

    /// Closes a file (RELEASE) and gives its node back (FORGET). Tries both in any case.
    ///
    /// # Errors
    /// The first of the two failures.
    pub fn close(&mut self, transport: &mut impl Transport, file: OpenFile) -> Result<(), Error> {
        let body = ReleaseIn { fh: file.fh, flags: 0, release_flags: 0, lock_owner: 0 };
        let released = self.run(
            transport,
            &Call {
                operation: Operation::Release,
                opcode: Opcode::RELEASE,
                nodeid: file.nodeid,
                parts: [body.as_bytes(), &[]],
                body_bytes: 0..=0,
            },
        );
        let forget = Message::forget(self.next_unique(), file.nodeid);
        let forgotten = transport.send(forget.bytes());
        released?;
        forgotten.map_err(|kind| Error { operation: Operation::Forget, cause: Cause::Io(kind) })
    }

    /// Ends the session (DESTROY): the daemon drops its nodes and open files.
    ///
    /// # Errors
    /// Failures of the daemon or the transport.
    pub fn destroy(&mut self, transport: &mut impl Transport) -> Result<(), Error> {
        self.run(
            transport,
            &Call {
                operation: Operation::Destroy,
                opcode: Opcode::DESTROY,
                nodeid: 0,
                parts: [&[], &[]],
                body_bytes: 0..=0,
            },
        )
    }

    /// Sends a request, and waits for its reply, which has no body.
    fn run(&mut self, transport: &mut impl Transport, call: &Call<'_>) -> Result<(), Error> {
        let (message, expected) = call.message(self.next_unique());
        exchange(transport, &message, |lent, used| expected.fixed::<()>(lent, used).map(|_| ()))
    }
}

/// Sends a request, waits for its reply, and hands to `answer` what was lent for the reply and the
/// length that the device reports.
fn exchange<T>(
    transport: &mut impl Transport,
    message: &Message,
    answer: impl FnOnce(&[u8], Result<usize, IoErrorKind>) -> T,
) -> T {
    match message.reply_bytes() {
        ..=FIXED_BYTES_MAX => exchange_in::<FIXED_BYTES_MAX, T>(transport, message, answer),
        _ => exchange_in::<REPLY_BYTES_MAX, T>(transport, message, answer),
    }
}

// Not inlined: few paths have a link, and a link's target takes kilobytes of stack.
#[inline(never)]
fn exchange_in<const N: usize, T>(
    transport: &mut impl Transport,
    message: &Message,
    answer: impl FnOnce(&[u8], Result<usize, IoErrorKind>) -> T,
) -> T {
    let mut reply = [0; N];
    let (lent, _) = reply.split_at_mut(message.reply_bytes());
    let used = transport.exchange(message.bytes(), lent);
    answer(lent, used)
}
