//! The program `rootlet`: its commands, and how it ends.
//!
//! Always: the options of a command stand in the folder of that command; this file dispatches.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::boot::{self, BootCommand};
use crate::color::{self, When};
use crate::config::Settings;
use crate::exit;
use crate::hil::{self, HilArgs};
use crate::host::{
    self, CatArgs, CheckArgs, ExtractArgs, ListArgs, ManifestArgs, StatArgs, SumArgs, Verb, settle,
};
use crate::interrupt::Interrupt;
use crate::mount::{self, MountArgs};
use crate::output;
use crate::region::{self, RegionAction, RegionArgs};
use crate::timeline::{self, TimelineArgs};

const HELP: &str = "\
Examples:
  rootlet ls -l root.erofs /etc                    rows of a directory
  rootlet cat root.erofs --blob 1=a.blob /bin/sh   a file whose bytes lie in a blob
  rootlet extract root.erofs out                   all files
  rootlet check root.erofs                         verify the image and its blobs
  rootlet mount root.erofs /mnt                    the image as a directory
  rootlet region region.img                        what a region holds
  rootlet boot root.erofs sum /                    the same files, read by a guest

A file rootlet.toml in the current folder says what one would type every time:
  image = \"root.erofs\"
  region = \"region.img\"
  blob.1 = \"a.blob\"
  board = \"q35\"

Exit status: 0 done and no fault, 1 failed or a fault was found, 2 usage, 3 something is not
installed, 124 timeout, 130 interrupted, 141 nobody reads the output.";

/// Look into EROFS images with their blobs and regions, and boot them in guests
#[derive(Debug, Parser)]
#[command(name = "rootlet", version, after_help = HELP)]
pub struct Cli {
    /// The file of settings [default: rootlet.toml in the current folder, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// When to colour the output
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true)]
    pub color: When,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List files of an image
    Ls(ListArgs),
    /// Write files of an image to standard output
    Cat(CatArgs),
    /// Show all that is known of files
    Stat(StatArgs),
    /// Write the SHA-256 of files
    Sum(SumArgs),
    /// Write one JSON object for every file, with its SHA-256
    Manifest(ManifestArgs),
    /// Restore files of an image into a directory
    Extract(ExtractArgs),
    /// Verify an image and its blobs
    Check(CheckArgs),
    /// Show an image as a directory of this machine (FUSE)
    Mount(MountArgs),
    /// Look at a region, check it, format it, or take a blob out of it
    Region(RegionArgs),
    /// Boot a guest that mounts an image and runs a command in it
    Boot(BootCommand),
    /// Boot on hardware that another command starts, and watch it over a serial line
    Hil(HilArgs),
    /// Draw what a guest did and when, from the log of its console
    Timeline(TimelineArgs),
    /// Print what completes command lines in a shell
    Completions(CompletionsArgs),
    /// Write man pages
    Man(ManArgs),
}

/// Completing command lines.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "Example:\n  rootlet completions bash > /etc/bash_completion.d/rootlet")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Man pages.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  rootlet man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The folder; made if missing
    pub dir: PathBuf,
}

/// Parses the command line, runs the command, and returns the exit status.
pub fn main() -> ExitCode {
    end(Interrupt::watch().and_then(|interrupt| {
        let (cli, settings) = parsed(std::env::args_os().collect())?;
        cli.color.choose();
        dispatch(cli.command, &settings, &interrupt)
    }))
}

/// Reads the file of settings and the command line. Ends the process where help is asked for, or
/// where the command line makes no sense.
fn parsed(mut words: Vec<OsString>) -> Result<(Cli, Settings)> {
    let settings = Settings::read(value(&words, "--config").as_deref().map(Path::new))?;
    if let Some(region) = settings.region() {
        name_region(&mut words, &region);
    }
    // Help and errors are written while the command line is read.
    let color = match value(&words, "--color").as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    let command = settings.defaults(Cli::command()).color(color);
    let matches = command.get_matches_from(words);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Ok((cli, settings))
}

/// The value of a global option, before the command line is parsed.
fn value(words: &[OsString], option: &str) -> Option<String> {
    let words = words.iter().map(|word| word.to_string_lossy());
    let mut own = words.take_while(|word| word != "--").skip_while(|word| {
        !word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let first = own.next()?;
    match first.split_once('=') {
        Some((_, value)) => Some(value.into()),
        None => own.next().map(Into::into),
    }
}

/// Puts the region of rootlet.toml where `region` is followed by what to do with it.
fn name_region(words: &mut Vec<OsString>, region: &str) {
    if words.get(1).is_none_or(|word| word != "region") {
        return;
    }
    let next = words.iter().skip(2).position(|word| !word.to_string_lossy().starts_with('-'));
    let is_action = |word: &OsString| {
        RegionAction::value_variants()
            .iter()
            .any(|action| action.to_possible_value().is_some_and(|known| word == known.get_name()))
    };
    let place = next.map_or(words.len(), |next| next + 2);
    let asks = words.iter().any(|word| word == "--help" || word == "-h");
    if !asks && words.get(place).is_none_or(|word| is_action(word) && !Path::new(word).exists()) {
        words.insert(place, region.into());
    }
}

/// Returns the exit status for `result`, and prints an error on standard error.
pub fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                eprintln!("{} {text}", color::on_stderr(color::BAD, "rootlet:"));
            }
            ExitCode::from(exit::status_of(&error))
        }
    }
}

