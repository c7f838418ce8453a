//! A guest from its start to its end: its monitor, its console, its log, its deadline.
//!
//! Always: the monitor is gone when [`run`] returns, however it returns; the order of what the
//! guest wrote is kept per channel; what waits to be shown is bounded; nothing that a guest writes
//! after its verdict counts.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::LogLevel;
use super::readers::{Event, read_console, read_log, read_monitor};
use crate::boot::child::{Child, bound_command};
use crate::boot::console::Said;
use crate::boot::log;
use crate::boot::monitor::{Launch, Monitor, qemu};
use crate::boot::verdict::Verdict;
use crate::exit;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// How many events may wait for the tool.
const EVENTS_MAX: usize = 256;
/// How many of the last lines are shown when a guest did not end well.
const TAIL_LINES: usize = 8;
/// How often the tool looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long a monitor may take to end after its guest's verdict, or after it closed its output.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest says that its command succeeded.
    Passed,
    /// The guest says that its command failed.
    Failed,
    /// The guest panicked.
    Panicked,
    /// The processor raised an exception.
    Exception,
    /// The monitor ended with this status, which says nothing of the guest.
    Other(i32),
    /// The monitor was ended by this signal.
    Signal(i32),
}

impl Ending {
    fn of(status: ExitStatus, monitor: Monitor) -> Self {
        match status.code() {
            Some(code) if !monitor.facts().has_statuses => Self::Other(code),
            Some(qemu::STATUS_PASSED) => Self::Passed,
            Some(qemu::STATUS_FAILED) => Self::Failed,
            Some(qemu::STATUS_PANICKED) => Self::Panicked,
            Some(qemu::STATUS_EXCEPTION) => Self::Exception,
            Some(code) => Self::Other(code),
            None => Self::Signal(status.signal().unwrap_or(0)),
        }
    }
}

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// How the machine ended.
    pub ending: Ending,
    /// The guest's last line.
    pub verdict: Option<Verdict>,
    /// What the guest sent of its timeline, in payloads of whole lines.
    pub timeline: Vec<Vec<u8>>,
    /// Who ran it.
    pub monitor: Monitor,
    /// When the monitor was started.
    pub started: Instant,
    /// From the start of the monitor to the first output of the guest command.
    pub first_output: Option<Duration>,
    /// From the start of the monitor to its end.
    pub total: Duration,
    /// The monitor's own last words.
    pub monitor_said: String,
}

impl Report {
    /// Whether the verdict's own words say why the guest did not pass.
    pub fn verdict_explains(&self) -> bool {
        self.ending != Ending::Passed
            && self.verdict.as_ref().is_some_and(|verdict| !verdict.passed)
    }

    /// An error unless the guest passed; says why it did not. The verdict decides. A status can
    /// contradict a verdict only where the monitor has one for that, and alone it is never enough
    /// to pass.
    pub fn judge(&self) -> Result<()> {
        let said = if self.monitor_said.is_empty() {
            String::new()
        } else {
            format!("; its last words: {}", self.monitor_said)
        };
        let name = self.monitor.name();
        match (self.ending, &self.verdict) {
            (Ending::Passed, Some(verdict)) if verdict.passed => Ok(()),
            (Ending::Passed, _) => {
                bail!("the guest ended as if it had passed, without a verdict that says so")
            }
            (Ending::Failed, Some(verdict)) if !verdict.passed => {
                bail!("the guest command failed: {}", verdict.reason)
            }
            (Ending::Failed, _) => {
                bail!("the guest ended as failed, without a verdict that says so")
            }
            (Ending::Other(_) | Ending::Signal(_), Some(verdict)) if verdict.passed => Ok(()),
            (Ending::Other(_) | Ending::Signal(_), Some(verdict)) => {
                bail!("the guest command failed: {}", verdict.reason)
            }
            (Ending::Panicked, verdict) => bail!("the guest panicked{}", reason(verdict)),
            (Ending::Exception, verdict) => {
                bail!("the processor raised an exception{}", reason(verdict))
            }
            (Ending::Other(0), None) => bail!(
                "the machine was reset or switched off without a verdict (a triple fault?){said}"
            ),
            (Ending::Other(1), None) => bail!("{name} could not run the machine{said}"),
            (Ending::Other(code), None) => {
                bail!("{name} ended with status {code}, and no guest of ours gives that{said}")
            }
            (Ending::Signal(number), None) => bail!("{name} was ended by signal {number}{said}"),
        }
    }
}

