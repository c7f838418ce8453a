//! Disks in processes of their own, as vhost-user and NBD have them.
//!
//! Always: the process is gone when its [`Daemon`] is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A disk in a process of its own.
pub struct Daemon {
    process: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Returns a disk for vhost-user with the bytes of `file`. It is called `vhost_user_blk`.
    pub fn vhost_user_blk(file: &Path, socket: PathBuf) -> Self {
        let node = format!("driver=file,node-name=disk,filename={}", file.display());
        let export = format!(
            "type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix,addr.path={}",
            socket.display()
        );
        let mut command = Command::new("qemu-storage-daemon");
        command.args(["--blockdev", &node, "--export", &export]);
        Self::start(command, socket)
    }

    /// Returns an NBD server with the bytes of `file`; `None`, after a word, if there is no
    /// qemu-nbd.
    pub fn nbd(file: &Path, socket: PathBuf) -> Option<Self> {
        if Command::new("qemu-nbd").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: qemu-nbd is not installed");
            return None;
        }
        let mut command = Command::new("qemu-nbd");
        command.args(["--read-only", "--persistent", "--shared=2", "--format=raw", "--socket"]);
        command.arg(&socket).arg(file);
        Some(Self::start(command, socket))
    }

    /// Starts a program, and returns when it listens on `socket`.
    pub fn start(mut command: Command, socket: PathBuf) -> Self {
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        let mut serving = Self { process, socket };
        let until = Instant::now() + Duration::from_secs(30);
        while !serving.socket.exists() {
            let ended = serving.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "no disk: {ended:?}");
            thread::sleep(Duration::from_millis(5));
        }
        serving
    }

    /// Stops the process where it is.
    pub fn stop(&self) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(id, Signal::STOP).unwrap();
    }

    /// Arguments of the tool for a machine with the vhost-user disk on `bus`.
    pub fn vhost_user_args(&self, bus: &str, properties: &str) -> Vec<OsString> {
        let device = if bus == "pci" { "vhost-user-blk-pci" } else { "vhost-user-blk" };
        let mut args = qemu(&[
            "-object",
            "memory-backend-memfd,id=lent,size=64M,share=on",
            "-machine",
            "memory-backend=lent",
            "-chardev",
            &format!("socket,id=daemon,path={}", self.socket.display()),
            "-global",
            "virtio-mmio.force-legacy=false",
            "-device",
            &format!("{device},chardev=daemon,num-queues=1,{properties}"),
        ]);
        args.extend(["--mem", "64M", "--bus", bus].map(OsString::from));
        args
    }

    /// Arguments of the tool for a machine with the NBD disk on `bus`, under the name `serial`.
    pub fn nbd_args(&self, bus: &str, serial: &str) -> Vec<OsString> {
        let device = if bus == "pci" { "virtio-blk-pci" } else { "virtio-blk-device" };
        let mut args = qemu(&[
            "-blockdev",
            &format!(
                "driver=nbd,node-name=nbd,read-only=on,server.type=unix,server.path={}",
                self.socket.display()
            ),
            "-device",
            &format!("{device},drive=nbd,serial={serial}"),
        ]);
        args.extend(["--bus", bus].map(OsString::from));
        args
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Arguments of the tool that hand these on to QEMU.
fn qemu(words: &[&str]) -> Vec<OsString> {
    words.iter().flat_map(|word| ["--qemu-arg".into(), (*word).into()]).collect()
}
