//! The host tool of rootlet: what `cargo run` starts.

mod accel;
mod append;
mod board;
mod boot;
mod build;
mod child;
mod cli;
mod console;
mod exit;
mod guest;
mod interrupt;
mod log;
mod packages;
mod plan;
mod qemu;
mod setup;
mod size;
mod verdict;
mod virtiofsd;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use cli::{Cli, Task};
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
        Some(Task::Host(_)) => todo!(),
        Some(Task::Bench(_)) => todo!(),
        Some(Task::Setup(args)) => setup::task(args.check),
        Some(Task::BootElf(args)) => boot::elf_task(args.elf, &args.boot, interrupt),
        None => boot::task(&cli.boot, interrupt),
    }
}
