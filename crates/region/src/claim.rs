//! A mount's claim on its region: the superblock that counts, how far the region may be used, and
//! whether it is to be forgotten.
//!
//! Always: the superblock changes by an announcement that ended well, and by nothing else; a mount
//! that stopped writing does not begin again, and one that stopped asking does not ask again.

use super::BlobIndex;
use super::geometry::{Copy2, Geometry};
use super::page;
use super::superblock::Superblock;
use crate::trace;
use twox_hash::XxHash3_64;

/// Blocks found wrong, and reads that failed, in one mount after which the region is not asked any
/// more.
pub(super) const BLAMED_MAX: usize = 8;

/// How far the region is used in this mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Hits and hydration.
    ReadWrite,
    /// Hits only, and why.
    ReadOnly(&'static str),
    /// Not at all any more, and why.
    Bypass(&'static str),
}

/// Whether a region whose blocks fail their checks is on its way to be formatted anew by the next
/// mount; otherwise it would fail them in every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condemned {
    No,
    Wanted,
    Writing,
    Done,
}

/// The claim of one mount.
#[derive(Debug)]
pub(super) struct Claim {
    /// As it was read or written last, and where it stands.
    superblock: Superblock,
    copy: Copy2,
    /// Drawn for this mount; announced before the first write.
    nonce: u64,
    mode: Mode,
    condemned: Condemned,
    /// The blocks that were found wrong, each once.
    blamed: heapless::Vec<(BlobIndex, u64), BLAMED_MAX>,
}

impl Claim {
    /// Returns the claim of a mount that found this superblock in this copy and may use the region
    /// this far. `entropy` is another for each mount.
    pub fn new(superblock: Superblock, copy: Copy2, mode: Mode, entropy: &[u8; 16]) -> Self {
        let drawn = XxHash3_64::oneshot(entropy);
        let nonce = if drawn == superblock.nonce { !drawn } else { drawn };
        let blamed = heapless::Vec::new();
        Self { superblock, copy, nonce, mode, condemned: Condemned::No, blamed }
    }

    /// Returns the superblock as it was read or written last.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns the UUID of the region.
    pub fn uuid(&self) -> &[u8; 16] {
        &self.superblock.uuid
    }

    /// Returns the number that was drawn for this mount.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Returns how far the region is used.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns whether the region is written.
    pub fn writes(&self) -> bool {
        self.mode == Mode::ReadWrite
    }

    /// Returns whether the region is not asked any more.
    pub fn is_bypassed(&self) -> bool {
        matches!(self.mode, Mode::Bypass(_))
    }

    /// Ends writing for this mount; hits are served as before.
    pub fn stop_writing(&mut self, why: &'static str) {
        if self.writes() {
            trace::warn!("region: read-only for this mount: {}", why);
            self.mode = Mode::ReadOnly(why);
        }
    }

    /// Notes that a block is wrong. When there are too many the region is to be forgotten.
    pub fn blame(&mut self, block: (BlobIndex, u64)) {
        if !self.blamed.contains(&block) {
            // Where there is no room the region is condemned already.
            let _ = self.blamed.push(block);
        }
        if self.blamed.is_full() && self.writes() {
            self.condemned = Condemned::Wanted;
        }
    }

    /// Ends all use of the region if `faults` failed reads and the blamed blocks are too many.
    #[expect(clippy::arithmetic_side_effects, reason = "there is room for no more")]
    pub fn judge(&mut self, faults: u64) {
        let room = BLAMED_MAX - self.blamed.len();
        if usize::try_from(faults).is_ok_and(|faults| faults < room) {
            return;
        }
        trace::warn!("region: bypassed for this mount after {} failed reads", BLAMED_MAX);
        self.mode = Mode::Bypass("too many reads of it failed");
    }

    /// Returns whether the region is to be forgotten, and the superblock does not say so yet.
    pub fn wants_condemnation(&self) -> bool {
        self.condemned == Condemned::Wanted
    }

    /// Returns whether the superblock is about to say that the region is to be forgotten.
    pub fn is_being_condemned(&self) -> bool {
        matches!(self.condemned, Condemned::Wanted | Condemned::Writing)
    }

    /// Returns whether nothing that the region holds counts any more.
    pub fn is_forgotten(&self) -> bool {
        self.condemned == Condemned::Done
    }

    /// Returns the superblock that announces this mount, and where it goes: over the copy that does
    /// not count.
    pub fn announcement(&self) -> (Superblock, u64) {
        let condemned = self.wants_condemnation();
        let next = Superblock { condemned, ..self.next() };
        (next, Geometry::superblock_at(self.copy.twin()))
    }

    fn next(&self) -> Superblock {
        Superblock {
            generation: self.superblock.generation.wrapping_add(1),
            nonce: self.nonce,
            ..self.superblock
        }
    }

    /// Notes that the write of [`Claim::announcement`] began.
    pub fn announcing(&mut self) {
        if self.wants_condemnation() {
            self.condemned = Condemned::Writing;
        }
    }

    /// Notes that an announcement ended. One that failed condemns nothing: the next mount finds the
    /// same and tries again.
    pub fn announced(&mut self, ok: bool) {
        if ok {
            self.superblock = self.next();
            self.copy = self.copy.twin();
        }
        if self.condemned == Condemned::Writing || !ok && self.wants_condemnation() {
            self.condemned = Condemned::Done;
        }
    }

    /// Returns whether a superblock that stands in the region now is this mount's own, or older.
    pub fn knows(&self, found: &Superblock) -> bool {
        let own = &self.superblock;
        found.uuid == own.uuid
            && (page::is_later(own.generation, found.generation)
                || (found.generation == own.generation && found.nonce == own.nonce))
    }
}
