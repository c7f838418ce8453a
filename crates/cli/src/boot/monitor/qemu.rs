//! QEMU's command line for a board and its devices.
//!
//! Always: pure; a name with commas or blanks reaches QEMU as it is, and devices stand in the
//! order in which they were given.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::Result;

use super::machine::{Disk, Launch, Machine, ShareDevice};
use super::{Facts, Monitor};
use crate::boot::board::{Bus, Log};
use crate::source::{Drive, Source};

/// What the tool knows of QEMU.
pub const FACTS: Facts = Facts {
    name: "QEMU",
    program: None,
    variable: None,
    emulates: true,
    has_shares: true,
    has_log: true,
    has_statuses: true,
    names_disks: false,
    apart: &[],
};

/// How QEMU ends after a guest's write of 0x10 to isa-debug-exit: `value << 1 | 1`.
pub const STATUS_PASSED: i32 = 33;
/// After 0x11: the command failed.
pub const STATUS_FAILED: i32 = 35;
/// After 0x12: the guest panicked.
pub const STATUS_PANICKED: i32 = 37;
/// After 0x13: a processor exception.
pub const STATUS_EXCEPTION: i32 = 39;

/// An option in QEMU's form: parts joined by commas, commas inside of a part doubled.
struct Opts(Vec<u8>);

impl Opts {
    fn new(first: &str) -> Self {
        Self(first.as_bytes().to_vec())
    }

    fn set(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.extend_from_slice(format!(",{key}=").as_bytes());
        for &byte in value.as_ref().as_bytes() {
            self.0.extend_from_slice(if byte == b',' {
                b",,"
            } else {
                std::slice::from_ref(&byte)
            });
        }
        self
    }

    /// Appends options that are in QEMU's form already.
    fn raw(mut self, options: &str) -> Self {
        self.0.extend_from_slice(format!(",{options}").as_bytes());
        self
    }

    fn done(self) -> OsString {
        OsString::from_vec(self.0)
    }
}

/// Plans `machine`.
///
/// # Errors
/// The board does not have the bus.
pub fn launch(machine: &Machine) -> Result<Launch> {
    Ok(Launch {
        monitor: Monitor::Qemu,
        arguments: machine.arguments()?,
        config: None,
        log_socket: machine.log_socket.clone(),
    })
}

impl Machine {
    fn arguments(&self) -> Result<Vec<OsString>> {
        let socket = self.board.socket(self.bus)?;
        let mut args = self.base(socket.machine);
        let mut daemons = 0;
        for (number, disk) in self.disks.iter().enumerate() {
            match &disk.source {
                Source::VhostUser(path) => {
                    args.extend(daemon_disk(path, number, daemons, socket.bus));
                    daemons += 1;
                }
                _ => args.extend(disk.arguments(number, socket.bus)),
            }
        }
        for (number, share) in self.shares.iter().enumerate() {
            args.extend(share.arguments(number, socket.bus));
        }
        args.extend(self.extra.iter().map(OsString::from));
        args.push("-kernel".into());
        args.push(self.kernel.clone().into());
        args.push("-append".into());
        args.push(self.append.clone().into());
        Ok(args)
    }

    fn base(&self, machine: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let machine = Opts::new(machine);
        let mem = self.mem.0.to_string();
        let is_daemon = |disk: &Disk| matches!(disk.source, Source::VhostUser(_));
        if self.shares.is_empty() && !self.disks.iter().any(is_daemon) {
            args.extend(["-M".into(), machine.done()]);
        } else {
            // A daemon maps the guest's memory (vhost-user).
            let shared = Opts::new("memory-backend-memfd,id=mem").set("size", &mem);
            args.extend(["-M".into(), machine.set("memory-backend", "mem").done()]);
            args.extend(["-object".into(), shared.set("share", "on").done()]);
        }
        let words = [
            "-accel",
            self.accel.name(),
            "-m",
            &format!("size={mem}B"),
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-global",
            "virtio-mmio.force-legacy=false",
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ];
        args.extend(words.map(OsString::from));
        if self.cpus > 1 {
            args.extend(["-smp".into(), self.cpus.to_string().into()]);
        }
        args.extend(self.board.facts().arguments.iter().map(OsString::from));
        if let Some(socket) = &self.log_socket {
            let log = Opts::new("socket,id=log").set("path", socket).done();
            args.extend(["-chardev".into(), log]);
        } else if self.board.facts().log == Log::Semihosting {
            // Else what nobody decodes goes to the terminal.
            args.extend(["-chardev", "null,id=log"].map(OsString::from));
        }
        args.extend(self.log().into_iter().flatten().map(OsString::from));
        args
    }

    /// What takes the log, and where the same thing also ends the machine, that.
    fn log(&self) -> Option<[&'static str; 2]> {
        match (self.board.facts().log, self.log_socket.is_some()) {
            (Log::Debugcon, true) => Some(["-device", "isa-debugcon,iobase=0xe9,chardev=log"]),
            (Log::Debugcon, false) => None,
            (Log::Semihosting, _) => {
                Some(["-semihosting-config", "enable=on,target=native,chardev=log"])
            }
        }
    }
}

