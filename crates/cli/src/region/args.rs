//! The options of `region`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::boot::BootCommand;
use crate::config::Settings;
use crate::exit::usage;
use crate::size::Size;
use crate::source::{BlobPlace, RegionPlace, key_place};

const HELP: &str = "\
PART is SECTOR+COUNT in sectors of 512 bytes, or a partition of a GPT: name:NAME, type:GUID, or type \
for the type of regions, 5e4a3680-bb1e-4551-8d14-7538e87347a3.

`show` and `check` open the file read-only. `format` leaves regions and foreign data alone (partition \
tables, file systems, LUKS and unknown data), unless --force is given. `format` and `drop` refuse a \
region that another process of this machine has open for writing. Exit status 1 if there is no \
region, or `check` found a fault.

Examples:
  rootlet region region.img                    superblock, blobs, slots, counters, and a picture
  rootlet region region.img show --json        the same for a program
  rootlet region region.img check              every table, and every resident block
  rootlet region /dev/vdb@type format          a partition
  rootlet region region.img drop a.blob        takes a blob out
  rootlet region region.img format --cache-key key
                                               encrypts it; every use takes the key then
  rootlet region base.img prepare root.erofs --blob 1=https://host/a.blob
                                               fills it, for guests with an --overlay over it";

const PREPARE_HELP: &str = "\
The guest command is left out: IMAGE is followed by the path whose files are read [default: /]. The \
options are those of `rootlet boot`. A region that is not there is made. It is an error if the region \
has no room for all that was read.

Example:
  rootlet region base.img prepare root.erofs --blob 1=https://host/a.blob --region-size 1G
  rootlet boot root.erofs --blob 1=https://host/a.blob --region base.img --overlay one.qcow2 ls /";

/// Looking at a region, and changing it without a guest.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP, disable_help_subcommand = true)]
pub struct RegionArgs {
    /// The disk with the region, and which part of it: sectors, or a partition of a GPT; not needed
    /// where rootlet.toml names a region
    #[arg(value_name = "FILE[@PART]")]
    pub place: Option<RegionPlace>,
    /// What to do with it [default: show]
    #[command(subcommand)]
    pub action: Option<RegionAction>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub show: ShowArgs,
    /// The file with the key of an encrypted region; `format` makes a region that is encrypted with it
    #[arg(long, value_name = "FILE", value_parser = key_place, global = true)]
    pub cache_key: Option<BlobPlace>,
}

/// What to do with a region.
#[derive(Clone, Debug, Subcommand)]
pub enum RegionAction {
    /// Show superblock, blobs, slots, counters, and a picture (the default)
    #[command(override_usage = "rootlet region [FILE[@PART]] show [OPTIONS]")]
    Show(ShowArgs),
    /// Compare every table and every resident block with its check
    #[command(override_usage = "rootlet region [FILE[@PART]] check [OPTIONS]")]
    Check(CheckArgs),
    /// Make a new, empty region
    #[command(override_usage = "rootlet region [FILE[@PART]] format [OPTIONS]")]
    Format(FormatArgs),
    /// Take a blob out, durably
    #[command(override_usage = "rootlet region [FILE[@PART]] drop [OPTIONS] <BLOB>")]
    Drop(DropArgs),
    /// Boot a guest that reads all files of an image, so that later guests find them here
    #[command(override_usage = "rootlet region [FILE[@PART]] prepare [OPTIONS] <IMAGE> [PATH]")]
    Prepare(Box<PrepareArgs>),
}

/// Filling a region.
#[derive(Args, Clone, Debug)]
#[command(after_help = PREPARE_HELP)]
pub struct PrepareArgs {
    #[command(flatten)]
    pub boot: BootCommand,
}

/// Showing a region.
#[derive(Args, Clone, Debug, Default)]
pub struct ShowArgs {
    /// Draw the picture into this file, too
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show the pages of the blob table and of descriptors, field by field
    #[arg(long)]
    pub pages: bool,
}

/// Checking a region.
#[derive(Args, Clone, Copy, Debug)]
pub struct CheckArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Formatting a region.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArgs {
    /// Format over whatever is there
    #[arg(long)]
    pub force: bool,
    /// Slots of this size: 64K, 256K or 1M [default: the smallest whose tables fit in a guest of
    /// 64 MiB]
    #[arg(long, value_name = "SIZE")]
    pub slot: Option<Size>,
}

/// Taking a blob out of a region.
#[derive(Args, Clone, Debug)]
pub struct DropArgs {
    /// The blob: its number as `show` has it, or its tag
    pub blob: String,
}

impl RegionArgs {
    /// Takes the region that rootlet.toml names where the command line names none.
    ///
    /// # Errors
    /// Status 2: what rootlet.toml names is not a region's place.
    pub fn settle(&mut self, settings: &Settings) -> Result<()> {
        if self.place.is_none() {
            self.place = settings.region()?;
            if self.cache_key.is_none() {
                let key = settings.cache_key().map(|key| key_place(&key)).transpose();
                self.cache_key = key.map_err(usage)?;
            }
        }
        Ok(())
    }

    /// Returns the action that is asked for. `show` may be left out, with its options.
    ///
    /// # Errors
    /// Status 2: options of `show` stand before another action.
    pub fn action(&self) -> Result<RegionAction> {
        let ShowArgs { svg, json, pages } = self.show.clone();
        let is_given = svg.is_some() || json || pages;
        Ok(match self.action.clone() {
            None => RegionAction::Show(ShowArgs { svg, json, pages }),
            Some(RegionAction::Show(own)) => RegionAction::Show(ShowArgs {
                svg: own.svg.or(svg),
                json: own.json || json,
                pages: own.pages || pages,
            }),
            Some(RegionAction::Check(own)) if svg.is_none() && !pages => {
                RegionAction::Check(CheckArgs { json: own.json || json })
            }
            Some(_) if is_given => {
                return Err(usage("--svg, --pages and --json are options of `show` (see --help)"));
            }
            Some(action) => action,
        })
    }
}
