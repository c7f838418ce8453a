//! What to boot, and on which machine.

use std::path::PathBuf;

use clap::Args;

use super::monitor::MachineArgs;
use crate::source::SourceArgs;

/// Booting an image.
#[derive(Args, Clone, Debug)]
pub struct BootArgs {
    /// The EROFS image
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub source: SourceArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub machine: MachineArgs,
    /// Whether the words are for an application, which alone knows them.
    #[arg(skip)]
    pub is_app: bool,
    /// What to run; `ls /` if there is nothing here
    #[arg(last = true, value_name = "GUEST COMMAND")]
    pub words: Vec<String>,
}
