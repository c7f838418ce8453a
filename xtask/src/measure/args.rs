//! The options of `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rootlet_cli::boot::BootArgs;

/// Measuring.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// How often to boot; figures are medians
    #[arg(long, default_value = "9", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Print the tables as Markdown
    #[arg(long)]
    pub markdown: bool,
    /// Print one JSON object, or write it to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub json: Option<Option<PathBuf>>,
    /// Boot another guest in turn, run the same steps in both, and compare
    #[arg(long, value_enum)]
    pub peer: Option<Peer>,
    /// The peer's kernel [default: Debian's for clouds, downloaded and unpacked]
    #[arg(long, value_name = "FILE", requires = "peer")]
    pub kernel: Option<PathBuf>,
    /// Where the modules of --kernel are, unless it has all built in
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub modules: Option<PathBuf>,
    /// More words for the peer's command line
    #[arg(long, value_name = "WORDS", requires = "peer", allow_hyphen_values = true)]
    pub peer_append: Option<String>,
    /// Write VALUE to FILE in the peer before the steps; `{SERIAL}` in FILE is that disk's name,
    /// and the setting is passed over where there is no such disk
    #[arg(long, value_name = "FILE=VALUE", requires = "peer")]
    pub peer_setting: Vec<String>,
    /// Only this part of the comparison
    #[arg(long, value_name = "PART", requires = "peer")]
    pub only: Option<String>,
    /// Draw the comparison into a file
    #[arg(long, value_name = "FILE", requires = "peer")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub boot: BootArgs,
}

/// Who runs beside rootlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// A Linux guest, on the same machine with the same disks and share
    Linux,
}
