//! Texts as devices and loaders have them, and those that go out without an allocation.
//!
//! Always: what is returned lies in what was given; a message is whole characters.

use core::fmt;

use rootlet_guest::frame::PAYLOAD_BYTES_MAX;

/// Returns the bytes before the first zero; all of them where there is none.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(bytes)
}

/// Returns the number that a loader wrote, in the base that `0x` or its absence says.
pub(crate) fn number(text: &str) -> Option<usize> {
    match text.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A text of bounded length, cut after a character where it is full; made without allocating.
#[derive(Default)]
pub struct Message(heapless::String<PAYLOAD_BYTES_MAX>);

impl Message {
    /// Returns an empty message.
    pub const fn new() -> Self {
        Self(heapless::String::new())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.capacity() - self.0.len();
        let taken = &text[..text.floor_char_boundary(room)];
        // It fits: that much room is left.
        self.0.push_str(taken).map_err(|_| fmt::Error)?;
        if taken.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;

    #[test]
    fn message_that_is_full_ends_with_a_whole_character() {
        for start in ["", "x"] {
            let mut message = Message::new();
            let text = "\u{e9}".repeat(PAYLOAD_BYTES_MAX);
            assert!(write!(message, "{start}{text}").is_err());
            let room = PAYLOAD_BYTES_MAX - start.len();
            assert_eq!(message.as_str(), format!("{start}{}", "\u{e9}".repeat(room / 2)));
        }
    }

    #[test]
    fn text_ends_before_its_first_zero() {
        assert_eq!(until_zero(b"ab\0c\0"), b"ab");
        assert_eq!(until_zero(b"abc"), b"abc");
        assert_eq!(until_zero(b""), b"");
    }
}
