//! Measuring: the guest's own benchmark, and the time to its first byte beside that of a guest
//! that does nothing.
//!
//! Always: every figure is a median over all runs, and everything in one table was measured in
//! the same run of the tool.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rootlet_guest::frame::{FRAME_BYTES_MAX, Kind, encode};
use rootlet_sim::image::Spread;
use tempfile::TempDir;

use crate::boot;
use crate::boot::build;
use crate::measure::BenchArgs;
use crate::measure::peer;
use crate::measure::tables::{self, Boot, Measured, Row};
use crate::measure::tiny::{self, End};
use crate::measure::tiny_virt;
use crate::sample::fixture::{Fixture, Recipe};
use crate::sample::tree;
use crate::setup::{self, Need};
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::monitor::Monitor;
use rootlet_cli::boot::{BootArgs, Firmware, LogLevel};
use rootlet_cli::exit::usage;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::output;

/// What is measured with, unless the user has an image.
static RECIPE: Recipe = Recipe {
    folder: "rootlet-bench",
    tree: tree::large,
    chunk_bits: tree::CHUNK_BITS,
    spread: Spread::ByFile,
    blobs: &["disk.blob", "share.blob"],
    region_bytes: 640 << 20,
};

/// What one run of the guest's benchmark says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// From entry to the first byte of a file, by the guest's clock.
    pub first_read_ns: Option<u64>,
    /// The tests in their order.
    pub tests: Vec<Test>,
    /// Whether the benchmark came to its end.
    pub done: bool,
}

/// One test of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its name; may hold blanks.
    pub name: String,
    /// Bytes that were read or written.
    pub bytes: u64,
    /// Operations.
    pub ops: u64,
    /// How long it took.
    pub ns: u64,
}

/// Reads `FIRSTREAD <ns>`, `BEG <name>`, `END <name> bytes=<b> ops=<n> ns=<ns>`, `DONE`; other
/// lines are remarks.
pub fn parse(text: &str) -> Result<Run> {
    let mut run = Run::default();
    let mut begun: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "FIRSTREAD" => {
                let ns = rest.trim().parse().with_context(|| format!("`{line}`"))?;
                run.first_read_ns = Some(ns);
            }
            "BEG" if begun.is_some() => bail!("`{line}` inside of another test"),
            "BEG" => begun = Some(rest),
            "END" => {
                let test = end(rest).with_context(|| format!("`{line}` is no result"))?;
                if begun.take() != Some(test.name.as_str()) {
                    bail!("`{line}` ends a test that was not begun");
                }
                run.tests.push(test);
            }
            "DONE" => run.done = true,
            _ => {}
        }
    }
    if let Some(name) = begun {
        bail!("the test `{name}` has no end");
    }
    Ok(run)
}

fn end(text: &str) -> Option<Test> {
    let at = text.find(" bytes=")?;
    let (name, pairs) = text.split_at(at);
    let mut test = Test { name: name.into(), bytes: 0, ops: 0, ns: 0 };
    let mut seen = 0;
    for pair in pairs.split_whitespace() {
        let (key, value) = pair.split_once('=')?;
        let value: u64 = value.parse().ok()?;
        seen += 1;
        match key {
            "bytes" => test.bytes = value,
            "ops" => test.ops = value,
            "ns" => test.ns = value,
            _ => seen -= 1,
        }
    }
    (seen == 3).then_some(test)
}

/// Measures, and prints the tables.
pub fn task(args: &BenchArgs, interrupt: &Interrupt) -> Result<()> {
    check_forms(args)?;
    if args.boot.machine.monitor != Monitor::Qemu {
        return Err(usage("bench measures beside a guest that only QEMU can end"));
    }
    if args.peer.is_some() {
        return peer::task(args, interrupt);
    }
    let words = [&["bench".to_string()], args.boot.words.as_slice()].concat();
    let mut boot_args = args.boot.clone();
    boot_args.words.clone_from(&words);
    let mut needs = boot::needs(&boot_args);
    if boot_args.image.is_none() {
        needs.push(Need::Virtiofsd);
    }
    setup::ensure(&needs)?;
    let fixture = match boot_args.image {
        Some(_) => None,
        None => Some(Fixture::make(&RECIPE, interrupt)?),
    };
    if let Some(fixture) = &fixture {
        boot_args = fixture.arguments(&boot_args, &words);
    }
    let machine = &args.boot.machine;
    let firmware =
        build::board(machine.board(), rootlet_cli::boot::level(&boot_args), machine.verbose)?;
    let scratch = TempDir::with_prefix("rootlet-bench-")?;
    let empty = empty_guest(&scratch, machine.board())?;
    let mut measured = Measured {
        accel: machine.accel()?.name(),
        loaded_bytes: firmware.loaded_bytes(),
        ..Measured::default()
    };
    let bar = build::spinner("measuring".into());
    for number in 1..=args.runs {
        bar.set_message(format!("run {number} of {}", args.runs));
        if let Some(fixture) = &fixture {
            fixture.blank_region()?;
        }
        // What the guest writes goes through, unless all there shall be is a table.
        let mut pass = |bytes: &[u8]| match args.json.is_some() || args.markdown {
            true => Ok(()),
            false => bar.suspend(|| output::bytes(bytes)),
        };
        let rows = &mut measured.rows;
        measured.boots.push(once(&boot_args, &firmware, &empty, rows, interrupt, &mut pass)?);
    }
    bar.finish_and_clear();
    print(args, &measured)
}

