//! Runs of any number of cases, on several threads.
//!
//! Always: the report of a run of *n* cases of a seed does not depend on the threads: whole
//! histories count, in order, until there are enough.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::case::{self, Tally};
use crate::mix;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The least number of cases.
    pub cases: u64,
    /// Of this seed.
    pub seed: u64,
    /// Of this family alone.
    pub family: Option<&'static str>,
    /// In regions with a key.
    pub is_keyed: bool,
    /// The number of threads.
    pub jobs: usize,
    /// Failures after which it is enough.
    pub failures_max: usize,
}

/// What is done so far.
struct Done {
    /// Of the histories that count.
    tally: Tally,
    /// How many they are: all before this one.
    next: u64,
    /// The cases after them.
    ahead: BTreeMap<u64, Tally>,
}

/// Histories that one thread does before it reports them.
const AT_ONCE: u64 = 16;

/// Runs `plan`. Calls `each` now and then with all that was done until then; `each` returns whether
/// to continue.
pub fn run(plan: &Plan, each: impl Fn(&Tally) -> bool + Sync) -> Tally {
    let (number, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let done = Done { tally: Tally::default(), next: 0, ahead: BTreeMap::new() };
    let done = Mutex::new(done);
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let first = number.fetch_add(1, Ordering::Relaxed);
            let mut tally = Tally::default();
            for history in first * AT_ONCE..(first + 1) * AT_ONCE {
                let name = match plan.family {
                    Some(family) => mix::history_of(family, plan.seed, history),
                    None => mix::history(plan.seed, history),
                };
                let name = if plan.is_keyed { mix::keyed(&name) } else { name };
                case::run(&name, &mut tally);
            }
            let mut done = done.lock().expect("no thread panics with it");
            done.ahead.insert(first, tally);
            if done.count(plan) || !each(&done.tally) {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..plan.jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().expect("no thread panics with it").tally
}

impl Done {
    /// Counts what follows on what was counted, and says whether it is enough.
    fn count(&mut self, plan: &Plan) -> bool {
        let enough =
            |tally: &Tally| tally.cases >= plan.cases || tally.failures.len() >= plan.failures_max;
        while !enough(&self.tally)
            && let Some(tally) = self.ahead.remove(&self.next)
        {
            self.tally.add(tally);
            self.next += 1;
        }
        enough(&self.tally)
    }
}
