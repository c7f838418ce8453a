//! What a run of a guest showed, and whether it passed.
//!
//! Always: the verdict decides. A status of the monitor can contradict it, and alone is never enough
//! to pass.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::boot::monitor::{Monitor, qemu};
use crate::boot::verdict::Verdict;
use crate::timeline::Sent;

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
    /// Returns how a monitor that gave `status` ended.
    pub fn of(status: ExitStatus, monitor: Monitor) -> Self {
        match status.code() {
            Some(code) if !monitor.facts().has_statuses => Self::Other(code),
            Some(qemu::STATUS_PASSED) => Self::Passed,
            Some(qemu::STATUS_FAILED) => Self::Failed,
            Some(qemu::STATUS_PANICKED) => Self::Panicked,
            Some(qemu::STATUS_EXCEPTION) => Self::Exception,
            Some(code) => Self::Other(code),
            None => Self::Signal(status.signal().expect("what ended has a status or a signal")),
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
    /// What the guest sent of its timeline before its verdict.
    pub timeline: Sent,
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
    /// The disks whose files somebody wrote into meanwhile.
    pub changed: Vec<String>,
}

impl Report {
    /// Whether the verdict's own words say why the guest did not pass.
    pub fn verdict_explains(&self) -> bool {
        self.ending != Ending::Passed
            && self.verdict.as_ref().is_some_and(|verdict| !verdict.passed)
    }

    /// An error unless the guest passed, and read what was there at the start; says why not.
    pub fn judge(&self) -> Result<()> {
        self.judge_guest()?;
        if let [changed, ..] = &self.changed[..] {
            bail!(
                "{changed} changed while the guest read it, so that what came before this line may be of \
                 two contents: put another file in its place (mv), and never write into it"
            );
        }
        Ok(())
    }

    /// An error unless the guest passed; says why it did not. The verdict decides. A status can
    /// contradict a verdict only where the monitor has one for that, and alone it is never enough
    /// to pass.
    fn judge_guest(&self) -> Result<()> {
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
    match verdict {
        Some(verdict) if !verdict.reason.is_empty() => format!(": {}", verdict.reason),
        _ => String::new(),
    }
}
