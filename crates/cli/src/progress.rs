//! How far a command is, on standard error.
//!
//! Always: nothing is drawn unless standard error is a terminal, and nothing within the first
//! second; a line fits on 40 columns; other output is written through [`Progress::suspend`].

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// How long a command is silent.
const SILENCE: Duration = Duration::from_secs(1);
/// How often what moves by itself is drawn.
const TICK: Duration = Duration::from_millis(100);

const ENTRIES: &str = "{spinner} {pos}/{len} {per_sec} {eta} left {wide_msg}";
const BYTES: &str = "{spinner} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const BYTES_SO_FAR: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed} {wide_msg}";
const WAIT: &str = "{spinner} {elapsed} {wide_msg}";

/// A line that says how far a command is.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    since: Instant,
    drawn: OnceLock<()>,
    moves: bool,
    /// Whether the output of the command would be mixed with it.
    mixed: bool,
}

impl Progress {
    /// Of `len` entries, each with its name.
    pub fn of_entries(len: u64) -> Self {
        Self::new(Some(len), ENTRIES, false)
    }

    /// Of bytes that are written or summed: `len`, or nobody knows how many. Nothing is drawn where
    /// the output goes to a terminal, which shows how far it is.
    pub fn of_bytes(len: Option<u64>) -> Self {
        let template = if len.is_some() { BYTES } else { BYTES_SO_FAR };
        let mut this = Self::new(len, template, false);
        this.mixed = io::stdout().is_terminal();
        this
    }

    /// Of something that takes its time.
    pub fn of_waiting(message: String) -> Self {
        let this = Self::new(None, WAIT, true);
        this.bar.set_message(message);
        this
    }

    /// Adds bytes that came. From the first ones on, what is waited for shows how many there are and
    /// how fast they come.
    pub fn came(&self, bytes: u64) {
        if self.bar.position() == 0 {
            self.style(BYTES_SO_FAR);
        }
        self.bar.inc(bytes);
    }

    fn new(len: Option<u64>, template: &str, moves: bool) -> Self {
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::hidden());
        let this = Self { bar, since: Instant::now(), drawn: OnceLock::new(), moves, mixed: false };
        this.style(template);
        this
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// Draws from now on, if it is time.
    pub fn touch(&self) {
        if self.since.elapsed() < SILENCE {
            return;
        }
        self.drawn.get_or_init(|| {
            if io::stderr().is_terminal() && !self.mixed {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
                if self.moves {
                    self.bar.enable_steady_tick(TICK);
                }
            }
        });
    }

    /// One more entry, of this name.
    pub fn entry(&self, name: impl FnOnce() -> String) {
        self.touch();
        if !self.bar.is_hidden() {
            self.bar.set_message(name());
        }
        self.bar.inc(1);
    }

    /// The message.
    pub fn say(&self, message: String) {
        self.touch();
        self.bar.set_message(message);
    }

    /// Shows that `position` steps are done.
    pub fn reach(&self, position: u64) {
        self.touch();
        self.bar.set_position(position);
    }

    /// Writes something else in between.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

/// Erases the line that is drawn, if there is one, before the process ends without dropping it.
pub fn erase_line() {
    if io::stderr().is_terminal() {
        output::told(b"\r\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
