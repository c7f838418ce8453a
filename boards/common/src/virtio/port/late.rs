//! Devices that keep silent, go away or break their protocol: when that is noticed, and what
//! becomes of their requests.
//!
//! Always: a device that has requests is not reset, whatever it does. A monitor may wait inside the
//! reset for what is in flight; a device that breaks its protocol, or asks for a reset, has not said
//! that it touches memory no more; and one that is gone cannot be reset. Only a share
//! whose daemon was started anew is reset: its requests were the old daemon's, and ended with that.

use core::fmt;

use rootlet::storage::IoErrorKind;
use virtio_drivers::transport::Transport;

use super::Port;
use crate::trace;
use crate::virtio::blk;
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
    /// It is used no more for this reason, and keeps this much memory.
    Ended { fault: Fault, bytes: usize },
    /// A request failed, and it has another length in bytes than before.
    Length { was: u64, is: u64 },
}

/// Why a device is used no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It was pulled out.
    Removed,
    /// It says that it cannot continue.
    NeedsReset,
    /// The device gave back a request that it does not hold.
    Protocol,
    /// The daemon of a share was started anew. The share can be started again.
    Forgotten,
}

impl Fault {
    /// Returns the error that this fault is to the requests of the device.
    pub(super) fn kind(self) -> IoErrorKind {
        match self {
            Self::Removed | Self::NeedsReset => IoErrorKind::Gone,
            Self::Protocol => IoErrorKind::Protocol,
            Self::Forgotten => IoErrorKind::Forgotten,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Removed => "it is gone",
            Self::NeedsReset => "it cannot go on without a reset",
            Self::Protocol => "it gave back a request that it does not have",
            Self::Forgotten => "its daemon was started anew",
        }
    }
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
            Self::Ended { fault: fault @ Fault::Forgotten, bytes: 0 } => f.write_str(fault.why()),
            Self::Ended { fault, bytes } => {
                write!(f, "{}: not used any more", fault.why())?;
                match bytes {
                    0 => Ok(()),
                    _ => write!(f, ", and {bytes} bytes of memory are left with it"),
                }
            }
            Self::Length { was, is } => {
                write!(f, "has {is} bytes now, and had {was}: what it was made of has changed")
            }
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
    Stopped(Stopped, Fault),
    /// The device may do anything with the memory of its requests, which is never read again.
    Lost(Fault),
}

impl<T: Transport> Port<T> {
    /// Returns why the device takes no requests, if it does not.
    pub(crate) fn ended(&self) -> Option<IoErrorKind> {
        match self.state {
            State::Up => None,
            State::Late => Some(IoErrorKind::Timeout),
            State::Stopped(_, Fault::Forgotten) => Some(IoErrorKind::Forgotten),
            State::Stopped(..) | State::Lost(_) => Some(IoErrorKind::Gone),
        }
    }

    /// Returns why the device may write for ever to memory that its reader wants back, if it may.
    pub(crate) fn withholds(&self) -> Option<&'static str> {
        let why = match self.state {
            State::Up | State::Stopped(..) => return None,
            State::Late => "no answer before the deadline",
            State::Lost(fault) => fault.why(),
        };
        self.rings.each().any(Ring::has_borrowed).then_some(why)
    }

    /// Bytes of memory that the device keeps and nobody waits for.
    pub(crate) fn given_up_bytes(&self) -> usize {
        self.rings.each().map(Ring::given_up_bytes).sum()
    }

    /// Returns what came to light as requests were reaped.
    pub(crate) fn news(&mut self) -> Option<News> {
        self.news.take()
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
            self.fail(Fault::Removed);
            return self.news();
        }
        if self.device.needs_reset() {
            self.fail(Fault::NeedsReset);
            return self.news();
        }
        self.ask_if_silent(now_ns);
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

    /// Takes the device back: it is as good as any again.
    fn come_back(&mut self) -> Option<News> {
        self.state = State::Up;
        self.was_late = false;
        core::mem::replace(&mut self.is_told, false).then_some(News::Back)
    }

    /// Ends the use of a device, for good unless its daemon was started anew. Its requests are
    /// reaped with the fault's kind.
    pub(super) fn fail(&mut self, fault: Fault) {
        let stopped = match fault {
            Fault::Forgotten => self.device.stop(),
            _ => self.stop(),
        };
        let bytes = match stopped {
            Some(_) => 0,
            None => self.rings.each().map(Ring::flying_bytes).sum(),
        };
        trace::warn!(
            "device at {=u64:#x} with {=usize} requests in flight: {=str}",
            self.device.place.number(),
            self.rings.flying(),
            fault.why()
        );
        self.news = Some(News::Ended { fault, bytes });
        self.state = match stopped {
            Some(stopped) => State::Stopped(stopped, fault),
            None => State::Lost(fault),
        };
    }

    /// Makes the device touch no memory any more: resets a device that has no requests. Returns
    /// `None` if the device may still touch memory.
    pub(super) fn stop(&mut self) -> Option<Stopped> {
        if self.rings.flying() == 0 { self.device.stop() } else { self.device.gone() }
    }

    /// Looks at the length of a disk that failed a request.
    pub(super) fn doubt(&mut self) {
        // One whose configuration cannot be read has failed, and nothing more is known.
        let Ok(is) = blk::capacity_bytes(&self.device) else { return };
        let was = core::mem::replace(&mut self.bytes, is);
        if was != is {
            self.news = Some(News::Length { was, is });
        }
    }
}
