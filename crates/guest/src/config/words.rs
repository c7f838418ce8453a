//! A command line cut into words, and the quoting that brings a word through.
//!
//! Always: [`words`] of quoted words, joined by blanks, returns these words.
//!
//! ASCII white space separates words. Double quotes group, also in the middle of a word; a
//! backslash takes the next character as it is, inside quotes and outside. `""` is an empty word.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::ConfigError;

/// How the machine's own words begin, if they are not quoted: QEMU's microvm appends one for each
/// device at the very end of the line, after the command; Firecracker adds them before it.
const MACHINE: &str = "virtio_mmio.device=";

fn is_the_machines(word: &str) -> bool {
    word.starts_with(MACHINE)
}

/// Returns the words of a line that the machine itself has put there: a kernel that is started out of
/// the image needs them, too.
pub fn machines_words(line: &str) -> impl Iterator<Item = &str> {
    let words = RawWords::new(line).filter(|word| word.bare && is_the_machines(word.text));
    words.map(|word| word.text)
}

/// A word as it stands on the line, with its quotes and backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWord<'l> {
    /// The word.
    pub text: &'l str,
    /// The byte of the line at which the word begins.
    pub at: usize,
    /// Whether the word has neither quotes nor backslashes.
    pub bare: bool,
}

/// The words of a line as they stand there, with those of the machine. A word whose quote is not
/// closed reaches to the end of the line.
#[derive(Clone, Debug)]
pub struct RawWords<'l> {
    /// The part of the line that is not read yet.
    rest: &'l str,
    /// Where that part begins, in bytes.
    at: usize,
}

impl<'l> RawWords<'l> {
    /// Returns the words of `line`.
    pub const fn new(line: &'l str) -> Self {
        Self { rest: line, at: 0 }
    }
}

impl<'l> Iterator for RawWords<'l> {
    type Item = RawWord<'l>;

    #[expect(clippy::arithmetic_side_effects, reason = "both sums are places in one text")]
    fn next(&mut self) -> Option<RawWord<'l>> {
        let blanks = self.rest.find(|char: char| !char.is_ascii_whitespace())?;
        let at = self.at + blanks;
        let (_, line) = self.rest.split_at(blanks);
        let (mut bare, mut quoted, mut escaped) = (true, false, false);
        let end = line.find(|char: char| {
            match char {
                _ if escaped => escaped = false,
                '\\' => (escaped, bare) = (true, false),
                '"' => (quoted, bare) = (!quoted, false),
                char => return !quoted && char.is_ascii_whitespace(),
            }
            false
        });
        let (text, rest) = end.map_or((line, ""), |end| line.split_at(end));
        (self.rest, self.at) = (rest, at + text.len());
        Some(RawWord { text, at, bare })
    }
}

/// The words of a line, without those of the machine. An error is
/// [`ConfigError::OpenQuote`] or [`ConfigError::Backslash`].
#[derive(Clone, Debug)]
pub struct Words<'l>(RawWords<'l>);

impl<'l> Words<'l> {
    /// Returns the words of `line`.
    pub const fn new(line: &'l str) -> Self {
        Self(RawWords::new(line))
    }
}

impl<'l> Iterator for Words<'l> {
    type Item = Result<Cow<'l, str>, ConfigError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = self.0.next()?;
            if !word.bare {
                return Some(unquoted(word).map(Cow::Owned));
            }
            if !is_the_machines(word.text) {
                return Some(Ok(Cow::Borrowed(word.text)));
            }
        }
    }
}

/// Returns all [`Words`] of a line.
///
/// # Errors
/// [`ConfigError::OpenQuote`] and [`ConfigError::Backslash`].
pub fn words(line: &str) -> Result<Vec<String>, ConfigError> {
    Words::new(line).map(|word| word.map(Cow::into_owned)).collect()
}

/// Returns what a word means, without its quotes and backslashes.
#[expect(clippy::arithmetic_side_effects, reason = "the sum is a place in the line")]
fn unquoted(raw: RawWord<'_>) -> Result<String, ConfigError> {
    let mut word = String::with_capacity(raw.text.len());
    let mut quote = None;
    let mut chars = raw.text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => {
                let (_, escaped) = chars.next().ok_or(ConfigError::Backslash)?;
                word.push(escaped);
            }
            '"' => quote = if quote.is_some() { None } else { Some(raw.at + at) },
            _ => word.push(char),
        }
    }
    quote.map_or(Ok(word), |at| Err(ConfigError::OpenQuote { at }))
}

/// Returns `word` in the form that a command line has to have for it to be read as this one word.
///
/// A zero byte comes through [`words`], but ends the line on most machines.
pub fn quote(word: &str) -> String {
    let plain = |char: char| !char.is_ascii_whitespace() && char != '"' && char != '\\';
    if !word.is_empty() && word.chars().all(plain) && !is_the_machines(word) {
        return String::from(word);
    }
    let mut out = String::from('"');
    for char in word.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}
