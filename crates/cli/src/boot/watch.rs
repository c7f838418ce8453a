//! Watching a guest that runs: its words are shown; its verdict or its deadline ends it.
//!
//! Always: nothing that a guest writes after its verdict counts; the monitor is gone when a watch
//! ends well.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::child::Child;
use super::console::Said;
use super::guest::Options;
use super::monitor::Monitor;
use super::readers::Event;
use super::report::{Ending, Report};
use super::verdict::Verdict;
use crate::exit;
use crate::output;
use crate::progress::Progress;
use crate::timeline::Sent;

/// How many of the last lines are shown when a guest did not end well.
const TAIL_LINES: usize = 8;
/// How often the tool looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long a monitor may take to end after its guest's verdict, or after it closed its output.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Receives the standard output of a guest's command, and when it came.
pub type Output<'o> = dyn FnMut(&[u8], Instant) -> Result<()> + 'o;

/// A run that is under way.
pub struct Run<'a> {
    /// How it was asked for.
    pub options: &'a Options<'a>,
    /// The monitor.
    pub monitor: Monitor,
    /// When the monitor was started.
    pub started: Instant,
    /// Set when nothing more comes on the console.
    pub over: &'a AtomicBool,
    /// Set when the guest has spoken.
    pub may_type: &'a AtomicBool,
}

/// The tool's side of a running guest.
pub struct Watch<'a> {
    run: Run<'a>,
    child: &'a mut Child,
    receiver: Receiver<Event>,
    progress: Progress,
    deadline: Instant,
    /// The last lines of everything that was said.
    tail: VecDeque<String>,
    verdict: Option<Verdict>,
    timeline: Sent,
    first_output: Option<Duration>,
    monitor_said: VecDeque<String>,
    /// How the monitor ended, and when after its start.
    ended: Option<(ExitStatus, Duration)>,
}

impl<'a> Watch<'a> {
    /// Returns a watch over `child`, from which `receiver` has what is read.
    pub fn new(run: Run<'a>, child: &'a mut Child, receiver: Receiver<Event>) -> Self {
        let progress = Progress::of_waiting(format!("a guest under {}", run.monitor.name()));
        Self {
            deadline: run.started + run.options.timeout,
            run,
            child,
            receiver,
            progress,
            tail: VecDeque::new(),
            verdict: None,
            timeline: Sent::default(),
            first_output: None,
            monitor_said: VecDeque::new(),
            ended: None,
        }
    }

