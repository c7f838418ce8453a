//! The fifteen invariants of the region, by number: what each says, who checks it, and the
//! checks.
//!
//! Always: a check judges by the oracle's bytes, by the disk's own state and by a decoder of its
//! own, never by what the guest believes, but where the guest's belief itself is on trial (9).

use std::collections::BTreeSet;
use std::fmt;

use rootlet::cache::{Cache, Mode, Refused, SlotState};
use rootlet_sim::disk::{OpKind, Step, TraceEvent};

use crate::guest::{Guest, Residents, Stop};
use crate::machine::Machine;

mod kept;
mod watch;

pub use kept::Kept;
pub use watch::{Watch, block};

/// What must hold whatever the region, the power or the source does.
///
/// The numbers are those of the region's design. The third column says which function of this
/// module finds it broken.
///
/// | number | holds | checked by |
/// |-|-|-|
/// | 1 | every successful read equals the oracle | [`bytes_are_right`] |
/// | 2 | no read fails for the region while its source is healthy | [`Broken::from`] a [`Stop`] |
/// | 3 | no write outside the region, before it is ours, when read-only or bypassed | [`Watch`], [`silence`] |
/// | 4 | honest flush: what was synced and not given up hits after any cut | [`Kept`] |
/// | 5 | O1 against every image that may be durable | [`Watch`] |
/// | 6 | O2 for descriptor pages, superblock and blob table | [`Watch`] |
/// | 7 | O3, and so no check fails on an honest disk | [`Watch`], [`no_check_fails`] |
/// | 8 | mounting twice equals once; a cut mount or format equals before or after | [`same_mount`], [`refusal_is_right`], [`Watch`] |
/// | 9 | one slot a window, one state a slot, counts sum up | [`slots_are_consistent`] |
/// | 10 | memory is bounded for any access pattern | [`lent_is_bounded`], and by measurement in `crates/power/tests/memory.rs` |
/// | 11 | work ends; a fill never blocks a reader | [`work_ends`], [`Watch`] |
/// | 12 | one source request a block and read; a failed leader wakes all | [`one_fetch`] |
/// | 13 | blobs, generations and formats never mix | [`bytes_are_right`] |
/// | 14 | damage of the region at any moment changes only latency | [`Damaged`] |
/// | 15 | a mutated field is rejected or a miss; parsers are total | [`Mutated`] |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Invariant {
    /// Every successful read equals the oracle.
    ReadsAreRight = 1,
    /// Source healthy: no read fails.
    NoReadFails = 2,
    /// No write outside the region, before its superblock is valid, or when it is silent.
    WritesStayInside = 3,
    /// Honest flush: what was synced and not given up hits after any cut.
    SyncedIsKept = 4,
    /// O1: what a descriptor that may be durable names is not overwritten.
    O1 = 5,
    /// O2: never both copies of anything in flight or volatile.
    O2 = 6,
    /// O3: a bit enters a page after its data is durable.
    O3 = 7,
    /// Mounting twice equals once; a cut while mounting or formatting equals before or after.
    MountIsIdempotent = 8,
    /// One slot a window, each slot in one state, counts sum up.
    SlotsAreConsistent = 9,
    /// Memory is bounded.
    MemoryIsBounded = 10,
    /// Work ends, and no reader waits for it.
    WorkEnds = 11,
    /// One request to the source for each block.
    OneFetch = 12,
    /// Blobs, generations and formats never mix.
    NothingMixes = 13,
    /// Damage of the region at any moment changes only latency.
    DamageCostsTime = 14,
    /// A mutated field is rejected or a miss.
    MutationIsAMiss = 15,
}

