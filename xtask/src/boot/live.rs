//! Tests against a real QEMU and a real virtio-fs daemon, with the least guest there can be.
//!
//! Always: they install what is missing, as the tool does, and fail where that is not allowed; a
//! test that skipped itself would prove nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use object::{Object, ObjectSection, ObjectSegment};
use rootlet_guest::frame::{FRAME_BYTES_MAX, Kind, encode};
use tempfile::TempDir;

use crate::boot::build;
use crate::measure::tiny::{self, End};
use crate::setup::{Need, ensure};
use rootlet_cli::boot::accel::Accel;
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::guest::{self, Ending, Options, Report};
use rootlet_cli::boot::log;
use rootlet_cli::boot::monitor::{Disk, Launch, Machine, Monitor, ShareDevice};
use rootlet_cli::boot::virtiofsd::{Daemon, Flavour, Program};
use rootlet_cli::boot::{Firmware, LogLevel};
use rootlet_cli::exit;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::programs::{find_in_path, find_virtiofsd};
use rootlet_cli::size::Size;

/// Returns QEMU, installed if need be.
fn qemu() -> PathBuf {
    ensure(&[Need::Qemu(Board::Microvm)]).unwrap();
    find_in_path(Board::Microvm.qemu()).unwrap()
}

/// Returns the virtio-fs daemon, installed if need be.
fn virtiofsd() -> Program {
    ensure(&[Need::Virtiofsd]).unwrap();
    find_virtiofsd().unwrap()
}

struct World {
    dir: TempDir,
    machine: Machine,
    interrupt: Interrupt,
    timeout: Duration,
}

fn frames(frames: &[(Kind, &str)]) -> Vec<u8> {
    let mut line = Vec::new();
    for (kind, payload) in frames {
        let mut out = [0; FRAME_BYTES_MAX];
        line.extend_from_slice(encode(*kind, payload.as_bytes(), &mut out).unwrap());
    }
    line
}

impl World {
    fn new(console: &[u8], log: &[u8], end: End) -> Self {
        let dir = TempDir::with_prefix("rootlet-test-").unwrap();
        let kernel = dir.path().join("guest.elf");
        fs::write(&kernel, tiny::elf(console, log, end)).unwrap();
        let machine = Machine {
            board: Board::Microvm,
            bus: None,
            accel: Accel::Tcg,
            mem: Size(32 << 20),
            cpus: 1,
            kernel,
            append: "console=framed -- a \"b c\"".into(),
            disks: Vec::new(),
            shares: Vec::new(),
            log_socket: Some(dir.path().join("log")),
            extra: Vec::new(),
        };
        let timeout = Duration::from_secs(60);
        Self { dir, machine, interrupt: Interrupt::default(), timeout }
    }

    fn launch(&self) -> Launch {
        Monitor::Qemu.launch(&self.machine, self.dir.path()).unwrap()
    }

