//! A blob of an ssh server: OpenSSH's, on this machine, with keys of the test's own.
//!
//! Always: the server, the agent and their keys are gone with the test. Without nbdkit, sshd or ssh-agent
//! the test says so and passes.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Tree};
use rustix::process::{Pid, Signal, kill_process};

use crate::boot::{Boot, boot_with, descendants, passes_with};
use crate::sample::Sample;

/// sshd starts itself again for each connection, and so wants a whole path.
const SSHD: &str = "/usr/sbin/sshd";
/// What a busy host may add.
const LOAD: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and an agent with the key for it.
struct Ssh {
    server: Child,
    agent: Child,
    dir: PathBuf,
    port: u16,
}

impl Ssh {
    /// Starts both; `None`, after a word, if a program is missing. Keys go to `dir`.
    fn start(dir: &Path) -> Option<Self> {
        let has = |program: &str| {
            let mut command = Command::new(program);
            // Each of them says how it is used, and ends.
            command.arg("-?").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok()
        };
        let programs = ["nbdkit", SSHD, "ssh-agent", "ssh-add", "ssh-keygen"];
        if let Some(program) = programs.into_iter().find(|program| !has(program)) {
            println!("skipped: {program} is not installed");
            return None;
        }
        fs::create_dir(dir).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        for name in ["host", "user"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(name)], &[]);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let settings = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             UsePAM no\nStrictModes no\nSubsystem sftp internal-sftp\n",
            path("host"),
            path("user.pub")
        );
        fs::write(path("sshd_config"), settings).unwrap();
        // Where a system makes it as it starts, a container has none; another user than root needs none.
        let _ = fs::create_dir_all("/run/sshd");
        let mut server = Command::new(SSHD);
        server.args(["-D", "-e", "-f", &path("sshd_config"), "-E", &path("log")]);
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a", &path("agent")]);
        let [server, agent] = [server, agent].map(|mut command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        });
        let this = Self { server, agent, dir: dir.into(), port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() || !dir.join("agent").exists() {
            assert!(Instant::now() < until, "no server: {:?}", fs::read_to_string(path("log")));
            thread::sleep(Duration::from_millis(5));
        }
        run("ssh-add", &["-q", &path("user")], &[("SSH_AUTH_SOCK", &path("agent"))]);
        Some(this)
    }

    /// Returns the variables of a user with the agent.
    fn variables(&self) -> [(&'static str, String); 1] {
        [("SSH_AUTH_SOCK", self.dir.join("agent").display().to_string())]
    }

    /// Stops the server, with the processes of its clients.
    fn stop(&self) {
        for id in [self.server.id()].into_iter().chain(descendants(self.server.id())) {
            // A client may be gone by now.
            let _ = kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), Signal::STOP);
        }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        for id in descendants(self.server.id()) {
            let _ = kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), Signal::KILL);
        }
        for process in [&mut self.server, &mut self.agent] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn run(program: &str, words: &[&str], variables: &[(&str, &str)]) {
    let mut command = Command::new(program);
    let output = command.args(words).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn blob_of_an_ssh_server_is_read_and_one_that_stops_is_an_error_in_time() {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 6 << 20));
    let sample = Sample::from_tree(tree, 1);
    let Some(ssh) = Ssh::start(&sample.path("ssh")) else { return };
    let url = format!("ssh://127.0.0.1:{}{}", ssh.port, sample.path("blob1").display());
    let args = |known: &str, more: &[&str]| {
        let second = format!("2={}", sample.path("blob2").display());
        let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
        args.extend(["--blob", &format!("1={url}"), "--blob", &second].map(OsString::from));
        args.extend(["--known-hosts".into(), ssh.dir.join(known).into()]);
        args.extend(more.iter().map(OsString::from));
        args
    };
    let content = sample.tree.content("/large").unwrap().to_vec();
    let variables = ssh.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let outcome = passes_with(&variables, args("known", &["--", "cat", "/large"]));
    assert!(outcome.stdout == content, "{}", outcome.stderr);

    // Another server answers under its name.
    let key = fs::read_to_string(ssh.dir.join("user.pub")).unwrap();
    fs::write(ssh.dir.join("other"), format!("[127.0.0.1]:{} {key}", ssh.port)).unwrap();
    fs::write(ssh.dir.join("none"), "").unwrap();
    for (known, variables, why) in [
        ("none", &variables[..], "the host key is unknown"),
        ("other", &variables, "another server answers under this name, or it has a new key"),
        ("known", &[("SSH_AUTH_SOCK", "/none")], "ssh-agent has no key that the server takes"),
    ] {
        let outcome = boot_with(variables, args(known, &["--", "cat", "/large"]));
        assert_eq!(outcome.status, Some(1), "{known}: {}", outcome.stderr);
        let verdict = outcome.verdict();
        assert!(verdict.contains(&url) && verdict.contains(why), "{known}: {}", outcome.stderr);
    }

    let options = ["--guest-option", "deadline=4", "--", "cat", "/large"];
    let mut boot = Boot::start_with(&variables, args("known", &options));
    let mut bytes = vec![boot.first_byte()];
    ssh.stop();
    let begin = Instant::now();
    let outcome = boot.end();
    bytes.extend(&outcome.stdout);
    assert!(content.starts_with(&bytes), "wrong bytes");
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("blob1"), "{}", outcome.stderr);
    assert!(begin.elapsed() < Duration::from_secs(5) + LOAD, "{:?}", begin.elapsed());
}