/// Any geometry: without one QEMU reads a sector of the disk to guess it, before a guest runs.
const GEOMETRY: &str = "cyls=100,heads=16,secs=63";

/// The last place on PCI that no board needs for itself; disks of daemons are put there and downward,
/// away from devices without a place, which QEMU puts upward from the first.
const PCI_LAST: usize = 0x1e;

/// The names of the disks of daemons, which have no serial: their places. QEMU fills virtio-mmio
/// downward from its last place.
pub fn disk_names(disks: &[Disk], shares: usize, bus: Bus) -> BTreeMap<String, String> {
    let all = disks.len() + shares;
    let is_daemon = |(_, disk): &(usize, &Disk)| matches!(disk.source, Source::VhostUser(_));
    let daemons = disks.iter().enumerate().filter(is_daemon).enumerate();
    let names = daemons.map(|(daemon, (number, disk))| {
        let place = match bus {
            Bus::Mmio => format!("mmio:{}", all - 1 - number),
            Bus::Pci => format!("pci:00:{:02x}.0", PCI_LAST - daemon),
        };
        (disk.serial.clone(), place)
    });
    names.collect()
}

/// The arguments for disk `number`, the daemon number `daemon` on the socket `path`.
fn daemon_disk(path: &Path, number: usize, daemon: usize, bus: Bus) -> [OsString; 4] {
    let id = format!("disk{number}");
    // A daemon that was started again is connected to.
    let chardev = Opts::new("socket").set("id", &id).set("path", path).raw("reconnect=1");
    let device = Opts::new(bus.daemon_disk()).set("chardev", &id).raw("num-queues=1");
    let device = match bus {
        Bus::Mmio => device,
        Bus::Pci => device.set("addr", format!("{:#x}", PCI_LAST - daemon)),
    };
    ["-chardev".into(), chardev.done(), "-device".into(), device.done()]
}

impl Disk {
    /// Its -drive, under the name `id`.
    pub fn drive(&self, id: &str) -> OsString {
        let drive = Opts::new("if=none").set("id", id);
        let (drive, format) = match &self.source {
            Source::File(file) => (drive.set("file", self.file_name(file)), "raw"),
            // QEMU reads none by itself: it would take any bytes for those of a range.
            source @ (Source::Web(_) | Source::Oci(_) | Source::Store(_)) => {
                unreachable!("an engine has taken the place of {source}")
            }
            Source::VhostUser(_) => unreachable!("a disk of a daemon has no -drive"),
            Source::Node(node) => {
                let Drive { format, options } = node.drive();
                (options.iter().fold(drive, |drive, (name, value)| drive.set(name, value)), format)
            }
        };
        let mut drive = drive.set("format", format);
        drive = drive.raw("cache=writeback,werror=report,rerror=report");
        if self.read_only {
            drive = drive.raw("readonly=on");
        }
        if let Some(options) = &self.options {
            drive = drive.raw(options);
        }
        drive.done()
    }

    fn arguments(&self, number: usize, bus: Bus) -> [OsString; 4] {
        let id = format!("disk{number}");
        let drive = self.drive(&id);
        let mut device = Opts::new(bus.disk()).set("drive", &id).set("serial", &self.serial);
        if let Source::Node(_) = self.source {
            device = device.raw(GEOMETRY);
        }
        ["-drive".into(), drive, "-device".into(), device.done()]
    }

    fn file_name(&self, file: &Path) -> OsString {
        let Some(config) = &self.blkdebug else { return file.into() };
        let parts: [&OsStr; 4] =
            ["blkdebug:".as_ref(), config.as_ref(), ":".as_ref(), file.as_ref()];
        parts.into_iter().collect()
    }
}

