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

/// Beginning an application.
#[derive(Args, Clone, Debug)]
pub struct NewArgs {
    /// Its folder, which must not be there; the last part of the name is the package's
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Booting a given ELF.
#[derive(Args, Clone, Debug)]
pub struct BootElfArgs {
    /// The board's image
    pub elf: PathBuf,
    /// It is an application: the words are its own
    #[arg(long)]
    pub app: bool,
    #[command(flatten)]
    pub boot: BootArgs,
}
