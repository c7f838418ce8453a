//! Background jobs: starting them, and what follows when one ends.
//!
//! Always: nothing is written before this mount announced itself in the superblock; a failed
//! flush, or too many failed writes, end writing for this mount.

use super::{Armed, PageJob, Phase, Seal};
use crate::geometry::{Copy2, Geometry};
use crate::num;
use crate::region::{Cache, FAULTS_MAX};
use crate::storage::events::{Cause, Departure, Kind, Place};
use crate::storage::{Buffer, Ended, IoErrorKind, Job, JobKind, Storage, UnderWay};
use crate::superblock::Superblock;
use crate::trace;
use zerocopy::IntoBytes;

/// Ended jobs of others that are kept at once.
const STRAYS_MAX: usize = 64;

/// What a background job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Data(usize),
    Page(usize),
    GroupFlush,
    Arm(Arm),
    SealFlush,
    Look,
    Mark,
    LookForMark,
}

/// A step of the announcement of this mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Settle,
    Write,
    Flush,
}

/// The jobs of the region, and those of others that ended while it looked for its own.
#[derive(Debug)]
pub(super) struct Jobs {
    own: UnderWay<(Purpose, Departure)>,
    /// Ended jobs of others, until they are asked for.
    strays: heapless::Deque<Ended, STRAYS_MAX>,
}

impl Jobs {
    /// Returns that no job is under way. Allocates room for `most`.
    pub fn new(most: usize) -> Self {
        Self { own: UnderWay::with_capacity(most), strays: heapless::Deque::new() }
    }

    /// Returns the number that no other region of this program has.
    pub fn user(&self) -> u32 {
        self.own.user()
    }

    /// Keeps an ended job that is not the region's. Returns the job that is dropped for it: the oldest
    /// where there are too many (an earlier mount must have left it), or this one, if the region had
    /// started it and it came back before.
    fn keep(&mut self, ended: Ended) -> Option<Ended> {
        let tag = ended.0.tag;
        // Of a job that ended twice the first end counts. An embedder may name two jobs alike.
        let is_kept = tag.number().is_none() && self.strays.iter().any(|(job, _)| job.tag == tag);
        if is_kept || self.own.owns(tag) {
            return Some(ended);
        }
        let oldest = if self.strays.is_full() { self.strays.pop_front() } else { None };
        self.strays.push_back(ended).err().or(oldest)
    }

    /// Takes the ended job of another that came last.
    pub fn take_stray(&mut self) -> Option<Ended> {
        self.strays.pop_back()
    }
}

impl Cache {
    /// Starts the announcement of this mount as the region's writer. A flush comes first: a
    /// guest that was killed without a power cut may have left the newest superblock, and newest
    /// pages, volatile, and their older copies are overwritten next (O2). Without a page for the
    /// superblock the flush would be in vain, and another one would follow it at once.
    pub(super) fn arm<S: Storage>(&mut self, storage: &S) {
        if self.hydrator.page_pool.has_free()
            && self.submit_flush(storage, Purpose::Arm(Arm::Settle))
        {
            self.hydrator.armed = Armed::Settling;
        }
    }

    /// Returns whether there is still something to announce: writing may have ended meanwhile.
    fn may_announce(&self) -> bool {
        self.claim.writes() || self.claim.wants_condemnation()
    }

    /// Writes the superblock with this mount's nonce and, if that is wanted, with the mark of a
    /// condemned region.
    fn announce<S: Storage>(&mut self, storage: &S) {
        self.hydrator.armed = Armed::No;
        let (next, at) = self.claim.announcement();
        let filled = self.hydrator.page_pool.filled(|page| {
            page.as_mut_bytes().copy_from_slice(&next.to_bytes());
            Some(())
        });
        let Some((buffer, ())) = filled else { return };
        match self.submit(storage, Purpose::Arm(Arm::Write), JobKind::Write, at, Some(buffer)) {
            Ok(()) => {
                self.hydrator.armed = Armed::Writing;
                self.claim.announcing();
            }
            Err(buffer) => self.hydrator.page_pool.give(buffer),
        }
    }

