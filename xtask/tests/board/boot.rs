//! One run of the tool, with a deadline.
//!
//! Always: the tool's process is gone when its [`Boot`] is; the tool itself ends its children.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Parser;
use rootlet_cli::boot::BootArgs;
use rustix::process::{Pid, Signal, kill_process};

/// How long a boot may take, its command included.
const BOOT_SECONDS: u64 = 60;
/// How long the tool may take around a boot.
const AROUND: Duration = Duration::from_secs(60);
/// How long the first run may take, which installs and builds what is missing.
const FIRST: Duration = Duration::from_secs(1800);

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status of the tool.
    pub status: Option<i32>,
    /// What the guest's command wrote.
    pub stdout: Vec<u8>,
    /// Everything else.
    pub stderr: String,
}

/// A run under way.
pub struct Boot {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    until: Instant,
}

/// Boots the board with these arguments and waits for the end.
pub fn boot<I: IntoIterator<Item = impl Into<OsString>>>(args: I) -> Outcome {
    Boot::start(args).end()
}

/// Boots with these variables, and waits for the end.
pub fn boot_with(variables: &[(&str, &str)], args: Vec<OsString>) -> Outcome {
    Boot::start_with(variables, args).end()
}

/// Boots an image of one's own on a board.
pub fn boot_image(board: &str, elf: &Path, more: &[&str]) -> Outcome {
    let words = ["--timeout", &BOOT_SECONDS.to_string(), "--board", board].map(OsString::from);
    let args = ["boot-elf".into(), elf.into()].into_iter().chain(words);
    let args = args.chain(more.iter().map(OsString::from)).collect();
    run(args, Duration::from_secs(BOOT_SECONDS) + AROUND).end()
}

/// Boots an application on a board, and types `input` to it.
pub fn boot_app(board: &str, elf: &Path, input: &[u8], more: Vec<OsString>) -> Outcome {
    let (mut typed, patience) = (tempfile::tempfile().unwrap(), BOOT_SECONDS.to_string());
    typed.write_all(input).unwrap();
    typed.rewind().unwrap();
    let words = ["--app", "--interactive", "--timeout", &patience, "--board", board];
    let args = ["boot-elf".into(), elf.into()].into_iter().chain(words.map(OsString::from));
    let args = args.chain(more).collect();
    run_with(&[], typed.into(), args, Duration::from_secs(BOOT_SECONDS) + AROUND).end()
}

/// Boots, and expects the verdict PASS.
pub fn passes<I: IntoIterator<Item = impl Into<OsString>>>(args: I) -> Outcome {
    passes_with(&[], args.into_iter().map(Into::into).collect())
}

/// Boots with these variables, and expects the verdict PASS.
pub fn passes_with(variables: &[(&str, &str)], args: Vec<OsString>) -> Outcome {
    let outcome = boot_with(variables, args);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.verdict().starts_with("PASS  "), "{}", outcome.stderr);
    outcome
}

/// Boots, and expects the verdict FAIL with these words in it.
#[track_caller]
pub fn fails<I: IntoIterator<Item = impl Into<OsString>>>(args: I, words: &str) -> Outcome {
    let outcome = boot(args);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let verdict = outcome.verdict();
    assert!(verdict.starts_with("FAIL ") && verdict.contains(words), "{words}: {}", outcome.stderr);
    outcome
}

/// The words of a boot.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    boot: BootArgs,
}

/// Runs the library over files of the host: what a boot has to show, too.
pub fn host<I: IntoIterator<Item = impl Into<OsString>>>(args: I) -> Vec<u8> {
    let words = std::iter::once("host".into()).chain(args.into_iter().map(Into::into));
    let Line { boot } = Line::try_parse_from::<_, OsString>(words).unwrap();
    let mut out = Vec::new();
    let image = boot.image.as_deref();
    rootlet_cli::host::guest_command(image, &boot.source, &boot.words, false, &mut out).unwrap();
    out
}

