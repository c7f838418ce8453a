//! Building a board's guest and booting it with the user's image, blobs, shares and region.
//!
//! Always: what cannot boot is refused before anything is built.

mod args;
pub mod build;
#[cfg(test)]
mod live;
pub mod new;

use std::path::Path;

use anyhow::Result;
pub use args::{BootElfArgs, BuildArgs, NewArgs};
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::monitor::Monitor;
use rootlet_cli::boot::{self, BootArgs, Firmware};
use rootlet_cli::interrupt::Interrupt;

use crate::setup::{self, Need};

/// Boots the guest in the file `guest`, or builds and boots that of the board; gives its output to
/// standard output, and judges.
pub fn task(
    mut args: BootArgs,
    guest: Option<&Path>,
    dry_run: bool,
    interrupt: &Interrupt,
) -> Result<()> {
    let given = guest.map(|file| boot::named_guest("--guest", file, &mut args.machine));
    boot::check(&args, dry_run)?;
    let firmware = match given {
        Some(given) => {
            setup::ensure(&needs_to_run(&args))?;
            given?
        }
        None => {
            setup::ensure(&needs(&args))?;
            build::board(args.machine.board(), boot::level(&args), args.machine.verbose)?
        }
    };
    match dry_run {
        true => boot::print_script(&args, &firmware),
        false => boot::show(&args, &firmware, interrupt),
    }
}

/// Boots an image.
pub fn elf_task(args: BootElfArgs, interrupt: &Interrupt) -> Result<()> {
    let BootElfArgs { elf, app, boot: mut args } = args;
    args.is_app = app;
    // The runner of a target does not know which of its boards it runs; the file is called so.
    let named = |board: &Board| elf.file_name().is_some_and(|name| name == board.package());
    args.machine.board = Board::ALL.into_iter().find(named).or(args.machine.board);
    setup::ensure(&needs_to_run(&args))?;
    boot::show(&args, &Firmware::read(elf)?, interrupt)
}

/// Returns what building and booting with `args` needs.
pub fn needs(args: &BootArgs) -> Vec<Need> {
    let mut needs = vec![Need::Target(args.machine.board())];
    needs.extend(needs_to_run(args));
    needs
}

/// Returns what booting with `args` needs where the guest is there.
fn needs_to_run(args: &BootArgs) -> Vec<Need> {
    let mut needs = Vec::new();
    if args.machine.monitor == Monitor::Qemu {
        needs.push(Need::Qemu(args.machine.board()));
    }
    if !args.source.share.is_empty() {
        needs.push(Need::Virtiofsd);
    }
    needs
}
