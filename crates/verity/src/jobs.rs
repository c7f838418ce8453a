//! Background reads of pinned devices: the leaves are known before a job starts, so its end needs
//! nothing but hashes. These are computed while the library's lock is free, by the reader that waits.
//!
//! Always: a job that ends well has brought checked bytes; one whose bytes are wrong is run once
//! more, and then fails with zeros.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use rootlet_storage::{DeviceId, Ended, IoErrorKind, Job, JobKind, Storage, Tag};

use crate::check::{Fault, Leaves, Paths};
use crate::pin::Pin;
use crate::{JOBS_LEAVES_BYTES, Verified};

/// A job under way.
#[derive(Debug)]
struct Flying {
    tag: Tag,
    device: DeviceId,
    at: u64,
    blocks: Range<u64>,
    leaves: Leaves,
    is_second: bool,
}

/// The jobs of pinned devices, from their start until they are handed back.
#[derive(Debug, Default)]
pub struct Jobs {
    flying: Vec<Flying>,
    /// Those that have ended, and are not checked.
    landed: VecDeque<Ended>,
    /// Those that are checked.
    checked: VecDeque<Ended>,
}

impl Jobs {
    /// Takes out the job that has ended.
    fn end(&mut self, job: &Job) -> Option<Flying> {
        let is = |one: &Flying| (one.tag, one.device, one.at) == (job.tag, job.device, job.at);
        let at = self.flying.iter().position(is)?;
        Some(self.flying.swap_remove(at))
    }

    /// Returns whether the jobs may hold these leaves, too.
    fn has_room_for(&self, leaves: &Leaves) -> bool {
        let held = self.flying.iter().flat_map(|flying| flying.leaves.values());
        let all: BTreeMap<*const u8, usize> =
            held.chain(leaves.values()).map(|leaf| (leaf.as_ptr(), leaf.len())).collect();
        let sum = all.values().try_fold(0_usize, |sum, bytes| sum.checked_add(*bytes));
        sum.is_some_and(|sum| sum <= JOBS_LEAVES_BYTES || self.flying.is_empty())
    }

    /// Returns whether jobs have ended that are not checked.
    pub fn has_landed(&self) -> bool {
        !self.landed.is_empty()
    }
}

impl<S: Storage> Verified<S> {
    /// Starts a job of a pinned device, or returns it: if it is not a read, if the leaves of its
    /// blocks are not all kept, or if its last block is not stored whole.
    pub(crate) fn start_pinned(&self, pin: &Pin, job: Job) -> Result<(), Job> {
        let Some(buffer) = job.buffer.as_ref().filter(|_| !pin.is_absent()) else {
            return Err(job);
        };
        let (at, len) = (job.at, buffer.len());
        let fits = pin.info.check_transfer(at, len).is_ok() && pin.read_bytes(at, len) == len;
        let (Ok(blocks), JobKind::Read, true) = (pin.blocks(at, len), job.kind, fits) else {
            return Err(job);
        };
        let mut paths = Paths::default();
        if self.find_paths(pin, blocks.clone(), &mut paths).is_err() || !paths.are_known() {
            return Err(job);
        }
        let Ok(leaves) = self.leaves(pin, blocks.clone(), &mut paths) else { return Err(job) };
        let (tag, device) = (job.tag, job.device);
        let is_room = self.jobs.lock().has_room_for(&leaves);
        if !is_room {
            return Err(job);
        }
        // Before the start: a device may end a job at once, for another thread.
        let flying = Flying { tag, device, at, blocks, leaves, is_second: false };
        self.jobs.lock().flying.push(flying);
        self.storage.start(job).inspect_err(|job| {
            self.jobs.lock().end(job);
        })
    }

    /// Returns a job that has ended, and is checked if its device is pinned. Puts aside those that have
    /// to be checked.
    pub(crate) fn poll_checked(&self) -> Option<Ended> {
        if let Some(ended) = self.jobs.lock().checked.pop_front() {
            return Some(ended);
        }
        loop {
            let ended = self.storage.poll()?;
            if !self.is_pinned(ended.0.device) {
                return Some(ended);
            }
            self.jobs.lock().landed.push_back(ended);
        }
    }

    /// Checks one job that was put aside.
    pub(crate) fn check_landed(&self) {
        let landed = self.jobs.lock().landed.pop_front();
        let Some(ended) = landed else { return };
        let checked = match self.pins.get(&ended.0.device) {
            Some(pin) => self.ended_pinned(pin, ended),
            None => Some(ended),
        };
        self.jobs.lock().checked.extend(checked);
    }

    /// Checks a job of a pinned device that has ended; `None` if it was started once more.
    fn ended_pinned(&self, pin: &Pin, ended: Ended) -> Option<Ended> {
        let (mut job, result) = ended;
        let flying = self.jobs.lock().end(&job);
        let Some(flying) = flying else {
            // Another mount's: nobody here has asked for it.
            zero(&mut job);
            return Some((job, result.and(Err(IoErrorKind::Gone))));
        };
        let checked = match (&job.buffer, result) {
            (Some(data), Ok(())) => self.check(pin, flying.blocks.clone(), data, &flying.leaves),
            (None, Ok(())) => Err(Fault::Io(IoErrorKind::Gone)),
            (_, Err(kind)) => Err(Fault::Io(kind)),
        };
        let Err(fault) = checked else { return Some((job, Ok(()))) };
        let is_untrue = matches!(fault, Fault::Untrue(_));
        let kind = self.blame(pin, fault);
        zero(&mut job);
        if is_untrue && !flying.is_second {
            self.jobs.lock().flying.push(Flying { is_second: true, ..flying });
            match self.storage.start(job) {
                Ok(()) => return None,
                Err(back) => {
                    self.jobs.lock().end(&back);
                    job = back;
                }
            }
        }
        Some((job, Err(kind)))
    }
}

/// Clears the bytes of a job that are not handed out.
fn zero(job: &mut Job) {
    let Some(buffer) = &mut job.buffer else { return };
    match buffer.get_mut() {
        Some(bytes) => bytes.fill(0),
        // Somebody else holds the bytes: the job keeps none of them.
        None => job.buffer = None,
    }
}