    fn run(&self) -> anyhow::Result<(Report, Vec<u8>)> {
        let board = self.machine.board;
        ensure(&[Need::Qemu(board)]).unwrap();
        let qemu = find_in_path(board.qemu()).unwrap();
        let options = Options {
            program: &qemu,
            timeout: self.timeout,
            level: LogLevel::Info,
            verbose: false,
            symbols: None,
            keep: Some(self.dir.path()),
            names: &Default::default(),
            is_interactive: false,
            interrupt: &self.interrupt,
        };
        let mut output = Vec::new();
        let report = guest::run(&self.launch(), &options, &mut |bytes, _| {
            output.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((report, output))
    }

    /// Processes that have this world's folder on their command line.
    fn processes(&self) -> Vec<PathBuf> {
        let ours = self.dir.path().to_str().unwrap();
        let all = fs::read_dir("/proc").unwrap().map_while(Result::ok).map(|entry| entry.path());
        all.filter(|dir| {
            let words = fs::read(dir.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(ours)
        })
        .collect()
    }
}

#[test]
fn a_pass_with_its_output_and_log_comes_through_noise() {
    let mut console = b"loader\r\n".to_vec();
    console.extend(frames(&[(Kind::Output, "one\n"), (Kind::Output, "two\n")]));
    console.extend(frames(&[(Kind::Verdict, "PASS reads=7")]));
    let world = World::new(&console, b"raw log", End::Exit(0x10));
    let (report, output) = world.run().unwrap();
    assert_eq!(report.ending, Ending::Passed);
    report.judge().unwrap();
    assert_eq!(output, b"one\ntwo\n");
    assert_eq!(report.verdict.unwrap().number("reads"), Some(7));
    assert!(report.first_output.unwrap() <= report.total);
    assert_eq!(fs::read(world.dir.path().join("log.bin")).unwrap(), b"raw log");
    assert_eq!(fs::read(world.dir.path().join("console.bin")).unwrap(), console);
}

#[test]
fn every_way_a_guest_ends_has_its_own_words() {
    for (end, verdict, ending, words) in [
        (End::Exit(0x10), "", Ending::Passed, "without a verdict"),
        (End::Exit(0x10), "FAIL no", Ending::Passed, "without a verdict"),
        (End::Exit(0x11), "FAIL no such file", Ending::Failed, "no such file"),
        (End::Exit(0x11), "PASS", Ending::Failed, "without a verdict"),
        (End::Exit(0x12), "FAIL at x.rs:1", Ending::Panicked, "panicked: at x.rs:1"),
        (End::Exit(0x13), "FAIL page fault", Ending::Exception, "exception: page fault"),
        (End::Exit(0x20), "", Ending::Other(65), "status 65"),
        (End::Exit(0x20), "FAIL no room", Ending::Other(65), "failed: no room"),
        (End::TripleFault, "", Ending::Other(0), "triple fault"),
        (End::TripleFault, "FAIL no room", Ending::Other(0), "failed: no room"),
    ] {
        let console = frames(&[(Kind::Verdict, verdict)]);
        let (report, _) = World::new(&console, b"", end).run().unwrap();
        assert_eq!(report.ending, ending, "{end:?} {verdict}");
        let error = report.judge().unwrap_err().to_string();
        assert!(error.contains(words), "{end:?} {verdict}: {error}");
    }
}

#[test]
fn verdict_counts_where_no_status_of_ours_contradicts_it() {
    for (end, ending) in
        [(End::Exit(0x20), Ending::Other(65)), (End::TripleFault, Ending::Other(0))]
    {
        let console = frames(&[(Kind::Verdict, "PASS reads=7")]);
        let (report, _) = World::new(&console, b"", end).run().unwrap();
        assert_eq!(report.ending, ending);
        report.judge().unwrap();
    }
}

#[test]
fn monitor_that_does_not_end_with_its_guest_is_ended_and_the_verdict_counts() {
    for (verdict, passes) in [("PASS reads=7", true), ("FAIL no room", false)] {
        let console = frames(&[(Kind::Output, "row\n"), (Kind::Verdict, verdict)]);
        let (report, output) = World::new(&console, b"", End::Never).run().unwrap();
        assert_eq!(report.judge().is_ok(), passes, "{verdict}");
        assert!(report.total < Duration::from_secs(30), "{:?}", report.total);
        assert_eq!(output, b"row\n");
    }
}

#[test]
fn guest_that_is_started_again_is_ended_and_its_first_run_counts() {
    let console = frames(&[(Kind::Output, "row\n"), (Kind::Verdict, "PASS reads=7")]);
    let mut world = World::new(&console, b"", End::TripleFault);
    world.machine.extra = ["-action", "reboot=reset"].map(Into::into).into();
    let (report, output) = world.run().unwrap();
    report.judge().unwrap();
    assert_eq!(output, b"row\n");
    assert!(report.total < Duration::from_secs(10), "{:?}", report.total);
}

#[test]
fn guest_that_fails_after_it_passed_has_failed() {
    for verdicts in [["PASS reads=7", "FAIL panic"], ["FAIL panic", "PASS reads=7"]] {
        let console = frames(&verdicts.map(|verdict| (Kind::Verdict, verdict)));
        let (report, _) = World::new(&console, b"", End::TripleFault).run().unwrap();
        assert!(report.judge().unwrap_err().to_string().contains("panic"), "{verdicts:?}");
    }
}

#[test]
fn a_guest_that_never_ends_is_ended_with_its_last_lines() {
    let console = frames(&[(Kind::Output, "first\nlast words\n")]);
    let mut world = World::new(&console, b"", End::Never);
    world.timeout = Duration::from_secs(2);
    let error = world.run().unwrap_err();
    assert_eq!(exit::status_of(&error), exit::TIMEOUT);
    assert!(error.to_string().contains("last words"), "{error}");
    assert_eq!(world.processes(), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupt_ends_the_guest_and_leaves_nothing() {
    let world = World::new(&frames(&[(Kind::Output, ".")]), b"", End::Never);
    let interrupt = world.interrupt.clone();
    let asker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        interrupt.ask();
    });
    let error = world.run().unwrap_err();
    asker.join().unwrap();
    assert_eq!(exit::status_of(&error), exit::INTERRUPTED);
    assert_eq!(world.processes(), Vec::<PathBuf>::new());
}

#[test]
fn a_failing_output_ends_the_guest() {
    let world = World::new(&frames(&[(Kind::Output, ".")]), b"", End::Never);
    let qemu = qemu();
    let options = Options {
        program: &qemu,
        timeout: world.timeout,
        level: LogLevel::Off,
        verbose: false,
        symbols: None,
        keep: None,
        names: &Default::default(),
        is_interactive: false,
        interrupt: &world.interrupt,
    };
    let result = guest::run(&world.launch(), &options, &mut |_, _| anyhow::bail!("no room"));
    assert_eq!(result.unwrap_err().to_string(), "no room");
    assert_eq!(world.processes(), Vec::<PathBuf>::new());
}

#[test]
fn a_machine_that_qemu_refuses_is_told_with_its_words() {
    let mut world = World::new(b"", b"", End::Exit(0x10));
    world.machine.extra = vec!["-device".into(), "no-such-device".into()];
    let (report, _) = world.run().unwrap();
    assert_eq!(report.ending, Ending::Other(1));
    let error = report.judge().unwrap_err().to_string();
    assert!(error.contains("no-such-device"), "{error}");
}

#[test]
fn disks_with_strange_names_reach_qemu() {
    let console = frames(&[(Kind::Verdict, "PASS")]);
    let mut world = World::new(&console, b"", End::Exit(0x10));
    for (number, name) in ["a,b", "c d:e", "nbd:x", "f'\"\\"].into_iter().enumerate() {
        let file = world.dir.path().join(name);
        fs::write(&file, [0; 512]).unwrap();
        world.machine.disks.push(Disk {
            serial: format!("s,{number}"),
            source: file.into(),
            read_only: number % 2 == 0,
            blkdebug: None,
            options: None,
        });
    }
    world.run().unwrap().0.judge().unwrap();
}

fn share(world: &World) -> Daemon {
    let program = virtiofsd();
    let dir = world.dir.path().join("a share, with a comma");
    fs::create_dir_all(&dir).unwrap();
    let says = world.dir.path().join("says.txt");
    Daemon::start(&program, &dir, &world.dir.path().join("fs.sock"), &says).unwrap()
}

fn gone(id: u32) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    let status = PathBuf::from(format!("/proc/{id}/stat"));
    let alive = || fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    !alive()
}

#[test]
fn a_dropped_daemon_leaves_no_process_no_socket_and_no_lock() {
    let world = World::new(b"", b"", End::Never);
    let daemon = share(&world);
    let id = daemon.id();
    assert!(world.dir.path().join("fs.sock").exists());
    drop(daemon);
    assert!(gone(id));
    assert!(!world.dir.path().join("fs.sock").exists());
    let name = world.dir.path().file_name().unwrap().to_str().unwrap();
    for place in ["/run/virtiofsd", "/var/run/virtiofsd", "/var/lib/qemu/run/virtiofsd"] {
        let left = fs::read_dir(place).into_iter().flatten().map_while(Result::ok);
        let left: Vec<_> = left
            .filter(|entry| entry.file_name().to_str().is_some_and(|n| n.contains(name)))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert_eq!(world.processes(), Vec::<PathBuf>::new());
}

#[test]
fn a_daemon_ends_with_its_machine() {
    let mut world = World::new(&frames(&[(Kind::Verdict, "PASS")]), b"", End::Exit(0x10));
    let daemon = share(&world);
    let socket = world.dir.path().join("fs.sock");
    world.machine.shares = vec![ShareDevice { tag: "share".into(), socket }];
    world.run().unwrap().0.judge().unwrap();
    assert!(gone(daemon.id()));
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let world = World::new(b"", b"", End::Never);
    let program = virtiofsd();
    let says = world.dir.path().join("says.txt");
    let socket = world.dir.path().join("no/such/dir/fs.sock");
    let error = Daemon::start(&program, world.dir.path(), &socket, &says).unwrap_err().to_string();
    assert!(error.contains("ended at once"), "{error}");
    assert!(error.len() > program.path.as_os_str().len() + 20, "{error}");
    assert!(Daemon::start(&program, Path::new("/no/such"), &socket, &says).is_err());
    // Which of the two was tested stands in the output of a failed test.
    assert!(matches!(program.flavour, Flavour::C | Flavour::Rust));
}

/// Returns a board's image, with all that it needs.
fn image(board: Board) -> Firmware {
    ensure(&[Need::Target(board)]).unwrap();
    build::board(board, LogLevel::Info, false).unwrap()
}

#[test]
fn the_image_of_each_board_without_symbols_has_less_than_five_quarters_of_a_mib() {
    for board in Board::ALL {
        let firmware = image(board);
        let file = object::File::parse(firmware.bytes.as_slice()).unwrap();
        let ends = file.segments().map(|part| part.file_range().0 + part.file_range().1);
        // After the last byte that is loaded, strip(1) leaves names and headers of sections.
        let stripped = ends.max().unwrap() + 4096;
        assert!(stripped < 5 << 18, "{board:?}: {stripped}");
        assert!(firmware.loaded_bytes() > 100 << 10, "{board:?}");
        assert!(firmware.memory_end() > (1 << 20) + firmware.loaded_bytes(), "{board:?}");
    }
}

#[test]
fn flat_images_are_those_of_the_virt_boards() {
    for board in Board::ALL {
        let firmware = image(board);
        let flat = rootlet_cli::boot::flat::image(&firmware.bytes).unwrap();
        assert_eq!(flat.is_some(), board.arch() != "x86_64", "{board:?}");
        if let Some(flat) = flat {
            // The size in the header counts the memory that the loader leaves free after the image.
            let says = u64::from_le_bytes(flat[16..24].try_into().unwrap());
            assert!(says >= flat.len() as u64 && says < 2 << 20, "{board:?}: {says}");
        }
    }
}

/// A loader may put the image at any multiple of 2 MiB: here 20 MiB after the address that the ELF
/// is linked for.
#[test]
fn flat_image_runs_where_it_was_not_linked_to() {
    let mut flat =
        rootlet_cli::boot::flat::image(&image(Board::VirtAarch64).bytes).unwrap().unwrap();
    // Documentation/arch/arm64/booting.rst: text_offset, which QEMU obeys.
    flat[8..16].copy_from_slice(&0x160_0000_u64.to_le_bytes());
    let mut world = World::new(b"", b"", End::Never);
    let kernel = world.dir.path().join("Image");
    fs::write(&kernel, flat).unwrap();
    let machine = &mut world.machine;
    (machine.board, machine.kernel, machine.mem) = (Board::VirtAarch64, kernel, Size(64 << 20));
    machine.append = "console=framed -- ls /".into();
    let (report, _) = world.run().unwrap();
    assert_eq!(report.ending, Ending::Failed);
    let reason = report.verdict.unwrap().reason;
    assert!(reason.contains("no image given"), "{reason}");
}

/// Whatever else had to be done at entry would be passed over there.
#[test]
fn images_that_move_themselves_have_no_relocations_but_relative_ones() {
    for board in [Board::VirtAarch64, Board::VirtRiscv64] {
        let firmware = image(board);
        let file = object::File::parse(firmware.bytes.as_slice()).unwrap();
        let section = file.section_by_name(".rela.dyn").unwrap();
        let entries = section.data().unwrap();
        assert!(entries.len() > 24 * 100 && entries.len() % 24 == 0, "{board:?}");
        let relative: u64 = if board == Board::VirtAarch64 { 1027 } else { 3 };
        for entry in entries.chunks(24) {
            assert_eq!(entry[8..16], relative.to_le_bytes(), "{board:?}: {entry:x?}");
        }
    }
}

#[test]
fn the_boards_log_is_read_again_after_damage() {
    let firmware = image(Board::Microvm);
    let mut world = World::new(b"", b"", End::Never);
    world.machine.kernel = firmware.elf.clone();
    world.machine.append = "console=framed".into();
    world.run().unwrap();
    let whole = fs::read(world.dir.path().join("log.bin")).unwrap();
    // Frames have end bytes on both sides.
    let mut frames = whole.split_inclusive(|&byte| byte == 0).filter(|frame| frame.len() > 1);
    let good = frames.next().expect("the board logs");
    let symbols = log::Symbols::read(&firmware.bytes).unwrap().unwrap();
    let decoded = |level, bytes: &[u8], step| {
        let mut lines = Vec::new();
        let mut decoder = log::Decoder::new(&symbols, level, false);
        bytes.chunks(step).for_each(|part| decoder.feed(part, &mut |line| lines.push(line)));
        lines
    };
    let line = decoded(LogLevel::Trace, good, 99).remove(0);
    assert!(line.starts_with('[') && line.contains("::"), "{line}");
    assert!(decoded(LogLevel::Off, good, 99).is_empty());
    let mut bytes = good.to_vec();
    bytes.extend(b"\xff\xfe\x01\x02\x00\x80\x80\x80\x00");
    bytes.extend(good);
    bytes.extend(vec![0x55; log::FRAME_BYTES_MAX + 5000]);
    bytes.push(0);
    bytes.extend(good);
    for step in [1, 3, 1000, bytes.len()] {
        let lines = decoded(LogLevel::Trace, &bytes, step);
        assert_eq!(lines.len(), 4, "step {step}: {lines:?}");
        assert!(lines[1].starts_with("log: damaged"), "{lines:?}");
        assert!([0, 2, 3].iter().all(|&at| lines[at] == line), "{lines:?}");
    }
}