impl Invariant {
    /// All fifteen, in order.
    pub const ALL: [Self; 15] = [
        Self::ReadsAreRight,
        Self::NoReadFails,
        Self::WritesStayInside,
        Self::SyncedIsKept,
        Self::O1,
        Self::O2,
        Self::O3,
        Self::MountIsIdempotent,
        Self::SlotsAreConsistent,
        Self::MemoryIsBounded,
        Self::WorkEnds,
        Self::OneFetch,
        Self::NothingMixes,
        Self::DamageCostsTime,
        Self::MutationIsAMiss,
    ];

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its words: a few.
    pub fn says(self) -> &'static str {
        match self {
            Self::ReadsAreRight => "every read equals the oracle",
            Self::NoReadFails => "no read fails while its source is healthy",
            Self::WritesStayInside => "no write outside the region or when it is silent",
            Self::SyncedIsKept => "what was synced hits after any cut",
            Self::O1 => "O1: nothing that a durable descriptor names is overwritten",
            Self::O2 => "O2: never both copies in flight or volatile",
            Self::O3 => "O3: a bit follows its durable data",
            Self::MountIsIdempotent => "mounting twice equals once, cut or not",
            Self::SlotsAreConsistent => "one slot a window, one state a slot",
            Self::MemoryIsBounded => "memory is bounded",
            Self::WorkEnds => "work ends and blocks no reader",
            Self::OneFetch => "one source request a block",
            Self::NothingMixes => "blobs, generations and formats never mix",
            Self::DamageCostsTime => "damage of the region costs only time",
            Self::MutationIsAMiss => "a mutated field is rejected or a miss",
        }
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// How.
    pub what: String,
}

impl Broken {
    /// `invariant` is broken in this way.
    pub fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invariant {} ({}): {}",
            self.invariant.number(),
            self.invariant.says(),
            self.what
        )
    }
}

/// 2: an operation that failed though its sources answer.
impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wrong(broken) => broken,
            Stop::Failed(what) => Self::new(Invariant::NoReadFails, what),
        }
    }
}

/// What a check found.
pub type Verdict = Result<(), Broken>;

/// 1 and 13: `got` are the bytes that the file has there. `others` are the
/// bytes of other blobs or versions in the same place: a mix-up is reported as one.
pub fn bytes_are_right(got: &[u8], right: &[u8], others: &[&[u8]], told: &str) -> Verdict {
    if got == right {
        return Ok(());
    }
    if got.len() != right.len() {
        let what = format!("{told}: {} bytes instead of {}", got.len(), right.len());
        return Err(Broken::new(Invariant::ReadsAreRight, what));
    }
    let wrong = got.iter().zip(right).position(|(got, right)| got != right).unwrap_or(0);
    let sector = |of: &[u8]| of[wrong..of.len().min(wrong + 16)].to_vec();
    let mixed = others.iter().any(|other| other.len() >= got.len() && sector(other) == sector(got));
    let invariant = if mixed { Invariant::NothingMixes } else { Invariant::ReadsAreRight };
    Err(Broken::new(invariant, format!("{told}: WRONG BYTES from {wrong} on")))
}

/// 3: a region that is read-only, bypassed or refused was not written since there were `before`
/// writes.
pub fn silence(mode: Option<Mode>, before: u64, now: u64) -> Verdict {
    let silent = matches!(mode, Some(Mode::ReadOnly(_) | Mode::Bypass(_)) | None);
    if silent && now != before {
        let what = format!("{mode:?}, and the region was written");
        return Err(Broken::new(Invariant::WritesStayInside, what));
    }
    Ok(())
}

/// 7: on an honest disk the order of writes alone is enough.
pub fn no_check_fails(guest: &Guest) -> Verdict {
    match guest.cache_stats().check_failures {
        0 => Ok(()),
        count => {
            Err(Broken::new(Invariant::O3, format!("{count} checks failed on an honest disk")))
        }
    }
}

/// 8: two mounts of one state find the same.
pub fn same_mount(first: &Residents, second: &Residents) -> Verdict {
    if first == second {
        return Ok(());
    }
    Err(Broken::new(Invariant::MountIsIdempotent, "mounting twice is not as mounting once"))
}

/// 8: a region is refused after a cut only when a sector of its first superblocks was torn, so
/// that nothing says whose the bytes are.
pub fn refusal_is_right(refused: Option<Refused>, torn: bool) -> Verdict {
    match refused {
        None => Ok(()),
        Some(Refused::Unknown) if torn => Ok(()),
        Some(refused) => Err(Broken::new(
            Invariant::MountIsIdempotent,
            format!("the region is refused after a cut: {refused:#}"),
        )),
    }
}

