//! Ctrl-C and requests to terminate.
//!
//! Always: the first one only sets a flag, so that children and sockets are cleaned up on the
//! way out; the second ends the process at once, but for a task that must not leave a mount.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::exit;
use crate::note;
use crate::progress;

/// How often the flag is looked at where a task does not do so itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether someone asked the tool to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// What ends the process at the second request.
    shutdowns: Vec<SigId>,
}

impl Interrupt {
    /// Watches SIGINT, SIGTERM and SIGHUP.
    pub fn watch() -> Result<Self> {
        let mut this = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the conditional shutdown sees the flag as the first one left it.
            let status = i32::from(exit::INTERRUPTED);
            let asked = || Arc::clone(&this.asked);
            let shutdown = flag::register_conditional_shutdown(signal, status, asked());
            let shutdown = shutdown.and_then(|id| flag::register(signal, asked()).map(|_| id));
            this.shutdowns.push(shutdown.with_context(|| format!("cannot watch signal {signal}"))?);
        }
        Ok(this)
    }

    /// Makes no request end the process, for a task that has to clean up however often it is asked
    /// to end.
    pub fn never_ends_the_process(&self) {
        for id in &self.shutdowns {
            low_level::unregister(*id);
        }
    }

    /// Makes the first request end the process, for tasks that have nothing to clean up and do not
    /// look at this.
    pub fn ends_the_process(&self) {
        let asked = Arc::clone(&self.asked);
        thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
            progress::erase_line();
            note!("rootlet: interrupted");
            process::exit(exit::INTERRUPTED.into());
        });
    }

    /// As if someone had asked.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// An error once someone asked.
    pub fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::Relaxed) {
            return Err(exit::stop(exit::INTERRUPTED, "interrupted"));
        }
        Ok(())
    }
}
