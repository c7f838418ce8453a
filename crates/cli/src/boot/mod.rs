//! Booting a guest with the user's image, blobs, share and region.
//!
//! Always: sockets, daemons and raw output of a run are gone at its end, unless `--keep` is given.

mod args;
mod command;
mod firmware;
mod held;
mod level;
mod reach;
mod readers;
mod report;
mod served;
mod typing;
mod watch;

pub mod accel;
pub mod append;
pub mod board;
pub mod child;
pub mod console;
pub mod daemon;
pub mod flat;
pub mod guest;
pub mod guests;
pub mod log;
pub mod monitor;
pub mod plan;
pub mod sweeper;
pub mod verdict;
pub mod virtiofsd;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rootlet_guest::Command;
use tempfile::TempDir;

pub use args::BootArgs;
pub use command::{BootCommand, named_guest, read, task};
pub use firmware::Firmware;
pub use level::LogLevel;

use crate::exit::{self, usage};
use crate::interrupt::Interrupt;
use crate::note;
use crate::output;
use crate::programs::virtiofsd;
use crate::say;
use crate::size::human;
use crate::source::{Source, disk_file};
use crate::timeline;
use held::Held;
use log::Symbols;
use monitor::{Disk, Machine, ShareDevice};
use plan::{Plan, option_of_share, plan};
use report::Report;
use served::Engines;
use sweeper::Sweeper;
use virtiofsd::Daemon;

/// Memory beyond its image that a guest needs to report that it has too little.
const HEAP_BYTES_MIN: u64 = 64 << 10;

/// Refuses a command that the guest would refuse, before anything is built and booted.
fn check_command(words: &[String]) -> Result<()> {
    match words.first().map(String::as_str) {
        Some(own @ ("extract" | "check")) => {
            Err(usage(format!("no guest has the command `{own}`: `rootlet {own} IMAGE` runs here")))
        }
        _ => Command::parse(words).map(drop).map_err(|error| usage(error.to_string())),
    }
}

/// Refuses what cannot boot, before anything is built: names, files, the guest command, the
/// monitor's limits, and unless it is only planned, a monitor that is not there.
///
/// # Errors
/// Status 2, or 3 for a monitor that is not there.
pub fn check(args: &BootArgs, dry_run: bool) -> Result<()> {
    let has_image = args.image.is_some() || !args.source.layer.is_empty();
    if !has_image && args.source.region.is_none() && args.machine.disk.is_empty() {
        return Err(usage("no image given, and no rootlet.toml names one (see --help)"));
    }
    let plan = planned(args)?;
    plan.disks.iter().try_for_each(|disk| match plan.makes(disk) {
        true => Ok(()),
        false => disk_file::check(disk),
    })?;
    if !args.is_app {
        check_command(&plan.words)?;
    }
    args.machine.accel()?;
    if !dry_run {
        let (monitor, board) = (args.machine.monitor, args.machine.board());
        let bus = monitor.room(board, args.machine.bus)?.bus;
        monitor.check_program(board, bus)?;
    }
    Ok(())
}

/// The log level to build in and, elsewhere unsaid, to show.
pub fn level(args: &BootArgs) -> LogLevel {
    args.machine.log.unwrap_or(LogLevel::Info)
}

fn planned(args: &BootArgs) -> Result<Plan> {
    let mut plan = plan(args.image.as_deref(), &args.source, &args.words)?;
    if args.is_app {
        plan.words.clone_from(&args.words);
    }
    plan.equip(&args.machine)?;
    Ok(plan)
}

/// Boots `firmware`, gives the guest's output to standard output, and judges.
pub fn show(args: &BootArgs, firmware: &Firmware, interrupt: &Interrupt) -> Result<()> {
    let report = run(args, firmware, level(args), interrupt, &mut |bytes, _| output::bytes(bytes))?;
    let drawn = draw_timeline(args, &report);
    judge(&report)?;
    drawn
}

/// Draws what the guest did, where that is asked for.
fn draw_timeline(args: &BootArgs, report: &Report) -> Result<()> {
    let file = args.machine.timeline.as_deref();
    file.map_or(Ok(()), |file| timeline::draw(&[("boot", report)], file))
}