fn reason(verdict: &Option<Verdict>) -> String {
    let text = verdict.as_ref().map(|verdict| verdict.reason.as_str()).unwrap_or_default();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

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
    /// Whether someone asked the tool to end.
    pub interrupt: &'a Interrupt,
}

/// Runs a machine to its end. `output` gets the guest command's standard output and the moment
/// at which it came; everything else goes to standard error.
pub fn run(
    launch: &Launch,
    options: &Options<'_>,
    output: &mut dyn FnMut(&[u8], Instant) -> Result<()>,
) -> Result<Report> {
    let listener = launch.log_socket.as_deref().map(listen).transpose()?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let _over = SetOnDrop(&over);
        let started = Instant::now();
        let mut child = start(launch, options.program)?;
        let pipes = child.pipes();
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
        let tail = VecDeque::new();
        let monitor = launch.monitor;
        let child = &mut child;
        let over = &over;
        let progress = Progress::of_waiting(format!("a guest under {}", monitor.name()));
        Watch { child, receiver, options, started, over, tail, monitor, progress }.run(output)
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn start(launch: &Launch, program: &Path) -> Result<Child> {
    launch.prepare()?;
    let mut command = bound_command(program.as_os_str());
    command.args(&launch.arguments).args(launch.monitor.facts().apart).stdin(Stdio::null());
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

/// The tool's side of a running guest.
struct Watch<'a> {
    child: &'a mut Child,
    receiver: Receiver<Event>,
    options: &'a Options<'a>,
    started: Instant,
    over: &'a AtomicBool,
    tail: VecDeque<String>,
    monitor: Monitor,
    progress: Progress,
}

impl Watch<'_> {
    fn run(mut self, output: &mut dyn FnMut(&[u8], Instant) -> Result<()>) -> Result<Report> {
        let mut verdict: Option<Verdict> = None;
        let mut timeline = Vec::new();
        let mut first_output = None;
        let mut monitor_said = VecDeque::new();
        let mut ended = None;
        let mut deadline = self.started + self.options.timeout;
        loop {
            self.options.interrupt.check()?;
            self.progress.touch();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && verdict.is_none() {
                return Err(self.late()?);
            } else if left.is_zero() && ended.is_none() {
                self.show(&format!("{} did not end with its guest, and is ended", self.name()));
                ended = Some(self.stop()?);
                continue;
            }
            let pause = if ended.is_some() { TICK } else { left.min(TICK) };
            match self.receiver.recv_timeout(pause) {
                Ok(Event::Said(Said::Output(_), _)) if verdict.is_some() => {
                    if ended.is_none() {
                        self.show(&format!("{} starts its guest again, and is ended", self.name()));
                        ended = Some(self.stop()?);
                    }
                }
                Ok(Event::Said(Said::Output(bytes), at)) => {
                    first_output.get_or_insert(at.duration_since(self.started));
                    self.remember(&String::from_utf8_lossy(&bytes));
                    self.progress.suspend(|| output(&bytes, at))?;
                }
                Ok(Event::Said(Said::Error(bytes), _)) => {
                    let text = renamed(&String::from_utf8_lossy(&bytes), self.options.names);
                    self.remember(&text);
                    self.progress.suspend(|| tell(text.as_bytes()));
                }
                Ok(Event::Said(Said::Noise(line), _)) | Ok(Event::Log(line)) => self.show(&line),
                Ok(Event::Said(Said::Timeline(payload), _)) => timeline.push(payload),
                Ok(Event::Said(Said::Verdict(said), _)) => {
                    // A guest that fails while it ends has failed.
                    if !said.passed || verdict.is_none() {
                        let reason = renamed(&said.reason, self.options.names);
                        verdict = Some(Verdict { reason, ..said });
                    }
                    deadline = deadline.min(Instant::now() + END_PATIENCE);
                }
                Ok(Event::Monitor(line)) => {
                    self.show(&format!("{}: {line}", self.name()));
                    keep_last(&mut monitor_said, line);
                }
                Ok(Event::ConsoleEnded) => {
                    if ended.is_none() {
                        ended = Some(self.end(deadline)?);
                    }
                    self.over.store(true, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let (status, total) = match ended {
            Some(ended) => ended,
            None => self.end(deadline)?,
        };
        let monitor_said = monitor_said.into_iter().collect::<Vec<_>>().join(" / ");
        let (monitor, started) = (self.monitor, self.started);
        let ending = Ending::of(status, monitor);
        let report = Report {
            ending,
            verdict,
            timeline,
            monitor,
            started,
            first_output,
            total,
            monitor_said,
        };
        Ok(report)
    }

    fn name(&self) -> &'static str {
        self.monitor.name()
    }

    /// The end of the monitor after it closed its output.
    fn end(&mut self, deadline: Instant) -> Result<(ExitStatus, Duration)> {
        let patience = END_PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
        match self.child.wait_for(patience)? {
            Some(status) => Ok((status, self.started.elapsed())),
            None => self.stop(),
        }
    }

    /// Ends the monitor.
    fn stop(&mut self) -> Result<(ExitStatus, Duration)> {
        Ok((self.child.stop()?, self.started.elapsed()))
    }

    fn late(&mut self) -> Result<anyhow::Error> {
        self.child.stop()?;
        let mut text = format!("the guest did not end within {:?}", self.options.timeout);
        if self.tail.is_empty() {
            text.push_str(", and wrote nothing");
        } else {
            text.push_str("; the last lines that it wrote:");
            for line in &self.tail {
                text.push_str(&format!("\n  {line}"));
            }
        }
        Ok(exit::stop(exit::TIMEOUT, text))
    }

    fn show(&mut self, line: &str) {
        let line = renamed(line, self.options.names);
        self.remember(&line);
        self.progress.suspend(|| tell(format!("{line}\n").as_bytes()));
    }

    fn remember(&mut self, text: &str) {
        for line in text.lines() {
            keep_last(&mut self.tail, line.chars().take(200).collect());
        }
    }
}

fn keep_last(lines: &mut VecDeque<String>, line: String) {
    if lines.len() == TAIL_LINES {
        lines.pop_front();
    }
    lines.push_back(line);
}

/// The text with the serials of disks in the place of the names that the monitor gives them.
fn renamed(text: &str, names: &BTreeMap<String, String>) -> String {
    let mut text = text.to_string();
    for (serial, name) in names.iter().filter(|(_, name)| !name.is_empty()) {
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(name.as_str()) {
            let (before, from) = rest.split_at(at);
            let after = &from[name.len()..];
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            let whole = !digit(before.chars().next_back()) && !digit(after.chars().next());
            out.push_str(before);
            out.push_str(if whole { serial } else { name });
            rest = after;
        }
        out.push_str(rest);
        text = out;
    }
    text
}

/// Writes to standard error, which may be closed: then nothing is written.
fn tell(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

/// Keeps the commands that boot the machine by hand where the run is kept.
pub fn keep_script(dir: &Path, program: &Path, launch: &Launch) -> Result<()> {
    let file = dir.join("boot.sh");
    fs::write(&file, format!("{}\n", launch.script(program, false)))
        .with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_go_by_their_serials_whatever_the_monitor_calls_them() {
        let names = [("blob1", "6502401"), ("image", "65024012")];
        let names = names.map(|(serial, name)| (serial.into(), name.into())).into();
        for (said, shown) in [
            ("slot 1 6502401: 5 bytes, image 65024012", "slot 1 blob1: 5 bytes, image image"),
            ("165024012 x6502401", "165024012 x6502401"),
            ("6502401", "blob1"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(renamed(said, &names), shown);
        }
    }
}
