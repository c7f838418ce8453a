//! One boot on a rig, from its start to its verdict or to what came instead.
//!
//! Always: an attempt ends by its deadline; it passes only if hello, every frame and a verdict
//! PASS of one boot came.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failure::{Case, Failure, Kind};
use super::runner::Runner;
use super::serial::Port;
use super::session::{Counts, Said, Session};
use crate::boot::verdict::Verdict;
use crate::interrupt::Interrupt;
use crate::note;

/// How long a wait for bytes may take before other things are looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// How long a runner may take to end by itself after the verdict.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How long the last bytes of a runner that has ended may take, and the end of one that closed
/// its output.
const DRAIN_PATIENCE: Duration = Duration::from_millis(300);
/// How many lines of an attempt are kept for its report.
const TRANSCRIPT_LINES: usize = 400;

/// How boots are started and watched.
pub struct Rig<'a> {
    /// The command that starts one.
    pub runner: Option<&'a str>,
    /// Whether it gets a terminal.
    pub pty: bool,
    /// The port that carries the line, if the runner does not.
    pub port: Option<&'a Port>,
    /// Which board has to answer.
    pub board: Option<&'a str>,
    /// When an attempt ends.
    pub timeout: Duration,
    /// When it ends because nothing comes.
    pub silence: Duration,
    /// Whether someone asked the tool to end.
    pub interrupt: &'a Interrupt,
}

/// What an attempt showed.
#[derive(Debug, Default)]
pub struct Attempt {
    /// Why it did not pass.
    pub failure: Option<Failure>,
    /// The guest's last line.
    pub verdict: Option<Verdict>,
    /// The guest's hello, and when it came.
    pub hello: Option<(String, Duration)>,
    /// The guest command's standard output.
    pub output: Vec<u8>,
    /// What was counted on the wire.
    pub counts: Counts,
    /// The last lines of everything else.
    pub transcript: VecDeque<String>,
    /// From its start to its end.
    pub time: Duration,
}

impl Attempt {
    fn note(&mut self, line: &str) {
        note!("{line}");
        if self.transcript.len() == TRANSCRIPT_LINES {
            self.transcript.pop_front();
        }
        self.transcript.push_back(line.into());
    }

    fn hear(&mut self, said: Said, started: Instant) {
        match said {
            Said::Hello(text) => {
                self.note(&format!("hello     {text}"));
                self.hello.get_or_insert((text, started.elapsed()));
            }
            Said::Output(bytes) => self.output.extend_from_slice(&bytes),
            Said::Error(bytes) => {
                String::from_utf8_lossy(&bytes).lines().for_each(|line| self.note(line));
            }
            Said::Progress(text) => self.note(&format!("progress  {text}")),
            // `rootlet timeline` finds it in the log of the wire.
            Said::Timeline => {}
            Said::Noise(line) => self.note(&format!("line      {line}")),
            Said::Verdict(verdict) => self.verdict = Some(verdict),
        }
    }
}

/// Boots once. An error is the tool's own; what goes wrong with the rig is in the attempt.
pub fn run(rig: &Rig<'_>, variables: &[(&str, std::ffi::OsString)]) -> Result<Attempt> {
    let started = Instant::now();
    let mut attempt = Attempt::default();
    // First, so that nothing that the runner starts is missed.
    let port = match rig.port.map(Port::open).transpose() {
        Ok(port) => port,
        Err(error) => {
            attempt.failure = Some(Failure::new(Case::Boot, Kind::Port, format!("{error:#}")));
            return Ok(attempt);
        }
    };
    let runner = rig.runner.map(|line| Runner::start(line, variables, rig.pty)).transpose();
    let runner = match runner {
        Ok(runner) => runner,
        Err(error) => {
            attempt.failure = Some(Failure::new(Case::Boot, Kind::Runner, format!("{error:#}")));
            return Ok(attempt);
        }
    };
    let mut watch = Watch {
        rig,
        started,
        alive: started,
        port,
        runner,
        wire_open: true,
        session: Session::default(),
        attempt,
    };
    let failure = watch.run()?;
    watch.leave()?;
    let mut attempt = watch.attempt;
    attempt.counts = watch.session.counts;
    attempt.time = started.elapsed();
    attempt.failure = failure;
    Ok(attempt)
}

