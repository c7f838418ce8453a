//! QEMU's command line for a board and its devices.
//!
//! Always: pure; a name with commas or blanks reaches QEMU as it is, and devices stand in the
//! order in which they were given.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::Result;

use super::machine::{Disk, Launch, Machine, ShareDevice};
use super::{Facts, Monitor};
use crate::boot::board::{Bus, Log};

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
        for (number, disk) in self.disks.iter().enumerate() {
            args.extend(disk.arguments(number, socket.bus));
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
        if self.shares.is_empty() {
            args.extend(["-M".into(), machine.done()]);
        } else {
            // The daemon maps the guest's memory (vhost-user).
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

impl Disk {
    fn arguments(&self, number: usize, bus: Bus) -> [OsString; 4] {
        let id = format!("disk{number}");
        let drive = Opts::new("if=none").set("id", &id).set("file", self.file_name());
        let mut drive = drive.raw("format=raw,cache=writeback,werror=report,rerror=report");
        if self.read_only {
            drive = drive.raw("readonly=on");
        }
        if let Some(options) = &self.options {
            drive = drive.raw(options);
        }
        let device = Opts::new(bus.disk()).set("drive", &id).set("serial", &self.serial);
        ["-drive".into(), drive.done(), "-device".into(), device.done()]
    }

    fn file_name(&self) -> OsString {
        let Some(config) = &self.blkdebug else { return self.file.clone().into() };
        let parts: [&OsStr; 4] =
            ["blkdebug:".as_ref(), config.as_ref(), ":".as_ref(), self.file.as_ref()];
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
        let file = PathBuf::from(file);
        Disk { serial: serial.into(), file, read_only: true, blkdebug: None, options: None }
    }

    fn machine() -> Machine {
        Machine {
            board: Board::Microvm,
            bus: None,
            accel: Accel::Tcg,
            mem: Size(64 << 20),
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