    /// Takes the next step of the announcement, after the end of `step`.
    fn arm_further<S: Storage>(&mut self, storage: &S, step: Arm, ok: bool) {
        match step {
            Arm::Settle if ok && self.may_announce() => self.announce(storage),
            Arm::Settle => self.announced(false),
            Arm::Write => {
                if ok && self.submit_flush(storage, Purpose::Arm(Arm::Flush)) {
                    self.hydrator.armed = Armed::Flushing;
                } else {
                    self.announced(false);
                }
            }
            Arm::Flush => {
                self.announced(ok);
                if self.hydrator.armed == Armed::Yes {
                    self.look_for_mark(storage);
                }
            }
        }
    }

    /// Writes into the superblock that everything else in the region is to be forgotten: its blocks
    /// fail their checks, and would again in every mount. That is one more announcement, in the same
    /// order: the other superblock is durable before.
    pub(super) fn condemn<S: Storage>(&mut self, storage: &S) {
        match self.hydrator.armed {
            Armed::No => self.arm(storage),
            Armed::Yes => self.announce(storage),
            Armed::Settling | Armed::Writing | Armed::Flushing => {}
        }
    }

    /// Notes that an announcement ended.
    fn announced(&mut self, ok: bool) {
        self.hydrator.armed = if ok { Armed::Yes } else { Armed::No };
        self.claim.announced(ok);
    }

    /// Reads both superblocks in the background: another machine that writes the region has announced
    /// itself there. A read that finds no buffer or no room is left to the next group.
    pub(super) fn look<S: Storage>(&mut self, storage: &S) {
        for copy in Copy2::BOTH {
            let Some(buffer) = self.hydrator.page_pool.take() else { return };
            let at = Geometry::superblock_at(copy);
            if let Err(buffer) =
                self.submit(storage, Purpose::Look, JobKind::Read, at, Some(buffer))
            {
                self.hydrator.page_pool.give(buffer);
            }
        }
    }

    /// Judges a superblock as it is now. One that is neither this mount's own nor older is of another
    /// machine, and each of the two would spoil what the other keeps.
    fn look_at(&mut self, raw: &[u8]) {
        let found = Superblock::from_bytes(raw, self.area.start);
        if found.is_ok_and(|found| !self.claim.knows(&found)) {
            self.yield_to_another();
        }
    }

    /// Leaves the region to another machine that writes it.
    pub(super) fn yield_to_another(&mut self) {
        if self.hydrator.armed == Armed::Yes && self.claim.writes() {
            self.stats.foreign_writer();
            self.claim.stop_writing("another machine writes it");
        }
    }

    /// Starts the data writes that are due, and all when buffers run short.
    pub(super) fn start_held<S: Storage>(&mut self, storage: &S) {
        match self.hydrator.armed {
            Armed::No if self.hydrator.stages.busy() > 0 => return self.arm(storage),
            Armed::Yes => {}
            _ => return,
        }
        // A write that is not due waits for more blocks, so that devices get long writes.
        let hydrator = &self.hydrator;
        let all = hydrator.hurry || hydrator.pressed();
        if !all && !hydrator.stages.any_due() {
            return;
        }
        for index in 0..self.hydrator.stages.len() {
            let stages = &self.hydrator.stages;
            let Some(write) = stages.get(index) else { continue };
            if write.started || !(all || write.due || stages.is_stuck(write)) {
                continue;
            }
            let (at, data) = (write.at, stages.slice(write));
            if self.submit(storage, Purpose::Data(index), JobKind::Write, at, data).is_err() {
                return;
            }
            self.hydrator.stages.started(index);
        }
    }

    pub(super) fn submit_flush<S: Storage>(&mut self, storage: &S, purpose: Purpose) -> bool {
        let started = self.submit(storage, purpose, JobKind::Flush, 0, None).is_ok();
        if started {
            self.stats.flushes();
        }
        started
    }

    /// Starts a job on the region's device; `at` counts from the region's start. Returns the buffer if
    /// the device has no room.
    pub(super) fn submit<S: Storage>(
        &mut self,
        storage: &S,
        purpose: Purpose,
        kind: JobKind,
        at: u64,
        buffer: Option<Buffer>,
    ) -> Result<(), Option<Buffer>> {
        let at = if kind == JobKind::Flush { 0 } else { self.area.byte(at) };
        let len = buffer.as_deref().map_or(0, <[u8]>::len);
        let departure = self.recorder.depart(storage);
        let departing = (purpose, departure);
        let Some(tag) = self.hydrator.jobs.own.depart(departing) else { return Err(buffer) };
        if let Err(job) = storage.start(Job { tag, device: self.area.device, at, kind, buffer }) {
            self.hydrator.jobs.own.end(tag);
            return Err(job.buffer);
        }
        if kind == JobKind::Write {
            self.stats.writes(len);
        }
        Ok(())
    }