struct Watch<'a> {
    rig: &'a Rig<'a>,
    started: Instant,
    /// When the last sign of life came.
    alive: Instant,
    port: Option<File>,
    runner: Option<Runner>,
    wire_open: bool,
    session: Session,
    attempt: Attempt,
}

impl Watch<'_> {
    /// Watches until the verdict or what makes one impossible.
    fn run(&mut self) -> Result<Option<Failure>> {
        let mut over = None;
        loop {
            self.rig.interrupt.check()?;
            self.listen()?;
            if let Some(verdict) = self.attempt.verdict.clone() {
                return Ok(self.judge(&verdict));
            }
            if let Some(failure) = self.fault_of_wire() {
                return Ok(Some(failure));
            }
            let ended = self.runner.as_ref().is_some_and(Runner::has_ended);
            if ended || !self.wire_open {
                let since = *over.get_or_insert_with(Instant::now);
                if since.elapsed() > DRAIN_PATIENCE
                    && let Some(failure) = self.fault_of_end(ended)?
                {
                    return Ok(Some(failure));
                }
            }
            if self.started.elapsed() >= self.rig.timeout {
                let limit = self.rig.timeout.as_secs();
                return Ok(Some(self.late(Kind::Timeout, format!("no verdict within {limit} s"))));
            }
            if self.alive.elapsed() >= self.rig.silence {
                let limit = self.rig.silence.as_secs();
                return Ok(Some(self.late(Kind::Silence, format!("{limit} s of silence"))));
            }
        }
    }

    /// Waits a moment for bytes and takes those that are there.
    fn listen(&mut self) -> Result<()> {
        let runner = self.runner.as_ref();
        let pipes = [runner.and_then(|r| r.output.as_ref()), runner.and_then(|r| r.error.as_ref())];
        let files = self.port.iter().chain(pipes.into_iter().flatten());
        let mut waits: Vec<_> = files.map(|file| PollFd::new(file, PollFlags::IN)).collect();
        match poll(&mut waits, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(waits);
        let frames = self.session.counts.frames;
        let mut heard = false;
        let by_port = self.port.is_some();
        if let Some(bytes) = take(&mut self.port) {
            heard |= !bytes.is_empty();
            self.feed(&bytes);
        }
        if by_port && self.port.is_none() {
            self.wire_open = false;
        }
        let Some(mut runner) = self.runner.take() else {
            self.mark(heard, frames);
            return Ok(());
        };
        let had_output = runner.output.is_some();
        if let Some(bytes) = take(&mut runner.output) {
            heard |= !bytes.is_empty();
            if by_port || !self.wire_open { self.show(&bytes) } else { self.feed(&bytes) }
        }
        if !by_port && self.rig.port.is_none() && had_output && runner.output.is_none() {
            self.wire_open = false;
        }
        if let Some(bytes) = take(&mut runner.error) {
            heard |= !bytes.is_empty();
            self.show(&bytes);
        }
        self.runner = Some(runner);
        self.mark(heard, frames);
        Ok(())
    }

    /// Takes note of a sign of life: any byte before the hello, a frame after the hello.
    fn mark(&mut self, heard: bool, frames_before: u64) {
        let greeted = self.attempt.hello.is_some();
        if self.session.counts.frames > frames_before || heard && !greeted {
            self.alive = Instant::now();
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let (attempt, started) = (&mut self.attempt, self.started);
        self.session.feed(bytes, &mut |said| attempt.hear(said, started));
    }

    /// What the runner says beside the guest's line.
    fn show(&mut self, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.attempt.note(&format!("runner    {}", line.escape_debug()));
        }
    }

    fn judge(&self, verdict: &Verdict) -> Option<Failure> {
        let lost = self.session.counts.lost;
        if !verdict.passed {
            return Some(Failure::new(Case::Command, Kind::Verdict, verdict.reason.clone()));
        }
        (lost > 0).then(|| {
            let message = format!("{lost} frames were lost; --copies 2 or more may help");
            Failure::new(Case::Wire, Kind::Lost, message)
        })
    }

    fn fault_of_wire(&self) -> Option<Failure> {
        if self.session.counts.restarts > 0 {
            let message = "the guest started again before its verdict".into();
            return Some(Failure::new(Case::Command, Kind::Restart, message));
        }
        let (board, (hello, _)) = (self.rig.board?, self.attempt.hello.as_ref()?);
        let named = hello.split(' ').find_map(|word| word.strip_prefix("board="));
        (named != Some(board)).then(|| {
            let message = format!("expected the board {board}, and {hello} answered");
            Failure::new(Case::Boot, Kind::Board, message)
        })
    }

    /// Returns the failure if the runner has ended or the line is closed; `None` if the runner
    /// succeeded and the serial port is still open.
    fn fault_of_end(&mut self, ended: bool) -> Result<Option<Failure>> {
        if self.rig.port.is_some() && self.port.is_none() {
            return Ok(Some(self.late(Kind::Port, "the serial port is gone".into())));
        }
        if !ended {
            // It closed its output and runs on: nothing more can come.
            return Ok(Some(self.late(Kind::Runner, "the runner closed its output".into())));
        }
        let Some(runner) = &mut self.runner else { return Ok(None) };
        if self.rig.port.is_some() && runner.succeeded() {
            return Ok(None);
        }
        let status = runner.end()?;
        self.alive = Instant::now();
        Ok(Some(self.late(Kind::Runner, format!("the runner ended ({status}) before a verdict"))))
    }

    /// A failure in the middle of a boot, or before there was one.
    fn late(&self, kind: Kind, what: String) -> Failure {
        let Counts { bytes, stale, lost, .. } = self.session.counts;
        if self.attempt.hello.is_some() {
            let lost = if lost > 0 { format!("; {lost} frames were lost") } else { String::new() };
            let last = self.attempt.transcript.back().cloned().unwrap_or_default();
            return Failure::new(Case::Command, kind, format!("{what}{lost}; last: {last}"));
        }
        let why = match (bytes, stale) {
            (0, _) => "nothing came over the line: is it the right one?".into(),
            (_, 0) => format!(
                "{bytes} bytes came and no frame among them: another rate, or a guest without \
                 console=wire?"
            ),
            _ => format!("{stale} frames came, and their boot's first one was not seen"),
        };
        Failure::new(Case::Boot, kind, format!("{what}; {why}"))
    }

    /// Gives the runner time to end by itself, and ends it.
    fn leave(&mut self) -> Result<()> {
        if self.attempt.verdict.is_some() && self.rig.port.is_none() {
            let until = Instant::now() + END_PATIENCE;
            while self.runner.as_ref().is_some_and(|runner| !runner.has_ended())
                && Instant::now() < until
            {
                self.rig.interrupt.check()?;
                self.listen()?;
            }
        }
        if let Some(mut runner) = self.runner.take() {
            runner.end()?;
        }
        let (attempt, started) = (&mut self.attempt, self.started);
        self.session.finish(&mut |said| attempt.hear(said, started));
        Ok(())
    }
}

/// The bytes that are there; closes `file` at its end.
fn take(file: &mut Option<File>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.as_mut()?.read(&mut buffer) {
            Ok(count) if count > 0 => {
                buffer.truncate(count);
                return Some(buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal whose other end is closed gives an error, where a pipe has an end.
            Ok(_) | Err(_) => *file = None,
        }
    }
}
