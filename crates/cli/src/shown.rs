//! A path of an image as a person reads it.
//!
//! Always: no control character and no stray byte reaches the terminal.

use std::fmt::Write;

/// The path with control characters and bytes that are not UTF-8 escaped.
pub fn shown(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{}", chunk.invalid().escape_ascii());
    }
    if text.is_empty() { "/".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_move_the_cursor_are_escaped() {
        assert_eq!(shown("/ä\x1b[2J".as_bytes()), "/ä\\u{1b}[2J");
        assert_eq!(shown(b"/\xff"), "/\\xff");
        assert_eq!(shown(b""), "/");
    }
}
