//! A mount of the program, as a child of the test.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rootlet_sim::image::{Built, Options, Tree, build};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// How long a child may take for a step that needs no waiting.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether to mount; says so if not.
pub fn is_able() -> bool {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let why = match device {
        Err(error) => format!("/dev/fuse: {error}"),
        Ok(_) if !rustix::process::geteuid().is_root() => "only root may mount".into(),
        Ok(_) => return true,
    };
    say(&format!("skipped: nothing mounted: {why}"));
    false
}

/// Says something past the harness, which shows no words of a test that passes.
pub fn say(words: &str) {
    let stderr = &mut std::io::stderr();
    writeln!(stderr, "{words}").unwrap();
}

/// An image on the disk, and its blobs from slot 1 on.
pub struct Files {
    pub image: PathBuf,
    pub blobs: Vec<PathBuf>,
    /// Where they are, if it is theirs alone; removed with this.
    pub _own: Option<tempfile::TempDir>,
}

/// A folder of its own.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

impl Files {
    /// An image of this tree.
    pub fn of(tree: &Tree, options: &Options) -> Self {
        Self::built(&build(tree, options).unwrap(), options)
    }

    /// What was built.
    pub fn built(built: &Built, options: &Options) -> Self {
        let dir = folder();
        let image = dir.path().join("image");
        fs::write(&image, built.image.bytes()).unwrap();
        let mut blobs = Vec::new();
        for (number, blob) in built.blobs.iter().enumerate().filter(|_| !options.flattened) {
            let file = dir.path().join(format!("blob{number}"));
            blob.write_to(&file).unwrap();
            // Whole sectors, as a disk has.
            let bytes = fs::metadata(&file).unwrap().len().next_multiple_of(512);
            OpenOptions::new().write(true).open(&file).unwrap().set_len(bytes).unwrap();
            blobs.push(file);
        }
        Self { image, blobs, _own: Some(dir) }
    }

    /// The words that name the image, a directory if there is one, and the blobs.
    pub fn words(&self, dir: Option<&Path>) -> Vec<OsString> {
        let mut words = vec![self.image.clone().into()];
        words.extend(dir.map(OsString::from));
        for (slot, blob) in (1..).zip(&self.blobs) {
            words.push("--blob".into());
            words.push(format!("{slot}={}", blob.display()).into());
        }
        words
    }
}

/// Runs the program to its end.
pub fn rootlet(words: impl IntoIterator<Item = OsString>) -> (ExitStatus, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_rootlet")).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status, text(&ran.stdout), text(&ran.stderr))
}

/// The program at work.
pub struct Mount {
    child: Child,
    /// The lines that the program writes to standard error.
    lines: Receiver<String>,
    dir: PathBuf,
    /// Removed with this.
    own: Option<tempfile::TempDir>,
    /// Whether the directory is another's by now.
    pub is_replaced: bool,
}

impl Mount {
    /// Mounts on a folder of its own.
    pub fn new(files: &Files) -> Self {
        Self::with(files, &[])
    }

    /// Mounts with more options.
    pub fn with(files: &Files, more: &[&str]) -> Self {
        let own = folder();
        let mut mount = Self::on(own.path(), files, more);
        mount.own = Some(own);
        mount
    }

    /// Mounts on a directory.
    pub fn on(dir: &Path, files: &Files, more: &[&str]) -> Self {
        Self::start(dir, files.words(Some(dir)).into_iter().chain(more.iter().map(OsString::from)))
    }

    /// Mounts on a folder of its own what these words name.
    pub fn of(words: &[OsString]) -> Self {
        let own = folder();
        let dir = own.path().to_path_buf();
        let words = [dir.clone().into()].into_iter().chain(words.iter().cloned());
        let mut mount = Self::start(&dir, words);
        mount.own = Some(own);
        mount
    }

    /// Mounts on a directory, which is among the words.
    pub fn start(dir: &Path, words: impl Iterator<Item = OsString>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.arg("mount").args(words);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut mount =
            Self { child, lines, dir: dir.to_path_buf(), own: None, is_replaced: false };
        mount.wait_for("is mounted on");
        mount
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path of the image.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Waits until it says something with these words.
    pub fn wait_for(&mut self, words: &str) {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return,
                Ok(line) => said.push(line),
                Err(error) => panic!("it does not say `{words}`: {said:?} ({error})"),
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it ends by itself. Returns its status and what else it said.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            said.push(line);
        }
        (status, said)
    }

    /// Ends it by Ctrl-C; it must say nothing, and leave nothing mounted.
    pub fn end(self) {
        let dir = self.dir.clone();
        self.signal(Signal::INT);
        let (status, said) = self.ended();
        assert!(status.success() && said.is_empty(), "{status}: {said:?}");
        assert!(!is_mounted(&dir));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        // Only if the child could not, or was not asked.
        if is_mounted(&self.dir) && !self.is_replaced {
            let _ = unmount(&self.dir, UnmountFlags::DETACH);
        }
    }
}

/// A directory on which a program in the background has mounted; nothing stays there, whatever
/// becomes of the test.
pub struct Place(pub PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if is_mounted(&self.0) {
            let _ = unmount(&self.0, UnmountFlags::DETACH);
        }
    }
}

/// Whether something is mounted on a directory.
pub fn is_mounted(dir: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == dir.to_str())
}
