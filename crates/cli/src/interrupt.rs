//! Ctrl-C and requests to terminate.
//!
//! Always: the first one only sets a flag, so that children and sockets are cleaned up on the
//! way out; the second ends the process at once.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit;

/// How often the flag is looked at where a task does not do so itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether someone asked the tool to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches SIGINT, SIGTERM and SIGHUP.
    pub fn watch() -> Result<Self> {
        let this = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the conditional shutdown sees the flag as the first one left it.
            let shutdown = i32::from(exit::INTERRUPTED);
            flag::register_conditional_shutdown(signal, shutdown, Arc::clone(&this.0))
                .and_then(|_| flag::register(signal, Arc::clone(&this.0)))
                .with_context(|| format!("cannot watch signal {signal}"))?;
        }
        Ok(this)
    }

    /// From now on the first request ends the process, for tasks that have nothing to clean up
    /// and do not look at this.
    pub fn ends_the_process(&self) {
        let asked = Arc::clone(&self.0);
        thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
            eprintln!("rootlet: interrupted");
            process::exit(exit::INTERRUPTED.into());
        });
    }

    /// As if someone had asked.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error once someone asked.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(exit::stop(exit::INTERRUPTED, "interrupted"));
        }
        Ok(())
    }
}
