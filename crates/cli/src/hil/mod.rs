//! Hardware in the loop: boots that another command starts, watched over one serial line.
//!
//! Always: the last attempt decides; every attempt is in the report; nothing that an attempt
//! started is left running.

mod args;
mod attempt;
mod failure;
mod junit;
mod runner;
mod serial;
mod session;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rootlet_guest::Command;
use serde_json::Value;

pub use args::HilArgs;
use attempt::{Attempt, Rig};
use failure::{Case, Failure, Kind};

use crate::boot::board::Board;
use crate::boot::{append, guests};
use crate::exit::{self, usage};
use crate::interrupt::Interrupt;
use crate::note;
use crate::output;
use crate::rows::{differences, parse_rows};

/// The task.
pub fn task(args: &HilArgs, interrupt: &Interrupt) -> Result<()> {
    let words = match args.words.as_slice() {
        [] => vec!["manifest".into(), "/".into()],
        words => words.to_vec(),
    };
    let command = Command::parse(&words).map_err(|error| usage(error.to_string()))?;
    let expected = args.expect_manifest.as_deref().map(rows).transpose()?;
    if expected.is_some() && !matches!(command, Command::Manifest(_)) {
        return Err(usage("--expect-manifest needs the command `manifest`"));
    }
    let mut variables = Vec::new();
    if let Some(image) = image(args)? {
        variables.push(("ROOTLET_KERNEL", image.into_os_string()));
    }
    let line = guest_line(args, &words);
    note!("guest line  {line}");
    variables.push(("ROOTLET_APPEND", line.clone().into()));
    let attempts = attempts(args, &variables, expected.as_deref(), interrupt)?;
    if let Some(file) = &args.junit {
        let xml = junit_of(args, &line, expected.is_some(), &attempts)?;
        fs::write(file, xml).with_context(|| file.display().to_string())?;
    }
    conclude(attempts.last().context("no attempt was made")?)
}

/// The image for the runner, if there is to be one.
fn image(args: &HilArgs) -> Result<Option<PathBuf>> {
    if let Some(file) = &args.kernel {
        let image = fs::canonicalize(file);
        let image = image.map_err(|error| usage(format!("{}: {error}", file.display())))?;
        return Ok(Some(image));
    }
    let Some(name) = &args.board else { return Ok(None) };
    let board = Board::ALL.into_iter().find(|board| board.package() == name);
    let board = board.ok_or_else(|| {
        let own = Board::ALL.map(Board::package).join(", ");
        usage(format!(
            "--board {name}: rootlet has guests for {own}; give another board's --kernel"
        ))
    })?;
    Ok(Some(fs::canonicalize(guests::find(board)?.elf)?))
}

/// What the guest has to be started with.
fn guest_line(args: &HilArgs, words: &[String]) -> String {
    let console = match args.copies {
        1 => "console=wire".to_string(),
        copies => format!("console=wire:{copies}"),
    };
    let options: Vec<String> =
        std::iter::once(console).chain(args.guest_option.iter().cloned()).collect();
    append::line(&options, words)
}

fn rows(file: &Path) -> Result<Vec<Value>> {
    let name = || file.display().to_string();
    let text = fs::read(file).map_err(|error| usage(format!("{}: {error}", name())))?;
    parse_rows(&text).with_context(name)
}

/// Boots until one attempt passes, or all of them failed.
fn attempts(
    args: &HilArgs,
    variables: &[(&str, OsString)],
    expected: Option<&[Value]>,
    interrupt: &Interrupt,
) -> Result<Vec<Attempt>> {
    let rig = Rig {
        runner: args.runner.as_deref(),
        pty: args.pty,
        port: args.serial.as_ref(),
        board: args.board.as_deref(),
        timeout: Duration::from_secs(args.timeout),
        silence: Duration::from_secs(args.silence),
        interrupt,
    };
    let mut attempts = Vec::new();
    for number in 1..=args.retries.saturating_add(1) {
        let mut variables = variables.to_vec();
        variables.push(("ROOTLET_ATTEMPT", number.to_string().into()));
        let mut attempt = attempt::run(&rig, &variables)?;
        if let (None, Some(expected)) = (&attempt.failure, expected) {
            attempt.failure = fault_of_rows(expected, &attempt.output);
        }
        let failure = attempt.failure.clone();
        attempts.push(attempt);
        let Some(failure) = failure else { break };
        let (case, kind) = (failure.case.name(), failure.kind.name());
        note!("attempt {number} failed at {case} ({kind}): {}", failure.message);
    }
    Ok(attempts)
}

fn fault_of_rows(expected: &[Value], output: &[u8]) -> Option<Failure> {
    let message = match parse_rows(output) {
        Ok(found) => {
            let (count, shown) = differences(expected, &found);
            (count > 0).then(|| format!("{count} rows differ:\n{}", shown.join("\n")))?
        }
        Err(error) => format!("{error:#}"),
    };
    Some(Failure::new(Case::Manifest, Kind::Rows, message))
}

fn junit_of(args: &HilArgs, line: &str, has_manifest: bool, all: &[Attempt]) -> Result<String> {
    let mut facts = vec![("guest_line", line.to_string())];
    facts.extend(args.runner.iter().map(|runner| ("runner", runner.clone())));
    facts.extend(args.serial.iter().map(|port| ("serial", port.to_string())));
    let name = args.board.as_deref().unwrap_or("rig");
    junit::report(&junit::Subject { name, facts: &facts, has_manifest }, all)
}

/// Gives out what the last attempt showed, and ends as it did.
fn conclude(last: &Attempt) -> Result<()> {
    output::bytes(&last.output)?;
    if let Some(verdict) = &last.verdict {
        note!("{}", verdict.line());
    }
    match &last.failure {
        // The failure was printed when it happened.
        Some(failure) => Err(exit::stop(failure.kind.status(), "")),
        None => Ok(()),
    }
}
