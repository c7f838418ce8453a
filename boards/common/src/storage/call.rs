//! Waits for one answer that a port takes in by itself: a FUSE message, a disk's name.
//!
//! Always: batches and background jobs of its device continue meanwhile.

use rootlet::fuse;
use rootlet::storage::{IoErrorKind, Spin};
use virtio_drivers::transport::Transport;

use super::waiters::Waiters;
use super::watch::Watch;
use crate::virtio::port::{Ended, Port};

/// Somebody who waits for one device.
pub(super) struct Call<'c, T: Transport> {
    pub(super) port: &'c mut Port<T>,
    pub(super) waiters: &'c mut Waiters,
    pub(super) watch: &'c mut Watch,
    pub(super) timeout_ns: u64,
}

impl<T: Transport> Call<'_, T> {
    /// Waits until `is_over`, which does not wait itself, returns something.
    pub(super) fn wait_for<R>(&mut self, mut is_over: impl FnMut(&mut Self) -> Option<R>) -> R {
        let mut spin = Spin::default();
        loop {
            if let Some(result) = is_over(self) {
                return result;
            }
            if let Some(ended) = self.next(&mut spin) {
                self.waiters.end(self.port, ended);
            }
        }
    }

    /// Waits until a disk has said its name, or will not.
    pub(super) fn name(&mut self) {
        self.wait_for(|call| call.port.is_named().then_some(()));
    }

    /// Waits until a share has room for a message. What fills it are jobs and the batch of another
    /// reader, which end by themselves.
    fn make_room(&mut self) {
        self.wait_for(|call| {
            (call.port.has_room_to_ask() || call.port.ended().is_some()).then_some(())
        });
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

impl<T: Transport> fuse::Transport for Call<'_, T> {
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        self.make_room();
        let deadline = self.watch.deadline(self.timeout_ns);
        self.port.ask(request, reply.len(), deadline)?;
        self.wait_for(|call| {
            call.port.reply(|lent, used| {
                reply.iter_mut().zip(lent).for_each(|(to, from)| *to = *from);
                used
            })
        })
    }

    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind> {
        self.make_room();
        let deadline = self.watch.deadline(self.timeout_ns);
        let sent = self.port.tell(request, deadline);
        self.port.kick();
        sent
    }
}
