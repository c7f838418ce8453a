//! Power cuts of large worlds, and some thousand cases of the mix that `cargo run -- power-cut`
//! runs.
//!
//! Always: after a cut every read is right (L1) and none fails (L2).

use rootlet_power::case::{runs, sweep};
use rootlet_power::machine::Scale;
use rootlet_power::power::events;
use rootlet_power::run::{Plan, run};

#[test]
fn power_cut_at_every_event_costs_nothing_that_was_synced() {
    for seed in 1..=runs(1) {
        sweep(Scale::Large, "cut", (1..=events(Scale::Large, seed)).map(|event| [seed, event]));
    }
}

#[test]
fn killed_guest_leaves_nothing_volatile_that_the_next_one_relies_on() {
    let cases = (1..=runs(6)).flat_map(|seed| (7..40).map(move |event| [seed, event]));
    sweep(Scale::Large, "kill", cases);
}

#[test]
fn power_cut_during_recovery_is_survived_too() {
    sweep(Scale::Large, "deep", (1..=runs(100)).map(|seed| [seed]));
}

#[test]
fn five_lives_in_a_row_keep_both_laws() {
    sweep(Scale::Large, "lives", (1..=runs(150)).map(|seed| [seed]));
}

#[test]
fn two_torn_writes_of_one_page_make_no_whole_one() {
    for scale in [Scale::Small, Scale::Wide] {
        sweep(scale, "torn", (1..=runs(250)).map(|seed| [seed]));
    }
}

#[test]
fn what_a_sync_promised_while_requests_fail_is_kept_after_a_cut() {
    for scale in [Scale::Small, Scale::Wide] {
        sweep(scale, "synced", (1..=runs(500)).map(|seed| [seed]));
    }
}

#[test]
fn some_thousand_cases_of_the_mix_break_no_invariant() {
    let plan = Plan {
        cases: runs(6000),
        seed: 20,
        family: None,
        is_keyed: false,
        jobs: 2,
        failures_max: 20,
    };
    let tally = run(&plan, |_| true);
    tally.failures.iter().for_each(|failure| println!("{failure}"));
    assert!(tally.failures.is_empty(), "{} cases failed", tally.failures.len());
    assert!(tally.cases >= plan.cases && tally.states.len() as u64 > plan.cases / 2, "{tally:?}");
}

#[test]
fn run_of_one_seed_is_the_same_on_any_number_of_threads() {
    let of = |jobs| {
        let tally = run(
            &Plan { cases: 300, seed: 3, family: None, is_keyed: false, jobs, failures_max: 1 },
            |_| true,
        );
        (tally.cases, tally.states, tally.reads)
    };
    assert_eq!(of(1), of(3));
}

#[test]
fn outcome_of_a_cut_replays_alone() {
    use rootlet_power::case::{CaseName, Tally, run};
    let mut whole = Tally::default();
    assert!(run(&"life:9".parse().unwrap(), &mut whole));
    assert!(whole.cases > 10, "{whole:?}");
    let mut states = std::collections::HashSet::new();
    for state in 0..whole.cases {
        let mut alone = Tally::default();
        let case: CaseName = format!("life:9:{state}").parse().unwrap();
        assert!(run(&case, &mut alone));
        assert_eq!((alone.cases, alone.states.len()), (1, 1), "{case}");
        states.extend(alone.states);
    }
    assert_eq!(states, whole.states);
}
