//! Every board and bus, with every kind of source, cold, warm and after a kill; and golden images
//! on each.
//!
//! Always: each cell is a verdict of its own, and each boot has its own deadline; a cell that
//! failed names its log and the command that runs it again, and the other cells still run.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::boot::{Boot, Outcome, allocated, host, on_every_board};
use crate::golden;
use crate::sample::Sample;

/// Board and bus.
const MACHINES: [(&str, &str); 7] = [
    ("microvm", "mmio"),
    ("microvm", "pci"),
    ("q35", "pci"),
    ("virt-aarch64", "mmio"),
    ("virt-aarch64", "pci"),
    ("virt-riscv64", "mmio"),
    ("virt-riscv64", "pci"),
];
const SOURCES: [&str; 3] = ["blk", "fs", "mixed"];
const STATES: [&str; 3] = ["cold", "warm", "killed"];
/// Golden images that each machine reads; the default board reads all of them elsewhere. One of
/// each layout, each decoder and each kind of device table.
const GOLDEN: [&str; 8] =
    ["plain", "blobdev-48bit", "merged-tar", "metabox", "two-algs", "lzma", "deflate", "zstd-1m"];
/// Only rows that have all of these words: `virt-aarch64,pci,fs`.
const FILTER: &str = "ROOTLET_MATRIX";

/// A cell of a table: why it failed.
pub type Cell = Result<(), String>;

/// A machine with a source.
#[derive(Clone, Copy)]
struct Row {
    board: &'static str,
    bus: &'static str,
    source: &'static str,
}

impl Row {
    fn words(&self) -> [&'static str; 3] {
        [self.board, self.bus, self.source]
    }

    /// Returns where a cell's log is kept.
    fn log(&self, state: &str) -> PathBuf {
        let name = format!("{}-{}-{}-{state}", self.board, self.bus, self.source);
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix").join(name)
    }

    /// Arguments of one boot.
    fn args(&self, sample: &Sample, state: &str, more: &[&str]) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        let path = |name: &str| sample.path(name).display().to_string();
        let (log, region) = (self.log(state).display().to_string(), path("region"));
        add(&["--board", self.board, "--bus", self.bus, "--keep", &log]);
        add(&["--region", &region, "--region-size", "16M"]);
        let disk = |slot: u32| format!("{slot}={}", path(&format!("blob{slot}")));
        let shared = |slot: u32| format!("{slot}=share:blob{slot}");
        let share = sample.dir().display().to_string();
        match self.source {
            "blk" => {
                add(&["--image", &path("image"), "--blob", &disk(1), "--blob", &disk(2)]);
            }
            "fs" => {
                add(&["--share", &share, "--blob", &shared(1), "--blob", &shared(2)]);
                add(&["--guest-option", "image=share:image"]);
            }
            _ => {
                add(&["--image", &path("image"), "--blob", &disk(1), "--blob", &shared(2)]);
                add(&["--share", &share]);
            }
        }
        add(more);
        add(&["--", "manifest", "/"]);
        args
    }

    /// Runs the cells of the row, each on what the one before it left. What a kill leaves does not
    /// depend on the source, so only one of them is killed by default.
    fn run(&self) -> [Option<Cell>; STATES.len()] {
        let sample = Sample::new();
        let rows = sample.manifest();
        STATES.map(|state| {
            if state == "killed" && self.source != "mixed" && !on_every_board() {
                return None;
            }
            let cell = AssertUnwindSafe(|| self.cell(&sample, &rows, state));
            Some(catch_unwind(cell).unwrap_or_else(|panic| Err(said(&*panic))))
        })
    }

    fn cell(&self, sample: &Sample, rows: &[u8], state: &str) -> Cell {
        let log = self.log(state);
        let _ = fs::remove_dir_all(&log);
        fs::create_dir_all(&log).map_err(|error| error.to_string())?;
        if state == "killed" {
            // If a cell before it failed, there may be none.
            let _ = fs::remove_file(sample.path("region"));
            self.kill(sample)?;
        }
        let outcome = Boot::start(self.args(sample, state, &[])).end();
        let _ = fs::write(log.join("stderr.txt"), &outcome.stderr);
        judge(&outcome, rows)?;
        judge_fetches(&outcome, state)
    }

    /// Kills a machine while it writes its region, which is slow enough for that.
    fn kill(&self, sample: &Sample) -> Cell {
        let slow = ["--drive-opt", "cache=throttling.bps-write=2000000"];
        let mut boot = Boot::start(self.args(sample, "killed", &slow));
        while allocated(&sample.path("region")) < 512 << 10 && !boot.has_ended() {
            thread::sleep(Duration::from_micros(500));
        }
        if boot.has_ended() {
            return Err("the machine ended before it could be killed".into());
        }
        boot.kill("qemu-system");
        let outcome = boot.end();
        match outcome.stderr.contains("ended by signal 9") {
            true => Ok(()),
            false => Err(format!("killed, and yet: {}", outcome.verdict())),
        }
    }
}

/// Returns the words of a panic.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").into()
}

/// Checks that the guest passed, with the manifest `rows` and no failed check.
pub fn judge(outcome: &Outcome, rows: &[u8]) -> Cell {
    if outcome.status != Some(0) {
        return Err(format!("status {:?}: {}", outcome.status, outcome.verdict()));
    }
    if outcome.stdout != rows {
        return Err("the output differs from the host's".into());
    }
    expect(outcome, "check failures 0", true)
}

