//! The options of `build` and `boot-elf`.

use std::path::PathBuf;

use clap::Args;
use rootlet_cli::boot::BootArgs;
use rootlet_cli::boot::board::Board;

/// Building.
#[derive(Args, Clone, Debug)]
pub struct BuildArgs {
    /// The guest of this board alone
    #[arg(long, value_enum)]
    pub board: Option<Board>,
}

/// Booting a given ELF.
#[derive(Args, Clone, Debug)]
pub struct BootElfArgs {
    /// The board's image
    pub elf: PathBuf,
    #[command(flatten)]
    pub boot: BootArgs,
}
