//! Answers that a port takes in by itself, one at a time: the name of a disk, a reply of a share's
//! daemon.
//!
//! Always: the answer lands in memory of the port's own, so nothing of a reader's is lent, and who has
//! asked need not wait. What a device never gives back stays with the device; until then nothing more
//! is asked.

use core::ptr::NonNull;

use rootlet::fuse::REPLY_BYTES_MAX;
use rootlet::storage::IoErrorKind;
use virtio_drivers::transport::Transport;

use super::{Deadline, Ended, Name, Port, Request};
use crate::virtio::blk::{self, SERIAL_BYTES};
use crate::virtio::chain::{Data, Kept, Shared};
use crate::virtio::ring::{Owner, Ring};

/// The memory for an answer, and what is known of the answer.
pub(super) struct Room {
    /// `None` while a device has it.
    memory: Option<Shared>,
    asked: Asked,
}

/// What a device was asked.
#[derive(Clone, Copy)]
enum Asked {
    Nothing,
    /// A disk, for its name.
    Name,
    /// A daemon, which has not replied.
    Daemon,
    /// A daemon, whose reply has this length, or will not come.
    Replied(Result<u32, IoErrorKind>),
}

impl Room {
    pub(super) fn new(of: &Name) -> Self {
        let bytes = match of {
            Name::Disk(_) => SERIAL_BYTES,
            Name::Share(_) => REPLY_BYTES_MAX,
        };
        Self { memory: Some(Shared::new(bytes)), asked: Asked::Nothing }
    }

    /// Takes the memory back, late.
    pub(super) fn give(&mut self, memory: Shared) {
        self.memory = Some(memory);
    }

    /// Makes other memory for that which a share had when it was reset.
    pub(super) fn renew(&mut self) {
        self.memory.get_or_insert_with(|| Shared::new(REPLY_BYTES_MAX));
    }
}

impl<T: Transport> Port<T> {
    /// Asks a disk for its name. A disk without one answers with an error, or with nothing.
    pub(super) fn ask_name(&mut self, deadline: Deadline) {
        let Some(memory) = self.room.memory.take() else { return };
        let request = Request::Disk(blk::Operation::GetId, 0, Data::In(memory.get()));
        let kept = Some(Kept::Room(memory));
        // SAFETY: the request keeps the memory that it names.
        if unsafe { self.submit(request, Owner::Room, kept, deadline) }.is_ok() {
            self.room.asked = Asked::Name;
        }
        self.kick();
    }

    /// Returns whether no name is on its way.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self.room.asked, Asked::Name)
    }

    /// Returns whether an answer is on its way for which nobody but the port waits.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.room.asked, Asked::Name | Asked::Daemon)
    }

    /// Returns whether a share has room for a request and for a notice.
    pub(crate) fn has_room_to_ask(&self) -> bool {
        let has_place = |ring: &Ring| ring.flying() < ring.capacity();
        self.has_room() && self.rings.notices.as_deref().is_none_or(has_place)
    }

    /// Sends a request, which has room, to a share's daemon. [`Port::reply`] has the reply.
    ///
    /// # Errors
    ///
    /// Why the share takes no requests.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        reply_bytes: usize,
        deadline: Deadline,
    ) -> Result<(), IoErrorKind> {
        assert!(matches!(self.room.asked, Asked::Nothing), "one reply is taken before the next");
        // A request that was given up has the memory; then the device takes no other one.
        let Some(memory) = self.room.memory.take() else { return Err(IoErrorKind::Timeout) };
        assert!(reply_bytes <= memory.get().len(), "every reply of a daemon has room");
        let lent = NonNull::slice_from_raw_parts(memory.get().cast::<u8>(), reply_bytes);
        let kept = Some(Kept::Room(memory));
        // SAFETY: the request keeps the memory that it names.
        match unsafe { self.submit(Request::Message(request, lent), Owner::Room, kept, deadline) } {
            Ok(()) => {
                self.room.asked = Asked::Daemon;
                Ok(())
            }
            Err((kept, kind)) => {
                if let Some(Kept::Room(memory)) = kept {
                    self.room.give(memory);
                }
                Err(kind)
            }
        }
    }

    /// Hands the reply to the last request to `take`: the memory that was lent for it, and its length
    /// as the device reports it. `None` while there is no reply.
    pub(crate) fn reply<R>(
        &mut self,
        take: impl FnOnce(&[u8], Result<usize, IoErrorKind>) -> R,
    ) -> Option<R> {
        let Asked::Replied(result) = self.room.asked else { return None };
        self.room.asked = Asked::Nothing;
        let lent = match (&self.room.memory, result) {
            // SAFETY: the request has been reaped and gave the memory back.
            (Some(memory), Ok(_)) => unsafe { memory.bytes() },
            (None, Ok(_)) => panic!("a reply gives its memory back"),
            (_, Err(_)) => &[],
        };
        Some(take(lent, result.map(|bytes| bytes as usize)))
    }

    /// Sends a message that has no reply, and has room. Nobody waits for it.
    ///
    /// # Errors
    ///
    /// Why the share takes no messages.
    pub(crate) fn tell(&mut self, notice: &[u8], deadline: Deadline) -> Result<(), IoErrorKind> {
        // SAFETY: a notice lends nothing.
        let told = unsafe { self.submit(Request::Notice(notice), Owner::Notice, None, deadline) };
        told.map_err(|(_, kind)| kind)
    }

    /// Takes in an answer that has ended, and gives everything else back.
    pub(super) fn take_in(&mut self, ended: Ended) -> Option<Ended> {
        match ended.owner {
            Owner::Batch { .. } | Owner::Job { .. } => return Some(ended),
            Owner::Notice => return None,
            Owner::Room => {}
        }
        let memory = match ended.kept {
            Some(Kept::Room(memory)) => Some(memory),
            _ => None,
        };
        self.room.asked = match (&mut self.name, &memory) {
            (Name::Share(_), _) => Asked::Replied(ended.result),
            (Name::Disk(serial), Some(memory))
                // Some devices count the name's own bytes only.
                if matches!(ended.result, Ok(_) | Err(IoErrorKind::Short(_))) =>
            {
                // SAFETY: the request has been reaped, so that the disk does not have it any more.
                serial.copy_from_slice(unsafe { memory.bytes() });
                Asked::Nothing
            }
            (Name::Disk(_), _) => Asked::Nothing,
        };
        if let Some(memory) = memory {
            self.room.give(memory);
        }
        None
    }
}
