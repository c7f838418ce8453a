//! Boards on the monitors of this machine: sources cold, warm from the region and after a kill,
//! small images, and a command that fails.
//!
//! Always: a cell that is not run is a line of the table that says why; each cell is a verdict of
//! its own, and the other cells run after a failure. The commands are small: where KVM has no
//! hardware to use, a guest sums some kilobytes a second.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootlet_sim::image::{Content, Tree};

use crate::boot::{Boot, Outcome, host};
use crate::golden;
use crate::matrix::{Cell, in_parallel, judge, judge_fetches, mark, said, show};
use crate::sample::Sample;

/// How long one boot may take where KVM stands on no hardware and others work beside it.
const SECONDS: u64 = 240;
/// Only rows that have all of these words: `firecracker,microvm,blk`.
const FILTER: &str = "ROOTLET_MONITORS";
/// Golden images that are read in part: one with a blob, and one that is compressed.
const GOLDEN: [&str; 2] = ["blobdev-48bit", "lz4hc-64k"];
const CELLS: [&str; 6] = ["cold", "warm", "killed", "tiny", "golden", "fails"];

/// A monitor that runs on KVM.
#[derive(Clone, Copy)]
pub struct Monitor {
    /// What `--monitor` calls it.
    pub name: &'static str,
    /// Its heading in the README of `dist`.
    pub title: &'static str,
    /// Its program.
    pub program: &'static str,
    /// The variable that may name another file.
    pub variable: Option<&'static str>,
    /// Whether a guest's log can leave it.
    pub has_log: bool,
}

/// All that there are.
pub const MONITORS: [Monitor; 3] = [
    Monitor {
        name: "firecracker",
        title: "Firecracker",
        program: "firecracker",
        variable: Some("ROOTLET_FIRECRACKER"),
        has_log: false,
    },
    Monitor {
        name: "cloud-hypervisor",
        title: "Cloud Hypervisor",
        program: "cloud-hypervisor",
        variable: Some("ROOTLET_CLOUD_HYPERVISOR"),
        has_log: false,
    },
    Monitor { name: "qemu", title: "QEMU", program: "qemu-system", variable: None, has_log: true },
];

/// Returns what a program writes when it is asked.
fn says(program: &Path, option: &str) -> String {
    let output = Command::new(program).arg(option).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the first line that it says of its version.
fn version(program: &Path) -> String {
    says(program, "--version").lines().next().unwrap_or("a version that it does not say").into()
}

impl Monitor {
    /// Returns where it is, or why it cannot run here.
    pub fn present(&self) -> Result<PathBuf, String> {
        let kvm = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
        kvm.map_err(|error| format!("/dev/kvm: {error}"))?;
        let named = self.variable.and_then(env::var_os).map(PathBuf::from);
        let in_path = || {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).map(|dir| dir.join(self.program)).find(|file| file.is_file())
        };
        match (named, self.variable) {
            (Some(file), _) => Ok(file),
            // The tool installs it.
            (None, None) => Ok(format!("{}-x86_64", self.program).into()),
            (None, Some(variable)) => in_path().ok_or_else(|| {
                format!("{} is not in PATH, and {variable} is not set", self.program)
            }),
        }
    }
    /// Returns why this machine cannot run this monitor with a board on a bus.
    pub fn obstacle(&self, board: &str, bus: &str) -> Option<String> {
        let (wants, has) = (arch(board), env::consts::ARCH);
        match wants == has {
            true => self.present().map_or_else(Some, |program| self.lacks(&program, bus)),
            false => Some(format!("the board is {wants}, this machine {has}")),
        }
    }

    /// Returns what this version of the monitor lacks for a bus.
    fn lacks(&self, program: &Path, bus: &str) -> Option<String> {
        let wants_option = self.name == "firecracker" && bus == "pci";
        let lacks = wants_option && !says(program, "--help").contains("--enable-pci");
        lacks.then(|| format!("{} has no --enable-pci", version(program)))
    }
}

/// A monitor with a board, a bus and a source.
#[derive(Clone, Copy)]
struct Row {
    monitor: Monitor,
    board: &'static str,
    bus: &'static str,
    source: &'static str,
}

