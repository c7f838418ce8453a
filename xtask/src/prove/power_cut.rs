//! `power-cut`: cases of the region under power cuts and faults, any number of them.
//!
//! Always: what failed is printed as the line that runs it again; progress goes to standard error.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rootlet_power::case::{self, CaseName, Tally};
use rootlet_power::invariants::Invariant;
use rootlet_power::run::{Plan, run};

use crate::prove::PowerCutArgs;
use crate::prove::guards;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::say;

/// Failures after which a run ends.
const FAILURES_MAX: usize = 10;

/// Cuts the power of simulated machines, or takes out their guards.
pub fn task(args: &PowerCutArgs, interrupt: &Interrupt) -> Result<()> {
    match &args.case {
        Some(name) => replay(name),
        None if args.guards => guards::task(args, interrupt),
        None => many(args, interrupt),
    }
}

/// Returns how many threads there are to be.
pub fn jobs(args: &PowerCutArgs) -> usize {
    let all = || thread::available_parallelism().map_or(1, usize::from);
    args.jobs.map_or_else(all, usize::from)
}

fn replay(name: &CaseName) -> Result<()> {
    let mut tally = Tally::default();
    case::run(name, &mut tally);
    say!("{name}: {} cases, {} states, {} reads", tally.cases, tally.states.len(), tally.reads);
    judge(&tally)
}

fn many(args: &PowerCutArgs, interrupt: &Interrupt) -> Result<()> {
    let plan = Plan {
        cases: args.cases(),
        seed: args.seed,
        family: args.family(),
        is_keyed: args.key,
        jobs: jobs(args),
        failures_max: FAILURES_MAX,
    };
    let bar = ProgressBar::new(plan.cases);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} cases  {per_sec}  {msg}  {eta} left",
    )?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let start = Instant::now();
    let tally = run(&plan, |tally| {
        bar.set_position(tally.cases.min(plan.cases));
        bar.set_message(format!("{} states, {} failed", tally.states.len(), tally.failures.len()));
        interrupt.check().is_ok()
    });
    bar.finish_and_clear();
    show(&tally, start.elapsed())?;
    interrupt.check()?;
    judge(&tally)
}

fn show(tally: &Tally, took: Duration) -> Result<()> {
    let seconds = took.as_secs_f64();
    say!("cases     {}, {:.0} a second", tally.cases, tally.cases as f64 / seconds.max(1e-9));
    say!(
        "cuts      {} with every subset and order of their sectors, {} in samples",
        tally.whole_cuts,
        tally.sampled_cuts
    );
    say!("states    {} distinct durable images mounted and read", tally.states.len());
    say!("reads     {} compared", tally.reads);
    // Damage and mutated fields have invariants of their own for what reads return.
    let wrong = [
        Invariant::ReadsAreRight,
        Invariant::NothingMixes,
        Invariant::DamageCostsTime,
        Invariant::MutationIsAMiss,
    ];
    say!("wrong     {} wrong bytes", tally.broken(&wrong));
    say!(
        "failed    {} reads though their source was well",
        tally.broken(&[Invariant::NoReadFails])
    );
    say!(
        "lost      {} acknowledged ranges under honest flushes",
        tally.broken(&[Invariant::SyncedIsKept])
    );
    for invariant in Invariant::ALL {
        let count = tally.broken(&[invariant]);
        if count > 0 {
            say!("broken    {count} times {}: {}", invariant.number(), invariant.says());
        }
    }
    Ok(())
}

fn judge(tally: &Tally) -> Result<()> {
    if tally.failures.is_empty() {
        say!("PASS  all fifteen invariants hold");
        return Ok(());
    }
    for failure in &tally.failures {
        say!("{failure}");
    }
    bail!("{} of {} cases failed", tally.failures.len(), tally.cases)
}
