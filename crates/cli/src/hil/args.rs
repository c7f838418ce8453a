//! The options of `hil`.
//!
//! Always: a parsed value is well-formed; whether port and files exist shows when they are opened.

use std::path::PathBuf;

use clap::Args;

use super::serial::Port;

const HELP: &str = "\
The runner is a command for sh. It starts one boot and, without --serial, carries the guest's line \
on its standard output. Its environment has
  ROOTLET_KERNEL   the board's guest, if --board or --kernel is given
  ROOTLET_APPEND   the guest's command line: console=wire, the --guest-option words, the command
  ROOTLET_ATTEMPT  1, 2, ...
Where a serial port carries the line, the runner may end as soon as the boot is under way; else it \
is ended with all of its process group soon after the verdict. Without a runner the program listens, \
and the rig has to be started, with the same command line, by other means.

Examples:
  rootlet hil --board microvm --runner 'ssh rig boot \"$ROOTLET_APPEND\" < $ROOTLET_KERNEL' manifest /
  rootlet hil --board rig7 --kernel rig7.elf --runner './flash \"$ROOTLET_KERNEL\"' manifest /
  rootlet hil --serial /dev/ttyUSB0,115200 --runner ./reset-line --retries 2 --junit hil.xml sum /

Standard output has the output of the guest command in the last attempt. Exit status: 0 passed, \
1 failed, 2 usage, 3 the guest of --board is not there, 124 timeout or silence, 130 interrupted.";

/// Booting on hardware.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct HilArgs {
    /// The command that starts a boot
    #[arg(long, value_name = "CMD", required_unless_present = "serial")]
    pub runner: Option<String>,
    /// Give the runner a terminal
    #[arg(long, requires = "runner")]
    pub pty: bool,
    /// The serial port that carries the guest's line [BAUD: 115200]
    #[arg(long, value_name = "PORT[,BAUD]")]
    pub serial: Option<Port>,
    /// Expect this board to answer, and without --kernel hand its guest to the runner
    #[arg(long, value_name = "BOARD")]
    pub board: Option<String>,
    /// Hand this guest to the runner: that of a board of your own
    #[arg(long, value_name = "FILE", requires = "runner")]
    pub kernel: Option<PathBuf>,
    /// A word for the guest's command line, before the command
    #[arg(long, value_name = "KEY=VALUE")]
    pub guest_option: Vec<String>,
    /// How often the guest sends each line, for a wire that loses bytes
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u8).range(1..=9))]
    pub copies: u8,
    /// End an attempt after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "600",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// End an attempt after this many seconds without a sign of life: without a byte before the
    /// guest's first frame, without a frame after it
    #[arg(long, value_name = "SECONDS", default_value = "30",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub silence: u64,
    /// How often a failed boot is tried again
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = clap::value_parser!(u32).range(0..=100))]
    pub retries: u32,
    /// The rows that the command `manifest` has to print, in any form of JSON, line by line
    #[arg(long, value_name = "FILE")]
    pub expect_manifest: Option<PathBuf>,
    /// Write a report in JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// What the guest runs [default: manifest /]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub words: Vec<String>,
}
