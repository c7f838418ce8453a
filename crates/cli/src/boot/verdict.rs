//! The last line of a run: passed or failed, and the counters.
//!
//! Always: parsing keeps every pair in its order, known or not, so that a newer guest loses
//! nothing in an older tool.

use std::fmt::Write;

use crate::size::human;

/// A guest's verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the guest reports that its command succeeded.
    pub passed: bool,
    /// Why not, or a remark.
    pub reason: String,
    /// The counters: name and value.
    pub counters: Vec<(String, String)>,
}

impl Verdict {
    /// Reads `PASS` or `FAIL`, a reason, and pairs `key=value` at the end of the line.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let (word, mut rest) = line.split_once(' ').unwrap_or((line, ""));
        let passed = match word {
            "PASS" => true,
            "FAIL" => false,
            _ => return None,
        };
        let mut counters = Vec::new();
        while let Some((before, key, value)) = last_pair(rest) {
            counters.push((key.to_string(), value.to_string()));
            rest = before;
        }
        counters.reverse();
        Some(Self { passed, reason: rest.trim().to_string(), counters })
    }

    /// The value of a counter that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.counters.iter().find(|(key, _)| key == name)?.1.parse().ok()
    }

    /// Returns whether the guest gave its machine to a kernel, and so runs on.
    pub fn is_handover(&self) -> bool {
        self.passed && self.counters.iter().any(|(key, _)| key == "handover")
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let mut line = String::from(if self.passed { "PASS" } else { "FAIL" });
        if !self.reason.is_empty() {
            line.push_str(&format!(" {}", self.reason));
        }
        for (at, (key, value)) in self.counters.iter().enumerate() {
            let gap = if at == 0 { "  " } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(line, "{gap}{}", spoken(key, value));
        }
        line
    }
}

/// Takes `key=value` off the end of `text`.
fn last_pair(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_end();
    let at = text.rfind(' ').map_or(0, |blank| blank + 1);
    let (key, value) = text[at..].split_once('=')?;
    let named = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    named.then_some((&text[..at], key, value))
}

/// A counter in words, its unit taken from the end of its name.
fn spoken(key: &str, value: &str) -> String {
    let number = value.parse::<u64>();
    let words = |name: &str| name.replace('_', " ");
    match (key.rsplit_once('_'), number) {
        (Some((name, "bytes")), Ok(bytes)) => format!("{} {}", words(name), human(bytes)),
        // A byte takes time: none was read.
        (Some(("first_byte", "us")), Ok(0)) => "no byte read".into(),
        (Some((name, "us")), Ok(us)) => format!("{} {:.1} ms", words(name), us as f64 / 1e3),
        _ => format!("{} {value}", words(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_with_counters_is_read_and_spoken() {
        let verdict = Verdict::parse("PASS reads=812 fetched_bytes=1048576 first_byte_us=5120\n");
        let verdict = verdict.unwrap();
        assert!(verdict.passed);
        assert_eq!(verdict.number("reads"), Some(812));
        assert_eq!(verdict.line(), "PASS  reads 812, fetched 1.0 MiB, first byte 5.1 ms");
    }

    #[test]
    fn first_byte_that_was_never_read_has_no_time() {
        let verdict = Verdict::parse("PASS reads=0 first_byte_us=0").unwrap();
        assert_eq!(verdict.line(), "PASS  reads 0, no byte read");
    }

    #[test]
    fn a_reason_may_hold_blanks_and_equals_signs() {
        let line = "FAIL corrupt image: Chunk=7 of nid 42 names slot 9 reads=3 hits=0";
        let verdict = Verdict::parse(line).unwrap();
        assert!(!verdict.passed);
        assert_eq!(verdict.reason, "corrupt image: Chunk=7 of nid 42 names slot 9");
        assert_eq!(verdict.counters.len(), 2);
    }

    #[test]
    fn unknown_pairs_are_kept_and_other_lines_are_no_verdict() {
        let verdict = Verdict::parse("PASS new_thing=abc").unwrap();
        assert_eq!(verdict.line(), "PASS  new thing abc");
        assert_eq!(Verdict::parse("PASS").unwrap().line(), "PASS");
        assert_eq!(Verdict::parse(""), None);
        assert_eq!(Verdict::parse("PASSED x=1"), None);
    }
}