fn dispatch(command: Command, settings: &Settings, interrupt: &Interrupt) -> Result<()> {
    let known = settings.image();
    match command {
        Command::Ls(mut args) => {
            settle(&mut args.image, &mut args.paths, known);
            host::list(&args, interrupt)
        }
        Command::Cat(CatArgs { image, paths, read }) => {
            let mut args = host::FilesArgs { image, paths, read };
            settle(&mut args.image, &mut args.paths, known);
            host::files(Verb::Cat, &args, interrupt)
        }
        Command::Stat(mut args) => {
            settle(&mut args.files.image, &mut args.files.paths, known);
            host::stat(&args, interrupt)
        }
        Command::Sum(SumArgs { mut files }) => {
            settle(&mut files.image, &mut files.paths, known);
            host::files(Verb::Sum, &files, interrupt)
        }
        Command::Manifest(ManifestArgs { mut files }) => {
            settle(&mut files.image, &mut files.paths, known);
            host::files(Verb::Manifest, &files, interrupt)
        }
        Command::Extract(mut args) => {
            args.settle(known);
            host::extract(&args, interrupt)
        }
        Command::Check(mut args) => {
            args.image = args.image.take().or(known);
            host::check(&args, interrupt)
        }
        Command::Mount(mut args) => {
            args.settle(known);
            mount::task(&args, interrupt)
        }
        Command::Region(args) => region::task(&args, interrupt),
        Command::Boot(args) => boot::task(&args, known, interrupt),
        Command::Hil(args) => hil::task(&args, interrupt),
        Command::Timeline(args) => timeline::task(&args),
        Command::Completions(args) => completions(args),
        Command::Man(args) => man(&args),
    }
}

fn completions(args: CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rootlet", &mut text);
    output::bytes(&text)
}

fn man(args: &ManArgs) -> Result<()> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(|| dir.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_or_is_told_by_its_first_line() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn options_and_several_paths_are_typed_in_any_order() {
        for line in ["ls -l i /a /b", "ls i -l /a /b", "ls i /a /b -l", "ls -la i /a /b"] {
            let cli = Cli::try_parse_from(words(&format!("rootlet {line}"))).unwrap();
            let Command::Ls(args) = cli.command else { panic!("{line}") };
            assert_eq!((args.image, args.paths), (Some("i".into()), words_of(&["/a", "/b"])));
            assert!(args.long);
        }
        let cli = Cli::try_parse_from(words("rootlet boot i --mem 32M cat --x -v")).unwrap();
        let Command::Boot(args) = cli.command else { panic!() };
        assert_eq!(args.words, ["cat", "--x", "-v"]);
    }

    fn words_of(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_string()).collect()
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "ls i --blob a",
            "ls i --region @1+2",
            "boot i --mem 0",
            "boot i --timeout 0",
            "boot i --accel hvf",
            "boot i --monitor xen",
            "boot i --board pc",
            "lsd i",
            "ls --json -l i",
            "completions csh",
        ] {
            assert!(Cli::try_parse_from(words(&format!("rootlet {line}"))).is_err(), "{line}");
        }
    }

    #[test]
    fn global_options_are_found_before_the_rest_is_read() {
        let found = |line: &str| value(&words(line), "--config");
        assert_eq!(found("rootlet ls --config a i"), Some("a".into()));
        assert_eq!(found("rootlet --config=a=b ls i"), Some("a=b".into()));
        assert_eq!(found("rootlet ls --configure i"), None);
        assert_eq!(found("rootlet boot i -- cat --config x"), None);
    }

    #[test]
    fn region_of_the_settings_stands_where_none_is_named() {
        let named = |line: &str| {
            let mut words = words(line);
            name_region(&mut words, "R");
            words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("rootlet region"), "rootlet region R");
        assert_eq!(named("rootlet region drop 3"), "rootlet region R drop 3");
        assert_eq!(named("rootlet region --json show"), "rootlet region --json R show");
        assert_eq!(named("rootlet region x show"), "rootlet region x show");
        assert_eq!(named("rootlet region --help"), "rootlet region --help");
        assert_eq!(named("rootlet ls i"), "rootlet ls i");
    }
}
