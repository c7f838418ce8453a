//! Devices that keep silent, go away or break their protocol: when that is noticed, and what it
//! means for what they hold.
//!
//! Always: a device is reset only if it answers, and answers wrongly.

use core::fmt;

use rootlet::storage::IoErrorKind;
use virtio_drivers::transport::Transport;

use super::Port;
use crate::trace;
use crate::virtio::device::Stopped;
use crate::virtio::ring::Ring;

/// How often a device that keeps silent is looked at.
const CHECK_NS: u64 = 1_000_000;
/// How long a device keeps silent before it is said, if its deadline is not sooner.
const SILENT_NS: u64 = 5_000_000_000;
/// What a look at a device shows that somebody should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It has not answered for this long.
    Silent { ns: u64 },
    /// It has met its deadline, and keeps this much memory.
    Late { ns: u64, bytes: usize },
    /// It answers again.
    Back,
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { ns } => write!(f, "no answer for {} s", ns / 1_000_000_000),
            Self::Late { ns, bytes } => {
                let seconds = ns / 1_000_000_000;
                write!(
                    f,
                    "no answer for {seconds} s: given up, and {bytes} bytes of memory with it"
                )
            }
            Self::Back => f.write_str("answers again"),
        }
    }
}

/// How far a device is to be used.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Up,
    /// It has requests past their deadline, and takes no other until it has given back all.
    Late,
    /// It touches no memory any more.
    Stopped(Stopped, IoErrorKind),
    /// It broke its protocol and does not reset: what it has is never looked at again.
    Lost(IoErrorKind),
}

impl<T: Transport> Port<T> {
    /// Why the device takes no requests, if it does not.
    pub(crate) fn ended(&self) -> Option<IoErrorKind> {
        match self.state {
            State::Up => None,
            State::Late => Some(IoErrorKind::Timeout),
            State::Stopped(..) | State::Lost(_) => Some(IoErrorKind::Gone),
        }
    }

    /// Why the device may write for ever to memory that its reader wants back, if it may.
    pub(crate) fn withholds(&self) -> Option<&'static str> {
        let why = match self.state {
            State::Up | State::Stopped(..) => return None,
            State::Late => "no answer before the deadline",
            State::Lost(_) => "it broke its protocol and does not reset",
        };
        self.rings.each().any(Ring::has_borrowed).then_some(why)
    }

    /// Bytes of memory that the device keeps and nobody waits for.
    pub(crate) fn given_up_bytes(&self) -> usize {
        self.rings.each().map(Ring::given_up_bytes).sum()
    }

    /// Looks whether the device is late, broken or gone. Cheap enough for a polling loop.
    pub(crate) fn check(&mut self, now_ns: u64) -> Option<News> {
        if !matches!(self.state, State::Up | State::Late)
            || self.rings.flying() == 0 && !self.is_told
            || now_ns < self.checked_ns + CHECK_NS
        {
            return None;
        }
        self.checked_ns = now_ns;
        if self.device.is_gone() {
            // Nobody writes to memory any more, so there is nothing to be reset.
            self.fail(IoErrorKind::Gone);
            return None;
        }
        if self.device.needs_reset() {
            self.fail(IoErrorKind::Gone);
            return None;
        }
        if let State::Late = self.state {
            return if self.rings.flying() == 0 { self.come_back() } else { None };
        }
        // One more look at what came back: the machine may have stood still until just now.
        let is_late = self.rings.each().any(|ring| ring.is_late(now_ns));
        let was_late = core::mem::replace(&mut self.was_late, is_late);
        let oldest_ns = self.rings.each().filter_map(Ring::oldest_ns).min();
        let ns = oldest_ns.map_or(0, |oldest_ns| now_ns - oldest_ns);
        if is_late && was_late {
            self.state = State::Late;
            self.is_told = true;
            let bytes = self.rings.each().map(Ring::flying_bytes).sum();
            return Some(News::Late { ns, bytes });
        }
        match (ns >= SILENT_NS, self.is_told) {
            (true, false) => {
                self.is_told = true;
                Some(News::Silent { ns })
            }
            (false, true) => self.come_back(),
            _ => None,
        }
    }

    /// The device is as good as any again.
    fn come_back(&mut self) -> Option<News> {
        self.state = State::Up;
        self.was_late = false;
        core::mem::replace(&mut self.is_told, false).then_some(News::Back)
    }

    /// Ends a device that answers, and answers wrongly: resets it for good. What was in flight is
    /// reaped with `kind`.
    pub(super) fn fail(&mut self, kind: IoErrorKind) {
        let why = match kind {
            IoErrorKind::Protocol => "it gave back what it does not have",
            _ => "it asked for it, or is gone",
        };
        trace::warn!(
            "device at {=u64:#x} reset with {=usize} requests in flight: {=str}",
            self.device.place.number(),
            self.rings.flying(),
            why
        );
        self.state = match self.device.stop() {
            Some(stopped) => State::Stopped(stopped, kind),
            None => State::Lost(kind),
        };
    }
}
