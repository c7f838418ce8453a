//! A guest from its start to its end: its monitor, its console, its log, its deadline.
//!
//! Always: the monitor is gone when [`run`] returns, however it returns; the order of what the
//! guest wrote is kept per channel; what waits to be shown is bounded; nothing that a guest writes
//! after its verdict counts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::LogLevel;
use super::readers::{read_console, read_log, read_monitor};
use super::typing::Typing;
use super::watch::{Output, Run, Watch};
use crate::boot::child::{Child, bound_command};
use crate::boot::log;
use crate::boot::monitor::Launch;
use crate::interrupt::Interrupt;

pub use super::report::{Ending, Report};

/// How many events may wait for the tool.
const EVENTS_MAX: usize = 256;

/// How to run a guest.
pub struct Options<'a> {
    /// The monitor's executable.
    pub program: &'a Path,
    /// When to end the guest.
    pub timeout: Duration,
    /// Which log messages to show.
    pub level: LogLevel,
    /// Whether to show where they come from.
    pub verbose: bool,
    /// What the log is read with.
    pub symbols: Option<&'a log::Symbols>,
    /// Where to keep the raw console and log.
    pub keep: Option<&'a Path>,
    /// What the monitor calls the disks that it does not call by their serials: serial and name.
    pub names: &'a BTreeMap<String, String>,
    /// Whether standard input goes to the guest's serial port.
    pub is_interactive: bool,
    /// Whether someone asked the tool to end.
    pub interrupt: &'a Interrupt,
}

/// Runs a machine to its end. `output` gets the guest command's standard output and the moment
/// at which it came; everything else goes to standard error.
///
/// # Errors
/// The monitor cannot be started, and those of the guest.
pub fn run(launch: &Launch, options: &Options<'_>, output: &mut Output<'_>) -> Result<Report> {
    let listener = launch.log_socket.as_deref().map(listen).transpose()?;
    let over = AtomicBool::new(false);
    let typing = Typing::default();
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let _over = SetOnDrop(&over);
        let started = Instant::now();
        let _typing = SetOnDrop(&typing.is_over);
        let mut child = start(launch, options)?;
        let pipes = child.pipes();
        if options.is_interactive {
            let (typing, stdin) = (&typing, pipes.stdin.take());
            scope.spawn(move || typing.run(stdin));
        }
        let (stdout, stderr) = (pipes.stdout.take(), pipes.stderr.take());
        let keep = |name: &str| options.keep.map(|dir| dir.join(name));
        let (console_file, log_file) = (keep("console.bin"), keep("log.bin"));
        let console_sender = sender.clone();
        scope.spawn(move || read_console(stdout, console_file, &console_sender));
        let monitor_sender = sender.clone();
        scope.spawn(move || read_monitor(stderr, &monitor_sender));
        if let Some(listener) = listener {
            let decoder = options
                .symbols
                .map(|symbols| log::Decoder::new(symbols, options.level, options.verbose));
            let over = &over;
            scope.spawn(move || read_log(&listener, over, decoder, log_file, &sender));
        } else {
            drop(sender);
        }
        let may_type = &typing.may_begin;
        let run = Run { options, monitor: launch.monitor, started, over: &over, may_type };
        Watch::new(run, &mut child, receiver).run(output)
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn start(launch: &Launch, options: &Options<'_>) -> Result<Child> {
    launch.prepare()?;
    let mut command = bound_command(options.program.as_os_str());
    command.args(&launch.arguments).args(launch.monitor.facts().apart);
    command.stdin(if options.is_interactive { Stdio::piped() } else { Stdio::null() });
    Child::spawn({
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    })
}

fn listen(path: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Keeps the commands that boot the machine by hand where the run is kept.
pub fn keep_script(dir: &Path, program: &Path, launch: &Launch) -> Result<()> {
    let file = dir.join("boot.sh");
    fs::write(&file, format!("{}\n", launch.script(program, false)))
        .with_context(|| file.display().to_string())
}
