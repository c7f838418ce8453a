//! The options of `region`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::size::Size;
use crate::source::RegionPlace;

const HELP: &str = "\
PART is SECTOR+COUNT in sectors of 512 bytes, or of a GPT name:NAME, type:GUID, or type for the
type of regions, 5e4a3680-bb1e-4551-8d14-7538e87347a3.
`show` and `check` open the file read-only. `format` leaves foreign data (partition tables, file
systems, LUKS and data that it does not know) and regions alone, unless --force is given. `format` and
`drop` refuse a region that another process of this machine has open for writing.
Exit status 1 if there is no region, or `check` found a fault.

Examples:
  rootlet region region.img                    superblock, blobs, slots, counters, and a picture
  rootlet region region.img show --json        the same for a program
  rootlet region region.img check              every table, and every resident block
  rootlet region /dev/vdb@type format          a partition
  rootlet region region.img drop a.blob        takes a blob out";

/// Looking at a region, and changing it without a guest.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct RegionArgs {
    /// The disk with the region, and which part of it: sectors, or a partition of a GPT
    #[arg(value_name = "FILE[@PART]")]
    pub place: RegionPlace,
    /// What to do with it
    #[arg(value_enum, default_value = "show")]
    pub action: RegionAction,
    /// The blob to take out: its number as `show` has it, or its tag
    #[arg(required_if_eq("action", "drop"))]
    pub blob: Option<String>,
    /// Draw the picture into this file, too
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show the pages of the blob table and of descriptors, field by field
    #[arg(long)]
    pub pages: bool,
    /// Format over whatever is there
    #[arg(long)]
    pub force: bool,
    /// Slots of this size: 64K, 256K or 1M [default: the smallest whose tables fit in a guest of
    /// 64 MiB]
    #[arg(long, value_name = "SIZE")]
    pub slot: Option<Size>,
}

/// What to do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegionAction {
    /// makes a new, empty region
    Format,
    /// shows superblock, blobs, slots, counters, and a picture
    Show,
    /// compares every table and every resident block with its check
    Check,
    /// takes a blob out, durably
    Drop,
}
