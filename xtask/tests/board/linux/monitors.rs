//! The command `boot` under every monitor of this machine.
//!
//! Always: a monitor that this machine does not have is a line that says so. What is started is a
//! kernel of the test's own, of some dozen instructions, which writes its command line and its initrd
//! to the serial port: where KVM has no hardware to use, the processor's code is interpreted, and
//! Linux would take hours to unpack itself. Where KVM has it, Debian's kernel is started, too.

use std::fs;

use rootlet_sim::image::{Content, Tree};

use super::kernels::X86_64;
use super::{Way, bzimage, check_handover, check_looks, image_with, looks, start};
use crate::monitors::MONITORS;
use crate::sample::Sample;

/// Monitors, each with a board and a bus that it has.
const ROWS: [[&str; 3]; 6] = [
    ["firecracker", "microvm", "mmio"],
    ["firecracker", "microvm", "pci"],
    ["firecracker", "q35", "pci"],
    ["cloud-hypervisor", "q35", "pci"],
    ["qemu", "microvm", "mmio"],
    ["qemu", "q35", "pci"],
];
const LINE: &str = "console=ttyS0 earlyprintk=serial,ttyS0 reboot=t panic=-1 rootlet.test=1";
const INITRD: &[u8] = b"what the initrd says\n";
/// Where a bzImage of [`bzimage`] is entered: 0x200 after its setup code.
const ENTRY: usize = 5 * 512 + 0x200;

/// Returns a kernel that writes its command line and its initrd, and ends the machine.
#[rustfmt::skip]
fn writer() -> Vec<u8> {
    let code = [
        0xfc,                                     // cld
        0x48, 0x8d, 0xa6, 0x00, 0x10, 0x00, 0x00, // lea rsp, [rsi + 4096]
        0x48, 0x89, 0xf3,                         // mov rbx, rsi
        0x66, 0xba, 0xf8, 0x03,                   // mov dx, COM1
        0x8b, 0xb3, 0x28, 0x02, 0x00, 0x00,       // mov esi, [rbx + cmd_line_ptr]
        0xac,                                     // next: lodsb
        0x84, 0xc0,                               // test al, al
        0x74, 0x03,                               // jz end
        0xee,                                     // out dx, al
        0xeb, 0xf8,                               // jmp next
        0xb0, b'\n', 0xee,                        // end: mov al, '\n'; out dx, al
        0x8b, 0xb3, 0x18, 0x02, 0x00, 0x00,       // mov esi, [rbx + ramdisk_image]
        0x8b, 0x8b, 0x1c, 0x02, 0x00, 0x00,       // mov ecx, [rbx + ramdisk_size]
        0xf3, 0x6e,                               // rep outsb
        0xb0, 0x10, 0xe6, 0xf4,                   // isa-debug-exit of QEMU: status 33
        0x66, 0xba, 0x00, 0x06,                   // mov dx, Cloud Hypervisor's port
        0xb0, 0x34, 0xee,                         // mov al, S5; out dx, al
        0xb0, 0xfe, 0xe6, 0x64,                   // a reset by the keyboard's controller
        0x6a, 0x00, 0x6a, 0x00,                   // push 0; push 0
        0x0f, 0x01, 0x1c, 0x24, 0xcc,             // lidt [rsp]; int3
    ];
    bzimage(|kernel| kernel[ENTRY..ENTRY + code.len()].copy_from_slice(&code))
}

/// Calls `each` with the words and the name of every machine whose monitor is here.
fn for_each_machine(each: impl Fn(&[&str], &str)) {
    for [name, board, bus] in ROWS {
        let monitor = MONITORS.iter().find(|monitor| monitor.name == name).unwrap();
        let words = ["--monitor", name, "--board", board, "--bus", bus, "--accel", "kvm!"];
        match monitor.obstacle(board, bus) {
            Some(why) => println!("skipped: {name}, {board} on {bus}: {why}"),
            None => each(&words, &format!("{name}, {board} on {bus}")),
        }
    }
}

#[test]
fn kernel_starts_out_of_the_image_on_each_monitor_of_this_machine() {
    let (mut tree, kernel) = (Tree::new(), writer());
    tree.file("/boot/vmlinuz", Content::bytes(kernel));
    tree.file("/boot/initrd", Content::bytes(INITRD));
    let words = ["boot", "/boot/vmlinuz", "--initrd", "/boot/initrd", "--append", LINE];
    for_each_machine(|machine, name| {
        let sample = Sample::from_tree(tree.clone(), 1);
        for round in ["cold", "warm"] {
            let outcome = start(&sample, machine, &words);
            let said = String::from_utf8_lossy(&outcome.stdout);
            let all = format!("{name}, {round}: {said}{}", outcome.stderr);
            check_handover(&outcome, round, &all);
            let mut lines = said.lines().map(str::trim);
            assert!(lines.any(|line| line.starts_with(LINE)), "{all}");
            assert_eq!(lines.next().map(str::as_bytes), INITRD.strip_suffix(b"\n"), "{all}");
        }
    });
}

#[test]
fn linux_starts_out_of_the_image_on_each_monitor_of_a_machine_with_hardware_for_it() {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap();
    if !info.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm")) {
        println!("skipped: this processor has neither vmx nor svm: KVM would interpret Linux");
        return;
    }
    let Some(file) = X86_64.file() else { return };
    let initrd = X86_64.initramfs();
    let kernel = fs::read(file).unwrap();
    let (sample, words) = image_with(Way::Path, &kernel, initrd.as_deref(), LINE);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for_each_machine(|machine, name| {
        fs::remove_file(sample.path("region")).ok();
        for round in ["cold", "warm"] {
            let outcome = start(&sample, machine, &words);
            let said = String::from_utf8_lossy(&outcome.stdout);
            let all = format!("{name}, {round}: {said}{}", outcome.stderr);
            check_handover(&outcome, round, &all);
            if initrd.is_some() {
                check_looks(&looks(&outcome), LINE, &all);
            }
        }
    });
}
