//! `rootlet boot`: boots a guest that is there already.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use rootlet_guest::HELP as GUEST_COMMANDS;
use serde_json::{Map, Value, json};

use super::guest::Report;
use super::monitor::{MachineArgs, Monitor};
use super::{BootArgs, Firmware, check, draw_timeline, guests, judge, level, print_script, run};
use crate::boot::board::Board;
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::output;
use crate::say;
use crate::source::SourceArgs;
use crate::source::disk_file::is_erofs;

const HELP: &str = "\
Without --guest the guest of the board is taken: BOARD.elf in the folder that ROOTLET_GUESTS names, \
beside this program, in ../share/rootlet or ~/.local/share/rootlet, or as cargo built it in the \
checkout around the current folder (`cargo run -- build`).

Examples:
  rootlet boot root.erofs                    list the root, in a guest
  rootlet boot root.erofs --blob 1=a.blob --region region.img manifest /
  rootlet boot root.erofs --blob 1=share:a.blob --share blobs sum /bin
  rootlet boot root.erofs --monitor firecracker --guest microvm.elf ls /
  rootlet boot root.erofs --timeline boot.svg sum /bin
                                             draw what the guest did, and when
  rootlet boot root.erofs --app lookup --mem 32M --interactive /table
                                             an application of your own, which reads your lines
  rootlet boot --dry-run root.erofs          the command that boots it by hand

The guest command's output is all that goes to standard output; with --json it is the counters of \
the boot. Exit status: 0 passed, 1 failed or the guest died, 2 usage, 3 something is not installed, \
124 timeout, 130 interrupted.";

/// Returns what help says after the options.
fn help() -> String {
    const WIDTH: usize = 34;
    let commands = GUEST_COMMANDS.iter().map(|(usage, what)| {
        // A long one has its purpose on a line of its own.
        let gap = if usage.len() < WIDTH { "" } else { "\n  " };
        let width = if gap.is_empty() { WIDTH - usage.len() } else { WIDTH };
        format!("  {usage}{gap}{:width$}{what}\n", "")
    });
    format!("Guest commands:\n{}\n{HELP}", commands.collect::<String>())
}

/// Booting a guest.
#[derive(Args, Clone, Debug)]
#[command(after_help = help())]
pub struct BootCommand {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// What the guest runs [default: ls /]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub words: Vec<String>,
    /// The guest to boot: an ELF, or a flat Linux image
    #[arg(long, value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// An application to boot in the place of a guest: an ELF; the words are its own
    #[arg(long, value_name = "FILE", conflicts_with = "guest")]
    pub app: Option<PathBuf>,
    /// Print the commands that boot it by hand, and boot nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the counters of the boot as one JSON object, in the place of the guest's output
    #[arg(long, conflicts_with = "dry_run")]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub machine: MachineArgs,
}

impl BootCommand {
    /// Takes the image of rootlet.toml where the first word is a command.
    fn settle(&mut self, known: Option<PathBuf>) {
        let is_command = |word: &&PathBuf| {
            // An application has its own words, and its image stands before them.
            if self.app.is_some() {
                return false;
            }
            let mut names = GUEST_COMMANDS.iter().filter_map(|(usage, _)| usage.split(' ').next());
            names.any(|name| word.as_path() == Path::new(name)) && !is_erofs(word)
        };
        let is_word = |word: &&PathBuf| !self.source.layer.is_empty() || is_command(word);
        if let Some(word) = self.image.as_ref().filter(is_word) {
            self.words.insert(0, word.to_string_lossy().into_owned());
            self.image = None;
        }
        self.image = self.image.take().or(known);
    }

    /// The guest, and the machine that it is for.
    fn guest(&mut self) -> Result<Firmware> {
        match (&self.app, &self.guest) {
            (Some(file), _) => named_guest("--app", file, &mut self.machine),
            (None, Some(file)) => named_guest("--guest", file, &mut self.machine),
            (None, None) => guests::find(self.machine.board()),
        }
    }
}

/// Reads the guest that `option` names, and takes its board for `machine` where none is named.
///
/// # Errors
/// Status 2: it cannot be read, or is not for the machine.
pub fn named_guest(option: &str, file: &Path, machine: &mut MachineArgs) -> Result<Firmware> {
    let firmware = Firmware::read(file.to_path_buf());
    let firmware = firmware.map_err(|error| usage(format!("{option} {error:#}")))?;
    let name = file.display();
    let arch = firmware.arch().ok_or_else(|| {
        usage(format!(
            "{option} {name}: neither an ELF for x86_64, aarch64 or riscv64 nor a flat Linux image"
        ))
    })?;
    if machine.board.is_none() {
        machine.board = board_of(file, arch, machine.monitor);
    }
    let board = machine.board();
    if board.arch() != arch {
        let (board, other) = (board.package(), board.arch());
        return Err(usage(format!(
            "{option} {name} is for {arch}, and the board {board} is {other}"
        )));
    }
    Ok(firmware)
}

