//! `power-cut --guards`: each guard of the region is taken out of a copy of the sources, and the
//! cases are run until somebody misses it.
//!
//! Always: the sources themselves are not touched; a guard that nobody misses fails the task, and so
//! does a case that fails among others and not alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rootlet_power::guards::{GUARDS, Guard, TRUST_GUARDS};

use crate::boot::build;
use crate::prove::PowerCutArgs;
use crate::prove::power_cut::jobs;
use crate::setup::workspace;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::say;

/// What the copy has of the workspace: all of it but what was made.
const LEFT_OUT: [&str; 3] = ["target", ".git", "fuzz"];
/// Bytes of a row's last column.
const WHAT_MAX: usize = 96;

/// Takes out each guard in turn, and shows what breaks.
pub fn task(args: &PowerCutArgs, interrupt: &Interrupt) -> Result<()> {
    let place = workspace().join("target/guards");
    let tree = place.join("tree");
    copy(&workspace(), &tree).context("cannot copy the sources")?;
    let bench = Bench { tree, target: place.join("target"), args };
    let wanted =
        |guard: &&Guard| args.only.as_ref().is_none_or(|text| guard.name.contains(text.as_str()));
    let whole = bench.cases()?;
    ensure!(whole.passed, "with all guards in place: {}", whole.says);
    say!("{:<68}  {}", "all guards in place", whole.says);
    let (mut missed, mut unstable) = (Vec::new(), Vec::new());
    let guards: &[Guard] = if args.trust { &TRUST_GUARDS } else { &GUARDS };
    for guard in guards.iter().filter(wanted) {
        interrupt.check()?;
        let spinner = build::spinner(format!("without {}", guard.name));
        let outcome = bench.without(guard);
        spinner.finish_and_clear();
        let outcome = outcome.with_context(|| format!("without {}", guard.name))?;
        say!("{:<68}  {}", guard.name, outcome.says);
        if outcome.passed {
            missed.push(guard.name);
        }
        unstable.extend(Some(guard.name).filter(|_| !outcome.replays));
    }
    if !missed.is_empty() {
        bail!("nobody misses: {}", missed.join("; "));
    }
    if !unstable.is_empty() {
        bail!("missed by a case that does not fail alone: {}", unstable.join("; "));
    }
    Ok(())
}

struct Bench<'a> {
    tree: PathBuf,
    target: PathBuf,
    args: &'a PowerCutArgs,
}

struct Outcome {
    passed: bool,
    /// The case that failed does so again by its name alone.
    replays: bool,
    says: String,
}

impl Bench<'_> {
    /// Returns the cases with this guard out. The sources are whole again afterwards.
    fn without(&self, guard: &Guard) -> Result<Outcome> {
        let mut before: Vec<(PathBuf, String)> = Vec::new();
        let mut result = Ok(());
        for patch in guard.patches {
            let path = self.tree.join(patch.file);
            let text = fs::read_to_string(&path)?;
            let times = text.matches(patch.from).count();
            if times != 1 {
                result = Err(anyhow::anyhow!("{}: {times} times {:?}", patch.file, patch.from));
                break;
            }
            fs::write(&path, text.replace(patch.from, patch.to))?;
            before.push((path, text));
        }
        let outcome = result.and_then(|()| self.cases());
        for (path, text) in before.into_iter().rev() {
            fs::write(path, text)?;
        }
        outcome
    }

    fn cases(&self) -> Result<Outcome> {
        let manifest = self.tree.join("Cargo.toml");
        let mut command = build::cargo();
        command.args(["build", "--quiet", "--package", "rootlet-power", "--example", "run"]);
        // The code around a guard that was taken out may now be unused.
        command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&self.target);
        command.env("RUSTFLAGS", "--cap-lints=allow");
        let built = command.output().context("cannot run cargo")?;
        ensure!(built.status.success(), "{}", text(&built.stderr));
        let run = Command::new(self.target.join("debug/examples/run"))
            .args([self.args.cases(), self.args.seed].map(|number| number.to_string()))
            .arg(jobs(self.args).to_string())
            .args(self.args.family())
            .stdin(Stdio::null())
            .output()?;
        self.outcome(&run)
    }

    fn outcome(&self, run: &Output) -> Result<Outcome> {
        let says = text(&run.stdout);
        ensure!(says.contains(" cases, "), "the cases ended with {}: {says}", run.status);
        let (passed, replays) = (run.status.success(), !says.ends_with("(not alone)"));
        let cases = says.split(',').next().unwrap_or_default();
        let says = match says.split_once("# ") {
            None => format!("not missed in {cases}"),
            Some((_, what)) => {
                let what: String = what.trim().chars().take(WHAT_MAX).collect();
                format!("{cases:>12}  {what}")
            }
        };
        Ok(Outcome { passed, replays, says })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Makes `to` as `from`, and writes only files that differ, so that little is built again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            let name = entry.file_name();
            if !LEFT_OUT.iter().any(|left_out| name.to_str() == Some(left_out)) {
                copy(&path, &copied)?;
            }
        } else if entry.file_type()?.is_file() {
            let bytes = fs::read(&path)?;
            if fs::read(&copied).ok().as_ref() != Some(&bytes) {
                fs::write(&copied, bytes)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_in_the_sources_exactly_once() {
        for guard in GUARDS.iter().chain(&TRUST_GUARDS) {
            for patch in guard.patches {
                let text = fs::read_to_string(workspace().join(patch.file)).unwrap();
                let times = text.matches(patch.from).count();
                assert_eq!(times, 1, "{}: {} {:?}", guard.name, patch.file, patch.from);
                assert_ne!(patch.from, patch.to);
            }
        }
    }
}
