//! Booting a guest with the user's image, blobs, share and region.
//!
//! Always: what the run makes on the side (sockets, daemons, raw output) is gone at its end,
//! unless it is to be kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rootlet_guest::Command;
use tempfile::TempDir;

use rootlet_guest::config::{Part, Sectors};

use crate::board::Board;
use crate::build::{self, Firmware};
use crate::cli::{BootArgs, LogLevel};
use crate::disk_file;
use crate::exit::{self, usage};
use crate::flat;
use crate::guest::{self, Report};
use crate::interrupt::Interrupt;
use crate::log::Symbols;
use crate::monitor::{Disk, Machine, Monitor, ShareDevice};
use crate::output::{self, say};
use crate::plan::{Plan, plan};
use crate::setup::{self, Need};
use crate::size::{Size, human};
use crate::sweeper::Sweeper;
use crate::virtiofsd::Daemon;

/// The region disk that is made where none is.
const CACHE_BYTES: Size = Size(64 << 20);

/// Memory behind its image without which a guest cannot even say that it has too little.
const HEAP_BYTES_MIN: u64 = 64 << 10;

/// The task: boots, gives the guest's output to standard output, and judges.
pub fn task(args: &BootArgs, dry_run: bool, interrupt: &Interrupt) -> Result<()> {
    let source = &args.source;
    if source.image.is_none() && source.cache.is_none() && args.machine.disk.is_empty() {
        return Err(usage("a guest command needs an --image FILE (see --help)"));
    }
    let plan = planned(args)?;
    plan.disks.iter().try_for_each(|disk| match plan.makes(disk) {
        true => Ok(()),
        false => disk_file::check(disk),
    })?;
    check_command(&plan.words)?;
    args.machine.accel()?;
    if !dry_run {
        let (monitor, board) = (args.machine.monitor, args.machine.board());
        let bus = monitor.room(board, args.machine.bus)?.bus;
        monitor.check_program(board, bus)?;
    }
    setup::ensure(&needs(args))?;
    let firmware = build::board(args.machine.board(), level(args), args.machine.verbose)?;
    match dry_run {
        true => print_script(args, &firmware),
        false => show(args, &firmware, interrupt),
    }
}

/// Refuses a command that the guest would refuse, before anything is built and booted.
fn check_command(words: &[String]) -> Result<()> {
    match words.first().map(String::as_str) {
        Some(own @ ("extract" | "check")) => {
            Err(usage(format!("`{own}` is for the host alone: cargo run -- host ... -- {own}")))
        }
        _ => Command::parse(words).map(drop).map_err(|error| usage(error.to_string())),
    }
}

/// The task `boot-elf`.
pub fn elf_task(elf: PathBuf, args: &BootArgs, interrupt: &Interrupt) -> Result<()> {
    let mut args = args.clone();
    // The runner of a target does not know which of its boards it runs; the file is called so.
    let named = |board: &Board| elf.file_name().is_some_and(|name| name == board.package());
    args.machine.board = Board::ALL.into_iter().find(named).or(args.machine.board);
    let needs: Vec<Need> =
        needs(&args).into_iter().filter(|need| !matches!(need, Need::Target(_))).collect();
    setup::ensure(&needs)?;
    show(&args, &Firmware::read(elf)?, interrupt)
}

/// What booting with `args` needs.
pub fn needs(args: &BootArgs) -> Vec<Need> {
    let board = args.machine.board();
    let mut needs = vec![Need::Target(board)];
    if args.machine.monitor == Monitor::Qemu {
        needs.push(Need::Qemu(board));
    }
    if !args.source.share.is_empty() {
        needs.push(Need::Virtiofsd);
    }
    needs
}

/// The log level to build in and, elsewhere unsaid, to show.
pub fn level(args: &BootArgs) -> LogLevel {
    args.machine.log.unwrap_or(LogLevel::Info)
}

fn planned(args: &BootArgs) -> Result<Plan> {
    let mut plan = plan(&args.source)?;
    plan.equip(&args.machine)?;
    Ok(plan)
}

fn show(args: &BootArgs, firmware: &Firmware, interrupt: &Interrupt) -> Result<()> {
    let report = run(args, firmware, level(args), interrupt, &mut |bytes, _| output::bytes(bytes))?;
    let judged = report.judge();
    if let Some(verdict) = &report.verdict {
        eprintln!("{}", verdict.line());
        if judged.is_err() && report.verdict_explains() {
            return Err(exit::stop(exit::FAILED, ""));
        }
    }
    judged
}

