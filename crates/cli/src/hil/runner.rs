//! The command that starts a boot: ssh to a rig, a flasher, a reset line, an emulator.
//!
//! Always: it runs in a process group of its own, which is gone when the [`Runner`] is; its output
//! is read without waiting.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::boot::child::bound_command;

/// How long the group may take to end after SIGTERM before it gets SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_secs(2);

/// A running or ended command.
pub struct Runner {
    child: Child,
    group: Option<Pid>,
    reaped: bool,
    /// Its standard output, which is its terminal where it has one.
    pub output: Option<File>,
    /// Its standard error.
    pub error: Option<File>,
}

impl Runner {
    /// Starts `line` in a shell with the additional `variables`, with `pty` on a new terminal.
    pub fn start(line: &str, variables: &[(&str, OsString)], pty: bool) -> Result<Self> {
        let mut command = bound_command("sh".as_ref());
        command.args(["-c", line]).envs(variables.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stderr(Stdio::piped());
        let terminal = pty.then(terminal).transpose().context("a terminal for the runner")?;
        let output = match terminal {
            Some((ours, theirs)) => {
                command.stdin(theirs.try_clone()?).stdout(theirs);
                Some(ours)
            }
            None => {
                command.stdin(Stdio::null()).stdout(Stdio::piped());
                None
            }
        };
        let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        // The command holds the terminal's other end; while it does, the end is not seen.
        drop(command);
        let output = output.or_else(|| child.stdout.take().map(|pipe| OwnedFd::from(pipe).into()));
        let error = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        for file in output.iter().chain(&error) {
            fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)?;
        }
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { child, group, reaped: false, output, error })
    }

    /// Whether it has ended. It is not reaped, so that its group's id stays its own.
    pub fn has_ended(&self) -> bool {
        let Some(id) = self.group.filter(|_| !self.reaped) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(id), options), Ok(None))
    }

    /// Whether it has ended with status 0.
    pub fn succeeded(&self) -> bool {
        let Some(id) = self.group.filter(|_| !self.reaped) else { return false };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(id), options).ok().flatten();
        status.and_then(|status| status.exit_status()) == Some(0)
    }

    /// Ends all processes of its group, and returns its exit status.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(group) = self.group.filter(|_| !self.reaped) {
            // Who is gone already needs no signal.
            let _ = kill_process_group(group, Signal::TERM);
            let until = Instant::now() + TERM_PATIENCE;
            // The leader stays in its group until it is reaped, dead or not.
            while !(self.has_ended() && alone(group)) && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // An error reaches nobody here.
        let _ = self.end();
    }
}

/// Whether no process of the group is alive but, at most, its dead leader.
fn alone(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return true;
    }
    let id = group.as_raw_nonzero().get().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    !processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok()).any(
        |stat| {
            // After the name in parentheses: state, parent, group.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let mut fields = fields.split_whitespace();
            fields.next() != Some("Z") && fields.nth(1) == Some(&id)
        },
    )
}

/// A new terminal that changes no byte: our end and the command's.
fn terminal() -> Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = OsString::from_vec(ptsname(&ours, Vec::new())?.into_bytes());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(&name, flags, rustix::fs::Mode::empty())?;
    let mut settings = tcgetattr(&theirs)?;
    settings.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &settings)?;
    Ok((ours.into(), theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn read(file: &mut File) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 256]);
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            match file.read(&mut part) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(2));
                }
                // What a terminal says when its other end is closed.
                Err(_) => break,
            }
        }
        all
    }

    #[test]
    fn output_and_variables_come_through_a_pipe_and_a_terminal() {
        for pty in [false, true] {
            let line = "printf '%s\\n' \"$WHAT\"; test -t 1 && echo tty; echo oh >&2; exit 3";
            let mut runner = Runner::start(line, &[("WHAT", "a b".into())], pty).unwrap();
            let output = read(runner.output.as_mut().unwrap());
            let expected: &[u8] = if pty { b"a b\ntty\n" } else { b"a b\n" };
            assert_eq!(output, expected);
            assert_eq!(read(runner.error.as_mut().unwrap()), b"oh\n");
            let until = Instant::now() + Duration::from_secs(20);
            while !runner.has_ended() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            assert!(!runner.succeeded());
            assert_eq!(runner.end().unwrap().code(), Some(3));
        }
    }

    #[test]
    fn nothing_of_its_group_is_left() {
        let line = "sleep 60 & echo $!; trap '' TERM; sleep 61 & echo $!; wait";
        let mut runner = Runner::start(line, &[], false).unwrap();
        let mut said = String::new();
        while said.lines().count() < 2 {
            let mut part = [0; 64];
            if let Ok(count) = runner.output.as_mut().unwrap().read(&mut part) {
                said.push_str(str::from_utf8(&part[..count]).unwrap());
            }
            thread::sleep(Duration::from_millis(2));
        }
        drop(runner);
        let alive = |id: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.contains(") ") && !stat.contains(") Z ")
        };
        let until = Instant::now() + Duration::from_secs(10);
        while said.lines().any(alive) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!said.lines().any(alive), "{said}");
    }
}
