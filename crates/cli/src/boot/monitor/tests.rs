//! What each monitor is given, and what is refused.

use super::*;
use crate::boot::accel::Accel;
use crate::size::Size;

fn disk(serial: &str, file: &str, read_only: bool) -> Disk {
    let source = PathBuf::from(file).into();
    Disk { serial: serial.into(), source, read_only, blkdebug: None, options: None }
}

/// A machine with an image and a region.
fn machine(board: Board) -> Machine {
    Machine {
        board,
        bus: None,
        accel: Accel::Kvm,
        mem: Size(64 << 20),
        cpus: 1,
        kernel: "/k.elf".into(),
        append: "image=1 cache=2 -- ls /a b".into(),
        disks: vec![disk("image", "/i.erofs", true), disk("cache", "/r,1.img", false)],
        shares: Vec::new(),
        log_socket: None,
        extra: Vec::new(),
    }
}

fn words(launch: &Launch) -> Vec<&str> {
    launch.arguments.iter().map(|word| word.to_str().unwrap()).collect()
}

fn refusal(monitor: Monitor, machine: &Machine) -> String {
    let error = monitor.launch(machine, Path::new("/d")).unwrap_err();
    assert_eq!(exit::status_of(&error), exit::USAGE);
    error.to_string()
}

#[test]
fn firecracker_gets_a_file_with_disks_that_are_flushed() {
    let launch = Monitor::Firecracker.launch(&machine(Board::Microvm), Path::new("/d")).unwrap();
    assert_eq!(
        words(&launch),
        "--no-api --config-file /d/firecracker.json --level Error".split(' ').collect::<Vec<_>>()
    );
    let (file, text) = launch.config.unwrap();
    assert_eq!(file, Path::new("/d/firecracker.json"));
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["boot-source"]["boot_args"], "image=1 cache=2 -- ls /a b");
    assert_eq!(config["machine-config"]["mem_size_mib"], 64);
    let drives = config["drives"].as_array().unwrap();
    let facts: Vec<_> = drives
        .iter()
        .map(|drive| {
            assert_eq!(drive["cache_type"], "Writeback");
            (drive["path_on_host"].as_str().unwrap(), drive["is_read_only"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(facts, [("/i.erofs", true), ("/r,1.img", false)]);
}

#[test]
fn firecracker_has_pci_where_the_board_or_the_user_wants_it() {
    let mut on_pci = machine(Board::Microvm);
    on_pci.bus = Some(Bus::Pci);
    for machine in [on_pci, machine(Board::Q35)] {
        let launch = Monitor::Firecracker.launch(&machine, Path::new("")).unwrap();
        assert!(words(&launch).contains(&"--enable-pci"), "{machine:?}");
        assert_eq!(launch.config.unwrap().0, Path::new("firecracker.json"));
    }
}

#[test]
fn firecracker_that_has_no_pci_is_refused_with_the_way_round() {
    let check = |help| firecracker::check_pci(Path::new("fc"), help);
    check("--boot-timer\n  --enable-pci  Enables PCIe support.").unwrap();
    let said = check("--boot-timer\n  --config-file <config-file>").unwrap_err().to_string();
    let want = "fc has no --enable-pci, so no PCI: take Firecracker 1.13 or later, or --board \
                microvm with --bus mmio";
    assert_eq!(said, want);
}

#[test]
fn firecracker_refuses_a_line_that_it_would_cut() {
    let mut machine = machine(Board::Microvm);
    machine.append = "x".repeat(1967);
    Monitor::Firecracker.launch(&machine, Path::new("")).unwrap();
    machine.append.push('x');
    let refused = refusal(Monitor::Firecracker, &machine);
    assert!(refused.contains("2049 bytes") && refused.contains("takes 2048"), "{refused}");
    machine.mem = Size((64 << 20) + 512);
    assert!(refusal(Monitor::Firecracker, &machine).contains("whole MiB"));
}

#[test]
fn cloud_hypervisor_gets_names_with_commas_and_raw_disks() {
    let mut machine = machine(Board::Q35);
    machine.shares = vec![ShareDevice { tag: "share".into(), socket: "/s \"1\"".into() }];
    let launch = Monitor::CloudHypervisor.launch(&machine, Path::new("/d")).unwrap();
    let words = words(&launch);
    let after = |flag: &str| words[words.iter().position(|word| *word == flag).unwrap() + 1];
    assert_eq!(after("--kernel"), "/k.elf");
    assert_eq!(after("--cmdline"), "image=1 cache=2 -- ls /a b");
    assert_eq!(after("--memory"), "size=67108864,shared=on");
    assert_eq!(after("--disk"), "path=/i.erofs,readonly=on,image_type=raw,serial=image");
    assert!(words.contains(&"path=\"/r,1.img\",image_type=raw,serial=cache"), "{words:?}");
    assert_eq!(after("--fs"), "tag=share,socket=\"/s \"\"1\"\"\",num_queues=1");
    assert!(launch.config.is_none());
}

#[test]
fn memory_is_shared_with_daemons_alone() {
    let launch = Monitor::CloudHypervisor.launch(&machine(Board::Q35), Path::new("")).unwrap();
    assert!(words(&launch).contains(&"size=67108864"));
    assert!(!words(&launch).contains(&"--fs"));
}

#[test]
fn what_a_monitor_lacks_is_refused_by_name() {
    let mut shared = machine(Board::Microvm);
    shared.shares = vec![ShareDevice { tag: "share".into(), socket: "/s".into() }];
    let refused = refusal(Monitor::Firecracker, &shared);
    assert!(refused.contains("Firecracker has no virtio-fs"), "{refused}");
    assert!(refused.contains("--blob N=FILE"), "{refused}");
    let mut on_mmio = machine(Board::Microvm);
    on_mmio.bus = Some(Bus::Mmio);
    assert!(refusal(Monitor::CloudHypervisor, &on_mmio).contains("it has pci"));
    let mut part_of_a_page = machine(Board::Q35);
    part_of_a_page.mem.0 += 1;
    assert!(refusal(Monitor::CloudHypervisor, &part_of_a_page).contains("whole pages of 4 KiB"));
}

#[test]
fn two_disks_of_one_file_cannot_be_told_apart_by_firecracker() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().to_str().unwrap();
    let disks = [disk("image", name, true), disk("blob1", name, true)];
    let error = Monitor::Firecracker.disk_names(&disks, 0, Bus::Mmio).unwrap_err().to_string();
    assert!(error.contains("`image` and `blob1` are one"), "{error}");
    assert_eq!(Monitor::Firecracker.disk_names(&disks[..1], 0, Bus::Mmio).unwrap().len(), 1);
    assert!(Monitor::CloudHypervisor.disk_names(&disks, 0, Bus::Pci).unwrap().is_empty());
}
