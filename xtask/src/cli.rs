//! The command line of the tool.
//!
//! Always: what is parsed here is well-formed; whether files exist and devices fit is for those
//! who use them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use rootlet_guest::config::Part;
use rootlet_power::case::CaseName;
use rootlet_power::mix;

use crate::hil::HilArgs;
use crate::monitor::MachineArgs;
use crate::size::Size;

const EXAMPLES: &str = "\
Guest commands:
  ls PATH | stat PATH | cat PATH | sum PATH | manifest PATH | cache | bench ...

Examples (after `cargo run --`):
                                            the sample: make it, boot, check, boot again
  --image root.erofs -- ls /                list the root of an image
  --image root.erofs --blob 1=a.blob --blob 2=share:b.blob --share blobs -- sum /bin
                                            one blob on a disk, one on a virtio-fs share
  --image root.erofs --cache region.img -- manifest /
                                            keep what is fetched in a region (made if missing)
  --monitor firecracker --image root.erofs -- ls /
                                            the same under another monitor
  host --image root.erofs --blob 1=a.blob -- manifest /
                                            the same library over files of this machine
  host --image root.erofs -- extract DIR /etc
                                            restore a tree into a new or empty directory
  host --image root.erofs -- check          verify the image and its blobs
  hil --serial /dev/ttyUSB0 -- sum /        watch a boot on hardware
  bench --markdown                          measure
  bench --peer linux --svg race.svg         measure beside a Linux guest
  fuzz image --seconds 600                  try the library with mutated images
  power-cut --cases 1000000 --seed 1        prove the region on simulated disks
  region region.img                         show a region: blobs, what is resident, counters
  region region.img check                   verify every resident block
  dist --out DIR                            the images of all boards, with sums and a README
  setup --check                             say what is missing

Exit status: 0 passed, 1 failed or guest died, 2 usage, 3 something is not installed, 124 timeout.
The guest command's output is all that goes to standard output.";

const HOST_COMMANDS: &str = "\
Beside the guest's commands:
  extract DIR [PATH] [--force]
      Restores what lies below PATH (/) into DIR: files with their holes, hard links, symlinks,
      devices, fifos and sockets, modes, times, and owners and xattrs as far as this user may set
      them. DIR is made, or has to be empty; --force replaces what has the same names. Nothing is
      written outside DIR, and no symlink is followed. What fails is told, and the rest goes on.
  check
      Verifies the image and its blobs, and prints every fault with its place: the superblock's
      checksum, device table and lengths; of everything that is reachable inode, type, link count
      and xattrs; of directories order, names, `.` and `..`, and that each has one parent; targets
      of symlinks; that every byte of every file can be read and decoded; the count of inodes.
      Not verified: what the bytes of files and xattrs are (the format has no digests of them),
      what nothing leads to, and link counts where layers were merged.
      Work: each byte of a device is read at most once for plain data; metadata and decoded data
      are read up to a multiple of the devices' bytes, beyond which the image is faulty.
Both exit with 1 if there was any fault.";

const POWER_CUT: &str = "\
A history is one to five lives of a guest over a simulated disk that keeps exactly the promise of
the storage traits: mounts, formats, reads, syncs, evictions (the images are larger than the
region), kills, and power cuts at any write or flush: before, during and after. A case is
  - one durable state that the last cut of a history may leave: every subset and order of unflushed
    sectors while at most ten of them change, seeded samples above, torn sectors and damaged
    neighbours; it is mounted, at times twice, and read; or
  - one history with faults, of the disk or of the sources, with two guests, a full blob table,
    scarce memory, mutated tables.
After every step the fifteen invariants are checked (crates/power/src/invariants). What fails prints
the line that runs it again. Exit status 1 if anything failed, or with --guards if nobody missed a
guard.";

