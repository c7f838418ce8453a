//! Blobs of daemons that serve vhost-user-blk, whose disks have no serials of their own.
//!
//! Always: such a disk goes by its place, so that two of them differ on every board and bus.

use std::fs;

use crate::boot::{boot, passes};
use crate::daemons::Daemon;
use crate::sample::Sample;

#[test]
fn two_disks_of_daemons_are_told_apart_on_every_board_and_bus() {
    for (board, bus) in [
        ("microvm", "mmio"),
        ("microvm", "pci"),
        ("q35", "pci"),
        ("virt-aarch64", "mmio"),
        ("virt-aarch64", "pci"),
        ("virt-riscv64", "mmio"),
        ("virt-riscv64", "pci"),
    ] {
        let sample = Sample::new();
        let image = sample.path("image").display().to_string();
        let daemons = ["1", "2"].map(|slot| {
            let socket = sample.path(&format!("socket{slot}"));
            Daemon::vhost_user_blk(&sample.path(&format!("blob{slot}")), socket)
        });
        let blob = |slot: u32| {
            format!("{slot}=vhost-user:{}", sample.path(&format!("socket{slot}")).display())
        };
        let region = sample.path("region").display().to_string();
        let share = sample.path("share");
        fs::create_dir(&share).unwrap();
        let (one, two, share) = (blob(1), blob(2), share.display().to_string());
        let words = ["--board", board, "--bus", bus, "--image", &image, "--blob", &one];
        let words =
            words.into_iter().chain(["--blob", &two, "--region", &region, "--share", &share]);
        let outcome = passes(words.chain(["--region-size", "16M", "--", "manifest", "/"]));
        assert!(outcome.stdout == sample.manifest(), "{board} {bus}: {}", outcome.stderr);
        drop(daemons);
    }
}

#[test]
fn socket_that_is_not_there_is_told_before_the_boot() {
    let sample = Sample::new();
    let image = sample.path("image").display().to_string();
    let none = sample.path("none").display().to_string();
    let words = ["--image", &image, "--blob", &format!("1=vhost-user:{none}"), "--", "ls", "/"];
    let outcome = boot(words);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let why = format!("vhost-user:{none} (blob1): No such file or directory");
    assert!(outcome.verdict().contains(&why), "{}", outcome.stderr);
}
