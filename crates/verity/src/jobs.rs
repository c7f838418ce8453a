//! Background reads of pinned devices: the leaves are known before a job starts, so its end needs
//! nothing but hashes.
//!
//! Always: a job that ends well has brought checked bytes; one whose bytes are wrong is run once
//! more, and then fails with zeros.

use alloc::vec::Vec;
use core::ops::Range;

use rootlet_storage::{DeviceId, Ended, IoErrorKind, Job, JobKind, Storage, Tag};

use crate::Verified;
use crate::check::{Fault, Leaves, Paths};
use crate::pin::Pin;

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

/// The jobs under way.
#[derive(Debug, Default)]
pub struct Jobs(Vec<Flying>);

impl Jobs {
    /// Takes out the job that has ended.
    fn end(&mut self, job: &Job) -> Option<Flying> {
        let is = |one: &Flying| (one.tag, one.device, one.at) == (job.tag, job.device, job.at);
        let at = self.0.iter().position(is)?;
        Some(self.0.swap_remove(at))
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
        // Before the start: a device may end a job at once, for another thread.
        self.jobs.lock().0.push(Flying { tag, device, at, blocks, leaves, is_second: false });
        self.storage.start(job).inspect_err(|job| {
            self.jobs.lock().end(job);
        })
    }

    /// Checks a job of a pinned device that has ended; `None` if it was started once more.
    pub(crate) fn ended_pinned(&self, pin: &Pin, ended: Ended) -> Option<Ended> {
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
            self.jobs.lock().0.push(Flying { is_second: true, ..flying });
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
