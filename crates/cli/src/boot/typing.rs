//! What a user types to a guest.
//!
//! Always: nothing is sent before the guest has spoken, because setting a serial port up drops
//! the bytes in the port; the end of the input is sent as a byte 4 (Ctrl-D), as a terminal has it.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often it is looked whether the guest has spoken or ended.
const TICK: Duration = Duration::from_millis(50);
/// ASCII EOT.
const END: u8 = 4;

/// When a guest may be sent something.
#[derive(Debug, Default)]
pub struct Typing {
    /// Whether the guest has spoken.
    pub may_begin: AtomicBool,
    /// Whether the guest has ended.
    pub is_over: AtomicBool,
}

impl Typing {
    /// Sends `guest` what comes on this program's standard input, to the end of either.
    pub fn run(&self, guest: Option<impl Write>) {
        let Some(mut guest) = guest else { return };
        while !self.is_over.load(Ordering::Relaxed) {
            if !self.may_begin.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                continue;
            }
            // A guest that has ended takes nothing, and nobody waits for it.
            match pass(&mut guest) {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }
}

/// Sends what has come, if something has; whether there may be more.
fn pass(guest: &mut impl Write) -> io::Result<bool> {
    if !has_input()? {
        return Ok(true);
    }
    let mut bytes = [0; 4096];
    let len = io::stdin().read(&mut bytes)?;
    guest.write_all(if len > 0 { &bytes[..len] } else { &[END] })?;
    guest.flush()?;
    Ok(len > 0)
}

/// Waits a moment for input; whether there is some, or its end.
fn has_input() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
    let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
    Ok(poll(&mut wanted, Some(&tick))? > 0)
}
