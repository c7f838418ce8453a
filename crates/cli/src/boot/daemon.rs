//! A daemon that listens on a socket.
//!
//! Always: the process and its socket are gone when its [`Daemon`] is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::child::Child;

/// How long a daemon may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts `command`, called `name` in messages, and returns when it listens on `socket`. Its output
    /// goes to the file `says`; `hint` follows the message if it does not start.
    pub fn start(
        mut command: Command,
        name: &str,
        socket: &Path,
        says: &Path,
        hint: &str,
    ) -> Result<Self> {
        let output = fs::File::create(says).with_context(|| says.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut this = Self { child: Child::spawn(command)?, socket: socket.into() };
        let until = Instant::now() + START_PATIENCE;
        while !socket.exists() {
            let ended = this.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let words = fs::read_to_string(says).unwrap_or_default();
                let how = if ended.is_some() { "ended at once" } else { "does not listen" };
                bail!("{name} {how}{hint}: {}", words.trim());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(this)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error reaches nobody here; the daemon may have removed the socket itself.
        let _ = self.child.stop();
        let _ = fs::remove_file(&self.socket);
    }
}