/// Prints the commands that boot `firmware` by hand.
fn print_script(args: &BootArgs, firmware: &Firmware) -> Result<()> {
    let plan = planned(args)?;
    make_cache(&plan, args.source.cache_size)?;
    let here = Path::new("");
    let beside = firmware.kernel.parent().context("the image's folder")?;
    let mut shares = Vec::new();
    for (tag, dir) in &plan.shares {
        let socket = socket(here, tag);
        let daemon = setup::find_virtiofsd().context("virtiofsd is gone")?;
        say!("{} &", daemon.command(dir, &socket)?);
        shares.push(ShareDevice { tag: tag.clone(), socket });
    }
    let machine = machine(args, &plan, firmware, shares, beside)?;
    let monitor = args.machine.monitor;
    let launch = monitor.launch(&machine, here)?;
    // Whoever has it elsewhere sees where it has to be.
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
    make_cache(&plan, args.source.cache_size)?;
    plan.tell_versions();
    let private = TempDir::with_prefix("rootlet-").context("a directory for sockets")?;
    if let Some(keep) = &options.keep {
        fs::create_dir_all(keep).with_context(|| keep.display().to_string())?;
    }
    let kept = options.keep.as_deref().unwrap_or(private.path());
    let sweeper = Sweeper::start(private.path(), &sockets(&plan, private.path()));
    let (daemons, shares) = start_daemons(&plan, private.path(), kept)?;
    let mut machine = machine(args, &plan, firmware, shares, private.path())?;
    if options.monitor.facts().has_log {
        machine.log_socket = Some(private.path().join("log"));
    } else if options.log.is_some() {
        eprintln!("{} has no channel for the guest's log", options.monitor.name());
    }
    let launch = options.monitor.launch(&machine, &absolute(kept)?)?;
    let program = options.monitor.find(machine.board)?;
    if options.verbose {
        describe(&machine, firmware, &launch.script(&program, false));
    }
    if let Some(keep) = &options.keep {
        guest::keep_script(keep, &program, &launch)?;
    }
    let symbols = Symbols::read(&firmware.bytes)?;
    let options = guest::Options {
        program: &program,
        timeout: Duration::from_secs(options.timeout),
        level: shown,
        verbose: options.verbose,
        symbols: symbols.as_ref(),
        keep: options.keep.as_deref(),
        interrupt,
    };
    let report = guest::run(&launch, &options, output);
    drop(daemons);
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
        true => flat_image(firmware, dir)?,
        false => absolute(&firmware.kernel)?,
    };
    let disks: Vec<Disk> = plan.disks.iter().map(present).collect::<Result<_>>()?;
    Ok(Machine {
        board,
        bus: options.bus,
        accel: options.accel()?,
        mem: options.mem,
        kernel,
        append: plan.append_with(&options.monitor.disk_names(&disks)?),
        disks,
        shares,
        log_socket: None,
        extra: options.qemu_arg.clone(),
    })
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
    eprintln!("firmware {} ({loaded} loaded)", firmware.elf.display());
    for disk in &machine.disks {
        let mode = if disk.read_only { "read-only" } else { "writable" };
        eprintln!("disk     {}: {} ({mode})", disk.serial, disk.file.display());
    }
    eprintln!("accel    {}", machine.accel.name());
    eprintln!("command  {script}");
}

/// The disk with an absolute path to a file that is there.
fn present(disk: &Disk) -> Result<Disk> {
    disk_file::check(disk)?;
    let blkdebug = disk.blkdebug.as_deref().map(absolute).transpose()?;
    // Absolute, so that QEMU takes no part before a colon for a protocol.
    Ok(Disk { file: absolute(&disk.file)?, blkdebug, ..disk.clone() })
}

/// Makes the region disk if there is none, and checks that the named part lies on it.
pub fn make_cache(plan: &Plan, size: Option<Size>) -> Result<()> {
    let size = size.unwrap_or(CACHE_BYTES);
    let Some(cache) = &plan.cache else { return Ok(()) };
    let name = cache.file.display();
    if !cache.file.exists() {
        let file = File::create_new(&cache.file).with_context(|| name.to_string())?;
        file.set_len(size.0).with_context(|| name.to_string())?;
        eprintln!("made a region disk of {}: {name}", human(size.0));
    }
    let bytes = fs::metadata(&cache.file).with_context(|| name.to_string())?.len();
    if let Part::Sectors(Sectors { first: sector, count }) = cache.part
        && sector.checked_add(count).is_none_or(|end| end > bytes / 512)
    {
        let sectors = bytes / 512;
        return Err(usage(format!(
            "{name} has {sectors} sectors, the region wants {count} from {sector} on"
        )));
    }
    Ok(())
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
            return Err(usage(format!("--share {}: no such directory", dir.display())));
        }
        let program = setup::find_virtiofsd().context("virtiofsd is gone")?;
        let socket = socket(private, tag);
        let says = says.join(format!("virtiofsd-{tag}.txt"));
        daemons.push(Daemon::start(&program, dir, &socket, &says)?);
        devices.push(ShareDevice { tag: tag.clone(), socket });
    }
    Ok((daemons, devices))
}