/// Returns every row that there can be, on any machine.
fn rows() -> Vec<Row> {
    let [firecracker, cloud_hypervisor, qemu] = MONITORS;
    let machines = [
        (firecracker, "microvm", "mmio"),
        (firecracker, "microvm", "pci"),
        (firecracker, "q35", "pci"),
        (firecracker, "virt-aarch64", "mmio"),
        (cloud_hypervisor, "microvm", "pci"),
        (cloud_hypervisor, "q35", "pci"),
        (cloud_hypervisor, "virt-aarch64", "pci"),
        (qemu, "microvm", "mmio"),
        (qemu, "q35", "pci"),
    ];
    let with_sources = |(monitor, board, bus): (Monitor, _, _)| {
        let sources = if monitor.name == "firecracker" { &["blk"][..] } else { &["blk", "fs"] };
        sources.iter().map(move |&source| Row { monitor, board, bus, source })
    };
    machines.into_iter().flat_map(with_sources).collect()
}

/// Returns the architecture of a board's processor, as Rust names it.
fn arch(board: &str) -> &'static str {
    if board == "virt-aarch64" { "aarch64" } else { "x86_64" }
}

/// Returns an image with two blobs that a slow guest sums in seconds.
fn small() -> Sample {
    let mut tree = Tree::new();
    for (number, size) in (0..8_u64).zip([1, 4096, 5000, 0].into_iter().cycle()) {
        tree.file(format!("/d{}/{number}", number % 2), Content::seeded(number, size));
    }
    tree.symlink("/link", "d0/2");
    Sample::from_tree(tree, 7)
}

fn tiny_image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs")
}

/// Returns a copy for this row alone: two monitors refuse each other a file that both have open.
fn copied(sample: &Sample, file: &Path) -> PathBuf {
    let copy = sample.path(&file.file_name().unwrap().to_string_lossy());
    fs::copy(file, &copy).unwrap();
    copy
}

impl Row {
    fn words(&self) -> [&'static str; 4] {
        [self.monitor.name, self.board, self.bus, self.source]
    }

    fn wanted(&self) -> bool {
        let filter = env::var(FILTER).unwrap_or_default();
        filter.split(',').filter(|word| !word.is_empty()).all(|word| self.words().contains(&word))
    }

    /// Returns why this machine cannot run it.
    fn obstacle(&self) -> Option<String> {
        self.monitor.obstacle(self.board, self.bus)
    }

    /// Returns where a cell's log is kept.
    fn log(&self, cell: &str) -> PathBuf {
        let name = format!("{}-{cell}", self.words().join("-"));
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("monitors").join(name)
    }

    /// Starts a boot with `words` after the words that choose the machine.
    fn start(&self, cell: &str, words: Vec<OsString>) -> Boot {
        let log = self.log(cell).display().to_string();
        let machine =
            ["--monitor", self.monitor.name, "--board", self.board, "--bus", self.bus, "--keep"];
        let machine = machine.into_iter().chain([log.as_str(), "--accel", "kvm!"]);
        let all = machine.map(OsString::from).chain(words).collect::<Vec<_>>();
        Boot::start_within(SECONDS, all)
    }

    fn boot(&self, cell: &str, words: Vec<OsString>) -> Outcome {
        let outcome = self.start(cell, words).end();
        let _ = fs::write(self.log(cell).join("stderr.txt"), &outcome.stderr);
        outcome
    }

    /// Returns the sample over this row's source, with a region.
    fn sources(&self, sample: &Sample) -> Vec<OsString> {
        let more = ["--", "manifest", "/"];
        if self.source == "blk" {
            return sample.cached(&more);
        }
        let path = |name: &str| sample.path(name).display().to_string();
        let (region, share) = (path("region"), sample.dir().display().to_string());
        let words = ["--region", &region, "--region-size", "16M", "--share", &share];
        let words = words.into_iter().chain(["--blob", "1=share:blob1", "--blob", "2=share:blob2"]);
        let words = words.chain(["--guest-option", "image=share:image"]).chain(more);
        words.map(OsString::from).collect()
    }

    fn run(&self) -> [Cell; CELLS.len()] {
        let sample = small();
        let rows = sample.manifest();
        CELLS.map(|cell| {
            let run = std::panic::AssertUnwindSafe(|| self.cell(&sample, &rows, cell));
            std::panic::catch_unwind(run).unwrap_or_else(|panic| Err(said(&*panic)))
        })
    }

    fn cell(&self, sample: &Sample, rows: &[u8], cell: &str) -> Cell {
        let log = self.log(cell);
        let _ = fs::remove_dir_all(&log);
        fs::create_dir_all(&log).map_err(|error| error.to_string())?;
        match cell {
            "tiny" => return self.tiny(sample),
            "golden" => return GOLDEN.iter().try_for_each(|name| self.golden(sample, name)),
            "fails" => return self.fails(sample),
            "killed" => self.kill(sample)?,
            _ => {}
        }
        let outcome = self.boot(cell, self.sources(sample));
        judge(&outcome, rows)?;
        judge_fetches(&outcome, cell)
    }

