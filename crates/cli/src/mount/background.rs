//! A mount in the background: the program starts itself once more, and waits until that one has
//! mounted.
//!
//! Always: what the second one says before it has mounted comes to the terminal, and so does its
//! exit status; afterwards it has no terminal.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::exit::{FAILED, stop};
use crate::interrupt::Interrupt;

/// The variable of the environment that makes a program the second one.
const SECOND: &str = "ROOTLET_MOUNT_SECOND";
/// What the second one writes when it has mounted.
const READY: &[u8] = b"ready\n";

/// Starts the second one. Returns when that has mounted.
///
/// # Errors
/// The second one has failed: it has said why, and its status is the error's; or it was killed.
pub fn start(interrupt: &Interrupt) -> Result<()> {
    // The second one notices that nobody waits.
    interrupt.ends_the_process();
    let program = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(&program);
    command.args(env::args_os().skip(1)).env(SECOND, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut second = command.spawn().with_context(|| program.display().to_string())?;
    let mut said = Vec::new();
    if let Some(mut stdout) = second.stdout.take() {
        stdout.read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(());
    }
    let status = second.wait()?;
    Err(match (status.code(), status.signal()) {
        // It has said why.
        (Some(code), _) if code != 0 => stop(u8::try_from(code).unwrap_or(FAILED), ""),
        (_, Some(signal)) => anyhow!("the program in the background was ended by signal {signal}"),
        _ => anyhow!("the program in the background ended before it had mounted the image"),
    })
}

/// Returns whether this program is the second one.
pub fn is_second() -> bool {
    env::var_os(SECOND).is_some()
}

/// What the second one needs to let go of the terminal.
pub struct Leave {
    null: File,
}

impl Leave {
    /// Leaves the terminal's session: Ctrl-C is not for the background.
    pub fn begin() -> Result<Self> {
        rustix::process::setsid().context("cannot leave the session")?;
        let null = File::options().read(true).write(true).open("/dev/null").context("/dev/null")?;
        Ok(Self { null })
    }

    /// Lets go of the terminal and of the current folder, which is not used any more, and says that
    /// the mount is there.
    ///
    /// # Errors
    /// Nobody waits for the mount any more.
    pub fn end(self) -> Result<()> {
        rustix::process::chdir("/")?;
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stderr(&self.null)?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(READY).and_then(|()| stdout.flush())?;
        rustix::stdio::dup2_stdout(&self.null)?;
        Ok(())
    }
}
