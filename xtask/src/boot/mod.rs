//! Building a board's guest and booting it with the user's image, blobs, shares and region.
//!
//! Always: what cannot boot is refused before anything is built.

mod args;
pub mod build;
#[cfg(test)]
mod live;
pub mod new;

use anyhow::Result;
pub use args::{BootElfArgs, BuildArgs, NewArgs};
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::monitor::Monitor;
use rootlet_cli::boot::{self, BootArgs, Firmware};
use rootlet_cli::interrupt::Interrupt;

use crate::setup::{self, Need};

/// Boots, gives the guest's output to standard output, and judges.
pub fn task(args: &BootArgs, dry_run: bool, interrupt: &Interrupt) -> Result<()> {
    boot::check(args, dry_run)?;
    setup::ensure(&needs(args))?;
    let machine = &args.machine;
    let firmware = build::board(machine.board(), boot::level(args), machine.verbose)?;
    match dry_run {
        true => boot::print_script(args, &firmware),
        false => boot::show(args, &firmware, interrupt),
    }
}

/// Boots an image.
pub fn elf_task(args: BootElfArgs, interrupt: &Interrupt) -> Result<()> {
    let BootElfArgs { elf, app, boot: mut args } = args;
    args.is_app = app;
    // The runner of a target does not know which of its boards it runs; the file is called so.
    let named = |board: &Board| elf.file_name().is_some_and(|name| name == board.package());
    args.machine.board = Board::ALL.into_iter().find(named).or(args.machine.board);
    let needs: Vec<Need> =
        needs(&args).into_iter().filter(|need| !matches!(need, Need::Target(_))).collect();
    setup::ensure(&needs)?;
    boot::show(&args, &Firmware::read(elf)?, interrupt)
}

/// Returns what booting with `args` needs.
pub fn needs(args: &BootArgs) -> Vec<Need> {
    let board = args.machine.board();
    let mut needs = vec![Need::Target(board)];
    if args.machine.monitor == Monitor::Qemu {
        needs.push(Need::Qemu(board));
    }
    if !args.source.share.is_empty() {
        needs.push(Need::Virtiofsd);
    }
    needs
}
