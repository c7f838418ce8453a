//! Queues of 2 to 1024 entries.
//!
//! Always: only PCI tells the guest how long a queue is. QEMU's virtio-mmio says 1024 whatever its
//! device has, so there the guest takes its usual length, and that has to work, too.
//! QEMU 7.2 refuses a disk of its own with 2 entries ("must be > 2", `hw/block/virtio-blk.c`), but
//! not one in another process, nor a share: with those the least is tried.

use std::ffi::OsString;
use std::fs::{self, File};

use crate::boot::passes;
use crate::daemons::Daemon;
use crate::sample::Sample;
use crate::transports::{MACHINES, of, reads_twice};

#[test]
fn disks_with_queues_of_any_size_are_used() {
    for (board, bus, device) in MACHINES {
        reads_twice(board, bus, &of(device, &["queue-size=4"]));
        reads_twice(board, bus, &of(device, &["queue-size=1024"]));
    }
    for entries in [8, 16, 32, 64, 128, 256, 512] {
        let size = format!("queue-size={entries}");
        reads_twice("q35", "pci", &of("virtio-blk-pci", &[&size]));
    }
}

#[test]
fn registers_from_before_virtio_1_serve_queues_of_any_size() {
    for (board, bus, device) in MACHINES.into_iter().filter(|(_, bus, _)| *bus == "mmio") {
        for size in ["queue-size=4", "queue-size=1024"] {
            let old = ["virtio-mmio.force-legacy=true".to_string()];
            reads_twice(board, bus, &[&old[..], &of(device, &[size])].concat());
        }
    }
}

/// The region is on the disk with 2 entries, so that it is written, flushed and read.
#[test]
fn disk_with_a_queue_of_2_entries_is_read_and_written() {
    for (board, bus, _) in MACHINES {
        for indirect in ["on", "off"] {
            let sample = Sample::new();
            File::create(sample.path("region")).unwrap().set_len(16 << 20).unwrap();
            let disk = Daemon::vhost_user_blk(&sample.path("region"), sample.path("daemon"));
            for counter in ["region yes", "fetched 0 bytes"] {
                let properties = format!("queue-size=2,indirect_desc={indirect}");
                let mut args: Vec<OsString> = ["--board", board].map(OsString::from).into();
                args.extend(disk.vhost_user_args(bus, &properties));
                args.extend(["--guest-option", "cache=vhost_user_blk"].map(OsString::from));
                args.extend(sample.args(&["--", "manifest", "/"]));
                let outcome = passes(args);
                assert!(outcome.stdout == sample.manifest(), "{board} {bus}: {}", outcome.stderr);
                outcome.assert_counter(counter);
                outcome.assert_counter("region faults 0");
                outcome.assert_counter("check failures 0");
            }
        }
    }
}

#[test]
fn shares_with_queues_of_2_and_1024_entries_are_read() {
    for (board, bus, _) in MACHINES {
        for entries in [2, 1024] {
            let sample = Sample::new();
            let (file, shared) = (sample.path("blob2"), sample.path("shared"));
            fs::create_dir(&shared).unwrap();
            fs::rename(file, shared.join("blob2")).unwrap();
            let device = if bus == "pci" { "vhost-user-fs-pci" } else { "vhost-user-fs-device" };
            let size = format!("{device}.queue-size={entries}");
            let mut args: Vec<OsString> =
                ["--board", board, "--bus", bus, "--qemu-arg", "-global", "--qemu-arg", &size]
                    .map(OsString::from)
                    .into();
            args.extend(["--image".into(), sample.path("image").into()]);
            args.extend(["--blob".into(), format!("1={}", sample.path("blob1").display()).into()]);
            args.extend(["--blob", "2=share:blob2", "--share"].map(OsString::from));
            args.extend([shared.clone().into(), "--".into(), "manifest".into(), "/".into()]);
            let outcome = passes(args);
            fs::rename(shared.join("blob2"), sample.path("blob2")).unwrap();
            assert!(outcome.stdout == sample.manifest(), "{board} {bus}: {}", outcome.stderr);
        }
    }
}
