//! Conversions between lengths, and the error for states that cannot be: the only place with `as`.
//!
//! Always: a conversion loses nothing, or its name says which bits remain. A value from a disk is
//! converted only by a checked function; a value that was proved elsewhere and is wrong becomes a
//! [`Bug`], never a default.

use core::fmt;
use core::panic::Location;

const _: () = assert!(usize::BITS == 32 || usize::BITS == 64, "lengths of 32 or 64 bits");

/// Returns `len` in 64 bits.
#[expect(clippy::as_conversions, reason = "usize has at most 64 bits, as asserted above")]
pub const fn wide(len: usize) -> u64 {
    len as u64
}

/// Returns `n` as the length of a buffer or an index into one.
#[expect(clippy::as_conversions, reason = "usize has at least 32 bits, as asserted above")]
pub const fn index(n: u32) -> usize {
    n as usize
}

/// Returns `n`, or `max` if that is less: the part of a buffer that a length of 64 bits takes.
#[expect(clippy::as_conversions, reason = "the value is below `max`, which is a usize")]
pub const fn clip(n: u64, max: usize) -> usize {
    if n < wide(max) { n as usize } else { max }
}

/// Returns `n`, or the largest number of 64 bits if that is less: a limit that no count reaches.
#[expect(clippy::as_conversions, reason = "the value fits, as compared; widening")]
pub const fn clip64(n: u128) -> u64 {
    if n < u64::MAX as u128 { n as u64 } else { u64::MAX }
}

/// Returns `n` in 32 bits, in a constant too.
#[expect(clippy::as_conversions, reason = "widening")]
pub const fn wide8(n: u8) -> u32 {
    n as u32
}

/// Returns the lowest 8 bits of `n`.
#[expect(clippy::as_conversions, reason = "the mask leaves 8 bits")]
pub const fn low8(n: u32) -> u8 {
    (n & 0xff) as u8
}

/// Returns the lowest 16 bits of `n`.
#[expect(clippy::as_conversions, reason = "the mask leaves 16 bits")]
pub const fn low16(n: u32) -> u16 {
    (n & 0xffff) as u16
}

/// Returns the lowest 64 bits of `n`.
#[expect(clippy::as_conversions, reason = "the mask leaves 64 bits")]
pub const fn low64(n: u128) -> u64 {
    (n & 0xffff_ffff_ffff_ffff) as u64
}

/// Returns the lowest 32 bits of `n`.
#[expect(clippy::as_conversions, reason = "the mask leaves 32 bits")]
pub const fn low32(n: u64) -> u32 {
    (n & 0xffff_ffff) as u32
}

/// A fault of this code: the line that noticed a state that cannot be.
///
/// Neither a device nor an image can cause one. Please report it with the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug(&'static Location<'static>);

impl Bug {
    /// Returns the bug with the caller's line.
    #[cold]
    #[track_caller]
    pub const fn here() -> Self {
        Self(Location::caller())
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a bug in rootlet, at {}", self.0)
    }
}

impl core::error::Error for Bug {}

/// Returns `n` as the length of a buffer.
///
/// # Errors
/// A [`Bug`] if no buffer is that long.
#[track_caller]
pub fn narrow(n: u64) -> Result<usize, Bug> {
    usize::try_from(n).ok().or_bug()
}

/// An option that must have a value.
pub trait OrBug<T> {
    /// Returns the value, or a [`Bug`] with the caller's line.
    fn or_bug(self) -> Result<T, Bug>;
}

impl<T> OrBug<T> for Option<T> {
    #[track_caller]
    fn or_bug(self) -> Result<T, Bug> {
        match self {
            Some(value) => Ok(value),
            None => Err(Bug::here()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_length_is_clipped_to_its_buffer() {
        for (n, max, len) in [(0, 0, 0), (1, 0, 0), (7, 8, 7), (8, 8, 8), (u64::MAX, 8, 8)] {
            assert_eq!(clip(n, max), len, "{n} of {max}");
        }
    }

    #[test]
    fn a_limit_of_more_than_64_bits_is_the_largest_of_them() {
        let most = u128::from(u64::MAX);
        for (n, limit) in [(0, 0), (most - 1, u64::MAX - 1), (most, u64::MAX), (most + 1, u64::MAX)]
        {
            assert_eq!(clip64(n), limit, "{n}");
        }
    }

    #[test]
    fn low_bits_are_cut_off() {
        assert_eq!((low8(0x123), wide8(0xff)), (0x23, 0xff));
        assert_eq!((low16(0x1_2345), low32(0x1_2345_6789)), (0x2345, 0x2345_6789));
        assert_eq!((low16(u32::MAX), low32(u64::MAX)), (u16::MAX, u32::MAX));
    }

    #[test]
    fn a_bug_names_the_line_that_noticed_it() {
        let bug = None::<u8>.or_bug().err().unwrap().to_string();
        assert!(bug.contains("num.rs:"), "{bug}");
        assert_eq!((Some(1).or_bug(), narrow(7)), (Ok(1), Ok(7)));
    }
}
