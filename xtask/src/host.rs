//! The library over files of this machine: the guest's commands without a guest.
//!
//! Always: the same words mean the same as in a guest, down to the names of disks and shares.

use anyhow::{Result, bail};
use rootlet::command::config::Config;

use crate::cli::HostArgs;
use crate::exit::usage;
use crate::plan::{Plan, plan};

/// The task.
pub fn task(args: &HostArgs) -> Result<()> {
    if args.source.image.is_none() {
        return Err(usage("host needs an --image FILE"));
    }
    let plan = plan(&args.source)?;
    let config = Config::parse(&plan.append())?;
    run(&plan, &config)
}

/// The seam to the library. `plan.disks` are the files that stand for disks, by serial, with
/// whether they may be written; `plan.shares` the directories that stand for shares, by mount
/// tag; `config` is what a guest would read from its command line.
fn run(plan: &Plan, config: &Config) -> Result<()> {
    // WIRING: FileStorage from `plan`, then the library's command over it with `config`.
    let (disks, words) = (plan.disks.len(), config.command.join(" "));
    bail!("not wired to the library yet ({disks} files, command `{words}`)")
}
