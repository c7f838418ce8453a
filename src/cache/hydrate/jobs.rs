//! Background jobs: starting them, and what their ends mean.
//!
//! Always: nothing is written before this mount announced itself in the superblock; a failed
//! flush, or too many failed writes, end writing for this mount.

use super::{Armed, PageJob, Phase, Seal};
use crate::cache::Ended;
use crate::cache::format::Page;
use crate::cache::geometry::{Copy2, Geometry};
use crate::cache::page;
use crate::cache::region::{Cache, Condemned, FAULTS_MAX, Mode, raise};
use crate::cache::slots::SlotState;
use crate::cache::superblock::Superblock;
use crate::num;
use crate::storage::{Background, Buffer, IoErrorKind, Job, JobKind};
use crate::trace;

/// What a background job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Purpose {
    Data(usize),
    Page(usize),
    GroupFlush,
    ArmSettle,
    ArmWrite,
    ArmFlush,
    SealFlush,
    Look,
    Mark,
    LookForMark,
}

impl Cache {
    /// Starts the announcement of this mount as the region's writer. A flush comes first: a
    /// guest that was killed without a power cut may have left the newest superblock, and newest
    /// pages, volatile, and their older copies are overwritten next (O2).
    pub(super) fn arm<S: Background>(&mut self, storage: &mut S) {
        if self.submit_flush(storage, Purpose::ArmSettle) {
            self.hydrator.armed = Armed::Settling;
        }
    }

    /// Returns whether there is still something to announce: what came between may have ended
    /// writing.
    fn may_announce(&self) -> bool {
        self.mode == Mode::ReadWrite || self.condemned == Condemned::Wanted
    }

    /// Writes the superblock with this mount's nonce and, if that is wanted, with the mark of a
    /// condemned region.
    fn announce<S: Background>(&mut self, storage: &mut S) {
        self.hydrator.armed = Armed::No;
        let Some(mut buffer) = self.hydrator.page_pool.pop() else { return };
        let condemned = self.condemned == Condemned::Wanted;
        let next = Superblock { condemned, ..self.next_superblock() };
        if let Some(raw) = buffer.get_mut() {
            raw.copy_from_slice(&next.to_bytes());
        }
        let at = Geometry::superblock_at(self.superblock_in.twin());
        match self.submit(storage, Purpose::ArmWrite, JobKind::Write, at, Some(buffer)) {
            Ok(()) => {
                self.hydrator.armed = Armed::Writing;
                if condemned {
                    self.condemned = Condemned::Writing;
                }
            }
            Err(buffer) => self.hydrator.give_back(buffer),
        }
    }

    /// Says in the superblock that everything else in the region is to be forgotten: its blocks
    /// fail their checks, and would again in every mount. That is one more announcement, in the
    /// same order: what stands in the other superblock is durable before.
    pub(super) fn condemn<S: Background>(&mut self, storage: &mut S) {
        match self.hydrator.armed {
            Armed::No => self.arm(storage),
            Armed::Yes => self.announce(storage),
            Armed::Settling | Armed::Writing | Armed::Flushing => {}
        }
    }

    /// Notes that an announcement ended. One that failed condemns nothing: the next mount finds the
    /// same and tries again.
    fn announced(&mut self, ok: bool) {
        self.hydrator.armed = if ok { Armed::Yes } else { Armed::No };
        if ok {
            self.superblock = self.next_superblock();
            self.superblock_in = self.superblock_in.twin();
        }
        if self.condemned == Condemned::Writing || !ok && self.condemned == Condemned::Wanted {
            self.condemned = Condemned::Done;
        }
    }

    /// Reads both superblocks, behind everybody's back: another machine that writes the region has
    /// announced itself there. What finds no buffer or no room is left to the next group.
    pub(super) fn look<S: Background>(&mut self, storage: &mut S) {
        for copy in Copy2::BOTH {
            let Some(buffer) = self.hydrator.page_pool.pop() else { return };
            let at = Geometry::superblock_at(copy);
            if let Err(buffer) =
                self.submit(storage, Purpose::Look, JobKind::Read, at, Some(buffer))
            {
                self.hydrator.give_back(buffer);
            }
        }
    }

    /// Judges a superblock as it is now. One that is neither this mount's own nor older is
    /// another's: each would go on to spoil what the other keeps.
    fn look_at(&mut self, raw: &[u8]) {
        let Ok(found) = Superblock::from_bytes(raw, self.start) else { return };
        let own = &self.superblock;
        let known = found.uuid == own.uuid
            && (page::is_later(own.generation, found.generation)
                || (found.generation == own.generation && found.nonce == own.nonce));
        if !known {
            self.yield_to_another();
        }
    }

    /// Leaves the region to another machine that writes it.
    pub(super) fn yield_to_another(&mut self) {
        if self.hydrator.armed == Armed::Yes && self.mode == Mode::ReadWrite {
            raise(&mut self.stats.foreign_writers, 1);
            self.stop_writing("another machine writes it");
        }
    }

