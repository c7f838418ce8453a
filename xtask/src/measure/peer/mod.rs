//! rootlet beside another guest, in one run, on the same machine, disks and share.
//!
//! Always: the order of the two alternates from run to run; a figure counts only if the sums of
//! what was read are those of the host's own reader; each time is the guest's own, and the host's
//! is kept beside it.

mod fixtures;
mod initramfs;
mod kernel;
mod linux;
mod plan;
mod report;
mod svg;
mod timed;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rootlet_guest::config::Part;

use fixtures::{BLOB, Fixtures};
use kernel::Kernel;
use plan::{Image, LEAST, SCENARIOS, Scenario};
use report::{Measured, OURS, THEIRS};
use timed::{Listener, Race};

use crate::boot::build;
use crate::dist;
use crate::measure::BenchArgs;
use crate::setup::{self, Need};
use rootlet_cli::boot::accel::Accel;
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::monitor::Disk;
use rootlet_cli::boot::{self, BootArgs, Firmware, LogLevel};
use rootlet_cli::exit::usage;
use rootlet_cli::host::guest_command;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::output;
use rootlet_cli::size::Size;
use rootlet_cli::source::{BlobArg, BlobPlace, RegionPlace, SourceArgs};

/// Memory of both guests, at least: Linux needs it to unpack itself.
const MEM: Size = Size(256 << 20);
/// Memory to be tried, in MiB, from the least on.
const LADDER: [u64; 16] = [2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 192];
/// How long a guest with too little memory may take.
const LEAST_PATIENCE: Duration = Duration::from_secs(40);
/// By how much of itself, and by how many nanoseconds, guest's and host's clock may differ.
const CLOCK_SHARE: u64 = 4;
const CLOCK_NS: u64 = 30_000_000;

/// Measures beside a Linux guest.
pub fn task(args: &BenchArgs, interrupt: &Interrupt) -> Result<()> {
    let board = args.boot.machine.board();
    if board != Board::Microvm {
        let names = Board::value_variants().iter().map(|board| board.package());
        let others: Vec<_> = names.filter(|name| *name != "microvm").collect();
        return Err(usage(format!("the Linux guest runs on microvm alone, not on {others:?}")));
    }
    if args.boot.image.is_some() {
        return Err(usage("--peer measures with its own files"));
    }
    setup::ensure(&[
        Need::Qemu(board),
        Need::Target(board),
        Need::Virtiofsd,
        Need::ErofsUtils,
        Need::LinuxTarget,
    ])?;
    let race = Racing::prepare(args, interrupt)?;
    let measured = race.measure(args.runs)?;
    let text = match &args.json {
        Some(None) => report::json(&measured),
        _ => report::table(&measured, args.markdown),
    };
    output::bytes(text.as_bytes())?;
    let keep = |file: &std::path::Path, text: String| {
        fs::write(file, text).with_context(|| file.display().to_string())
    };
    if let Some(Some(file)) = &args.json {
        keep(file, report::json(&measured))?;
    }
    args.svg.as_deref().map_or(Ok(()), |file| keep(file, svg::chart(&measured)))
}

/// All that a comparison needs.
struct Racing<'a> {
    args: BootArgs,
    firmware: Firmware,
    kernel: Kernel,
    init: Vec<u8>,
    words: String,
    settings: Vec<String>,
    parts: Vec<&'static Scenario>,
    /// Whether only one part was asked for.
    in_part: bool,
    accel: Accel,
    fixtures: Fixtures,
    /// The sums of each scenario's steps, by the host.
    sums: BTreeMap<&'static str, Vec<(String, u64)>>,
    interrupt: &'a Interrupt,
}

/// Returns the scenarios that are wanted.
fn parts(only: Option<&str>) -> Result<Vec<&'static Scenario>> {
    static ALL: [Scenario; SCENARIOS.len()] = SCENARIOS;
    let parts: Vec<_> =
        ALL.iter().filter(|scenario| only.is_none_or(|only| only == scenario.name)).collect();
    if parts.is_empty() {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        return Err(usage(format!("--only is one of {names:?}")));
    }
    Ok(parts)
}

