//! A child process that does not outlive its owner.
//!
//! Always: it is ended and reaped by its own id when its [`Child`] goes, also on an error or a
//! panic; where setpriv(1) is there, the kernel ends it should the tool itself be killed.

use std::ffi::OsStr;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::find_in_path;

/// How long a child may take to end after SIGTERM before it gets SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_secs(2);

/// A running or ended child.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    ended: Option<ExitStatus>,
}

/// A command for `program` that the kernel kills with its parent, where setpriv can arrange it.
/// The process keeps the id of the command: setpriv replaces itself by `program`.
pub fn bound_command(program: &OsStr) -> Command {
    match find_in_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Child {
    /// Starts `command`.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let inner = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { inner, ended: None })
    }

    /// The child's pipes, to be taken by the readers.
    pub fn pipes(&mut self) -> &mut std::process::Child {
        &mut self.inner
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, if it has; reaps it.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.inner.try_wait().context("cannot wait for a child")?;
        }
        Ok(self.ended)
    }

    /// Waits at most `patience` for it to end by itself.
    pub fn wait_for(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Ends it: SIGTERM, then SIGKILL if it does not listen. Returns when it is reaped.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        let pid = i32::try_from(self.inner.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the id is still this child's. A failure is met by SIGKILL below.
            let _ = kill_process(pid, Signal::TERM);
            // One that was stopped hears of it, too.
            let _ = kill_process(pid, Signal::CONT);
        }
        if let Some(status) = self.wait_for(TERM_PATIENCE)? {
            return Ok(status);
        }
        self.inner.kill().context("cannot kill a child")?;
        let status = self.inner.wait().context("cannot wait for a child")?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error reaches nobody here.
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;

    fn sleeper(script: &str) -> Child {
        let mut command = bound_command(OsStr::new("sh"));
        command.args(["-c", script]);
        Child::spawn(command).unwrap()
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = sleeper("exec sleep 60");
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        assert!(proc.exists());
        drop(child);
        assert!(!proc.exists());
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed() {
        let mut child = sleeper("trap '' TERM; while :; do sleep 0.05; done");
        assert_eq!(child.wait_for(Duration::from_millis(300)).unwrap(), None);
        assert_eq!(child.stop().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_child_that_was_stopped_ends_at_once() {
        let mut child = sleeper("kill -STOP $$; exec sleep 60");
        assert_eq!(child.wait_for(Duration::from_millis(300)).unwrap(), None);
        let begin = Instant::now();
        assert_eq!(child.stop().unwrap().signal(), Some(15));
        assert!(begin.elapsed() < TERM_PATIENCE);
    }

    #[test]
    fn the_status_of_an_ended_child_is_kept() {
        let mut child = sleeper("exit 33");
        let status = child.wait_for(Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(status.code(), Some(33));
        assert_eq!(child.stop().unwrap().code(), Some(33));
    }
}
