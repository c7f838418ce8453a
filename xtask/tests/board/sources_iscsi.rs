//! A blob of an iSCSI target: tgt's, on this machine. Without it or QEMU's driver the test says so and
//! passes.

use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::boot::{boot, passes};
use crate::sample::Sample;

const NAME: &str = "iqn.2026-11.test:a";
const PATIENCE: Duration = Duration::from_secs(30);

/// A target, gone with this.
struct Target {
    process: Child,
    port: u16,
}

impl Target {
    /// Serves `file` as unit 1; `None`, after a word, if there is no tgtd. Its socket lies in `dir`.
    fn start(dir: &Path, file: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let control = dir.join("tgtd");
        let mut command = Command::new("tgtd");
        command.args(["-f", "--iscsi", &format!("portal=127.0.0.1:{port}")]);
        command.env("TGT_IPC_SOCKET", &control).stdin(Stdio::null());
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("skipped: tgtd is not installed");
            return None;
        };
        let this = Self { process, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "no target");
            thread::sleep(Duration::from_millis(5));
        }
        let file = file.display().to_string();
        for words in [
            &["--op", "new", "--mode", "target", "--tid", "1", "-T", NAME][..],
            &["--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", &file],
            &["--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"],
        ] {
            let mut command = Command::new("tgtadm");
            command.args(["--lld", "iscsi"]).args(words).env("TGT_IPC_SOCKET", &control);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Some(this)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn blob_of_an_iscsi_target_is_read() {
    let sample = Sample::new();
    let drivers = "/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so";
    if !Path::new(drivers).exists() {
        println!("skipped: QEMU's driver for iSCSI is not installed");
        return;
    }
    let Some(target) = Target::start(sample.dir(), &sample.path("blob1")) else { return };
    let args = |unit: u32| {
        let first = format!("1=iscsi://127.0.0.1:{}/{NAME}/{unit}", target.port);
        let second = format!("2={}", sample.path("blob2").display());
        let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
        args.extend(["--blob", &first, "--blob", &second].map(OsString::from));
        args.extend(["--", "manifest", "/"].map(OsString::from));
        args
    };
    assert!(passes(args(1)).stdout == sample.manifest());
    let outcome = boot(args(2));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.verdict().contains("(blob1): iSCSI: Failed to connect to LUN"),
        "{}",
        outcome.stderr
    );
}
