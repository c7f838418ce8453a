//! The host tool of rootlet's checkout: what `cargo run` starts.
#![deny(clippy::print_stdout, reason = "a write that fails is told: see `output`")]

mod boot;
mod cli;
mod dist;
mod fleet;
mod measure;
mod prove;
mod sample;
mod setup;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use rootlet_cli::interrupt::Interrupt;

use cli::{Cli, Task};

fn main() -> ExitCode {
    let cli = Cli::parse();
    rootlet_cli::app::end(Interrupt::watch().and_then(|interrupt| dispatch(cli, &interrupt)))
}

fn dispatch(cli: Cli, interrupt: &Interrupt) -> Result<()> {
    match cli.task {
        Some(Task::Build(args)) => boot::build::task(args.board),
        Some(Task::Bench(args)) => measure::bench(&args, interrupt),
        Some(Task::New(args)) => boot::new::task(&args),
        Some(Task::Fuzz(args)) => prove::fuzz(&args, interrupt),
        Some(Task::PowerCut(args)) => prove::power_cut(&args, interrupt),
        Some(Task::Fleet(args)) => {
            interrupt.ends_the_process();
            fleet::task(&args)
        }
        Some(Task::Dist(args)) => dist::task(&args),
        Some(Task::Setup(args)) => setup::task(args.check),
        Some(Task::BootElf(args)) => boot::elf_task(args, interrupt),
        None if wants_sample(&cli) => sample::task(&cli.boot, interrupt),
        None => boot::task(cli.boot, cli.guest.as_deref(), cli.dry_run, interrupt),
    }
}

/// Returns whether the user names neither an image nor a guest or a command: only what machine to show
/// it on.
fn wants_sample(cli: &Cli) -> bool {
    let source = &cli.boot.source;
    let names_a_boot = cli.dry_run || cli.guest.is_some();
    !names_a_boot
        && cli.boot.image.is_none()
        && cli.boot.words.is_empty()
        && source.blob.is_empty()
        && source.share.is_empty()
        && source.region.is_none()
}
