//! The talk with the daemon of a share that was started anew: a session, and one file opened again,
//! message by message, while others read.
//!
//! Always: a talk continues when jobs are polled, and waits for nothing; jobs of its file stay in the
//! table until it is over. A share has one talk at a time.

use alloc::boxed::Box;

use rootlet::fuse::{self, Handshake, Message, OpenFile, Opening, Session};
use rootlet::storage::{DeviceId, IoErrorKind};
use virtio_drivers::transport::Transport;

use super::call::Call;
use super::{Devices, Share};

/// A talk about one file.
pub(super) struct Talk {
    file: usize,
    /// The beginning of a session, while that is under way.
    handshake: Option<Handshake>,
    opening: Opening<Box<[u8]>>,
    /// Whether a request is under way.
    is_asking: bool,
}

/// The file that a talk was about, and whether it is open again.
type Talked = (usize, Result<(), IoErrorKind>);

impl Talk {
    /// Returns the next message; `None` at the end.
    fn next(&mut self, session: &mut Option<Session>) -> Option<Message> {
        match session {
            Some(session) => self.opening.next(session),
            None => {
                let (message, handshake) = Handshake::begin();
                self.handshake = Some(handshake);
                Some(message)
            }
        }
    }

    /// Takes a reply.
    fn answer(
        &mut self,
        session: &mut Option<Session>,
        lent: &[u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<(), fuse::Error> {
        match self.handshake.take() {
            Some(handshake) => *session = Some(handshake.answer(lent, used)?),
            None => self.opening.answer(lent, used),
        }
        Ok(())
    }
}

impl Share {
    /// Takes the talk as far as it goes without waiting. Returns the file that it was about, and the
    /// result, when it is over.
    fn advance<T: Transport>(
        &mut self,
        call: &mut Call<'_, T>,
    ) -> Option<(usize, Result<OpenFile, fuse::Error>)> {
        let Self { session, talk, .. } = self;
        let now = talk.as_mut()?;
        // Ends: the messages of an opening are bounded.
        let talked = loop {
            if now.is_asking {
                let answer = |lent: &_, used| now.answer(session, lent, used);
                let answered = call.port.reply(answer)?;
                now.is_asking = false;
                if let Err(error) = answered {
                    break Err(error);
                }
            }
            if !call.port.has_room_to_ask() && call.port.ended().is_none() {
                return None;
            }
            let Some(message) = now.next(session) else { break Ok(()) };
            let deadline = call.watch.deadline(call.timeout_ns);
            let reply_bytes = message.reply_bytes();
            if reply_bytes == 0 {
                // What a daemon forgets concerns its memory only.
                let _ = call.port.tell(message.bytes(), deadline);
                continue;
            }
            match call.port.ask(message.bytes(), reply_bytes, deadline) {
                Ok(()) => now.is_asking = true,
                Err(kind) => {
                    if let Err(error) = now.answer(session, &[], Err(kind)) {
                        break Err(error);
                    }
                }
            }
        };
        let Talk { file, opening, .. } = talk.take()?;
        Some((file, talked.and_then(|()| opening.end())))
    }
}

impl<T: Transport> Devices<T> {
    /// Returns the number of a device's file if the daemon that had it open was started anew, as far
    /// as is known.
    fn stale(&self, device: DeviceId) -> Option<usize> {
        let number = usize::from(device.0).checked_sub(self.disks.len())?;
        (!self.is_current(self.files.get(number)?)).then_some(number)
    }

    /// Opens a file of a share again if the daemon that had it open was started anew, and waits for
    /// that.
    pub(super) fn renew(&mut self, device: DeviceId) -> Result<(), IoErrorKind> {
        let Some(wanted) = self.stale(device) else { return Ok(()) };
        let share = self.files[wanted].share;
        // Ends: a talk about another file is over before the one about this file begins.
        loop {
            self.begin_talk(wanted);
            if let Some((file, result)) = self.finish_talk(share)
                && file == wanted
            {
                return result;
            }
        }
    }

    /// Begins a talk about a file, unless there is one with its daemon.
    fn begin_talk(&mut self, number: usize) {
        let share = self.files[number].share;
        if self.shares[share].talk.is_none() {
            self.revive(share);
            let file = &self.files[number];
            let opening = Opening::again(file.name.as_bytes().into(), file.open.version)
                .expect("the path of a file that was opened");
            let talk = Talk { file: number, handshake: None, opening, is_asking: false };
            self.shares[share].talk = Some(talk);
        }
    }

    /// Takes a share's talk as far as it goes. Returns what came of it when it is over.
    fn advance(&mut self, share: usize) -> Option<Talked> {
        let (share, mut call) = self.call(share);
        let (file, result) = share.advance(&mut call)?;
        Some(self.end_talk(file, result))
    }

    /// Waits for the end of a share's talk, if there is one.
    pub(super) fn finish_talk(&mut self, share: usize) -> Option<Talked> {
        let (share, mut call) = self.call(share);
        share.talk.as_ref()?;
        let (file, result) = call.wait_for(|call| share.advance(call));
        Some(self.end_talk(file, result))
    }

    fn end_talk(&mut self, number: usize, opened: Result<OpenFile, fuse::Error>) -> Talked {
        let file = &mut self.files[number];
        let result = opened.map(|open| {
            file.restarts = self.shares[file.share].restarts;
            self.ports[file.port].ask_about(Some(open.question()));
            file.open = open;
        });
        (number, result.map_err(IoErrorKind::from))
    }

    /// Ends the jobs that wait for a file, which cannot be opened again.
    fn end_waiting(&mut self, number: usize, kind: IoErrorKind) {
        let first = self.disks.len();
        let is_of = |device: DeviceId| usize::from(device.0).checked_sub(first) == Some(number);
        self.waiters.jobs.end_waiting(is_of, kind);
    }

    /// Returns whether a job has to wait until its file is open again.
    pub(super) fn has_to_wait(&self, device: DeviceId) -> bool {
        self.stale(device).is_some()
    }

    /// Takes the talks further for which jobs wait, and submits the jobs whose files are open again.
    pub(super) fn talk_for_jobs(&mut self) {
        for share in 0..self.shares.len() {
            // Ends: after each talk its file is open, or no job waits for it.
            loop {
                let of_share = |number: &usize| self.files[*number].share == share;
                let waiting = self.waiters.jobs.waiting(0);
                let number = waiting.filter_map(|(_, device)| self.stale(device)).find(of_share);
                let Some(number) = number else { break };
                self.begin_talk(number);
                let Some((file, result)) = self.advance(share) else { break };
                if let Err(kind) = result {
                    self.end_waiting(file, kind);
                }
            }
        }
        let mut from = 0;
        loop {
            let next = self.waiters.jobs.waiting(from).next();
            let Some((index, device)) = next else { break };
            from = index + 1;
            if self.stale(device).is_none() && self.has_room_for_job(device) {
                let job = self.waiters.jobs.take_waiting(index);
                self.submit_job(index, job);
            }
        }
    }
}
