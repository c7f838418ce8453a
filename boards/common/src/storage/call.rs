//! One request that is waited for by itself: a FUSE message, a disk's name.
//!
//! Always: batches and background jobs of its device continue meanwhile. Nothing
//! of the caller's is lent: what a device never gives back is the port's.

use core::ptr::NonNull;

use rootlet::storage::{IoErrorKind, Spin};
use virtio_drivers::transport::Transport;

use super::waiters::Waiters;
use super::watch::Watch;
use crate::virtio::chain::Kept;
use crate::virtio::port::{Ended, Port, Request};
use crate::virtio::ring::Owner;

/// One request to one device that somebody waits for.
pub(super) struct Call<'c, T: Transport> {
    pub(super) port: &'c mut Port<T>,
    pub(super) waiters: &'c mut Waiters,
    pub(super) watch: &'c mut Watch,
    pub(super) timeout_ns: u64,
}

impl<T: Transport> Call<'_, T> {
    /// Sends a message to a share's daemon and waits for its reply, the front of which is copied to
    /// `reply`. Returns the bytes that arrived.
    pub(super) fn exchange(
        &mut self,
        parts: &[&[u8]],
        reply: &mut [u8],
    ) -> Result<usize, IoErrorKind> {
        self.make_room();
        // A request that was given up has the room; then the device takes no other one.
        let Some(room) = self.port.take_room() else { return Err(IoErrorKind::Timeout) };
        let lent = NonNull::slice_from_raw_parts(room.get().cast::<u8>(), reply.len());
        if lent.len() > room.get().len() {
            self.port.give_room(room);
            return Err(IoErrorKind::Unaligned);
        }
        let request = Request::Message(parts, lent);
        let deadline = self.watch.deadline(self.timeout_ns);
        let kept = Some(Kept::Room(room));
        // SAFETY: the request keeps the room that it names.
        let submitted = unsafe { self.port.submit(request, Owner::Call, kept, deadline) };
        let (kept, result) = match submitted {
            Ok(()) => self.wait(),
            Err((kept, kind)) => (kept, Err(kind)),
        };
        if let Some(Kept::Room(room)) = kept {
            if let Ok(bytes) = result {
                // SAFETY: the request has ended and gave the room back.
                let arrived = unsafe { room.bytes() }.iter().take(bytes as usize);
                reply.iter_mut().zip(arrived).for_each(|(to, from)| *to = *from);
            }
            self.port.give_room(room);
        }
        result.map(|bytes| bytes as usize)
    }

    /// Sends a message that has no reply.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> Result<(), IoErrorKind> {
        self.make_room();
        let deadline = self.watch.deadline(self.timeout_ns);
        // SAFETY: a notice lends nothing.
        let submitted =
            unsafe { self.port.submit(Request::Notice(parts), Owner::Call, None, deadline) };
        submitted.map_err(|(_, kind)| kind)?;
        self.wait().1.map(|_| ())
    }

    /// Waits until the ring has room. What fills it are jobs and the batch of another reader, which
    /// end by themselves.
    fn make_room(&mut self) {
        let mut spin = Spin::default();
        while !self.port.has_room() && self.port.ended().is_none() {
            if let Some(ended) = self.next(&mut spin) {
                self.waiters.end(self.port, ended);
            }
        }
    }

    /// Waits for the one request that was submitted.
    fn wait(&mut self) -> (Option<Kept>, Result<u32, IoErrorKind>) {
        let mut spin = Spin::default();
        loop {
            match self.next(&mut spin) {
                Some(Ended { owner: Owner::Call, result, kept }) => return (kept, result),
                Some(ended) => self.waiters.end(self.port, ended),
                None => {}
            }
        }
    }

    /// Waits until a disk has said its name, or will not.
    pub(super) fn name(&mut self) {
        let mut spin = Spin::default();
        while !self.port.is_named() {
            if let Some(ended) = self.next(&mut spin) {
                self.waiters.end(self.port, ended);
            }
        }
    }

    /// Returns the next request that has ended. Without one for long, naps and looks at the
    /// deadlines.
    fn next(&mut self, spin: &mut Spin) -> Option<Ended> {
        self.port.kick();
        let ended = self.port.reap();
        if ended.is_none()
            && let Some(ns) = spin.round()
        {
            self.watch.nap(ns);
            self.watch.look(self.port);
        }
        ended
    }
}