impl<'a> Racing<'a> {
    fn prepare(args: &BenchArgs, interrupt: &'a Interrupt) -> Result<Self> {
        let mut boot_args = args.boot.clone();
        boot_args.machine.mem = Size(boot_args.machine.mem.0.max(MEM.0));
        let machine = &boot_args.machine;
        let mut racing = Self {
            firmware: build::board(machine.board(), LogLevel::Warn, machine.verbose)?,
            kernel: Kernel::find(args)?,
            init: dist::strip::elf(&build::peer(machine.verbose)?.bytes)?,
            words: args.peer_append.clone().unwrap_or_default(),
            settings: args.peer_setting.clone(),
            parts: parts(args.only.as_deref())?,
            in_part: args.only.is_some(),
            accel: machine.accel()?,
            fixtures: Fixtures::make(interrupt)?,
            sums: BTreeMap::new(),
            args: boot_args,
            interrupt,
        };
        for scenario in racing.parts.clone() {
            racing.sums.insert(scenario.name, racing.host_sums(scenario)?);
        }
        Ok(racing)
    }

    fn measure(&self, runs: u32) -> Result<Measured> {
        let mut measured = Measured {
            accel: self.accel.name(),
            mem_bytes: self.args.machine.mem.0,
            kernel: self.kernel.name.clone(),
            runs,
            image_bytes: [self.firmware.loaded_bytes(), self.peer_bytes()?],
            ..Measured::default()
        };
        for number in 0..runs {
            for scenario in &self.parts {
                let order = if number % 2 == 0 { [OURS, THEIRS] } else { [THEIRS, OURS] };
                for of in order {
                    if of == THEIRS && scenario.region {
                        continue;
                    }
                    let guest = ["rootlet", "linux"][of];
                    eprintln!("run {} of {runs}: {guest}, {}", number + 1, scenario.name);
                    let race = self.once(of, scenario, self.args.machine.mem)?;
                    let sums = self.sums.get(scenario.name).context("sums of the host")?;
                    same_sums(guest, sums, &race)?;
                    tell_clocks(guest, &race);
                    measured.races[of].push(race);
                }
            }
        }
        if !self.in_part {
            measured.least_mib = [self.least(OURS)?, self.least(THEIRS)?];
        }
        Ok(measured)
    }

    fn once(&self, of: usize, scenario: &Scenario, mem: Size) -> Result<Race> {
        if of == THEIRS { self.linux(scenario, mem) } else { self.rootlet(scenario, mem) }
    }

    /// Returns the image of a scenario and its sources, as the tool's own options name them.
    fn source(&self, scenario: &Scenario) -> (PathBuf, SourceArgs) {
        let plain = &self.fixtures.plain;
        match scenario.image {
            Image::Packed => (self.fixtures.packed.clone(), SourceArgs::default()),
            Image::Plain => {
                let source = SourceArgs {
                    blob: vec![BlobArg::new(1, BlobPlace::Disk(plain.blob(0).into()))],
                    share: vec![plain.share()],
                    ..SourceArgs::default()
                };
                (plain.image(), source)
            }
        }
    }

    fn rootlet(&self, scenario: &Scenario, mem: Size) -> Result<Race> {
        let mut args = self.args.clone();
        args.machine.mem = mem;
        let (image, source) = self.source(scenario);
        (args.image, args.source, args.words) = (Some(image), source, words(scenario));
        if scenario.region {
            self.fixtures.plain.blank_region()?;
            let file = self.fixtures.plain.region();
            args.source.region = Some(RegionPlace { file, part: Part::Whole });
        }
        let mut listener = Listener::default();
        let report = boot::run(
            &args,
            &self.firmware,
            LogLevel::Warn,
            self.interrupt,
            &mut |bytes, at: Instant| listener.feed(bytes, at),
        )?;
        report.judge()?;
        listener.finish(report.started)
    }

    fn linux(&self, scenario: &Scenario, mem: Size) -> Result<Race> {
        let steps: Vec<String> = scenario.steps.iter().map(|step| step.to_string()).collect();
        linux::run(&self.guest(scenario, &steps, mem)?)
    }

