//! Faults of the region's disk: by rates, at every request, and a hand that damages it.
//!
//! Always: the sources answer, so no read fails (L2) and none is wrong (L1).

use rootlet_power::case::{runs, sweep};
use rootlet_power::faults::ONCE;
use rootlet_power::machine::Scale;
use rootlet_sim::disk::OpKind;

#[test]
fn faults_of_the_region_cost_time_and_never_a_read() {
    sweep(Scale::Large, "rates", (1..=runs(300)).map(|seed| [seed]));
}

#[test]
fn one_fault_at_any_request_costs_no_read() {
    for (number, (_, op)) in (0u64..).zip(ONCE) {
        let most = if op == OpKind::Flush { 12 } else { 30 };
        let step = if runs(1) > 1 { 1 } else { 3 };
        sweep(Scale::Large, "script", (1..=most).step_by(step).map(|nth| [number, nth]));
    }
}

#[test]
fn slots_given_up_at_any_moment_keep_the_order_of_writes() {
    sweep(Scale::Large, "flips", (1..=runs(100)).map(|seed| [seed]));
}
