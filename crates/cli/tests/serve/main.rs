//! `rootlet serve`: one engine for many readers.
//!
//! Always: the readers here are qemu-img and qemu-io, which read by NBD as QEMU's guests do. Without them,
//! nbdkit or curl the tests say so and pass.

mod gate;
#[path = "../../../../xtask/tests/board/nginx.rs"]
mod nginx;
#[path = "../../../../xtask/tests/board/origin.rs"]
#[expect(dead_code, reason = "faults that only guests look at")]
mod origin;
mod registry;
mod stores;
mod tls;
mod tokens;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use origin::{Fault, Origin};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long an engine has to stay to be started again, and more.
const STAY: Duration = Duration::from_secs(3);

/// Whether a program is missing; says so.
fn is_skipped() -> bool {
    let programs = ["nbdkit", "curl", "qemu-img", "qemu-io", "qemu-storage-daemon"];
    let missing = programs.into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err()
    });
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_some()
}

/// Four MiB, of which no two sectors are alike.
fn object() -> Vec<u8> {
    (0..1 << 20).flat_map(|word: u32| word.wrapping_mul(0x9e37_79b1).to_le_bytes()).collect()
}

/// `rootlet serve` under way.
struct Serve(Child);

impl Serve {
    fn start(url: &str, socket: &Path, more: &[&str]) -> Self {
        Self::start_with(url, socket, more, &[])
    }

    /// Starts with the passwords that docker keeps in this folder.
    fn start_in(url: &str, socket: &Path, more: &[&str], docker: &Path) -> Self {
        Self::start_with(url, socket, more, &[("DOCKER_CONFIG", docker.to_str().unwrap())])
    }

    /// Starts with these variables.
    fn start_with(url: &str, socket: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", url, "--plain-http", "--socket"]).arg(socket).args(more);
        command.env("DOCKER_CONFIG", "/none").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let this = Self(command.spawn().unwrap());
        wait(|| socket.exists());
        this
    }

    /// Ends it, and returns its status and its messages.
    fn end(mut self) -> (Option<i32>, String) {
        signal(self.0.id(), Signal::TERM);
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }

    /// The id of the process of this program that it has started.
    fn child(&self, program: &str) -> Option<u32> {
        let is_it = |id: &u32| {
            let exe = fs::read_link(format!("/proc/{id}/exe")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2));
            exe.ends_with(program) && parent == Some(&self.0.id().to_string())
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(id: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
}

fn wait(is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a reader of the whole object into `out`.
fn reader(socket: &Path, out: &Path) -> Child {
    let url = format!("nbd+unix:///?socket={}", socket.display());
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", "raw", &url]).arg(out);
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn eight_readers_at_once_cost_the_origin_one() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (object, socket) = (object(), path("socket"));
    let origin = Origin::new(object.clone());
    let (pid, statistics) = (path("pid"), path("statistics"));
    let more = ["--pid-file", pid.to_str().unwrap(), "--statistics", statistics.to_str().unwrap()];
    let more = [&more[..], &["--vhost-user", "2"]].concat();
    let serve = Serve::start(&origin.url(), &socket, &more);
    wait(|| pid.exists());
    assert_eq!(fs::read_to_string(&pid).unwrap(), format!("{}\n", serve.0.id()));
    assert!(path("socket.0").exists() && path("socket.1").exists());
    let readers: Vec<_> =
        (0..8).map(|number| reader(&socket, &path(&format!("out{number}")))).collect();
    for (number, mut reader) in readers.into_iter().enumerate() {
        assert!(reader.wait().unwrap().success(), "{number}");
        assert!(fs::read(path(&format!("out{number}"))).unwrap() == object, "{number}");
    }
    let sent = origin.sent();
    println!("8 readers of {} bytes: {sent} bytes of the origin", object.len());
    assert!(sent * 100 <= object.len() as u64 * 105, "{sent}");
    let (status, said) = serve.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(!socket.exists() && !pid.exists() && !path("socket.1").exists());
    let statistics = fs::read_to_string(&statistics).unwrap();
    assert!(statistics.contains("read:") && statistics.contains("4.00 MiB"), "{statistics}");
}

#[test]
fn engine_that_is_killed_is_started_again_for_the_same_content() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (object, socket) = (object(), dir.path().join("socket"));
    let origin = Origin::new(object.clone());
    let serve = Serve::start(&origin.url(), &socket, &[]);
    // One that does not stay that long is not started again.
    thread::sleep(STAY);
    let first = serve.child("nbdkit").unwrap();
    signal(first, Signal::KILL);
    wait(|| serve.child("nbdkit").is_some_and(|id| id != first) && socket.exists());
    let out = dir.path().join("out");
    wait(|| reader(&socket, &out).wait().unwrap().success());
    assert!(fs::read(&out).unwrap() == object);
    thread::sleep(STAY);
    // The engine serves one content alone.
    origin.fail(Fault::Changed, 0, None);
    let second = serve.child("nbdkit").unwrap();
    signal(second, Signal::KILL);
    wait(|| serve.child("nbdkit").is_some_and(|id| id != second) && socket.exists());
    fs::remove_file(&out).unwrap();
    assert!(!reader(&socket, &out).wait().unwrap().success());
    let (_, said) = serve.end();
    assert!(said.contains("nbdkit ended"), "{said}");
}

#[test]
fn what_cannot_be_served_is_refused_by_its_reason() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let origin = Origin::new(object());
    let run = |source: &str, more: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", source, "--socket"]).arg(&socket).args(more).output().unwrap()
    };
    let refused = |source: &str, more: &[&str], status: i32, why: &str| {
        let output = run(source, more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(!socket.exists());
    };
    refused("nbd://h/x", &[], 2, "served already");
    refused("a.blob", &[], 2, "a guest reads it as it is");
    refused(&origin.url(), &[], 2, "insist by --plain-http");
    origin.fail(Fault::NoTag, 0, None);
    refused(&origin.url(), &["--plain-http"], 1, "gives no ETag");
    origin.heal();
    let _serve = Serve::start(&origin.url(), &socket, &[]);
    let output = run(&origin.url(), &["--plain-http"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("somebody serves there already"), "{said}");
}
