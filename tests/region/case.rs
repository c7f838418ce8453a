//! Cases: a suite and its numbers, run one by one, each replayable by name.
//!
//! Always: a case that fails or panics prints its one line and fails its test.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a case found: nothing wrong, or what.
pub type Verdict = Result<(), String>;

/// A suite by name, and how one of its cases runs.
type Suite = (&'static str, fn(&[u64]) -> Verdict);

const SUITES: &[Suite] =
    &[("cut", crate::power::cut), ("deep", crate::power::deep), ("lives", crate::power::lives)];

/// How many cases a test runs that runs `count` by default.
pub fn runs(count: u64) -> u64 {
    let times = std::env::var("ROOTLET_RUNS").ok().and_then(|value| value.parse::<u64>().ok());
    count * times.unwrap_or(1)
}

/// Failures after which a sweep stops.
const FAILURES_MAX: usize = 20;

/// Runs these cases of a suite, and fails if any does.
pub fn sweep<N: AsRef<[u64]>>(name: &str, cases: impl IntoIterator<Item = N>) {
    let failed = cases.into_iter().filter(|numbers| !passes(name, numbers.as_ref()));
    let count = failed.take(FAILURES_MAX).count();
    assert!(count == 0, "{count} cases of {name} failed");
}

fn passes(name: &str, numbers: &[u64]) -> bool {
    let (_, suite) = SUITES.iter().find(|(known, _)| *known == name).expect("a known suite");
    let what = match catch_unwind(AssertUnwindSafe(|| suite(numbers))) {
        Ok(Ok(())) => return true,
        Ok(Err(what)) => what,
        Err(_) => "it panicked".to_owned(),
    };
    let mut case = name.to_owned();
    for number in numbers {
        write!(case, ":{number}").unwrap();
    }
    println!("ROOTLET_CASE={case} cargo test --test region replay -- --nocapture  # {what}");
    false
}

/// Runs the case that `ROOTLET_CASE` names.
#[test]
fn replay() {
    let Ok(case) = std::env::var("ROOTLET_CASE") else { return };
    let mut parts = case.split(':');
    let name = parts.next().expect("a suite");
    let numbers: Vec<u64> = parts.map(|part| part.parse().expect("a number")).collect();
    assert!(passes(name, &numbers), "{case} fails");
}