    /// Starts data writes: those that are due, and all when buffers run short.
    pub(super) fn start_held<S: Background>(&mut self, storage: &mut S) {
        match self.hydrator.armed {
            Armed::No if self.hydrator.stages.busy() > 0 => return self.arm(storage),
            Armed::Yes => {}
            _ => return,
        }
        // What is not due waits for more, so that devices get much at a time.
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

    pub(super) fn submit_flush<S: Background>(
        &mut self,
        storage: &mut S,
        purpose: Purpose,
    ) -> bool {
        let started = self.submit(storage, purpose, JobKind::Flush, 0, None).is_ok();
        raise(&mut self.stats.flushes, started.into());
        started
    }

    /// Starts a job on the region's device; `at` counts from the region's start. Gives the
    /// buffer back if the device has no room.
    pub(super) fn submit<S: Background>(
        &mut self,
        storage: &mut S,
        purpose: Purpose,
        kind: JobKind,
        at: u64,
        buffer: Option<Buffer>,
    ) -> Result<(), Option<Buffer>> {
        let at = if kind == JobKind::Flush { 0 } else { self.at(at) };
        let len = num::wide(buffer.as_deref().map_or(0, <[u8]>::len));
        let Some(tag) = self.jobs.depart(purpose) else { return Err(buffer) };
        if let Err(job) = storage.start(Job { tag, device: self.device, at, kind, buffer }) {
            self.jobs.end(tag);
            return Err(job.buffer);
        }
        if kind == JobKind::Write {
            raise(&mut self.stats.written_bytes, len);
        }
        Ok(())
    }

    pub(super) fn ended<S: Background>(
        &mut self,
        storage: &mut S,
        mut job: Job,
        result: Result<(), IoErrorKind>,
    ) {
        let Some(purpose) = self.jobs.end(job.tag) else {
            return self.keep_for_others((job, result));
        };
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
                let page_job = self.hydrator.page_jobs.get_mut(index).and_then(Option::take);
                match page_job {
                    Some(PageJob::Load(page)) => {
                        // A reader may have brought the page in meanwhile, and changed it.
                        let read = job.buffer.as_mut().filter(|_| result.is_ok());
                        let read = read.and_then(Buffer::get_mut).and_then(Page::of);
                        if self.pages.get(page).is_none()
                            && self.pages.has_room()
                            && !read.is_some_and(|read| self.pages.install_copy(page, read))
                        {
                            self.lose_page(page);
                        }
                    }
                    Some(write) => self.page_written(write, Some(result)),
                    None => {}
                }
                self.hydrator.give_back(job.buffer);
            }
            Purpose::GroupFlush => {
                self.commit(result.is_ok());
                self.hydrator.phase = Phase::Pages;
            }
            Purpose::ArmSettle if result.is_ok() && self.may_announce() => self.announce(storage),
            Purpose::ArmSettle => self.announced(false),
            Purpose::ArmWrite => {
                self.hydrator.give_back(job.buffer);
                if result.is_ok() && self.submit_flush(storage, Purpose::ArmFlush) {
                    self.hydrator.armed = Armed::Flushing;
                } else {
                    self.announced(false);
                }
            }
            Purpose::ArmFlush => {
                self.announced(result.is_ok());
                if self.hydrator.armed == Armed::Yes {
                    self.look_for_mark(storage);
                }
            }
            Purpose::Look => {
                if let (Ok(()), Some(raw)) = (result, job.buffer.as_deref()) {
                    self.look_at(raw);
                }
                self.hydrator.give_back(job.buffer);
            }
            Purpose::Mark => {
                self.hydrator.give_back(job.buffer);
                self.mark_written(result.is_ok());
            }
            Purpose::LookForMark => {
                self.look_at_mark(job.buffer.as_mut().filter(|_| result.is_ok()));
                self.hydrator.give_back(job.buffer);
            }
            Purpose::SealFlush => {
                // `sync` may have given up waiting for it.
                let done = Seal::Done(result.is_ok());
                self.hydrator.seal = if self.hydrator.hurry { done } else { Seal::No };
                if result.is_ok() {
                    self.slots.move_all(SlotState::Entombed, SlotState::Free);
                    self.pages.flushed();
                    self.blobs.flushed();
                }
            }
        }
    }

    /// Keeps an ended job that is not the region's, until [`Layer::poll`](crate::cache::Layer::poll)
    /// gives it to its owner. One that the region had started came back before, and is dropped.
    fn keep_for_others(&mut self, ended: Ended) {
        if self.jobs.owns(ended.0.tag) {
            return self.drop_stray();
        }
        // The oldest goes: it is of a mount before this one, or nobody would have left it.
        if self.strays.len() == self.strays.capacity() {
            drop(self.strays.remove(0));
            self.drop_stray();
        }
        self.strays.push(ended);
    }

    /// Counts a job that came back and that nobody here waits for.
    fn drop_stray(&mut self) {
        if self.stats.stray_jobs == 0 {
            trace::warn!("region: dropped a job that came back twice, or that nobody asked for");
        }
        raise(&mut self.stats.stray_jobs, 1);
    }

    fn write_fault(&mut self, kind: JobKind, at: u64, error: IoErrorKind) {
        self.stats.region_fault();
        trace::warn!("region: a write or flush at byte {} failed: {}", at, trace::Shown(&error));
        // A flush that failed may have dropped anything, and says so only once.
        self.hydrator.flush_failed |= kind == JobKind::Flush;
        if kind == JobKind::Flush || self.stats.region_faults >= FAULTS_MAX {
            self.stop_writing("a flush failed, or too many writes did");
        }
    }

    /// Ends writing for this mount; hits go on.
    pub(in crate::cache) fn stop_writing(&mut self, why: &'static str) {
        if self.mode == Mode::ReadWrite {
            trace::warn!("region: read-only for this mount: {}", why);
            self.mode = Mode::ReadOnly(why);
        }
    }
}