    pub(super) fn ended<S: Storage>(
        &mut self,
        storage: &S,
        mut job: Job,
        result: Result<(), IoErrorKind>,
    ) {
        let Some((purpose, departure)) = self.hydrator.jobs.own.end(job.tag) else {
            return self.keep_for_others((job, result));
        };
        if self.recorder.is_on() {
            self.record_job(storage, departure, &job);
        }
        if let Err(kind) = result
            && job.kind != JobKind::Read
        {
            self.write_fault(job.kind, job.at, kind);
        }
        match purpose {
            Purpose::Data(index) => {
                drop(job);
                self.data_written(index, result.is_ok());
            }
            Purpose::Page(index) => {
                match self.hydrator.end_page_job(index) {
                    PageJob::Load(page) => {
                        self.page_loaded(page, job.buffer.as_mut().filter(|_| result.is_ok()));
                    }
                    write => self.page_written(write, Some(result)),
                }
                self.hydrator.page_pool.give(job.buffer);
            }
            Purpose::GroupFlush => {
                self.commit(result.is_ok());
                self.hydrator.phase = Phase::Pages;
            }
            Purpose::Arm(step) => {
                self.hydrator.page_pool.give(job.buffer);
                self.arm_further(storage, step, result.is_ok());
            }
            Purpose::Look => {
                if let (Ok(()), Some(raw)) = (result, job.buffer.as_deref()) {
                    self.look_at(raw);
                }
                self.hydrator.page_pool.give(job.buffer);
            }
            Purpose::Mark => {
                self.hydrator.page_pool.give(job.buffer);
                self.mark_written(result.is_ok());
            }
            Purpose::LookForMark => {
                self.look_at_mark(job.buffer.as_mut().filter(|_| result.is_ok()));
                self.hydrator.page_pool.give(job.buffer);
            }
            Purpose::SealFlush => {
                // `sync` may have given up waiting for it.
                let done = Seal::Done(result.is_ok());
                self.hydrator.seal = if self.hydrator.hurry { done } else { Seal::No };
                if result.is_ok() {
                    self.index.flushed();
                }
            }
        }
    }

    /// Records a job that ended, well or not.
    #[cold]
    fn record_job<S: Storage>(&self, storage: &S, departure: Departure, job: &Job) {
        let kind = match job.kind {
            JobKind::Read => Kind::Table,
            JobKind::Write => Kind::Write,
            JobKind::Flush => Kind::Flush,
        };
        let len = num::wide(job.buffer.as_deref().map_or(0, <[u8]>::len));
        let place = Place { slot: None, at: job.at, len };
        let event = || departure.event(storage.now_ns(), (kind, Cause::Keep), place);
        // Whichever file was read meanwhile.
        self.recorder.add(|| event().with_nid(None));
    }

    /// Keeps an ended job that is not the region's, until [`Layer::poll`](crate::Layer::poll)
    /// gives it to its owner. One that the region had started came back before, and is dropped.
    fn keep_for_others(&mut self, ended: Ended) {
        if self.hydrator.jobs.keep(ended).is_some() {
            self.drop_stray();
        }
    }

    /// Counts a job that came back and that nobody here waits for.
    fn drop_stray(&mut self) {
        if self.stats.stray_job() {
            trace::warn!("region: dropped a job that came back twice, or that nobody asked for");
        }
    }

    fn write_fault(&mut self, kind: JobKind, at: u64, error: IoErrorKind) {
        self.stats.region_fault();
        trace::warn!("region: a write or flush at byte {} failed: {}", at, trace::Shown(&error));
        // A flush that failed may have dropped anything, and the next one may succeed all the same.
        self.hydrator.flush_failed |= kind == JobKind::Flush;
        if kind == JobKind::Flush || self.stats.region_faults >= FAULTS_MAX {
            self.claim.stop_writing("a flush failed, or too many writes did");
        }
    }
}
