//! The command line of the tool.
//!
//! Always: what is parsed here is well-formed; whether files exist and devices fit is for those
//! who use them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use rootlet_cli::boot::BootArgs;

use crate::boot::{BootElfArgs, BuildArgs, NewArgs};
use crate::dist::DistArgs;
use crate::fleet::FleetArgs;
use crate::measure::BenchArgs;
use crate::prove::{FuzzArgs, PowerCutArgs};
use crate::setup::SetupArgs;

const EXAMPLES: &str = "\
Guest commands:
  ls PATH | stat PATH | cat PATH | sum PATH | manifest PATH | cache | bench ...

Examples (after `cargo run --`):
                                            the sample: make it, boot, check, boot again
  --image root.erofs -- ls /                build the guest, boot it, list the root of an image
  --image root.erofs --blob 1=a.blob --blob 2=share:b.blob --share blobs -- sum /bin
                                            one blob on a disk, one on a virtio-fs share
  --image root.erofs --region region.img -- manifest /
                                            keep what is fetched in a region (made if missing)
  --monitor firecracker --image root.erofs -- ls /
                                            the same under another monitor
  --timeline boots.svg                      draw what both boots of the sample did, and when
  build                                     build the guests of all boards, for `rootlet boot`
  new DIR                                   begin an application of your own (docs/app.md)
  bench --markdown                          measure
  bench --peer linux --svg race.svg         measure beside a Linux guest
  fuzz image --seconds 600                  try the library with mutated images
  power-cut --cases 1000000 --seed 1        prove the region on simulated disks
  fleet --hosts 10000 --guests 100          bytes at the origin of many guests, by design
  dist --out DIR                            the images of all boards, with sums and a README
  setup --check                             say what is missing


Images, regions and hardware are looked at by the program `rootlet` (crates/cli).
Exit status: 0 passed, 1 failed or the guest died, 2 usage, 3 something is not installed, 124
timeout, 130 interrupted.
The guest command's output is all that goes to standard output.";

/// Boot a rootlet in a virtual machine and run a command in it; without arguments, show it on a
/// sample.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo run --", version)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Another task than booting
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub boot: BootArgs,
    /// The guest to boot, instead of building one: an ELF, or a flat Linux image
    #[arg(long, value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// Print the commands that boot it by hand, and boot nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Tasks beside booting an image.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Build the guests of the boards, for `rootlet boot`
    Build(BuildArgs),
    /// Make the folder of an application of your own
    New(NewArgs),
    /// Run the guest's benchmark and print tables
    Bench(BenchArgs),
    /// Try the library with mutated inputs: what cargo-fuzz runs, on this toolchain
    Fuzz(FuzzArgs),
    /// Cut the power of simulated machines, and hold their region to its fifteen invariants
    PowerCut(PowerCutArgs),
    /// Count the bytes that an origin sends when many guests boot one image
    Fleet(FleetArgs),
    /// Put the guest images of all boards into one folder
    Dist(DistArgs),
    /// Install what is needed
    Setup(SetupArgs),
    /// Boot a given ELF: the runner of `cargo run -p BOARD --target ...`
    BootElf(BootElfArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use rootlet_cli::boot::LogLevel;
    use rootlet_cli::size::Size;
    use rootlet_cli::source::{BlobArg, BlobPlace};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("rootlet").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_mean_the_sample() {
        let cli = parse("").unwrap();
        assert!(cli.task.is_none() && cli.boot.image.is_none());
        assert!(cli.boot.words.is_empty());
        assert_eq!(cli.boot.machine.mem, Size(64 << 20));
        assert_eq!(cli.boot.machine.timeout, 600);
    }

    #[test]
    fn a_full_boot_line_is_understood() {
        let cli = parse(
            "--image i --blob 1=a --blob 2=share:c --share d --region r@8+1024 --log trace \
             -- cat --image -v",
        )
        .unwrap();
        let source = cli.boot.source;
        assert_eq!(source.blob[0], BlobArg::new(1, BlobPlace::Disk("a".parse().unwrap())));
        assert_eq!(source.blob[1], BlobArg::new(2, BlobPlace::Share("c".into())));
        assert_eq!(source.region.unwrap().part.to_string(), "@8+1024");
        assert_eq!(cli.boot.words, ["cat", "--image", "-v"]);
        assert_eq!(cli.boot.machine.log, Some(LogLevel::Trace));
    }

    #[test]
    fn a_guest_command_with_the_name_of_a_task_goes_to_the_guest() {
        let cli = parse("-- bench --runs").unwrap();
        assert!(cli.task.is_none());
        assert_eq!(cli.boot.words, ["bench", "--runs"]);
    }

    #[test]
    fn tasks_take_their_own_options() {
        assert!(matches!(
            parse("setup --check").unwrap().task,
            Some(Task::Setup(SetupArgs { check: true }))
        ));
        let Some(Task::BootElf(boot)) = parse("boot-elf x -v -- ls /").unwrap().task else {
            panic!("boot-elf is a task")
        };
        assert_eq!((boot.elf, boot.boot.machine.verbose), ("x".into(), true));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--blob a",
            "--blob 0=x",
            "--blob 1=",
            "--blob 1=share:",
            "--blob 70000=x",
            "--region @1+2",
            "--region r@1+0",
            "--mem 0",
            "--timeout 0",
            "--accel hvf",
            "--monitor xen",
            "--board pc",
            "ls /",
            "bench --svg x",
            "bench --peer linux --modules x",
            "fuzz --input x",
            "fuzz image --seconds 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
