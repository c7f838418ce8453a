//! Ways into a board: as an ELF and as a flat image, with more than the image needs, at another
//! exception level, with other firmware.

use crate::boot::{boot, passes};
use crate::sample::Sample;

const VIRT: [&str; 2] = ["virt-aarch64", "virt-riscv64"];

/// Boots with the sample's sources and a sum of everything, and compares it with the host's.
#[track_caller]
fn reads_all(board: &str, more: &[&str]) {
    let sample = Sample::new();
    let words = [&["--board", board], more, &["--", "manifest", "/"]].concat();
    let outcome = passes(sample.args(&words));
    assert!(outcome.stdout == sample.manifest(), "{board} {more:?}: {}", outcome.stderr);
}

#[test]
fn flat_linux_image_boots_as_its_elf_does() {
    for board in VIRT {
        reads_all(board, &["--flat"]);
        // Memory that is not where the ELF was linked to would be found out here, too.
        reads_all(board, &["--flat", "--mem", "200M"]);
    }
    let sample = Sample::new();
    let outcome = boot(sample.args(&["--board", "q35", "--flat", "--", "ls", "/"]));
    assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("header of a Linux image"), "{}", outcome.stderr);
}

/// Its tree has the console, the disks and where memory is, and names longer than they should be.
#[test]
fn image_of_the_virt_board_runs_on_a_machine_that_it_was_not_made_for() {
    let versal = ["--qemu-arg", "-machine", "--qemu-arg", "xlnx-versal-virt", "--mem", "1G"];
    reads_all("virt-aarch64", &[&["--flat"], &versal[..]].concat());
}

#[test]
fn initrd_and_more_processors_are_ignored_without_harm() {
    for board in crate::boot::BOARDS {
        let sample = Sample::new();
        std::fs::write(sample.path("initrd"), vec![0xa5; 3 << 20]).unwrap();
        let initrd = sample.path("initrd").display().to_string();
        let qemu: Vec<&str> = ["-initrd", &initrd, "-smp", "4"]
            .into_iter()
            .flat_map(|word| ["--qemu-arg", word])
            .collect();
        let words = [&["--board", board], &qemu[..], &["--", "manifest", "/"]].concat();
        let outcome = passes(sample.args(&words));
        assert!(outcome.stdout == sample.manifest(), "{board}: {}", outcome.stderr);
    }
    for board in VIRT {
        reads_all(board, &["--flat", "--qemu-arg", "-smp", "--qemu-arg", "4"]);
    }
}

#[test]
fn aarch64_is_entered_above_and_with_other_processors() {
    let hypervisor = ["--qemu-arg", "-machine", "--qemu-arg", "virtualization=on"];
    reads_all("virt-aarch64", &hypervisor);
    reads_all("virt-aarch64", &[&hypervisor[..], &["--flat"]].concat());
    reads_all("virt-aarch64", &["--qemu-arg", "-cpu", "--qemu-arg", "cortex-a53"]);
}

#[test]
fn without_a_semihosting_host_the_firmware_switches_off_and_the_verdict_counts() {
    let off = ["--qemu-arg", "-semihosting-config", "--qemu-arg", "enable=off"];
    for board in VIRT {
        reads_all(board, &off);
        let sample = Sample::new();
        let words = [&["--board", board], &off[..], &["--", "ls", "/gone"]].concat();
        crate::boot::fails(sample.args(&words), "/gone: no such file or directory");
    }
}

#[test]
fn q35_boots_with_firmware_that_places_nothing() {
    reads_all("q35", &["--qemu-arg", "-bios", "--qemu-arg", "qboot.rom"]);
}

#[test]
fn memory_of_every_size_is_used() {
    for board in crate::boot::BOARDS {
        for mem in ["16M", "3G"] {
            reads_all(board, &["--mem", mem]);
        }
    }
}

#[test]
fn log_of_every_board_is_read_and_stays_out_of_the_output() {
    let sample = Sample::new();
    for board in crate::boot::BOARDS {
        let outcome =
            passes(sample.args(&["--board", board, "--log", "info", "--", "cat", "/d0/03"]));
        assert!(outcome.stdout == sample.tree.content("/d0/03").unwrap().to_vec(), "{board}");
        let line = format!(": {board} mounted; ");
        let is_log =
            |said: &&str| said.contains("info  rootlet_board::guest:") && said.contains(&line);
        let has = outcome.stderr.lines().any(|said| is_log(&said));
        assert!(has, "{board}: {line}: {}", outcome.stderr);
    }
}