const STATES: [SlotState; 6] = [
    SlotState::Free,
    SlotState::Live,
    SlotState::Evicted,
    SlotState::Entombing,
    SlotState::Entombed,
    SlotState::Dead,
];

/// 9: the states' counts sum up to the number of slots, and no two windows share a slot.
pub fn slots_are_consistent(guest: &Guest) -> Verdict {
    let sum = |cache: &Cache| STATES.iter().map(|state| cache.slots(*state)).sum::<u32>();
    let right = guest.cache(|cache| sum(cache) == cache.superblock().geometry.slots());
    if right == Some(false) {
        let what = "a slot is in no state, or in two";
        return Err(Broken::new(Invariant::SlotsAreConsistent, what));
    }
    let mut places = BTreeSet::new();
    match guest.residents().iter().find(|(_, place)| !places.insert(**place)) {
        None => Ok(()),
        Some((block, place)) => Err(Broken::new(
            Invariant::SlotsAreConsistent,
            format!("{place:?} holds {block:?} and another block"),
        )),
    }
}

/// 10: the memory that the region lends to its disk at once is bounded by its pool.
pub fn lent_is_bounded(machine: &Machine, most: u64) -> Verdict {
    // At least two buffers, of at most one transfer each; a page for each of 32 page jobs.
    let least = 2 * (256 << 10);
    let bound = (machine.options.pool_bytes as u64).max(least) + 33 * 4096;
    if most <= bound {
        return Ok(());
    }
    let what = format!("{most} bytes lent to the disk at once, {bound} are allowed");
    Err(Broken::new(Invariant::MemoryIsBounded, what))
}

/// Polls after which a region with nothing to do is at rest.
const POLLS_MAX: usize = 600;

/// 11: background work ends, in steps bounded by the number of slots.
pub fn work_ends(machine: &Machine, guest: &Guest) -> Verdict {
    for _ in 0..3 {
        machine.world.advance_ns(2_000_000_000);
        (0..POLLS_MAX).for_each(|_| guest.root.progress());
    }
    let events = machine.world.events();
    machine.world.advance_ns(10_000_000_000);
    (0..POLLS_MAX).for_each(|_| guest.root.progress());
    if machine.world.events() == events {
        return Ok(());
    }
    Err(Broken::new(Invariant::WorkEnds, "the region never rests"))
}

/// 12: within one read no block of a source is asked for twice.
pub fn one_fetch(machine: &Machine, trace: &[TraceEvent]) -> Verdict {
    let mut seen = BTreeSet::new();
    let reads = trace.iter().filter(|seen| seen.step == Step::Submit && seen.op == OpKind::Read);
    for read in reads.filter(|read| read.device != machine.disk) {
        for block in read.at / 4096..(read.at + read.len).div_ceil(4096) {
            if !seen.insert((read.device, block)) {
                let what = format!("block {block} of {} was fetched twice", read.device);
                return Err(Broken::new(Invariant::OneFetch, what));
            }
        }
    }
    Ok(())
}

/// 14: what breaks after the region was damaged, of the reads' own invariants, is this one.
pub struct Damaged;

/// 15: what breaks after a field was mutated is this one.
pub struct Mutated;

impl Damaged {
    /// Names 14 in place of 1 and 2.
    pub fn judge(verdict: Verdict) -> Verdict {
        rename(verdict, Invariant::DamageCostsTime)
    }
}

impl Mutated {
    /// Names 15 in place of 1 and 2.
    pub fn judge(verdict: Verdict) -> Verdict {
        rename(verdict, Invariant::MutationIsAMiss)
    }
}

fn rename(verdict: Verdict, to: Invariant) -> Verdict {
    verdict.map_err(|broken| match broken.invariant {
        Invariant::ReadsAreRight | Invariant::NoReadFails => {
            Broken::new(to, format!("(of invariant {}) {}", broken.invariant.number(), broken.what))
        }
        _ => broken,
    })
}
