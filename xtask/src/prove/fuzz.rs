//! Fuzzing without a nightly toolchain: the targets of cargo-fuzz with mutations of the committed
//! seeds, and without libFuzzer's feedback.
//!
//! Always: the same seed makes the same cases; a case that fails, or does not end, is in a file
//! before the tool says so, and one command runs it again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use rootlet_targets::{TARGETS, Target, mutate, named};

use crate::boot::build::spinner;
use crate::prove::FuzzArgs;
use crate::setup::workspace;
use rootlet_cli::exit::{FAILED, usage};
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::say;

/// A case that takes longer does not end.
const CASE_SECONDS: u64 = 30;
/// Cases between two looks at the clock.
const CASES_PER_LOOK: u64 = 16;

/// Tries the library with mutated inputs.
pub fn task(args: &FuzzArgs, interrupt: &Interrupt) -> Result<()> {
    if args.list {
        for target in TARGETS {
            say!("{:<11} {}", target.name, target.what);
        }
        return Ok(());
    }
    let targets = match &args.target {
        Some(name) => vec![named(name).ok_or_else(|| unknown(name))?],
        None => TARGETS.to_vec(),
    };
    if let (Some(file), [target]) = (&args.input, targets.as_slice()) {
        let bytes =
            fs::read(file).map_err(|error| usage(format!("{}: {error}", file.display())))?;
        (target.run)(&bytes);
        say!("{}: {} bytes, no fault", target.name, bytes.len());
        return Ok(());
    }
    let seed = args.seed.unwrap_or_else(clock);
    say!("seed {seed}, {} s for each target", args.seconds);
    for target in targets {
        sweep(&target, Duration::from_secs(args.seconds), seed, interrupt)?;
    }
    Ok(())
}

fn unknown(name: &str) -> anyhow::Error {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    usage(format!("`{name}` is no target: {}", names.join(", ")))
}

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Returns where cases of a target go.
fn folder() -> PathBuf {
    workspace().join("target/fuzz")
}

/// Writes a case and says how to run it again.
fn keep(target: &Target, name: &str, bytes: &[u8]) -> Result<String> {
    fs::create_dir_all(folder()).with_context(|| folder().display().to_string())?;
    let file = folder().join(format!("{}-{name}", target.name));
    fs::write(&file, bytes).with_context(|| file.display().to_string())?;
    let shown = file.strip_prefix(workspace()).unwrap_or(&file);
    Ok(replay(target, shown))
}

fn replay(target: &Target, file: &Path) -> String {
    format!("cargo run -- fuzz {} --input {}", target.name, file.display())
}

/// Runs the seeds, then what is made of them, until the time is over.
fn sweep(target: &Target, time: Duration, seed: u64, interrupt: &Interrupt) -> Result<()> {
    let seeds = target.seeds().with_context(|| target.folder().display().to_string())?;
    let watch = Watch::start(*target);
    for (path, bytes) in &seeds {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        watch.run(&format!("seed-{name}"), bytes)?;
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let (start, bar) = (Instant::now(), spinner(String::new()));
    let mut cases = 0_u64;
    while start.elapsed() < time {
        interrupt.check()?;
        for _ in 0..CASES_PER_LOOK {
            let number = seed.wrapping_add(cases);
            let bytes = mutate::case(&seeds, number, target.bytes_max);
            watch.run(&number.to_string(), &bytes)?;
            cases += 1;
        }
        bar.set_message(line(target, cases, start.elapsed()));
    }
    bar.finish_and_clear();
    say!("{}", line(target, cases, start.elapsed()));
    Ok(())
}

fn line(target: &Target, cases: u64, time: Duration) -> String {
    let rate = u128::from(cases) * 1000 / time.as_millis().max(1);
    format!("{:<11} {cases} cases in {} s, {rate}/s", target.name, time.as_secs())
}

/// A case that runs: since when, its name and its bytes.
type Case = (Instant, String, Vec<u8>);

/// Looks after one case at a time, from another thread.
struct Watch {
    target: Target,
    case: Arc<Mutex<Option<Case>>>,
}

impl Watch {
    fn start(target: Target) -> Self {
        let case: Arc<Mutex<Option<Case>>> = Arc::default();
        let watched = Arc::downgrade(&case);
        thread::spawn(move || {
            // It ends with the sweep.
            while let Some(case) = watched.upgrade() {
                let late = case.lock().ok().and_then(|mut case| {
                    case.take_if(|(since, ..)| since.elapsed().as_secs() > CASE_SECONDS)
                });
                if let Some((_, name, bytes)) = late {
                    let said = keep(&target, &name, &bytes);
                    eprintln!("{} does not end: {}", target.name, said.unwrap_or_default());
                    std::process::exit(i32::from(FAILED));
                }
                drop(case);
                thread::sleep(Duration::from_millis(500));
            }
        });
        Self { target, case }
    }

    fn run(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.set(Some((Instant::now(), name.into(), bytes.to_vec())));
        let ended = catch_unwind(AssertUnwindSafe(|| (self.target.run)(bytes)));
        self.set(None);
        if ended.is_err() {
            bail!("{} failed: {}", self.target.name, keep(&self.target, name, bytes)?);
        }
        Ok(())
    }

    fn set(&self, case: Option<Case>) {
        if let Ok(mut place) = self.case.lock() {
            *place = case;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails_on_zeros(bytes: &[u8]) {
        assert!(bytes.iter().any(|byte| *byte != 0), "zeros");
    }

    #[test]
    fn failing_case_is_kept_and_its_command_runs_it_again() {
        let target = Target { run: fails_on_zeros, ..named("fuse").unwrap() };
        let watch = Watch::start(target);
        watch.run("fine", &[1]).unwrap();
        let said = watch.run("of-a-test", &[0; 5]).unwrap_err().to_string();
        let (_, file) = said.split_once("cargo run -- fuzz fuse --input ").unwrap();
        let file = workspace().join(file);
        assert_eq!(fs::read(&file).unwrap(), [0; 5]);
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn unknown_target_is_refused_with_the_names_of_all() {
        let said = unknown("x").to_string();
        assert!(TARGETS.iter().all(|target| said.contains(target.name)), "{said}");
    }
}