const REGION: &str = "\
PART is SECTOR+COUNT in sectors of 512 bytes, or of a GPT name:NAME, type:GUID, or type for the
type of regions, 5e4a3680-bb1e-4551-8d14-7538e87347a3.
`show` and `check` open the file read-only. `format` leaves foreign data (partition tables, file
systems, LUKS and what it does not know) and regions alone, unless it is told to --force. `format`
and `drop` leave a region alone that another process of this machine has open for writing.
Exit status 1 if there is no region, or `check` found a fault.";

/// Boot a rootlet in a virtual machine and run a command in it; without arguments, show it on a
/// sample.
#[derive(Debug, Parser)]
#[command(name = "rootlet", bin_name = "rootlet", version)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Another task than booting
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub boot: BootArgs,
    /// Print the commands that boot it by hand, and boot nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Tasks beside booting an image.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run a command over files of this machine, with the library that the guest runs
    Host(HostArgs),
    /// Boot on hardware that another command starts, and watch it over a serial line
    Hil(HilArgs),
    /// Run the guest's benchmark and print tables
    Bench(BenchArgs),
    /// Try the library with mutated inputs: what cargo-fuzz runs, on this toolchain
    Fuzz(FuzzArgs),
    /// Cut the power of simulated machines, and hold their region to its fifteen invariants
    PowerCut(PowerCutArgs),
    /// Look at a region, check it, format it, or take a blob out of it
    Region(RegionArgs),
    /// Put the guest images of all boards into one folder
    Dist(DistArgs),
    /// Install what is needed
    Setup(SetupArgs),
    /// Boot a given ELF: the runner of `cargo run -p BOARD --target ...`
    BootElf(BootElfArgs),
}

/// Where an image and its parts are, and what to do with it.
#[derive(Args, Clone, Debug, Default)]
pub struct SourceArgs {
    /// The EROFS image
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// A blob of device slot N: a file, given to the guest as a disk, or a file of a share
    #[arg(long, value_name = "N=FILE|N=share:NAME")]
    pub blob: Vec<BlobArg>,
    /// A directory given to the guest as a virtio-fs share (mount tags: share, share2, ...)
    #[arg(long, value_name = "DIR")]
    pub share: Vec<PathBuf>,
    /// The disk with the reserved region, or a part of it: SECTOR+COUNT in sectors of 512 bytes, or
    /// a partition as name:NAME, type:GUID or type; made if missing
    #[arg(long, value_name = "FILE[@PART]")]
    pub cache: Option<CacheArg>,
    /// The size of a region disk that has to be made [default: 64M]
    #[arg(long, value_name = "SIZE", requires = "cache")]
    pub cache_size: Option<Size>,
    /// The images that share blobs with this one in the region, if they name them alike
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// What to run; `ls /` if there is nothing here
    #[arg(last = true, value_name = "GUEST COMMAND")]
    pub words: Vec<String>,
}

/// Booting an image.
#[derive(Args, Clone, Debug)]
pub struct BootArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Running over files of the host.
#[derive(Args, Clone, Debug)]
#[command(after_help = HOST_COMMANDS)]
pub struct HostArgs {
    #[command(flatten)]
    pub source: SourceArgs,
}

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

/// Fuzzing.
#[derive(Args, Clone, Debug)]
pub struct FuzzArgs {
    /// What to fuzz; all of it if there is nothing here
    pub target: Option<String>,
    /// Name the targets
    #[arg(long)]
    pub list: bool,
    /// How long to fuzz each target
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// The same number makes the same cases [default: the clock]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Run the bytes of this file alone: a case that failed here or under cargo-fuzz
    #[arg(long, value_name = "FILE", requires = "target")]
    pub input: Option<PathBuf>,
}