/// Returns the board of a guest, by the name of its file or by its architecture: of the boards with
/// that, the one that the monitor boots where nobody names one.
fn board_of(file: &Path, arch: &str, monitor: Monitor) -> Option<Board> {
    let stem = file.file_stem()?;
    let named = Board::ALL.into_iter().find(|board| stem == board.package());
    let fits = |board: &Board| board.arch() == arch;
    named.or_else(|| [monitor.board()].into_iter().chain(Board::ALL).find(fits))
}

/// The task. `known` is the image of rootlet.toml.
pub fn task(args: &BootCommand, known: Option<PathBuf>, interrupt: &Interrupt) -> Result<()> {
    let mut command = args.clone();
    command.settle(known);
    let firmware = command.guest();
    let BootCommand { image, words, app, dry_run, json, source, machine, .. } = command;
    let boot = BootArgs { image, source, machine, is_app: app.is_some(), words };
    // Report a wrong command line before a guest that is not installed.
    check(&boot, dry_run)?;
    let firmware = firmware?;
    if dry_run {
        return print_script(&boot, &firmware);
    }
    let report = run(&boot, &firmware, level(&boot), interrupt, &mut |bytes, _| match json {
        true => Ok(()),
        false => output::bytes(bytes),
    })?;
    if json {
        say!("{:#}", object(&report));
    }
    let drawn = draw_timeline(&boot, &report);
    judge(&report)?;
    drawn
}

/// Boots a guest whose output nobody wants, and returns its report.
///
/// # Errors
/// Those of a boot.
pub fn read(command: &BootCommand, interrupt: &Interrupt) -> Result<Report> {
    let mut command = command.clone();
    let firmware = command.guest();
    let BootCommand { image, words, app, source, machine, .. } = command;
    let boot = BootArgs { image, source, machine, is_app: app.is_some(), words };
    check(&boot, false)?;
    let report = run(&boot, &firmware?, level(&boot), interrupt, &mut |_, _| Ok(()))?;
    judge(&report)?;
    Ok(report)
}

/// What a boot showed, for a program.
fn object(report: &Report) -> Value {
    let verdict = report.verdict.as_ref();
    let counters = verdict.map(|verdict| {
        let pairs = verdict.counters.iter().map(|(name, value)| {
            let number = value.parse::<u64>().map_or_else(|_| json!(value), |value| json!(value));
            (name.clone(), number)
        });
        pairs.collect::<Map<_, _>>()
    });
    json!({
        "passed": report.judge().is_ok(),
        "reason": verdict.map(|verdict| verdict.reason.clone()),
        "counters": counters,
        "first_output_ms": report.first_output.map(|time| time.as_secs_f64() * 1e3),
        "total_ms": report.total.as_secs_f64() * 1e3,
        "monitor": report.monitor.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_of_a_guest_is_that_of_its_name_or_the_usual_one_of_its_architecture() {
        let x86 = if cfg!(target_arch = "x86_64") { Board::Q35 } else { Board::Microvm };
        for (file, arch, monitor, board) in [
            ("a/q35.elf", "x86_64", Monitor::Qemu, Some(Board::Q35)),
            ("microvm", "x86_64", Monitor::CloudHypervisor, Some(Board::Microvm)),
            ("mine", "x86_64", Monitor::Qemu, Some(Board::Microvm)),
            ("mine", "x86_64", Monitor::CloudHypervisor, Some(x86)),
            ("mine", "aarch64", Monitor::CloudHypervisor, Some(Board::VirtAarch64)),
            ("mine", "mips", Monitor::Qemu, None),
        ] {
            assert_eq!(board_of(Path::new(file), arch, monitor), board, "{file} {arch}");
        }
    }

    #[test]
    fn command_of_a_guest_names_no_image() {
        let settled = |word: &str| {
            let mut args = command(&["boot", word, "/"]);
            args.settle(Some("known".into()));
            (args.image, args.words)
        };
        for (usage, _) in GUEST_COMMANDS {
            let word = usage.split(' ').next().unwrap();
            let expected = vec![word.to_string(), "/".into()];
            assert_eq!(settled(word), (Some("known".into()), expected));
        }
        assert_eq!(settled("root.erofs"), (Some("root.erofs".into()), vec!["/".into()]));
    }

    #[test]
    fn help_has_the_purpose_of_each_command_in_one_column() {
        let help = help();
        for (usage, what) in GUEST_COMMANDS {
            let line = help.lines().find(|line| line.ends_with(what)).unwrap();
            assert_eq!(line.find(what), Some(36), "{usage}: {line}");
        }
    }

    fn command(words: &[&str]) -> BootCommand {
        use clap::Parser;
        let cli = crate::app::Cli::parse_from(["rootlet"].iter().chain(words));
        let crate::app::Command::Boot(args) = cli.command else { panic!("{words:?}") };
        *args
    }
}