/// The boards, the default one first.
pub const BOARDS: [&str; 4] = ["microvm", "q35", "virt-aarch64", "virt-riscv64"];

/// Returns whether each board has the tests of the code that all boards share, too.
pub fn on_every_board() -> bool {
    std::env::var_os("ROOTLET_EVERY_BOARD").is_some()
}

/// Returns the words of a boot with `args`. The guest is that which was built for all tests: to ask
/// cargo whether it is up to date, and to read its symbols, takes longer than most boots. Who reads
/// the log needs the symbols, so the tool builds that guest, as it does for a user.
fn words(seconds: u64, args: Vec<OsString>) -> Vec<OsString> {
    let named = args.windows(2).find(|pair| pair[0] == "--board").map(|pair| &pair[1]);
    let board = BOARDS.iter().find(|board| named.is_some_and(|named| named == *board));
    let guest = guest(board.unwrap_or(&BOARDS[0]));
    let mut words = vec!["--timeout".into(), seconds.to_string().into()];
    let reads_log = args.contains(&"--log".into()) || args.contains(&"-v".into());
    if !reads_log {
        words.extend(["--guest".into(), guest.into()]);
    }
    words.extend(args);
    words
}

/// Builds a board with what that needs, once for all tests of the process, and boots it without an
/// image, as a user does. Returns the guest without its symbols.
pub fn guest(board: &str) -> &'static Path {
    static BUILT: [OnceLock<PathBuf>; BOARDS.len()] = [const { OnceLock::new() }; BOARDS.len()];
    let number = BOARDS.iter().position(|other| *other == board).unwrap();
    BUILT[number].get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        fs::write(&disk, [0; 512]).unwrap();
        let disk = format!("x={}", disk.display());
        let words = ["--board", board, "--disk", &disk, "--", "cache"];
        let outcome = run(words.map(OsString::from).to_vec(), FIRST).end();
        let built = outcome.verdict().starts_with("FAIL no image given");
        assert!(built, "{board} does not build or boot: {}", outcome.stderr);
        let target = match board {
            "virt-aarch64" => "aarch64-unknown-none",
            "virt-riscv64" => "riscv64gc-unknown-none-elf",
            _ => "x86_64-unknown-none",
        };
        let tool = Path::new(env!("CARGO_BIN_EXE_xtask"));
        let folder = tool.ancestors().nth(2).unwrap().join(target).join("release");
        folder.join(board).with_extension("stripped")
    })
}

fn run(args: Vec<OsString>, patience: Duration) -> Boot {
    run_with(&[], Stdio::null(), args, patience)
}

fn run_with(
    variables: &[(&str, &str)],
    stdin: Stdio,
    args: Vec<OsString>,
    patience: Duration,
) -> Boot {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.envs(variables.iter().copied());
    command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        stderr.read_to_end(&mut said).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    });
    let stdout = child.stdout.take();
    Boot { child, stdout, stderr: Some(said), until: Instant::now() + patience }
}

impl Boot {
    /// Starts a boot. The guest's own deadline comes first, so that its words are heard.
    pub fn start<I: IntoIterator<Item = impl Into<OsString>>>(args: I) -> Self {
        Self::start_within(BOOT_SECONDS, args)
    }

    /// Starts a boot that may take `seconds`.
    pub fn start_within<I: IntoIterator<Item = impl Into<OsString>>>(
        seconds: u64,
        args: I,
    ) -> Self {
        Self::start_as(&[], seconds, args.into_iter().map(Into::into).collect())
    }

    /// Starts a boot with these variables.
    pub fn start_with(variables: &[(&str, &str)], args: Vec<OsString>) -> Self {
        Self::start_as(variables, BOOT_SECONDS, args)
    }

    fn start_as(variables: &[(&str, &str)], seconds: u64, args: Vec<OsString>) -> Self {
        run_with(
            variables,
            Stdio::null(),
            words(seconds, args),
            Duration::from_secs(seconds) + AROUND,
        )
    }