impl ShareDevice {
    fn arguments(&self, number: usize, bus: Bus) -> [OsString; 4] {
        let id = format!("share{number}");
        let chardev = Opts::new("socket").set("id", &id).set("path", &self.socket).done();
        let device = Opts::new(bus.share()).set("chardev", &id).set("tag", &self.tag);
        ["-chardev".into(), chardev, "-device".into(), device.done()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::accel::Accel;
    use crate::boot::board::Board;
    use crate::size::Size;
    use std::path::PathBuf;

    fn disk(serial: &str, file: &str) -> Disk {
        let source = PathBuf::from(file).into();
        Disk { serial: serial.into(), source, read_only: true, blkdebug: None, options: None }
    }

    fn machine() -> Machine {
        Machine {
            board: Board::Microvm,
            bus: None,
            accel: Accel::Tcg,
            mem: Size(64 << 20),
            cpus: 1,
            kernel: "/k".into(),
            append: "image=image -- ls /a b".into(),
            disks: Vec::new(),
            shares: Vec::new(),
            log_socket: Some("/s/log".into()),
            extra: Vec::new(),
        }
    }

    fn words(machine: &Machine) -> Vec<String> {
        machine.arguments().unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn after<'w>(words: &'w [String], flag: &str) -> Vec<&'w str> {
        words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
    }

    #[test]
    fn commas_in_names_are_doubled_and_blanks_stay() {
        let mut machine = machine();
        machine.disks = vec![disk("a,b", "/with, comma/x")];
        let words = words(&machine);
        assert_eq!(
            after(&words, "-drive"),
            [
                "if=none,id=disk0,file=/with,, comma/x,format=raw,cache=writeback,werror=report,rerror=report,readonly=on"
            ]
        );
        assert!(
            after(&words, "-device").contains(&"virtio-blk-device,drive=disk0,serial=a,,b"),
            "{words:?}"
        );
    }

    #[test]
    fn disks_keep_their_order_and_stand_before_shares() {
        let mut machine = machine();
        machine.disks = vec![disk("image", "/i"), disk("blob1", "/b")];
        machine.shares = vec![ShareDevice { tag: "share".into(), socket: "/s/0".into() }];
        let words = words(&machine);
        let devices: Vec<_> = after(&words, "-device")
            .into_iter()
            .filter(|device| !device.starts_with("isa"))
            .collect();
        assert_eq!(
            devices,
            [
                "virtio-blk-device,drive=disk0,serial=image",
                "virtio-blk-device,drive=disk1,serial=blob1",
                "vhost-user-fs-device,chardev=share0,tag=share",
            ]
        );
    }

    #[test]
    fn memory_is_shared_only_where_a_daemon_needs_it() {
        let mut machine = machine();
        assert_eq!(after(&words(&machine), "-M"), ["microvm,acpi=off"]);
        machine.shares = vec![ShareDevice { tag: "t".into(), socket: "/s".into() }];
        let words = words(&machine);
        assert_eq!(after(&words, "-M"), ["microvm,acpi=off,memory-backend=mem"]);
        let object = "memory-backend-memfd,id=mem,size=67108864,share=on";
        assert_eq!(after(&words, "-object"), [object]);
        assert_eq!(after(&words, "-m"), ["size=67108864B"]);
    }

    #[test]
    fn disk_of_a_daemon_shares_memory_and_goes_by_its_place() {
        let mut machine = machine();
        machine.disks = vec![disk("image", "/i"), disk("blob1", "/b"), disk("blob2", "/c")];
        machine.disks[1].source = "vhost-user:/run/a,b".parse().unwrap();
        let words = words(&machine);
        assert_eq!(after(&words, "-M"), ["microvm,acpi=off,memory-backend=mem"]);
        let daemon = "socket,id=disk1,path=/run/a,,b,reconnect=1";
        assert!(after(&words, "-chardev").contains(&daemon), "{words:?}");
        let device = "vhost-user-blk,chardev=disk1,num-queues=1";
        assert!(after(&words, "-device").contains(&device), "{words:?}");
        let names = |shares, bus| disk_names(&machine.disks, shares, bus)["blob1"].clone();
        assert_eq!(names(0, Bus::Mmio), "mmio:1");
        assert_eq!(names(2, Bus::Mmio), "mmio:3");
        assert_eq!(names(0, Bus::Pci), "pci:00:1e.0");
        machine.bus = Some(Bus::Pci);
        let device = "vhost-user-blk-pci,chardev=disk1,num-queues=1,addr=0x1e";
        assert!(after(&self::words(&machine), "-device").contains(&device));
    }

    #[test]
    fn server_is_read_through_the_options_of_its_node() {
        let mut machine = machine();
        machine.disks = vec![disk("blob1", "/b")];
        machine.disks[0].source = "nbd://h/a,b".parse().unwrap();
        assert_eq!(
            after(&words(&machine), "-drive"),
            ["if=none,id=disk0,file.driver=nbd,file.server.type=inet,file.server.host=h,\
              file.server.port=10809,file.export=a,,b,file.reconnect-delay=20,format=raw,\
              cache=writeback,werror=report,rerror=report,readonly=on"]
        );
        let device = "virtio-blk-device,drive=disk0,serial=blob1,cyls=100,heads=16,secs=63";
        assert!(after(&words(&machine), "-device").contains(&device));
    }

    #[test]
    fn a_writable_disk_with_blkdebug_and_options() {
        let mut machine = machine();
        machine.disks = vec![Disk {
            read_only: false,
            blkdebug: Some("/c,1".into()),
            options: Some("throttling.iops-total=9".into()),
            ..disk("cache", "/r")
        }];
        assert_eq!(
            after(&words(&machine), "-drive"),
            ["if=none,id=disk0,file=blkdebug:/c,,1:/r,format=raw,cache=writeback,werror=report,\
              rerror=report,throttling.iops-total=9"]
        );
    }

    #[test]
    fn the_guest_line_is_one_argument_and_extras_come_before_it() {
        let mut machine = machine();
        machine.extra = vec!["-d".into(), "int".into()];
        let words = words(&machine);
        assert_eq!(words.last().unwrap(), "image=image -- ls /a b");
        let extra = words.iter().position(|word| word == "int").unwrap();
        assert!(extra < words.iter().position(|word| word == "-kernel").unwrap());
    }
}