/// Prints the tables, or writes them to a file.
fn print(args: &BenchArgs, measured: &Measured) -> Result<()> {
    if let Some(Some(file)) = &args.json {
        std::fs::write(file, tables::json(measured)).with_context(|| file.display().to_string())?;
    }
    match (&args.json, args.markdown) {
        (Some(None), _) => output::bytes(tables::json(measured).as_bytes()),
        (_, true) => output::bytes(tables::markdown(measured).as_bytes()),
        _ => {
            eprint!("{}", tables::plain(measured));
            Ok(())
        }
    }
}

/// Checks that standard output takes one form.
fn check_forms(args: &BenchArgs) -> Result<()> {
    match args.json {
        Some(None) if args.markdown => {
            Err(usage("--markdown and --json without a FILE exclude each other"))
        }
        _ => Ok(()),
    }
}

/// Runs the empty guest twice, then the benchmark, on the same machine. The first run is not
/// counted: it comes right after the writes of the previous benchmark, the other runs do not.
fn once(
    args: &BootArgs,
    firmware: &Firmware,
    empty: &Firmware,
    rows: &mut Vec<Row>,
    interrupt: &Interrupt,
    pass: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Boot> {
    let idle =
        || rootlet_cli::boot::run(args, empty, LogLevel::Warn, interrupt, &mut |_, _| Ok(()));
    idle()?;
    let idle = idle()?;
    idle.judge().context("the empty guest")?;
    let empty = idle.first_output.context("the empty guest wrote nothing")?;
    let mut text = Vec::new();
    let mut first_at = None;
    let report =
        rootlet_cli::boot::run(args, firmware, LogLevel::Warn, interrupt, &mut |bytes, at| {
            text.extend_from_slice(bytes);
            if first_at.is_none() && text.windows(9).any(|part| part == b"FIRSTREAD") {
                first_at = Some(at);
            }
            pass(bytes)
        })?;
    report.judge().context("the benchmark")?;
    let run = parse(&String::from_utf8_lossy(&text))?;
    if !run.done {
        bail!("the guest's benchmark did not come to its end");
    }
    let named = "the benchmark names no first read";
    let first = first_at.context(named)?.duration_since(report.started);
    let in_guest = run.first_read_ns.context(named)?;
    for test in run.tests {
        tables::add(rows, test);
    }
    Ok(Boot { empty, first, in_guest: Duration::from_nanos(in_guest) })
}

/// Returns a guest that writes one byte and passes.
fn empty_guest(scratch: &TempDir, board: Board) -> Result<Firmware> {
    let mut console = Vec::new();
    for (kind, payload) in [(Kind::Output, &b"."[..]), (Kind::Verdict, b"PASS")] {
        let mut frame = [0; FRAME_BYTES_MAX];
        console.extend_from_slice(encode(kind, payload, &mut frame).context("a long payload")?);
    }
    let elf = scratch.path().join("empty.elf");
    let bytes = match board.arch() {
        "aarch64" => tiny_virt::aarch64(&console),
        "riscv64" => tiny_virt::riscv64(&console),
        _ => tiny::elf(&console, b"", End::Exit(0x10)),
    };
    std::fs::write(&elf, bytes)?;
    Firmware::read(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# remark\nFIRSTREAD 5120000\nBEG cold 64K\n\
        END cold 64K bytes=65536 ops=1 ns=2000\nBEG warm\nEND warm ops=2 bytes=10 ns=3\nDONE\n";

    #[test]
    fn a_run_is_read_with_names_that_hold_blanks() {
        let run = parse(&GOOD.replace("ops=2 bytes=10", "bytes=10 ops=2")).unwrap();
        assert_eq!(run.first_read_ns, Some(5_120_000));
        assert!(run.done);
        let cold = Test { name: "cold 64K".into(), bytes: 65536, ops: 1, ns: 2000 };
        assert_eq!(run.tests[0], cold);
        assert_eq!(run.tests[1].ns, 3);
    }

    #[test]
    fn two_forms_for_standard_output_are_refused() {
        use crate::cli::{Cli, Task};
        use clap::Parser;
        for (line, ok) in [
            ("bench --json --markdown", false),
            ("bench --json file --markdown", true),
            ("bench --json", true),
        ] {
            let words = std::iter::once("rootlet").chain(line.split(' '));
            let Some(Task::Bench(args)) = Cli::try_parse_from(words).unwrap().task else {
                panic!("{line}")
            };
            assert_eq!(check_forms(&args).is_ok(), ok, "{line}");
        }
    }

    #[test]
    fn a_run_that_makes_no_sense_is_refused() {
        for wrong in [
            "BEG a\n",
            "BEG a\nBEG b\n",
            "END a bytes=1 ops=1 ns=1\n",
            "BEG a\nEND b bytes=1 ops=1 ns=1\n",
            "BEG a\nEND a bytes=1 ops=1\n",
            "BEG a\nEND a bytes=x ops=1 ns=1\n",
            "FIRSTREAD soon\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(!parse("FIRSTREAD 1\n").unwrap().done);
    }
}
