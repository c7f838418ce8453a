//! Runs cases without the host tool, for `cargo run -- power-cut --guards`, which builds it from a
//! copy of the sources: `run CASES SEED JOBS [trust]`.
//!
//! Always: its last line says what was found: cases, states, and the first failure if any, which was
//! run again by its name alone.

use std::process::ExitCode;
use std::time::Instant;

use rootlet_power::case::{self, Tally};
use rootlet_power::mix;
use rootlet_power::run::{Plan, run};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mut next = |or: u64| words.next().map_or(or, |word| word.parse().unwrap());
    let plan = Plan {
        cases: next(1000),
        seed: next(1),
        jobs: next(1) as usize,
        family: words
            .next()
            .map(|word| if word == mix::TRUST { mix::TRUST } else { panic!("{word}") }),
        is_keyed: false,
        failures_max: 1,
    };
    // What a panic says is in its failure; the guards' table has no room for more.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let tally = run(&plan, |_| true);
    eprintln!("{:.3} s", start.elapsed().as_secs_f64());
    print!("{} cases, {} states", tally.cases, tally.states.len());
    match tally.failures.first() {
        None => println!(),
        Some(failure) => {
            let passes = case::run(&failure.case, &mut Tally::default());
            let alone = if passes { " (not alone)" } else { "" };
            println!("; {failure}{alone}");
        }
    }
    ExitCode::from(u8::from(!tally.failures.is_empty()))
}