    /// Watches to the end, and returns what the guest showed.
    ///
    /// # Errors
    /// Status 124: the guest did not end in time. Status 130: someone asked the tool to end. Those of
    /// `output`.
    pub fn run(mut self, output: &mut Output<'_>) -> Result<Report> {
        loop {
            self.run.options.interrupt.check()?;
            self.progress.touch();
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && (self.ended.is_none() || self.verdict.is_none()) {
                self.end_late()?;
                continue;
            }
            let pause = if self.ended.is_some() { TICK } else { left.min(TICK) };
            match self.receiver.recv_timeout(pause) {
                Ok(Event::Said(said, at)) => self.hear(said, at, output)?,
                Ok(Event::Log(line)) => self.show(&line),
                Ok(Event::Monitor(line)) => {
                    self.show(&format!("{}: {line}", self.name()));
                    keep_last(&mut self.monitor_said, line);
                }
                Ok(Event::ConsoleEnded) => {
                    self.end()?;
                    self.run.over.store(true, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.report(),
            }
        }
    }

    /// Takes what came on the console.
    fn hear(&mut self, said: Said, at: Instant, output: &mut Output<'_>) -> Result<()> {
        if !matches!(said, Said::Noise(_)) {
            self.run.may_type.store(true, Ordering::Relaxed);
        }
        match said {
            Said::Output(_) if self.verdict.is_some() => {
                if self.ended.is_none() {
                    self.show(&format!("{} starts its guest again, and is ended", self.name()));
                    self.stop()?;
                }
            }
            Said::Output(bytes) => {
                self.first_output.get_or_insert(at.duration_since(self.run.started));
                self.remember(&String::from_utf8_lossy(&bytes));
                self.progress.came(bytes.len() as u64);
                self.progress.suspend(|| output(&bytes, at))?;
            }
            Said::Error(bytes) => {
                let text = renamed(&String::from_utf8_lossy(&bytes), self.run.options.names);
                self.remember(&text);
                self.progress.suspend(|| output::told(text.as_bytes()));
            }
            // What is on the line now is the kernel's that has the machine.
            Said::Noise(line) if self.is_handed_over() => {
                self.first_output.get_or_insert(at.duration_since(self.run.started));
                self.remember(&line);
                self.progress.suspend(|| output(format!("{line}\n").as_bytes(), at))?;
            }
            Said::Noise(line) => self.show(&line),
            Said::Timeline(_) if self.verdict.is_some() => {}
            Said::Timeline(payload) => self.timeline.push(&payload),
            Said::Verdict(said) => {
                // A guest that fails while it ends has failed.
                if !said.passed || self.verdict.is_none() {
                    let reason = renamed(&said.reason, self.run.options.names);
                    self.verdict = Some(Verdict { reason, ..said });
                }
                if !self.is_handed_over() {
                    self.deadline = self.deadline.min(Instant::now() + END_PATIENCE);
                }
            }
        }
        Ok(())
    }

    /// Returns what the guest showed, once the monitor has ended.
    fn report(mut self) -> Result<Report> {
        let (status, total) = self.end()?;
        Ok(Report {
            ending: Ending::of(status, self.run.monitor),
            verdict: self.verdict,
            timeline: self.timeline,
            monitor: self.run.monitor,
            started: self.run.started,
            first_output: self.first_output,
            total,
            monitor_said: self.monitor_said.into_iter().collect::<Vec<_>>().join(" / "),
            changed: Vec::new(),
        })
    }

    /// Returns whether the guest has given its machine to a kernel.
    fn is_handed_over(&self) -> bool {
        self.verdict.as_ref().is_some_and(Verdict::is_handover)
    }

    fn name(&self) -> &'static str {
        self.run.monitor.name()
    }

    /// Waits until the monitor ends, which has closed its output; ends it where that takes too long.
    fn end(&mut self) -> Result<(ExitStatus, Duration)> {
        if let Some(ended) = self.ended {
            return Ok(ended);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.child.wait_for(END_PATIENCE.min(left))? {
            Some(status) => Ok(*self.ended.insert((status, self.run.started.elapsed()))),
            None => self.stop(),
        }
    }

    /// Ends the monitor.
    fn stop(&mut self) -> Result<(ExitStatus, Duration)> {
        let status = self.child.stop()?;
        Ok(*self.ended.insert((status, self.run.started.elapsed())))
    }

    /// Ends the monitor of a guest whose time is over.
    ///
    /// # Errors
    /// Status 124: the guest has given no verdict.
    fn end_late(&mut self) -> Result<()> {
        let has_ended = self.verdict.is_some() && !self.is_handed_over();
        if has_ended {
            self.show(&format!("{} did not end with its guest, and is ended", self.name()));
        }
        self.stop()?;
        if has_ended {
            return Ok(());
        }
        let mut text = format!("the guest did not end within {:?}", self.run.options.timeout);
        if self.tail.is_empty() {
            text.push_str(", and wrote nothing");
        } else {
            text.push_str("; the last lines that it wrote:");
            for line in &self.tail {
                text.push_str(&format!("\n  {line}"));
            }
        }
        Err(exit::stop(exit::TIMEOUT, text))
    }

    fn show(&mut self, line: &str) {
        let line = renamed(line, self.run.options.names);
        self.remember(&line);
        self.progress.suspend(|| output::notice(format_args!("{line}")));
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