/// Tells the verdict of a boot, and judges.
fn judge(report: &Report) -> Result<()> {
    let judged = report.judge();
    if let Some(verdict) = &report.verdict {
        note!("{}", verdict.line());
        if judged.is_err() && report.verdict_explains() {
            return Err(exit::stop(exit::FAILED, ""));
        }
    }
    judged
}

/// Prints the commands that boot `firmware` by hand.
pub fn print_script(args: &BootArgs, firmware: &Firmware) -> Result<()> {
    let mut plan = planned(args)?;
    let here = Path::new("");
    for (serial, command) in served::commands(&mut plan, args, here)? {
        let line = command.line().with_context(|| {
            format!("{serial}: it is read with a token or a key that no script may hold")
        })?;
        say!("{line} &");
    }
    plan.make_region(args.source.region_size)?;
    let beside = firmware.kernel.parent().context("the image's folder")?;
    let mut shares = Vec::new();
    for (tag, dir) in &plan.shares {
        let socket = socket(here, tag);
        let daemon = virtiofsd()?;
        say!("{} &", daemon.command(dir, &socket)?);
        shares.push(ShareDevice { tag: tag.clone(), socket });
    }
    let machine = machine(args, &plan, firmware, shares, beside)?;
    let monitor = args.machine.monitor;
    let launch = monitor.launch(&machine, here)?;
    // The script names the usual place; a user who has the monitor elsewhere edits that name.
    let name = PathBuf::from(monitor.program(machine.board));
    say!("{}", launch.script(&monitor.find(machine.board).unwrap_or(name), false));
    Ok(())
}

/// Boots `firmware` once. `shown` is the least severe log message to show.
pub fn run(
    args: &BootArgs,
    firmware: &Firmware,
    shown: LogLevel,
    interrupt: &Interrupt,
    output: &mut dyn FnMut(&[u8], Instant) -> Result<()>,
) -> Result<Report> {
    let mut plan = planned(args)?;
    plan.frame_console();
    let options = &args.machine;
    let program = options.monitor.find(options.board())?;
    let private = TempDir::with_prefix("rootlet-").context("a directory for sockets")?;
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep).with_context(|| keep.display().to_string())?;
    }
    let kept = options.keep.as_deref().unwrap_or(private.path());
    let sweeper = Sweeper::start(private.path(), &sockets(&plan, private.path()));
    let engines = Engines::start(&mut plan, args, private.path(), kept, &program)?;
    plan.make_region(args.source.region_size)?;
    plan.tell_versions();
    let (daemons, shares) = start_daemons(&plan, private.path(), kept)?;
    let mut machine = machine(args, &plan, firmware, shares, private.path())?;
    if options.monitor.facts().has_log {
        machine.log_socket = Some(private.path().join("log"));
    } else if options.log.is_some() {
        note!("{} has no channel for the guest's log", options.monitor.name());
    }
    let names = disk_names(args, &machine.disks, machine.shares.len())?;
    let launch = options.monitor.launch(&machine, &absolute(kept)?)?;
    if options.verbose {
        describe(&machine, firmware, &launch.script(&program, false));
    }
    if let Some(keep) = &options.keep {
        guest::keep_script(keep, &program, &launch)?;
    }
    let symbols = match firmware.is_elf() {
        true => Symbols::read(&firmware.bytes)?,
        false => None,
    };
    let options = guest::Options {
        program: &program,
        timeout: Duration::from_secs(options.timeout),
        level: shown,
        verbose: options.verbose,
        symbols: symbols.as_ref(),
        keep: options.keep.as_deref(),
        names: &names,
        is_interactive: options.interactive,
        interrupt,
    };
    let held = Held::open(&machine.disks);
    let mut report = guest::run(&launch, &options, output);
    if let Ok(report) = &mut report {
        report.changed = held.changed();
    }
    if report.as_ref().is_ok_and(|report| report.judge().is_err()) {
        engines.tell();
    }
    drop((daemons, engines));
    drop(private);
    drop(sweeper);
    report
}