    /// Reads the first byte of standard output and lets the rest wait, so that a guest that has
    /// more to write cannot end.
    pub fn first_byte(&mut self) -> u8 {
        self.first_byte_if_any().unwrap()
    }

    /// Returns what [`Boot::first_byte`] does; `None` if the guest ends without one.
    pub fn first_byte_if_any(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.stdout.as_mut().unwrap().read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    /// Waits for the end.
    pub fn end(mut self) -> Outcome {
        let mut stdout = self.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > self.until {
                self.child.kill().unwrap();
                let said = self.stderr.take().unwrap().join().unwrap();
                panic!("the tool did not end in time: {said}");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Outcome { status: status.code(), stdout: reader.join().unwrap(), stderr }
    }

    /// Returns whether the tool has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Returns the processes of this program that the tool has started, by their ids.
    pub fn children(&self, program: &str) -> Vec<u32> {
        descendants(self.child.id())
            .into_iter()
            .filter(|id| {
                let name = fs::read_link(format!("/proc/{id}/exe")).unwrap_or_default();
                name.to_string_lossy().contains(program)
            })
            .collect()
    }

    /// Kills the processes of this program that the tool has started; there has to be one.
    pub fn kill(&self, program: &str) {
        assert!(self.kill_if_any(program), "the tool runs no {program}");
    }

    /// Does what [`Boot::kill`] does, and says whether there was one: it may end by itself at any
    /// moment.
    pub fn kill_if_any(&self, program: &str) -> bool {
        self.signal(program, Signal::KILL)
    }

    /// Sends a signal to the processes of this program that the tool has started, and says whether
    /// there was one.
    pub fn signal(&self, program: &str, signal: Signal) -> bool {
        let ids = self.children(program);
        for id in &ids {
            let id = i32::try_from(*id).ok().and_then(Pid::from_raw);
            // One of several may be gone with the first.
            let _ = kill_process(id.unwrap(), signal);
        }
        !ids.is_empty()
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // After `end` it is reaped already, and there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Outcome {
    /// Returns the last line of standard error.
    pub fn verdict(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    /// Checks a counter of the verdict as the tool words it, such as `fetched 0 bytes`.
    #[track_caller]
    pub fn assert_counter(&self, words: &str) {
        let counters = self.verdict().split_once("  ").map_or("", |(_, counters)| counters);
        assert!(counters.split(", ").any(|counter| counter == words), "{words}: {}", self.stderr);
    }
}

/// Runs one command of QEMU's machine protocol, and returns the line with the command's result.
pub fn qmp(socket: &Path, command: &str) -> String {
    qmp_with(socket, command, &serde_json::json!({}))
}

/// Does what [`qmp`] does, with arguments.
pub fn qmp_with(socket: &Path, command: &str, arguments: &serde_json::Value) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < until, "QEMU does not listen: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut answer = String::new();
    let first = ("qmp_capabilities", &serde_json::json!({}));
    for (command, arguments) in [first, (command, arguments)] {
        let command = serde_json::json!({ "execute": command, "arguments": arguments });
        writeln!(&stream, "{command}").unwrap();
        answer.clear();
        while !answer.contains("\"return\"") {
            answer.clear();
            assert!(lines.read_line(&mut answer).unwrap() > 0, "QEMU hung up");
            assert!(!answer.contains("\"error\""), "{command}: {answer}");
        }
    }
    answer
}

/// Ids of the processes below process `root`.
pub fn descendants(root: u32) -> Vec<u32> {
    let parent_of = |id: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name before it may hold anything but ends in the last parenthesis.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let all: Vec<u32> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(id) = found.get(at).copied() {
        found.extend(all.iter().filter(|other| parent_of(**other) == Some(id)));
        at += 1;
    }
    found.split_off(1)
}

/// Returns the allocated bytes of a file: what was really written to a sparse one.
pub fn allocated(file: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(file).map_or(0, |stat| stat.blocks() * 512)
}
