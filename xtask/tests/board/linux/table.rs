//! From QEMU's start to Linux's first line: through rootlet, and by QEMU's own loader.
//!
//! Always: nothing is asserted of a time. LINUX_TABLE=9 prints medians of nine boots; without it
//! nothing runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::kernels::{AARCH64, Kernel, X86_64};
use super::{Sample, image};
use crate::boot::guest;

const RUNS: &str = "LINUX_TABLE";
const FIRST_LINE: &str = "Linux version ";

/// A machine, and how it is named.
struct Machine {
    board: &'static str,
    kernel: &'static Kernel,
    qemu: &'static str,
    options: &'static [&'static str],
    disk: &'static str,
    target: &'static str,
}

static MACHINES: [Machine; 3] = [
    Machine {
        board: "microvm",
        kernel: &X86_64,
        qemu: "qemu-system-x86_64",
        options: &["-M", "microvm,acpi=off"],
        disk: "virtio-blk-device",
        target: "x86_64-unknown-none",
    },
    Machine {
        board: "q35",
        kernel: &X86_64,
        qemu: "qemu-system-x86_64",
        options: &["-M", "q35"],
        disk: "virtio-blk-pci",
        target: "x86_64-unknown-none",
    },
    Machine {
        board: "virt-aarch64",
        kernel: &AARCH64,
        qemu: "qemu-system-aarch64",
        options: &["-M", "virt", "-cpu", "max", "-semihosting"],
        disk: "virtio-blk-device",
        target: "aarch64-unknown-none",
    },
];

impl Machine {
    /// Boots once, and returns the time to Linux's first line.
    fn boot(&self, disks: &[(&str, &Path)], more: &[&str]) -> Duration {
        let mut command = Command::new(self.qemu);
        command.args(self.options).args(["-accel", "tcg", "-m", "512M", "-nodefaults"]);
        command.args(["-global", "virtio-mmio.force-legacy=false"]);
        command.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
        for (serial, file) in disks {
            let drive = format!("file={},if=none,id={serial},format=raw", file.display());
            let device = format!("{},drive={serial},serial={serial}", self.disk);
            command.args(["-drive", &drive, "-device", &device]);
        }
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let begin = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut said = Vec::new();
        let mut time = None;
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n').map_while(Result::ok)
        {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(FIRST_LINE) {
                time = Some(begin.elapsed());
                break;
            }
            said.push(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        time.unwrap_or_else(|| panic!("{}: {}", self.board, said.join("\n")))
    }

    /// Returns the times of three ways: QEMU's own, with a cold region, and with a warm one.
    fn round(&self, sample: &Sample, file: &Path) -> [Duration; 3] {
        let words = self.kernel.words;
        let own = self.boot(&[], &["-kernel", file.to_str().unwrap(), "-append", words]);
        let region = sample.path("region");
        fs::write(&region, []).unwrap();
        fs::File::options().write(true).open(&region).unwrap().set_len(64 << 20).unwrap();
        let elf = firmware(self);
        let line = format!(
            "image=image blob1=blob1 blob2=blob2 cache=region -- boot /boot/vmlinuz --append \"{words}\""
        );
        let through = || {
            let paths = ["image", "blob1", "blob2", "region"].map(|name| (name, sample.path(name)));
            let disks = [0, 1, 2, 3].map(|number| (paths[number].0, paths[number].1.as_path()));
            self.boot(&disks, &["-kernel", elf.to_str().unwrap(), "-append", &line])
        };
        [own, through(), through()]
    }
}

fn firmware(machine: &Machine) -> PathBuf {
    super::kernels::scratch().join(machine.target).join("release").join(machine.board)
}

#[test]
fn time_from_exec_to_the_first_line_is_printed_beside_that_of_qemus_own_loader() {
    let Ok(runs) = std::env::var(RUNS) else { return };
    let runs: usize = runs.parse().unwrap();
    println!("| machine | -kernel | cold | warm | cold / -kernel | warm / -kernel |");
    println!("|-|-:|-:|-:|-:|-:|");
    for machine in &MACHINES {
        let Some(file) = machine.kernel.file() else { continue };
        guest(machine.board);
        let sample = image(&fs::read(&file).unwrap());
        let mut rounds: Vec<[Duration; 3]> =
            (0..runs).map(|_| machine.round(&sample, &file)).collect();
        let medians = [0, 1, 2].map(|way| {
            rounds.sort_unstable_by_key(|round| round[way]);
            rounds[runs / 2][way].as_secs_f64() * 1e3
        });
        let [own, cold, warm] = medians;
        println!(
            "| {} | {own:.0} ms | {cold:.0} ms | {warm:.0} ms | {:.2} | {:.2} |",
            machine.board,
            cold / own,
            warm / own
        );
    }
}
