//! What a guest sent of its timeline, as far as it is kept.
//!
//! Always: memory is bounded, whatever comes: a guest that sends more than any guest has is known
//! to have done so, and nothing of it is kept.

use std::fmt;

/// Events of a boot at most. A guest keeps 65,536.
pub const EVENTS_MAX: usize = 200_000;
/// Bytes of a boot at most. The longest timeline of a guest takes about 10 MiB.
pub const BYTES_MAX: usize = 32 << 20;

/// The payloads of a boot, each whole lines.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    payloads: Vec<Vec<u8>>,
    events: usize,
    bytes: usize,
}

/// A timeline that is longer than any guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = BYTES_MAX >> 20;
        write!(f, "its timeline has more than {EVENTS_MAX} events or {mib} MiB: no guest's has")
    }
}

impl std::error::Error for TooLong {}

impl Sent {
    /// Takes a payload. One that is too much is dropped with all others.
    pub fn push(&mut self, payload: &[u8]) {
        let lines = payload.split(|byte| *byte == b'\n');
        self.events += lines.filter(|line| line.starts_with(b"event ")).count();
        self.bytes += payload.len();
        if self.is_too_long() {
            self.payloads = Vec::new();
        } else {
            self.payloads.push(payload.to_vec());
        }
    }

    /// Returns whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Returns the payloads.
    ///
    /// # Errors
    /// `TooLong`, if they are more than are kept.
    pub fn payloads(&self) -> Result<impl Iterator<Item = &[u8]>, TooLong> {
        if self.is_too_long() {
            return Err(TooLong);
        }
        Ok(self.payloads.iter().map(Vec::as_slice))
    }

    fn is_too_long(&self) -> bool {
        self.events > EVENTS_MAX || self.bytes > BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_events_than_any_guest_has_are_not_kept() {
        let payload = b"event 1\nevent 2\n".as_slice();
        let mut sent = Sent::default();
        assert!(sent.is_empty());
        (0..EVENTS_MAX / 2).for_each(|_| sent.push(payload));
        assert_eq!(sent.payloads().unwrap().count(), EVENTS_MAX / 2);
        sent.push(b"end 9\n");
        assert!(sent.payloads().is_ok(), "other lines are no events");
        sent.push(payload);
        assert_eq!(sent.payloads().err(), Some(TooLong));
        assert!(sent.payloads.capacity() == 0 && !sent.is_empty());
    }

    #[test]
    fn bytes_are_bounded_by_themselves() {
        let mut sent = Sent::default();
        (0..32).for_each(|_| sent.push(&[b'x'; 1 << 20]));
        assert!(sent.payloads().is_ok());
        sent.push(b"x");
        assert_eq!(sent.payloads().err(), Some(TooLong));
        assert!(TooLong.to_string().contains("200000 events or 32 MiB"));
    }
}
