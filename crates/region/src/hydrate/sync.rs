//! Making everything durable, in rounds: who waits may let others use the region between two.
//!
//! Always: one [`Syncing`] has its turn at a time, and others wait; each ends by its deadline.

use super::jobs::Purpose;
use super::{Armed, SEAL_TRIES_MAX, Seal};
use crate::claim::Mode;
use crate::region::Cache;
use crate::storage::{Storage, Wait};

/// What a round of a wait for the region comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// The wait is over. Says whether all is as it was wanted.
    Over(bool),
    /// There is more to wait for. Says whether a job has ended in this round.
    Waits(bool),
}

/// Making everything durable, under way.
#[derive(Debug)]
pub struct Syncing {
    wait: Wait,
    stage: Stage,
}

/// How far a [`Syncing`] is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Others have their turn.
    Queued,
    /// The superblock is being told that the region is to be forgotten.
    Condemning,
    /// Everything is on its way into the region.
    Settling { writes: bool },
    /// The last flush is under way. The mode is that at its start.
    Sealing(Mode),
}

impl Syncing {
    /// Begins to make durable, before `deadline_ns`, everything that was offered or found, or will be
    /// before the end of [`Cache::sync_round`]. A pause of the machine puts the deadline off.
    pub fn until<S: Storage>(storage: &S, deadline_ns: u64) -> Self {
        Self { wait: Wait::until(storage, deadline_ns), stage: Stage::Queued }
    }

    /// Ends a round that was not the last. Leaves the processor to others for a nap, sometimes.
    pub fn rest<S: Storage>(&mut self, storage: &S, has_ended: bool) {
        self.wait.rest(storage, has_ended);
    }
}

impl Cache {
    /// Moves hydration on if more than half of its buffers are full; else it is over.
    pub fn catch_up_round<S: Storage>(&mut self, storage: &S) -> Round {
        if self.pressed() { Round::Waits(self.move_on(storage)) } else { Round::Over(true) }
    }

    /// Moves hydration on until no more than half of its buffers are full, or the clock is at
    /// `deadline_ns`. A pause of the machine meanwhile puts the deadline off.
    pub fn catch_up<S: Storage>(&mut self, storage: &S, deadline_ns: u64) {
        let mut wait = Wait::until(storage, deadline_ns);
        while wait.lasts(storage)
            && let Round::Waits(has_ended) = self.catch_up_round(storage)
        {
            wait.rest(storage, has_ended);
        }
    }

    /// Makes everything durable that was offered or found and that the region can keep, before
    /// `deadline_ns`. Returns whether it is. A pause of the machine meanwhile puts the deadline off.
    pub fn sync<S: Storage>(&mut self, storage: &S, deadline_ns: u64) -> bool {
        let mut syncing = Syncing::until(storage, deadline_ns);
        loop {
            match self.sync_round(storage, &mut syncing) {
                Round::Over(is_durable) => return is_durable,
                Round::Waits(has_ended) => syncing.rest(storage, has_ended),
            }
        }
    }

    /// Moves on to everything being durable, without waiting. The last round says whether it is. Every
    /// round must be followed by another until the last.
    pub fn sync_round<S: Storage>(&mut self, storage: &S, syncing: &mut Syncing) -> Round {
        let Syncing { wait, stage } = syncing;
        if let Stage::Queued = stage {
            if self.hydrator.is_syncing {
                let lasts = wait.lasts(storage);
                return if lasts { Round::Waits(false) } else { Round::Over(false) };
            }
            self.hydrator.is_syncing = true;
            *stage = Stage::Condemning;
        }
        let round = loop {
            let next = match *stage {
                Stage::Queued | Stage::Condemning => self.condemn_round(storage, wait),
                Stage::Settling { writes } => self.settle_round(storage, wait, writes),
                Stage::Sealing(mode) => self.seal_round(storage, wait, mode),
            };
            match next {
                Ok(next) => *stage = next,
                Err(round) => break round,
            }
        };
        if let Round::Over(_) = round {
            self.hydrator.hurry = false;
            self.hydrator.is_syncing = false;
        }
        round
    }

    fn condemn_round<S: Storage>(&mut self, storage: &S, wait: &mut Wait) -> Result<Stage, Round> {
        if self.claim.is_being_condemned() && wait.lasts(storage) {
            return Err(Round::Waits(self.move_on(storage)));
        }
        let writes = self.claim.writes();
        if !writes && !self.lacks_nothing() {
            return Err(Round::Over(false));
        }
        if !writes && !self.may_flush(storage) {
            return Err(Round::Over(true));
        }
        self.hydrator.hurry = true;
        Ok(Stage::Settling { writes })
    }

    fn settle_round<S: Storage>(
        &mut self,
        storage: &S,
        wait: &mut Wait,
        writes: bool,
    ) -> Result<Stage, Round> {
        if writes {
            if !self.settled() && self.claim.writes() && wait.lasts(storage) {
                if matches!(self.hydrator.seal, Seal::Done(_)) {
                    // Of an earlier call, which had no time left for it.
                    self.hydrator.seal = Seal::No;
                }
                return Err(Round::Waits(self.move_on(storage)));
            }
            if !self.settled() {
                return Err(Round::Over(false));
            }
        }
        let mode = self.claim.mode();
        if self.begin_seal(storage) {
            Ok(Stage::Sealing(mode))
        } else {
            self.hydrator.seal = Seal::No;
            Err(Round::Over(false))
        }
    }

    /// Begins to make durable the pages of the last group, which are written, and what a guest that was
    /// killed left volatile, even if this mount wrote nothing. The flush frees the slots that are
    /// entombed when it is submitted, so no group is closed meanwhile. Returns false if the device
    /// has no room for it.
    fn begin_seal<S: Storage>(&mut self, storage: &S) -> bool {
        self.hydrator.seal = Seal::Flushing;
        (0..SEAL_TRIES_MAX).any(|_| {
            let started = self.submit_flush(storage, Purpose::SealFlush);
            if !started {
                self.move_on(storage);
            }
            started
        })
    }

    fn seal_round<S: Storage>(
        &mut self,
        storage: &S,
        wait: &mut Wait,
        mode: Mode,
    ) -> Result<Stage, Round> {
        if self.hydrator.seal == Seal::Flushing && wait.lasts(storage) {
            return Err(Round::Waits(self.move_on(storage)));
        }
        let sealed = self.hydrator.seal == Seal::Done(true) && self.claim.mode() == mode;
        if self.hydrator.seal != Seal::Flushing {
            self.hydrator.seal = Seal::No;
        }
        Err(Round::Over(sealed))
    }

    /// Returns whether a mount that does not write has nothing to lose: it never wrote and none of its
    /// flushes failed, or all is to be forgotten.
    fn lacks_nothing(&self) -> bool {
        let hydrator = &self.hydrator;
        let untouched = hydrator.armed == Armed::No && !hydrator.flush_failed;
        hydrator.is_empty() && (untouched || self.claim.is_forgotten())
    }

    /// Returns whether a flush may make something durable that a mount which does not write has found:
    /// another guest may have written it and been killed.
    fn may_flush<S: Storage>(&self, storage: &S) -> bool {
        let writable = storage.info(self.area.device).is_some_and(|info| !info.read_only);
        matches!(self.claim.mode(), Mode::ReadOnly(_)) && !self.claim.is_forgotten() && writable
    }
}
