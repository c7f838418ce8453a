//! The Linux guest: the same QEMU, machine, disks and share as rootlet's.
//!
//! Always: QEMU is gone when a run returns. The machine has ACPI, without which Debian's kernel
//! finds no virtio-mmio device.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::initramfs::{self, Contents};
use super::kernel::Kernel;
use super::timed::{Listener, Race};
use rootlet_cli::boot::accel::Accel;
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::child::{Child, bound_command};
use rootlet_cli::boot::monitor::{Disk, Machine, ShareDevice, qemu};
use rootlet_cli::boot::virtiofsd::Daemon;
use rootlet_cli::exit;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::programs::{find_in_path, find_virtiofsd};
use rootlet_cli::size::Size;

/// What a Linux guest is given.
pub struct Guest<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The first program.
    pub init: &'a [u8],
    /// The disks: the image first, then its device slots.
    pub disks: Vec<Disk>,
    /// A directory to share, with the mount tag `share`.
    pub share: Option<PathBuf>,
    /// The steps.
    pub steps: &'a [String],
    /// What is written to which files, `FILE=VALUE`.
    pub settings: &'a [String],
    /// More words for the kernel's command line.
    pub words: &'a str,
    /// How the processor is run.
    pub accel: Accel,
    /// Memory.
    pub mem: Size,
    /// When to end it.
    pub timeout: Duration,
    /// Whether someone asked the tool to end.
    pub interrupt: &'a Interrupt,
}

/// Returns the initramfs that a guest gets.
pub fn initramfs(guest: &Guest<'_>) -> Result<Vec<u8>> {
    let serials: Vec<&str> = guest.disks.iter().map(|disk| disk.serial.as_str()).collect();
    let files = [
        ("disks", serials.join("\n")),
        ("share", if guest.share.is_some() { "share" } else { "" }.into()),
        ("steps", guest.steps.join("\n")),
        ("settings", guest.settings.join("\n")),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_bytes()));
    let modules = guest.kernel.modules.as_deref();
    initramfs::build(&Contents { init: guest.init, modules, files: &files })
}

/// Boots once.
pub fn run(guest: &Guest<'_>) -> Result<Race> {
    let private = tempfile::TempDir::with_prefix("rootlet-peer-")?;
    let initrd = private.path().join("initrd");
    fs::write(&initrd, initramfs(guest)?)?;
    let mut shares = Vec::new();
    let mut daemon = None;
    if let Some(dir) = &guest.share {
        let program = find_virtiofsd().context("virtiofsd is gone")?;
        let socket = private.path().join("share.sock");
        let says = private.path().join("says.txt");
        daemon = Some(Daemon::start(&program, dir, &socket, &says)?);
        shares.push(ShareDevice { tag: "share".into(), socket });
    }
    let initrd = initrd.to_str().context("the name of a temporary folder")?;
    let machine = Machine {
        board: Board::Microvm,
        bus: None,
        accel: guest.accel,
        mem: guest.mem,
        cpus: 1,
        kernel: std::path::absolute(&guest.kernel.image)?,
        append: command_line(guest.words),
        disks: guest.disks.clone(),
        shares,
        log_socket: None,
        extra: ["-M", "acpi=on", "-initrd", initrd].map(Into::into).into(),
    };
    let race = watch(&qemu::launch(&machine)?.arguments, guest);
    drop(daemon);
    race
}

/// Returns the kernel's command line. Its own calibration of the processor's counter needs a timer
/// that microvm lacks, and at times does not end; under emulation the counter is the host's.
fn command_line(words: &str) -> String {
    let mut line = String::from("console=ttyS0 quiet loglevel=1 reboot=t panic=-1 tsc=reliable");
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if let Some(khz) = counter_khz(&cpuinfo) {
        line.push_str(&format!(" tsc_early_khz={khz}"));
    }
    if !words.is_empty() {
        line.push_str(&format!(" {words}"));
    }
    line
}

fn counter_khz(cpuinfo: &str) -> Option<u64> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mhz = pairs.filter(|(key, _)| key.trim() == "cpu MHz").map(|(_, mhz)| mhz.trim()).next()?;
    let (whole, part) = mhz.split_once('.').unwrap_or((mhz, "0"));
    let part = format!("{part:0<3}");
    Some(whole.parse::<u64>().ok()? * 1000 + part.get(..3)?.parse::<u64>().ok()?)
}

/// Runs QEMU to its end and reads the race off its line.
fn watch(arguments: &[OsString], guest: &Guest<'_>) -> Result<Race> {
    let qemu = find_in_path(Board::Microvm.qemu()).context("QEMU is gone")?;
    let mut command = bound_command(qemu.as_os_str());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let started = Instant::now();
    let mut child = Child::spawn(command)?;
    let mut stdout = child.pipes().stdout.take().context("QEMU's output")?;
    let (sender, receiver) = sync_channel(256);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if sender.send((buffer[..count].to_vec(), Instant::now())).is_err() {
                return;
            }
        }
    });
    let (mut listener, mut said) = (Listener::default(), Vec::new());
    loop {
        guest.interrupt.check()?;
        if started.elapsed() > guest.timeout {
            child.stop()?;
            let text =
                format!("the Linux guest did not end within {:?}; {}", guest.timeout, tail(&said));
            return Err(exit::stop(exit::TIMEOUT, text));
        }
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok((bytes, at)) => {
                said.extend_from_slice(&bytes);
                listener.feed(&bytes, at)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    child.wait_for(Duration::from_secs(10))?;
    // It ended with the output.
    let _ = reader.join();
    match listener.finish(started) {
        Ok(race) => Ok(race),
        Err(error) => bail!("the Linux guest: {error:#}; {}", tail(&said)),
    }
}

/// Returns the last lines that a guest wrote.
fn tail(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("its last lines: {}", lines[lines.len().saturating_sub(4)..].join(" / "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_of_the_host_is_read_to_the_kilohertz() {
        assert_eq!(counter_khz("processor\t: 0\ncpu MHz\t\t: 2445.406\n"), Some(2_445_406));
        assert_eq!(counter_khz("cpu MHz\t\t: 3200.1\ncpu MHz\t\t: 800.0\n"), Some(3_200_100));
        assert_eq!(counter_khz("BogoMIPS\t: 50.00\n"), None);
    }
}