/// Checks that the guest fetched something in the state `cold`, and nothing in the state `warm`.
pub fn judge_fetches(outcome: &Outcome, state: &str) -> Cell {
    match state {
        "cold" => expect(outcome, "fetched 0 bytes", false),
        "warm" => expect(outcome, "fetched 0 bytes", true),
        _ => Ok(()),
    }
}

/// Checks that the verdict has `counter` if that is `wanted`, and else has not.
pub fn expect(outcome: &Outcome, counter: &str, wanted: bool) -> Cell {
    let mut counters = outcome.verdict().split_once("  ").map_or("", |(_, all)| all).split(", ");
    match counters.any(|one| one == counter) == wanted {
        true => Ok(()),
        false => {
            Err(format!("{}{counter}: {}", ["", "not "][usize::from(wanted)], outcome.verdict()))
        }
    }
}

/// Returns whether the filter lets this row through.
fn wanted(words: &[&str]) -> bool {
    let filter = std::env::var(FILTER).unwrap_or_default();
    filter.split(',').filter(|word| !word.is_empty()).all(|word| words.contains(&word))
}

/// Does all of `work` on as many threads as there are processors.
pub fn in_parallel<W: Sync, R: Send>(work: &[W], run: impl Fn(&W) -> R + Sync) -> Vec<R> {
    let results: Vec<_> = work.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(work.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let at = work.iter().position(|other| std::ptr::eq(other, one)).unwrap();
                    *results[at].lock().unwrap() = Some(run(one));
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().unwrap().unwrap()).collect()
}

/// Writes to standard error past the capture of a test's output.
pub fn show(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Returns a cell in a table.
pub fn mark(cell: &Cell) -> &'static str {
    if cell.is_ok() { "ok" } else { "FAIL" }
}

#[test]
fn matrix_of_boards_buses_sources_and_states() {
    let all = MACHINES
        .iter()
        .flat_map(|&(board, bus)| SOURCES.iter().map(move |&source| Row { board, bus, source }));
    let rows: Vec<Row> = all.filter(|row| wanted(&row.words())).collect();
    assert!(!rows.is_empty(), "{FILTER} names no row");
    let results = in_parallel(&rows, Row::run);
    let mut table =
        format!("\n{:13} {:5} {:6} {:6} {:6} killed\n", "board", "bus", "source", "cold", "warm");
    let mut failures = String::new();
    for (row, cells) in rows.iter().zip(&results) {
        let [cold, warm, killed] = cells.each_ref().map(|cell| cell.as_ref().map_or("-", mark));
        let _ = writeln!(
            table,
            "{:13} {:5} {:6} {cold:6} {warm:6} {killed}",
            row.board, row.bus, row.source
        );
        for (state, cell) in STATES.iter().zip(cells) {
            if let Some(Err(why)) = cell {
                let _ = writeln!(
                    failures,
                    "{} {state}: {why}\n  log    {}\n  again  {FILTER}={} cargo test -p xtask --test \
                     board matrix_of",
                    row.words().join(" "),
                    row.log(state).display(),
                    row.words().join(","),
                );
            }
        }
    }
    show(&table);
    assert!(failures.is_empty(), "\n{failures}");
}

/// Returns whether this bus of the board is the one that reads this image: they take turns, because
/// what the image is like makes no difference to a bus.
fn is_turn_of((board, bus): (&str, &str), name: &str) -> bool {
    let at = GOLDEN.iter().position(|golden| *golden == name).unwrap();
    let buses: Vec<_> = MACHINES.iter().filter(|(other, _)| *other == board).collect();
    buses[at % buses.len()].1 == bus
}

#[test]
fn golden_images_on_every_board_and_bus() {
    let work: Vec<_> = MACHINES
        .iter()
        .filter(|(board, bus)| wanted(&[board, bus, "golden"]) || wanted(&[board, bus]))
        .flat_map(|&machine| GOLDEN.map(|name| (machine, name)))
        .filter(|(machine, name)| on_every_board() || is_turn_of(*machine, name))
        .collect();
    let rows: Vec<_> = GOLDEN
        .iter()
        .map(|name| host(golden::args(&golden::image(name), &["manifest", "/"])))
        .collect();
    let results = in_parallel(&work, |((board, bus), name)| {
        let words = golden::args(&golden::image(name), &["manifest", "/"]);
        let machine = ["--board", board, "--bus", bus].map(OsString::from);
        let outcome = Boot::start(machine.into_iter().chain(words)).end();
        let at = GOLDEN.iter().position(|golden| golden == name).unwrap();
        judge(&outcome, &rows[at]).map_err(|why| format!("{board} {bus} {name}: {why}\n"))
    });
    let mut table = format!("\n{:13} {:5} golden images\n", "board", "bus");
    for (board, bus) in MACHINES {
        let mine = work.iter().zip(&results).filter(|((machine, _), _)| *machine == (board, bus));
        let (good, all) =
            mine.fold((0, 0), |(good, all), (_, cell)| (good + usize::from(cell.is_ok()), all + 1));
        let _ = writeln!(table, "{board:13} {bus:5} {good} of {all}");
    }
    show(&table);
    let failures: String = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "\n{failures}");
}