/// Cutting the power.
#[derive(Args, Clone, Debug)]
#[command(after_help = POWER_CUT)]
pub struct PowerCutArgs {
    /// How many cases at least; whole histories are run [default: 100000, with --guards 300000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub cases: Option<u64>,
    /// Which of them
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Only histories of this family
    #[arg(long, value_name = "NAME", value_parser = mix::family, conflicts_with = "guards")]
    pub family: Option<&'static str>,
    /// On how many threads [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Run this case alone: FAMILY:NUMBERS, as a failure prints it
    #[arg(long, value_name = "CASE", conflicts_with_all = ["cases", "seed", "family", "jobs", "guards"])]
    pub case: Option<CaseName>,
    /// Take out each guard of the region in turn, and show what breaks, after how many cases
    #[arg(long)]
    pub guards: bool,
    /// Only the guards whose name has this in it
    #[arg(long, value_name = "TEXT", requires = "guards")]
    pub only: Option<String>,
}

impl PowerCutArgs {
    /// How many cases at least: the guard that is missed last is missed after 160,000.
    pub fn cases(&self) -> u64 {
        self.cases.unwrap_or(if self.guards { 300_000 } else { 100_000 })
    }
}

/// Looking at a region, and changing it without a guest.
#[derive(Args, Clone, Debug)]
#[command(after_help = REGION)]
pub struct RegionArgs {
    /// The disk with the region, and which part of it: sectors, or a partition of a GPT
    #[arg(value_name = "FILE[@PART]")]
    pub place: CacheArg,
    /// What to do
    #[arg(value_enum, default_value = "show")]
    pub action: RegionAction,
    /// The blob to take out: its number as `show` has it, or its tag
    #[arg(required_if_eq("action", "drop"))]
    pub blob: Option<String>,
    /// Draw what is resident into this file, too
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
    /// make a new, empty region
    Format,
    /// superblock, blobs, slots, counters, and a picture
    Show,
    /// every table, and every resident block against its check
    Check,
    /// take a blob out, durably
    Drop,
}

/// Making images to be taken elsewhere.
#[derive(Args, Clone, Debug)]
pub struct DistArgs {
    /// The folder; made if missing [default: dist in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Installing.
#[derive(Args, Clone, Copy, Debug)]
pub struct SetupArgs {
    /// Only say what is there and what is missing
    #[arg(long)]
    pub check: bool,
}

/// Booting a given ELF.
#[derive(Args, Clone, Debug)]
pub struct BootElfArgs {
    /// The board's image
    pub elf: PathBuf,
    #[command(flatten)]
    pub boot: BootArgs,
}

/// A blob and its device slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobArg {
    /// Device slot, from 1 on.
    pub slot: u16,
    /// Where its bytes are.
    pub place: BlobPlace,
}

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// A file of the host.
    File(PathBuf),
    /// A file of this name on a share.
    Share(String),
}

impl FromStr for BlobArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (slot, place) = text.split_once('=').ok_or("expected N=FILE or N=share:NAME")?;
        let slot: u16 = slot.parse().map_err(|_| format!("`{slot}` is not a device slot"))?;
        if slot == 0 {
            return Err("slot 0 is the image itself: use --image".into());
        }
        let place = match place.strip_prefix("share:") {
            Some(name) => BlobPlace::Share(name.into()),
            None => BlobPlace::File(place.into()),
        };
        match &place {
            BlobPlace::Share(name) if name.is_empty() => Err("the name is empty".into()),
            BlobPlace::File(file) if file.as_os_str().is_empty() => Err("no file given".into()),
            _ => Ok(Self { slot, place }),
        }
    }
}

/// The reserved region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheArg {
    /// The disk.
    pub file: PathBuf,
    /// The part of it.
    pub part: Part,
}

impl FromStr for CacheArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A file name may hold an @ of its own: only a part behind it makes it ours.
        let (file, part) = Part::split(text).map_err(|want| format!("expected {want}"))?;
        let empty = part == Part::Whole
            && text.rsplit_once('@').and_then(|(_, part)| part.split_once('+')).is_some_and(
                |(sector, count)| sector.parse::<u64>().is_ok() && count.parse() == Ok(0),
            );
        match file {
            "" => Err("no file given".into()),
            _ if empty => Err("a region of 0 sectors makes no sense".into()),
            _ => Ok(Self { file: file.into(), part }),
        }
    }
}

