//! Boot entries (Boot Loader Specification, UAPI.1): one file an entry, or one unified kernel image.
//!
//! Always: an entry is read from its text alone; which one comes first never depends on the order
//! of a directory. Counters of tries are read, and nobody here changes them.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

/// How often an entry may be tried, as its file's name says (`NAME+LEFT-DONE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Tries that are left.
    pub left: u32,
    /// Tries that were made.
    pub done: u32,
}

/// A boot entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name of the file, without counters and suffix.
    pub id: String,
    /// The counters of tries, if the file's name has them.
    pub tries: Option<Tries>,
    /// The title for people.
    pub title: Option<String>,
    /// The version of the kernel.
    pub version: Option<String>,
    /// The identity of the installation.
    pub machine_id: Option<String>,
    /// What sorts entries of several systems.
    pub sort_key: Option<String>,
    /// The architecture, as `Arch::entry_name` has it.
    pub architecture: Option<String>,
    /// The kernel, or the unified image.
    pub linux: String,
    /// The initrds, in their order.
    pub initrds: Vec<String>,
    /// The command line.
    pub options: String,
}

/// Why a text is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// It is not UTF-8.
    Text,
    /// It names no kernel.
    NoKernel,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "not a text in UTF-8",
            Self::NoKernel => "it names no kernel: neither linux nor uki",
        })
    }
}

impl core::error::Error for EntryError {}

impl Entry {
    /// Returns an entry whose file has this name, without its suffix: `NAME`, `NAME+LEFT` or
    /// `NAME+LEFT-DONE`. A name with other signs after a `+` has no counters.
    pub fn named(stem: &str) -> Self {
        let counters = stem.rsplit_once('+').and_then(|(id, counters)| {
            let (left, done) = match counters.split_once('-') {
                Some((left, done)) => (number(left)?, number(done)?),
                None => (number(counters)?, 0),
            };
            Some((id, Tries { left, done }))
        });
        let (id, tries) = match counters {
            Some((id, tries)) => (id, Some(tries)),
            None => (stem, None),
        };
        Self { id: id.into(), tries, ..Self::default() }
    }

    /// Parses the text of an entry whose file has this name.
    ///
    /// # Errors
    /// [`EntryError`]. A key that is not known is none.
    pub fn parse(stem: &str, text: &[u8]) -> Result<Self, EntryError> {
        let text = core::str::from_utf8(text).map_err(|_| EntryError::Text)?;
        let mut entry = Self::named(stem);
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        for (key, value) in lines.filter_map(|line| line.split_once(char::is_whitespace)) {
            let value = value.trim();
            match key {
                "title" => entry.title = Some(value.into()),
                "version" => entry.version = Some(value.into()),
                "machine-id" => entry.machine_id = Some(value.into()),
                "sort-key" => entry.sort_key = Some(value.into()),
                "architecture" => entry.architecture = Some(value.to_ascii_lowercase()),
                "linux" | "uki" => entry.linux = value.into(),
                "initrd" => entry.initrds.push(value.into()),
                "options" => {
                    if !entry.options.is_empty() {
                        entry.options.push(' ');
                    }
                    entry.options.push_str(value);
                }
                _ => {}
            }
        }
        if entry.linux.is_empty() { Err(EntryError::NoKernel) } else { Ok(entry) }
    }

    /// Returns whether all tries of the entry have failed.
    pub fn is_bad(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }
}

/// Returns a number of digits alone.
fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Returns which of two entries comes first in a menu (UAPI.1, "Sorting").
pub fn order(one: &Entry, other: &Entry) -> Ordering {
    let newest_first = |one: &str, other: &str| compare_versions(other, one);
    let by_key = || match (&one.sort_key, &other.sort_key) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(key), Some(other_key)) => key
            .cmp(other_key)
            .then_with(|| one.machine_id.cmp(&other.machine_id))
            .then_with(|| match (&one.version, &other.version) {
                (Some(version), Some(other)) => newest_first(version, other),
                (version, other) => other.cmp(version),
            }),
    };
    one.is_bad()
        .cmp(&other.is_bad())
        .then_with(by_key)
        .then_with(|| newest_first(&one.id, &other.id))
        .then_with(|| other.id.cmp(&one.id))
}