    fn guest<'g>(
        &'g self,
        scenario: &Scenario,
        steps: &'g [String],
        mem: Size,
    ) -> Result<linux::Guest<'g>> {
        let plain = &self.fixtures.plain;
        let disk = |serial: &str, file: PathBuf| Disk {
            serial: serial.into(),
            source: file.into(),
            read_only: true,
            blkdebug: None,
            options: None,
        };
        let disks = match scenario.image {
            Image::Packed => vec![disk("image", self.fixtures.packed.clone())],
            Image::Plain => vec![disk("image", plain.image()), disk("blob1", plain.blob(0))],
        };
        ensure!(plain.blob(0).ends_with(BLOB), "the blob is the share's file");
        let share = match scenario.image {
            Image::Packed => None,
            Image::Plain => plain.blob(0).parent().map(|dir| dir.to_path_buf()),
        };
        Ok(linux::Guest {
            kernel: &self.kernel,
            init: &self.init,
            disks,
            share,
            steps,
            settings: &self.settings,
            words: &self.words,
            accel: self.accel,
            mem,
            timeout: Duration::from_secs(self.args.machine.timeout),
            interrupt: self.interrupt,
        })
    }

    /// Returns what the host's own reader makes of the steps.
    fn host_sums(&self, scenario: &Scenario) -> Result<Vec<(String, u64)>> {
        let (image, source) = self.source(scenario);
        let mut output = Vec::new();
        guest_command(Some(&image), &source, &words(scenario), false, &mut output)
            .context("the host's reader")?;
        let mut listener = Listener::default();
        listener.feed(&output, Instant::now())?;
        let race = listener.finish(Instant::now()).context("the host's reader")?;
        Ok(race.steps.into_iter().map(|step| (step.name, step.sum)).collect())
    }

    /// Returns the bytes that a monitor loads for the peer.
    fn peer_bytes(&self) -> Result<u64> {
        let steps = LEAST.map(String::from);
        let initramfs = linux::initramfs(&self.guest(&SCENARIOS[0], &steps, MEM)?)?;
        Ok(fs::metadata(&self.kernel.image)?.len() + initramfs.len() as u64)
    }

    /// Returns the least memory with which a guest reads a file, in MiB.
    fn least(&self, of: usize) -> Result<Option<f64>> {
        let least = Scenario { name: "least", image: Image::Plain, region: false, steps: &LEAST };
        for mib in LADDER {
            self.interrupt.check()?;
            eprintln!("least memory: {}, {mib} MiB", ["rootlet", "linux"][of]);
            let mem = Size(mib << 20);
            let race = match of {
                OURS => self.rootlet(&least, mem),
                _ => {
                    let steps = LEAST.map(String::from);
                    let mut guest = self.guest(&least, &steps, mem)?;
                    guest.timeout = guest.timeout.min(LEAST_PATIENCE);
                    linux::run(&guest)
                }
            };
            if race.is_ok() {
                return Ok(Some(mib as f64));
            }
        }
        Ok(None)
    }
}

/// Returns the guest command that runs a scenario.
fn words(scenario: &Scenario) -> Vec<String> {
    let steps = scenario.steps.iter().map(|step| step.to_string());
    std::iter::once("race".to_string()).chain(steps).collect()
}

/// Returns an error unless a guest read in every step what the host read.
fn same_sums(guest: &str, expected: &[(String, u64)], race: &Race) -> Result<()> {
    ensure!(race.steps.len() == expected.len(), "{guest} ran {} steps", race.steps.len());
    for ((name, sum), step) in expected.iter().zip(&race.steps) {
        ensure!(*name == step.name, "{guest} ran {} in the place of {name}", step.name);
        ensure!(*sum == step.sum, "{guest} read other bytes than the host in {name}");
    }
    Ok(())
}

/// Tells where a guest's clock is far from the host's.
fn tell_clocks(guest: &str, race: &Race) {
    for step in &race.steps {
        if step.guest_ns.abs_diff(step.host_ns) > CLOCK_NS + step.host_ns / CLOCK_SHARE {
            let ms = |ns: u64| ns / 1_000_000;
            let (own, host) = (ms(step.guest_ns), ms(step.host_ns));
            eprintln!("{guest}, {}: {own} ms by its own clock, {host} by the host's", step.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_that_read_other_bytes_or_other_steps_is_refused() {
        let text = "BEG a\nEND a bytes=8 ops=2 ns=9 sum=5\nDONE\n";
        let mut listener = Listener::default();
        listener.feed(text.as_bytes(), Instant::now()).unwrap();
        let race = listener.finish(Instant::now()).unwrap();
        let same = |expected: &[(&str, u64)]| {
            let owned: Vec<_> =
                expected.iter().map(|(name, sum)| (name.to_string(), *sum)).collect();
            same_sums("it", &owned, &race).map_err(|error| error.to_string())
        };
        assert_eq!(same(&[("a", 5)]), Ok(()));
        assert_eq!(same(&[("a", 6)]), Err("it read other bytes than the host in a".into()));
        assert_eq!(same(&[("b", 5)]), Err("it ran a in the place of b".into()));
        assert_eq!(same(&[("a", 5), ("b", 1)]), Err("it ran 1 steps".into()));
    }

    #[test]
    fn part_that_is_none_is_told_with_those_that_are() {
        assert_eq!(parts(None).unwrap().len(), SCENARIOS.len());
        assert_eq!(parts(Some("packed")).unwrap().len(), 1);
        assert!(parts(Some("nothing")).unwrap_err().to_string().contains("packed"));
    }
}