    /// Kills a machine while it reads into a new region.
    fn kill(&self, sample: &Sample) -> Cell {
        let _ = fs::remove_file(sample.path("region"));
        let mut boot = self.start("killed", self.sources(sample));
        if boot.first_byte_if_any().is_some() {
            boot.kill(self.monitor.program);
        }
        let outcome = boot.end();
        match outcome.stderr.contains("ended by signal 9") {
            true => Ok(()),
            false => Err(format!("killed, and yet: {}", outcome.verdict())),
        }
    }

    fn tiny(&self, sample: &Sample) -> Cell {
        let image = copied(sample, &tiny_image());
        self.same_as_host("tiny", vec!["--image".into(), image.into()], &["manifest", "/"])
    }

    fn golden(&self, sample: &Sample, name: &str) -> Cell {
        let mut image = golden::image(name);
        image.image = copied(sample, &image.image);
        image.devices = image.devices.iter().map(|blob| copied(sample, blob)).collect();
        let mut words = golden::args(&image, &[]);
        words.pop();
        self.same_as_host("golden", words, &["cat", "/data/dup1"])
            .map_err(|why| format!("{name}: {why}"))
    }

    /// Checks that what the guest writes is what the host's library writes.
    fn same_as_host(&self, cell: &str, mut words: Vec<OsString>, command: &[&str]) -> Cell {
        words.push("--".into());
        words.extend(command.iter().map(OsString::from));
        judge(&self.boot(cell, words.clone()), &host(words))
    }

    /// Checks that a command that fails has the status and the words that it has everywhere.
    fn fails(&self, sample: &Sample) -> Cell {
        let image = copied(sample, &tiny_image());
        let words = ["--image".into(), image.into(), "--".into(), "cat".into(), "/none".into()];
        let outcome = self.boot("fails", words.into());
        let verdict = outcome.verdict();
        match outcome.status == Some(1) && verdict.starts_with("FAIL /none") {
            true => Ok(()),
            false => Err(format!("status {:?}: {verdict}", outcome.status)),
        }
    }
}

#[test]
fn boards_on_the_monitors_of_this_machine() {
    let rows: Vec<Row> = rows().into_iter().filter(Row::wanted).collect();
    assert!(!rows.is_empty(), "{FILTER} names no row");
    let obstacles: Vec<_> = rows.iter().map(Row::obstacle).collect();
    let run: Vec<Row> =
        rows.iter().zip(&obstacles).filter(|row| row.1.is_none()).map(|row| *row.0).collect();
    let mut results = in_parallel(&run, Row::run).into_iter();
    let (mut table, mut failures) = (String::from("\n"), String::new());
    let mut line = |head: [&str; 4], cells: &str| {
        let [monitor, board, bus, source] = head;
        let _ = writeln!(table, "{monitor:16} {board:13} {bus:5} {source:6} {cells}");
    };
    let columns =
        |cells: &[&str]| cells.iter().map(|cell| format!("{cell:6} ")).collect::<String>();
    line(["monitor", "board", "bus", "source"], columns(&CELLS).trim_end());
    for (row, obstacle) in rows.iter().zip(&obstacles) {
        if let Some(why) = obstacle {
            line(row.words(), &format!("skipped: {why}"));
            continue;
        }
        let cells = results.next().unwrap();
        line(row.words(), columns(&cells.each_ref().map(mark)).trim_end());
        for (name, cell) in CELLS.iter().zip(&cells) {
            if let Err(why) = cell {
                let _ = writeln!(
                    failures,
                    "{} {name}: {why}\n  log    {}\n  again  {FILTER}={} cargo test -p xtask --test \
                     board boards_on",
                    row.words().join(" "),
                    row.log(name).display(),
                    row.words().join(","),
                );
            }
        }
    }
    for monitor in
        MONITORS.iter().filter(|monitor| run.iter().any(|row| row.monitor.name == monitor.name))
    {
        let version = monitor.present().map_or_else(|why| why, |program| version(&program));
        let log = if monitor.has_log { "" } else { "; no channel for the guest's log" };
        let _ = writeln!(table, "{:16} {version}{log}", monitor.name);
    }
    show(&table);
    assert!(failures.is_empty(), "\n{failures}");
}