/// Returns which of two versions is newer (UAPI.10, "Version Format Specification").
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    // Ends: each round takes a sign of one of them at least, or returns.
    'rounds: loop {
        (one, other) = (at_sign(one), at_sign(other));
        for (sign, ends_before) in [(b'~', false), (b'-', true), (b'^', true), (b'.', true)] {
            if ends_before && (one.is_empty() || other.is_empty()) {
                return one.len().min(1).cmp(&other.len().min(1));
            }
            let without = |text: &[u8]| text.first() != Some(&sign);
            match (without(one), without(other)) {
                (false, false) => {
                    (one, other) = (rest(one), rest(other));
                    continue 'rounds;
                }
                (true, true) => {}
                (one, other) => return one.cmp(&other),
            }
        }
        let is_digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let ordering = if is_digit(one) || is_digit(other) {
            let ((number, after), (other_number, other_after)) = (digits(one), digits(other));
            (one, other) = (after, other_after);
            number.len().cmp(&other_number.len()).then_with(|| number.cmp(other_number))
        } else {
            let ((word, after), (other_word, other_after)) = (letters(one), letters(other));
            (one, other) = (after, other_after);
            word.cmp(other_word)
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// Returns a text from its first sign on that counts.
fn at_sign(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.~^".contains(byte);
    let at = text.iter().position(counts).map_or(text.len(), |at| at);
    text.split_at(at).1
}

fn rest(text: &[u8]) -> &[u8] {
    text.split_first().map_or(text, |(_, rest)| rest)
}

/// Returns the digits that a text begins with, without leading zeros, and what follows.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let (digits, after) = split(text, u8::is_ascii_digit);
    (split(digits, |byte| *byte == b'0').1, after)
}

fn letters(text: &[u8]) -> (&[u8], &[u8]) {
    split(text, u8::is_ascii_alphabetic)
}

fn split(text: &[u8], is_in: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_in(byte)).map_or(text.len(), |end| end);
    text.split_at(end)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn entry_is_read_with_its_counters_and_all_its_options() {
        let text = b"# a comment\ntitle  Debian 12\nversion 6.1\nsort-key debian\narchitecture X64\n\
            linux /vmlinuz\ninitrd /a\ninitrd\t/b\noptions quiet\noptions root=/dev/vda ro\nfuture 1\n";
        let entry = Entry::parse("debian-6.1+3-1", text).unwrap();
        assert_eq!(
            (entry.id.as_str(), entry.tries),
            ("debian-6.1", Some(Tries { left: 3, done: 1 }))
        );
        assert_eq!(entry.title.as_deref(), Some("Debian 12"));
        assert_eq!(entry.architecture.as_deref(), Some("x64"));
        assert_eq!((entry.linux.as_str(), entry.initrds.len()), ("/vmlinuz", 2));
        assert_eq!(entry.options, "quiet root=/dev/vda ro");
        assert_eq!(Entry::parse("x", b"title y"), Err(EntryError::NoKernel));
        assert_eq!(Entry::parse("x", b"\xff"), Err(EntryError::Text));
    }

    #[test]
    fn names_with_other_signs_have_no_counters() {
        for (stem, id, tries) in [
            ("a+2", "a", Some(Tries { left: 2, done: 0 })),
            ("a+0-3", "a", Some(Tries { left: 0, done: 3 })),
            ("a+b", "a+b", None),
            ("a+", "a+", None),
            ("a+1-", "a+1-", None),
            ("a+-1", "a+-1", None),
            ("a+99999999999", "a+99999999999", None),
        ] {
            let entry = Entry::named(stem);
            assert_eq!((entry.id.as_str(), entry.tries), (id, tries), "{stem}");
        }
    }

    #[test]
    fn versions_are_ordered_as_the_specification_has_them() {
        // UAPI.10, "Examples".
        let rising = [
            "122.1~rc1",
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for pair in rising.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare_versions(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for (one, other) in [("11", "011"), ("1_2", "1_2"), ("a", "a"), ("", "_")] {
            assert_eq!(compare_versions(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn bad_entries_come_last_keyed_ones_first_and_the_newest_of_a_key_before_older() {
        let entry = |stem: &str, key: Option<&str>, version: Option<&str>| Entry {
            sort_key: key.map(Into::into),
            version: version.map(Into::into),
            ..Entry::named(stem)
        };
        let sorted = vec![
            entry("x", Some("a"), Some("2")),
            entry("y", Some("a"), Some("1")),
            entry("z", Some("b"), None),
            entry("k-6.10+1", None, None),
            entry("k-6.9", None, None),
            entry("w+0-3", Some("a"), Some("9")),
        ];
        let mut shuffled = sorted.clone();
        shuffled.reverse();
        shuffled.sort_by(order);
        assert_eq!(shuffled, sorted);
    }
}