/// `SERIAL=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The serial of a disk.
    pub serial: String,
    /// What is said about it.
    pub value: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((serial, value)) if !serial.is_empty() && !value.is_empty() => {
                Ok(Self { serial: serial.into(), value: value.into() })
            }
            _ => Err("expected SERIAL=VALUE".into()),
        }
    }
}

/// Severity, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// nothing
    Off,
    /// only errors
    Error,
    /// and warnings
    Warn,
    /// and what happens once
    Info,
    /// and decisions
    Debug,
    /// and every read
    Trace,
}

impl LogLevel {
    /// The name that defmt knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use rootlet_guest::config::Sectors;

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
        assert!(cli.task.is_none() && cli.boot.source.image.is_none());
        assert!(cli.boot.source.words.is_empty());
        assert_eq!(cli.boot.machine.mem, Size(64 << 20));
        assert_eq!(cli.boot.machine.timeout, 600);
    }

    #[test]
    fn a_full_boot_line_is_understood() {
        let cli = parse(
            "--image i --blob 1=a --blob 2=share:c --share d --cache r@8+1024 --log trace \
             -- cat --image -v",
        )
        .unwrap();
        let source = cli.boot.source;
        assert_eq!(source.blob[0], BlobArg { slot: 1, place: BlobPlace::File("a".into()) });
        assert_eq!(source.blob[1], BlobArg { slot: 2, place: BlobPlace::Share("c".into()) });
        assert_eq!(source.cache.unwrap().part.to_string(), "@8+1024");
        assert_eq!(source.words, ["cat", "--image", "-v"]);
        assert_eq!(cli.boot.machine.log, Some(LogLevel::Trace));
    }

    #[test]
    fn a_guest_command_with_the_name_of_a_task_goes_to_the_guest() {
        let cli = parse("-- bench --runs").unwrap();
        assert!(cli.task.is_none());
        assert_eq!(cli.boot.source.words, ["bench", "--runs"]);
    }

    #[test]
    fn tasks_take_their_own_options() {
        let cli = parse("host --image i -- manifest /").unwrap();
        let Some(Task::Host(host)) = cli.task else { panic!("{:?}", cli.task) };
        assert_eq!(host.source.words, ["manifest", "/"]);
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
            "--cache @1+2",
            "--cache r@1+0",
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

    #[test]
    fn an_at_sign_in_a_file_name_is_no_range() {
        let whole = |text: &str| text.parse::<CacheArg>().unwrap();
        assert_eq!(whole("a@b").file, PathBuf::from("a@b"));
        let nine = Part::Sectors(Sectors { first: 0, count: 9 });
        assert_eq!(whole("a@b@0+9"), CacheArg { file: "a@b".into(), part: nine });
        assert_eq!(whole("a@1+").part, Part::Whole);
        assert_eq!(whole("a@types").part, Part::Whole);
    }

    #[test]
    fn a_partition_is_named_by_its_name_or_type() {
        let place = |text: &str| text.parse::<CacheArg>().unwrap();
        let named = CacheArg { file: "a@b".into(), part: Part::Named("my @ region".into()) };
        assert_eq!(place("a@b@name:my @ region"), named);
        let own = place("/dev/vda@type");
        assert_eq!(own, place("/dev/vda@type:5e4a3680-bb1e-4551-8d14-7538e87347a3"));
        assert_ne!(own, place("/dev/vda@type:0fc63daf-8483-4772-8e79-3d69d8477de4"));
        let long = format!("a@name:{}", "n".repeat(37));
        for text in ["a@name:", &long, "@type", "a@type:x"] {
            assert!(text.parse::<CacheArg>().is_err(), "{text}");
        }
    }
}
