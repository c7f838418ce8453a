//! Finds out whether a share still has the same daemon: a monitor may connect one that was started
//! anew without a word to the guest, and requests that the old daemon had not answered are lost.
//!
//! Always: a share is asked only while a request is not answered, or after a read that failed. The
//! old daemon's requests end, by a reset, before the new daemon gets any.

use rootlet::fuse::{Answer, Question};
use virtio_drivers::transport::Transport;

use super::late::{Fault, State};
use super::{Kind, Port, Rings, StartError, Tail};
use crate::virtio::chain::{Data, TAIL_BYTES_MAX};
use crate::virtio::ring::Flight;

/// How long a request is not answered before a daemon is asked. After that it is asked each time
/// that the silence has lasted as long again, or a quarter longer.
const SILENT_NS: u64 = 400_000_000;
/// This part of a share's ring is for questions: each that is lost keeps its place.
pub(super) const PART_OF_RING: usize = 3;

/// What a daemon is asked, and when.
#[derive(Debug)]
pub(super) struct Asking {
    /// Asks after the file that was opened last.
    question: Option<Question>,
    /// The silence after which it is asked again.
    next_ns: u64,
}

impl Default for Asking {
    fn default() -> Self {
        Self { question: None, next_ns: SILENT_NS }
    }
}

impl<T: Transport> Port<T> {
    /// Sets what the daemon is asked from now on; with `None` it is not.
    pub(crate) fn ask_about(&mut self, question: Option<Question>) {
        self.asking.question = question;
    }

    /// Returns whether the daemon was started anew, and the share with it is to be.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self.state, State::Stopped(_, Fault::Forgotten))
    }

    /// Asks a daemon that keeps silent.
    pub(super) fn ask_if_silent(&mut self, now_ns: u64) {
        let since_ns = self.rings.requests.unanswered_since_ns();
        let silent_ns = since_ns.map_or(0, |since_ns| now_ns - since_ns);
        if silent_ns < SILENT_NS {
            self.asking.next_ns = SILENT_NS;
        } else if silent_ns >= self.asking.next_ns {
            self.asking.next_ns = silent_ns + (silent_ns / 4).max(SILENT_NS);
            self.put_question(now_ns);
        }
    }

    /// Asks a daemon that has failed a read, unless an answer is on its way.
    pub(super) fn suspect(&mut self, since_ns: u64) {
        if !self.rings.requests.has_question() {
            self.put_question(since_ns);
        }
    }

    fn put_question(&mut self, since_ns: u64) {
        let Some(question) = &mut self.asking.question else { return };
        let (bytes, answer) = question.ask();
        let kind = Kind::Question(answer);
        let flight = Flight { owner: None, since_ns, deadline_ns: u64::MAX, kind, kept: None };
        let ring = &mut self.rings.requests;
        // SAFETY: nothing is lent; the question is copied.
        let asked =
            unsafe { ring.submit(&[&bytes], Data::None, Tail::First(TAIL_BYTES_MAX), flight) };
        // A full ring has many questions already.
        if asked.is_ok() {
            ring.kick(&mut self.device.transport);
        }
    }

    /// Takes an answer. One that makes no sense is none.
    pub(super) fn answered(
        &mut self,
        answer: Answer,
        tail: &[u8; TAIL_BYTES_MAX],
        device_bytes: u32,
    ) {
        if answer.knows(tail, device_bytes) == Ok(false) {
            self.fail(Fault::Forgotten);
        }
    }

    /// Starts a share again whose daemon was started anew, and whose requests have been reaped.
    pub(crate) fn restart(&mut self) -> Result<(), StartError> {
        let State::Stopped(stopped, Fault::Forgotten) = self.state else {
            panic!("a share is started again that was not forgotten")
        };
        assert!(self.rings.flying() == 0, "requests in flight are reaped first");
        self.asking = Asking::default();
        self.state = State::Stopped(stopped, Fault::Removed);
        self.device.begin(0)?;
        *self.rings = Rings::of_share(&mut self.device)?;
        self.device.run();
        self.room.renew();
        self.state = State::Up;
        Ok(())
    }
}
