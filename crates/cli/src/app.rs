//! The program `rootlet`: its commands, and how it ends.
//!
//! Always: the options of a command stand in the folder of that command; this file dispatches.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::boot::{self, BootCommand};
use crate::color::{self, Paint, When};
use crate::config::Settings;
use crate::exit;
use crate::hil::{self, HilArgs};
use crate::host::{
    self, CatArgs, CheckArgs, ExtractArgs, Jobs, ListArgs, ManifestArgs, StatArgs, SumArgs, Verb,
    settle, settle_stack,
};
use crate::interrupt::Interrupt;
use crate::line;
use crate::mount::{self, MountArgs};
use crate::note;
use crate::output;
use crate::region::{self, RegionArgs};
use crate::seal::{self, SealArgs};
use crate::serve::{self, ServeArgs};
use crate::timeline::{self, TimelineArgs};
use crate::unpack::{self, UnpackArgs};

const HELP: &str = "\
Examples:
  rootlet ls -l root.erofs /etc                    rows of a directory
  rootlet cat root.erofs --blob 1=a.blob /bin/sh   a file whose bytes lie in a blob
  rootlet extract root.erofs out                   all files
  rootlet check root.erofs                         verify the image and its blobs
  rootlet seal root.erofs --out sealed             digests of all, under one
  rootlet unpack oci:layout --out app.img          a container image becomes a disk
  rootlet mount root.erofs /mnt                    the image as a directory
  rootlet region region.img                        what a region holds
  rootlet boot root.erofs sum /                    the same files, read by a guest

A file rootlet.toml in the current folder says what one would type every time:
  image = \"root.erofs\"
  region = \"region.img\"
  blob.1 = \"a.blob\"
  board = \"q35\"

Exit status: 0 done and no fault, 1 failed or a fault was found, 2 usage, 3 something is not \
installed, 124 timeout, 130 interrupted, 141 nobody reads the output.";

/// The heading over the options that every command has.
const OF_ALL: &str = "Options of all commands";

/// Look into EROFS images with their blobs and regions, and boot them in guests
#[derive(Debug, Parser)]
#[command(name = "rootlet", version, after_help = HELP)]
pub struct Cli {
    /// The file of settings [default: rootlet.toml in the current folder, if it is there]
    #[arg(long, value_name = "FILE", global = true, help_heading = OF_ALL)]
    pub config: Option<PathBuf>,
    /// When to colour the output: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true,
          help_heading = OF_ALL, hide_possible_values = true)]
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
    /// Make the trees of an image and its blobs, and a seal that pins all of them
    Seal(SealArgs),
    /// Make a guest's disk of a container image
    Unpack(UnpackArgs),
    /// Look at a region, check it, format it, or take a blob out of it
    Region(RegionArgs),
    /// Boot a guest that mounts an image and runs a command in it
    Boot(Box<BootCommand>),
    /// Fetch an object of a web server once for many guests of this machine
    Serve(ServeArgs),
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

impl Command {
    /// Returns whether the command is over a stack of images.
    fn is_of_stack(&self) -> bool {
        let source = match self {
            Self::Ls(args) => &args.read.source,
            Self::Cat(args) => &args.files.read.source,
            Self::Stat(args) => &args.files.read.source,
            Self::Sum(args) => &args.files.read.source,
            Self::Manifest(args) => &args.files.read.source,
            Self::Extract(args) => &args.read.source,
            Self::Check(args) => &args.read.source,
            Self::Mount(args) => &args.read.source,
            Self::Boot(args) => &args.source,
            _ => return false,
        };
        !source.layer.is_empty()
    }
}

/// Parses the command line, runs the command, and returns the exit status.
pub fn main() -> ExitCode {
    end(Interrupt::watch().and_then(|interrupt| {
        let words: Vec<_> = env::args_os().collect();
        let Some((cli, settings)) = line::parse(&words)? else { return Ok(()) };
        cli.color.choose();
        dispatch(cli.command, &settings, &interrupt)
    }))
}

/// Returns the exit status for `result`, and prints an error on standard error.
pub fn end(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                note!("{} {text}", Paint::of_stderr().text(color::BAD, "rootlet:"));
            }
            ExitCode::from(exit::status_of(&error))
        }
    }
}

fn dispatch(command: Command, settings: &Settings, interrupt: &Interrupt) -> Result<()> {
    // Words of a stack are not those of the file's image.
    let known = if command.is_of_stack() { None } else { settings.image() };
    match command {
        Command::Ls(mut args) => {
            settle_stack(&mut args.image, &mut args.paths, &args.read.source);
            settle(&mut args.image, &mut args.paths, known);
            host::list(&args, interrupt)
        }
        Command::Cat(CatArgs { mut files }) => {
            settle_stack(&mut files.image, &mut files.paths, &files.read.source);
            settle(&mut files.image, &mut files.paths, known);
            host::files(Verb::Cat, &files, Jobs::ONE, interrupt)
        }
        Command::Stat(mut args) => {
            settle_stack(&mut args.files.image, &mut args.files.paths, &args.files.read.source);
            settle(&mut args.files.image, &mut args.files.paths, known);
            host::stat(&args, interrupt)
        }
        Command::Sum(SumArgs { mut files, jobs }) => {
            settle_stack(&mut files.image, &mut files.paths, &files.read.source);
            settle(&mut files.image, &mut files.paths, known);
            host::files(Verb::Sum, &files, jobs, interrupt)
        }
        Command::Manifest(ManifestArgs { mut files, jobs }) => {
            settle_stack(&mut files.image, &mut files.paths, &files.read.source);
            settle(&mut files.image, &mut files.paths, known);
            host::files(Verb::Manifest, &files, jobs, interrupt)
        }
        Command::Extract(mut args) => {
            args.settle(known);
            host::extract(&args, interrupt)
        }
        Command::Check(mut args) => {
            args.image = args.image.take().or(known);
            host::check(&args, interrupt)
        }
        Command::Seal(mut args) => {
            args.image = args.image.take().or(known);
            seal::task(&args, interrupt)
        }
        Command::Unpack(args) => unpack::task(&args, interrupt),
        Command::Mount(mut args) => {
            args.settle(known);
            mount::task(&args, interrupt)
        }
        Command::Region(mut args) => {
            args.settle(settings)?;
            region::task(&args, interrupt)
        }
        Command::Boot(args) => boot::task(&args, known, interrupt),
        Command::Serve(args) => serve::task(&args, interrupt),
        Command::Hil(args) => hil::task(&args, interrupt),
        Command::Timeline(args) => {
            interrupt.ends_the_process();
            timeline::task(&args)
        }
        Command::Completions(args) => {
            interrupt.ends_the_process();
            completions(args)
        }
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
    use std::ffi::OsString;

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
}
