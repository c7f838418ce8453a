//! Cases: a family, a scale and numbers, each replayable by name.
//!
//! Always: a case that breaks an invariant or panics gives its own name; what a family found
//! before is counted all the same.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use crate::guest::reads_checked;
use crate::invariants::{Broken, Invariant, Verdict};
use crate::machine::Scale;

/// How a family runs a case: its numbers are in the name.
pub type Family = fn(&mut Run<'_>, &[u64]) -> Verdict;

/// Every family by name.
const FAMILIES: [(&str, Family); 25] = [
    ("life", crate::life::life),
    ("cut", crate::power::cut),
    ("kill", crate::power::kill),
    ("deep", crate::power::deep),
    ("lives", crate::power::lives),
    ("slots", crate::large::lives),
    ("hint", crate::hint::lives),
    ("stale", crate::hint::spoiled),
    ("forged", crate::hint::forged),
    ("rates", crate::faults::rates),
    ("script", crate::faults::scripted),
    ("flips", crate::faults::flips),
    ("source", crate::source::failing),
    ("version", crate::source::replaced),
    ("same-tag", crate::source::replaced_under_its_tag),
    ("two", crate::sharing::two_guests),
    ("blobs", crate::sharing::reused_entries),
    ("foreign", crate::foreign::untouched),
    ("pools", crate::pools::scarce),
    ("mutate", crate::mutate::one),
    ("noise", crate::mutate::noise),
    ("once", crate::promises::once),
    ("synced", crate::synced::lives),
    ("torn", crate::torn::twice),
    ("trust", crate::trust::rewritten),
];

/// The name of a case: `life:17:3`, `wide/life:17:3`, `large/cut:1:57`, `keyed/life:17:3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseName {
    /// The size of its world.
    pub scale: Scale,
    /// Its family.
    pub family: &'static str,
    /// What makes it this one; one number less names all states of one history.
    pub numbers: Vec<u64>,
}

impl CaseName {
    /// A case of this family.
    ///
    /// # Panics
    /// When there is no such family.
    pub fn new(scale: Scale, family: &str, numbers: &[u64]) -> Self {
        let (family, _) = find(family).expect("a known family");
        Self { scale, family, numbers: numbers.to_vec() }
    }
}

fn find(family: &str) -> Option<(&'static str, Family)> {
    FAMILIES.into_iter().find(|(known, _)| *known == family)
}

impl FromStr for CaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scale, rest) = match text.split_once('/') {
            None => (Scale::Small, text),
            Some(("wide", rest)) => (Scale::Wide, rest),
            Some(("large", rest)) => (Scale::Large, rest),
            Some(("keyed", rest)) => (Scale::Keyed, rest),
            Some((other, _)) => return Err(format!("`{other}` is not `wide`, `large` or `keyed`")),
        };
        let mut parts = rest.split(':');
        let family = parts.next().unwrap_or_default();
        let Some((family, _)) = find(family) else {
            let known: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
            return Err(format!("no family `{family}`; there are {}", known.join(", ")));
        };
        let number = |part: &str| part.parse().map_err(|_| format!("`{part}` is not a number"));
        let numbers = parts.map(number).collect::<Result<Vec<u64>, String>>()?;
        if numbers.is_empty() {
            return Err("expected FAMILY:NUMBER, such as life:17:3".into());
        }
        Ok(Self { scale, family, numbers })
    }
}

impl fmt::Display for CaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scale {
            Scale::Small => "",
            Scale::Wide => "wide/",
            Scale::Large => "large/",
            Scale::Keyed => "keyed/",
        })?;
        f.write_str(self.family)?;
        self.numbers.iter().try_for_each(|number| write!(f, ":{number}"))
    }
}

/// A case that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its name.
    pub case: CaseName,
    /// What broke; `None` for a panic.
    pub broken: Option<Broken>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo run -- power-cut --case {}  # ", self.case)?;
        match &self.broken {
            Some(broken) => broken.fmt(f),
            None => f.write_str("it panicked"),
        }
    }
}