/// The machine that `args` and `plan` ask for, without a log. A flat image is made in `dir`.
fn machine(
    args: &BootArgs,
    plan: &Plan,
    firmware: &Firmware,
    shares: Vec<ShareDevice>,
    dir: &Path,
) -> Result<Machine> {
    let options = &args.machine;
    let least = firmware.memory_end() + HEAP_BYTES_MIN;
    if options.mem.0 < least {
        return Err(usage(format!(
            "--mem {}: the board's image alone needs {}",
            human(options.mem.0),
            human(least)
        )));
    }
    let board = options.board();
    let kernel = match options.flat || options.monitor.wants_flat(board) {
        true if firmware.is_elf() => flat_image(firmware, dir)?,
        _ => absolute(&firmware.kernel)?,
    };
    let disks: Vec<Disk> = plan.disks.iter().map(present).collect::<Result<_>>()?;
    Ok(Machine {
        board,
        bus: options.bus,
        accel: options.accel()?,
        mem: options.mem,
        cpus: options.cpus.unwrap_or(1),
        kernel,
        append: plan.append_with(&disk_names(args, &disks, shares.len())?),
        disks,
        shares,
        log_socket: None,
        extra: options.qemu_arg.clone(),
    })
}

/// What the monitor calls the disks that do not go by their serials.
fn disk_names(args: &BootArgs, disks: &[Disk], shares: usize) -> Result<BTreeMap<String, String>> {
    let options = &args.machine;
    let bus = options.monitor.room(options.board(), options.bus)?.bus;
    options.monitor.disk_names(disks, shares, bus)
}

/// The flat image of `firmware`, as a file.
fn flat_image(firmware: &Firmware, dir: &Path) -> Result<PathBuf> {
    let image = flat::image(&firmware.bytes)
        .and_then(|image| image.context("the ELF does not begin with the header of a Linux image"))
        .map_err(|error| usage(format!("--flat: {error}")))?;
    let file = dir.join("Image");
    fs::write(&file, image).with_context(|| file.display().to_string())?;
    Ok(file)
}

fn describe(machine: &Machine, firmware: &Firmware, script: &str) {
    let loaded = human(firmware.loaded_bytes());
    note!("firmware {} ({loaded} loaded)", firmware.elf.display());
    for disk in &machine.disks {
        let mode = if disk.read_only { "read-only" } else { "writable" };
        note!("disk     {}: {} ({mode})", disk.serial, disk.source);
    }
    note!("accel    {}", machine.accel.name());
    note!("command  {script}");
}

/// The disk with an absolute path to a file that is there.
fn present(disk: &Disk) -> Result<Disk> {
    disk_file::check(disk)?;
    let blkdebug = disk.blkdebug.as_deref().map(absolute).transpose()?;
    // Absolute, so that QEMU takes no part before a colon for a protocol.
    let source = match &disk.source {
        Source::File(file) => absolute(file)?.into(),
        Source::VhostUser(socket) => Source::VhostUser(absolute(socket)?),
        source => source.clone(),
    };
    Ok(Disk { source, blkdebug, ..disk.clone() })
}

/// Where the daemon of a share listens.
fn socket(private: &Path, tag: &str) -> PathBuf {
    private.join(format!("{tag}.sock"))
}

fn sockets(plan: &Plan, private: &Path) -> Vec<PathBuf> {
    plan.shares.iter().map(|(tag, _)| socket(private, tag)).collect()
}

fn start_daemons(
    plan: &Plan,
    private: &Path,
    says: &Path,
) -> Result<(Vec<Daemon>, Vec<ShareDevice>)> {
    let mut daemons = Vec::new();
    let mut devices = Vec::new();
    for (tag, dir) in &plan.shares {
        if !dir.is_dir() {
            let option = option_of_share(tag);
            return Err(usage(format!("{option} {}: no such directory", dir.display())));
        }
        let program = virtiofsd()?;
        let socket = socket(private, tag);
        let says = says.join(format!("virtiofsd-{tag}.txt"));
        daemons.push(Daemon::start(&program, dir, &socket, &says)?);
        devices.push(ShareDevice { tag: tag.clone(), socket });
    }
    Ok((daemons, devices))
}
