//! A guest's command over files of this machine: what a guest has to write, too.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Result, anyhow};
use rootlet_guest::bench::{BenchError, Setup};
use rootlet_guest::{self as command, Command, CommandError, Counters, Memory, Runner, Scratch};

use crate::exit::usage;
use crate::output::{self, notice};
use crate::source::{Prepared, SourceArgs, Standard, entropy};

/// Runs the guest command `words` and writes its output to `out`. Returns the command's counters.
///
/// # Errors
/// As [`open`](crate::source::open), and those of the command.
pub fn guest_command(
    image: Option<&Path>,
    source: &SourceArgs,
    words: &[String],
    verbose: bool,
    out: impl Write,
) -> Result<Counters> {
    let mut prepared = Prepared::new(image, source, words, verbose)?;
    let command = Command::parse(&prepared.config.command);
    let command = command.map_err(|error| usage(error.to_string()))?;
    if matches!(command, Command::Boot(_)) {
        let words = "boot starts a kernel on a machine of its own: `rootlet boot IMAGE boot PATH`";
        return Err(usage(words));
    }
    let mut out = Standard(out);
    let mounted = prepared.bind()?;
    if let Command::Race(_) | Command::Bench(_) = &command {
        let Prepared { storage, config, memory, .. } = prepared;
        let entropy = entropy()?;
        let setup =
            Setup { config: &config, mounted: &mounted, memory: &memory, entropy: &|| entropy };
        return match &command {
            Command::Race(steps) => {
                command::race::run(storage, &setup, steps, &mut out, &mut notice)
            }
            Command::Bench(paths) => {
                command::bench::run(storage, &setup, paths, &mut out, |_| {}, &mut notice)
            }
            _ => return Err(anyhow!("no measurement")),
        }
        .map_err(not_measured);
    }
    let memory = prepared.memory;
    let opened = prepared.mount_bound(mounted)?;
    let mut scratch = Scratch::new(&command, &Memory { row: Memory::ROW_MAX, ..memory });
    let mut said = notice;
    let mut runner = Runner::new(&opened.root, out, &mut scratch).noticed(&mut said);
    let result = runner.run(&command);
    let files = runner.done.files;
    opened.leave();
    result.map_err(|error| match error {
        CommandError::Output(error) => output::failed(error),
        error => anyhow!("{}", opened.mounted.blame(&opened.config, &error).ending()),
    })?;
    Ok(Counters { files, ..Counters::of(&opened.root) })
}

fn not_measured(error: BenchError<io::Error>) -> anyhow::Error {
    match error {
        BenchError::Output(error) => output::failed(error),
        error => anyhow!("{error}"),
    }
}