/// What was done and found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Cuts whose every surviving subset and order of whole sectors was a case.
    pub whole_cuts: u64,
    /// Cuts of which samples were.
    pub sampled_cuts: u64,
    /// Digests of the durable images after a cut that were mounted and read.
    pub states: HashSet<u64>,
    /// Reads compared with the oracle.
    pub reads: u64,
    /// What failed.
    pub failures: Vec<Failure>,
}

impl Tally {
    /// Adds what another did.
    pub fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.whole_cuts += other.whole_cuts;
        self.sampled_cuts += other.sampled_cuts;
        self.states.extend(other.states);
        self.reads += other.reads;
        self.failures.extend(other.failures);
    }

    /// Failures of these invariants.
    pub fn broken(&self, invariants: &[Invariant]) -> usize {
        let broken = self.failures.iter().filter_map(|failure| failure.broken.as_ref());
        broken.filter(|broken| invariants.contains(&broken.invariant)).count()
    }
}

/// What a running family reports to.
pub struct Run<'t> {
    /// The size of its world.
    pub scale: Scale,
    tally: &'t mut Tally,
    /// The numbers of the case that runs now.
    now: Vec<u64>,
    /// The only state of a history that is wanted.
    only: Option<u64>,
}

impl Run<'_> {
    /// Whether this state of the history is wanted; begins its case if it is.
    pub fn begins(&mut self, seed: u64, state: u64) -> bool {
        if self.only.is_some_and(|only| only != state) {
            return false;
        }
        self.now = vec![seed, state];
        self.tally.cases += 1;
        true
    }

    /// A durable image is mounted and read.
    pub fn visits(&mut self, digest: u64) {
        self.tally.states.insert(digest);
    }

    /// A cut is looked at, in all its outcomes or in samples.
    pub fn cuts(&mut self, whole: bool) {
        self.tally.whole_cuts += u64::from(whole);
        self.tally.sampled_cuts += u64::from(!whole);
    }
}

/// Runs a case, or every state of a history, and says whether all was well.
pub fn run(name: &CaseName, tally: &mut Tally) -> bool {
    let (family, body) = find(name.family).expect("a known family");
    let before = (tally.cases, reads_checked());
    // Only histories have states, and a case of one has its number.
    let only = if family == "life" { name.numbers.get(1).copied() } else { None };
    let mut run = Run { scale: name.scale, tally, now: name.numbers.clone(), only };
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut run, &name.numbers)));
    let case = CaseName { numbers: std::mem::take(&mut run.now), ..*name };
    let broken = match result {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(Failure { case, broken: Some(broken) }),
        Err(_) => Some(Failure { case, broken: None }),
    };
    // A family without states is one case; a history that failed before its cut too.
    tally.cases += u64::from(tally.cases == before.0);
    tally.reads += reads_checked() - before.1;
    let well = broken.is_none();
    tally.failures.extend(broken);
    well
}

/// How many cases a test runs that runs `count` by default: `ROOTLET_RUNS=10` runs ten times as
/// many.
pub fn runs(count: u64) -> u64 {
    let times = std::env::var("ROOTLET_RUNS").ok().and_then(|value| value.parse::<u64>().ok());
    count * times.unwrap_or(1)
}

/// Failures after which a sweep stops.
const FAILURES_MAX: usize = 20;

/// Runs these cases of a family, and fails if any does.
///
/// # Panics
/// When a case failed; its line was printed.
pub fn sweep<N: AsRef<[u64]>>(
    scale: Scale,
    family: &str,
    cases: impl IntoIterator<Item = N>,
) -> Tally {
    let mut tally = Tally::default();
    for numbers in cases {
        if !run(&CaseName::new(scale, family, numbers.as_ref()), &mut tally) {
            println!("{}", tally.failures.last().expect("it failed"));
        }
        if tally.failures.len() >= FAILURES_MAX {
            break;
        }
    }
    assert!(tally.failures.is_empty(), "{} cases of {family} failed", tally.failures.len());
    tally
}
