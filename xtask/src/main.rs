//! The host tool of rootlet: what `cargo run` starts.
#![deny(clippy::print_stdout, reason = "a write that fails is told: see `output`")]

mod accel;
mod append;
mod bench;
mod board;
mod boot;
mod build;
mod check;
mod child;
mod cli;
mod console;
mod data;
mod disk_file;
mod dist;
mod exit;
mod extract;
mod fixture;
mod flat;
mod fuzz;
mod guards;
mod guest;
mod hil;
mod host;
mod interrupt;
#[cfg(test)]
mod live;
mod log;
mod monitor;
mod output;
mod packages;
mod peer;
mod plan;
mod power_cut;
mod region;
mod restore;
mod sample;
mod seen;
mod setup;
mod shown;
mod size;
mod sweeper;
mod tables;
mod tiny;
mod tiny_virt;
mod tree;
mod verdict;
mod virtiofsd;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use cli::{BootArgs, Cli, Task};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match Interrupt::watch().and_then(|interrupt| dispatch(cli, &interrupt)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                eprintln!("rootlet: {text}");
            }
            ExitCode::from(exit::status_of(&error))
        }
    }
}

fn dispatch(cli: Cli, interrupt: &Interrupt) -> Result<()> {
    match cli.task {
        Some(Task::Host(args)) => host::task(&args, interrupt),
        Some(Task::Hil(args)) => hil::task(&args, interrupt),
        Some(Task::Bench(args)) => bench::task(&args, interrupt),
        Some(Task::Fuzz(args)) => fuzz::task(&args, interrupt),
        Some(Task::PowerCut(args)) => power_cut::task(&args, interrupt),
        Some(Task::Region(args)) => region::task(&args, interrupt),
        Some(Task::Dist(args)) => dist::task(&args),
        Some(Task::Setup(args)) => setup::task(args.check),
        Some(Task::BootElf(args)) => boot::elf_task(args.elf, &args.boot, interrupt),
        None if wants_sample(&cli.boot) && !cli.dry_run => sample::task(&cli.boot, interrupt),
        None => boot::task(&cli.boot, cli.dry_run, interrupt),
    }
}

/// Whether the user names neither an image nor a command: only what machine to show it on.
fn wants_sample(args: &BootArgs) -> bool {
    let source = &args.source;
    source.image.is_none()
        && source.words.is_empty()
        && source.blob.is_empty()
        && source.share.is_empty()
        && source.cache.is_none()
}
