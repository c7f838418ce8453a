//! A command line cut into words, and the quoting that brings a word through it.
//!
//! Always: [`words`] of quoted words, joined by blanks, are these words again.
//!
//! ASCII white space separates words. Double quotes group, also in the middle of a word; a
//! backslash takes the next character as it is, inside quotes and out. `""` is an empty word.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::ConfigError;

/// Words that begin so, unquoted, are the machine's own: QEMU's microvm appends one for each
/// device at the very end of the line, behind the command; Firecracker adds them before it.
const MACHINE: &str = "virtio_mmio.device=";

fn is_the_machines(word: &str) -> bool {
    word.starts_with(MACHINE)
}

/// A word as it stands on the line, with its quotes and backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawWord<'l> {
    /// The word.
    pub text: &'l str,
    /// The byte of the line at which it begins.
    pub at: usize,
    /// Whether it has neither quotes nor backslashes.
    pub bare: bool,
}

/// The words of a line as they stand there, those of the machine among them. One whose quote is
/// not closed reaches as far as the line.
#[derive(Clone, Debug)]
pub struct RawWords<'l> {
    /// Bytes of the line.
    bytes: usize,
    /// What is left of it.
    rest: &'l str,
}

impl<'l> RawWords<'l> {
    /// The words of `line`.
    pub fn new(line: &'l str) -> Self {
        Self { bytes: line.len(), rest: line }
    }
}

impl<'l> Iterator for RawWords<'l> {
    type Item = RawWord<'l>;

    /// All bytes that are looked for are ASCII, which no part of another character is.
    fn next(&mut self) -> Option<RawWord<'l>> {
        let line = self.rest.trim_ascii_start();
        let (mut bare, mut quoted, mut escaped) = (true, false, false);
        let mut len: usize = 0;
        for byte in line.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => (escaped, bare) = (true, false),
                b'"' => (quoted, bare) = (!quoted, false),
                byte if !quoted && byte.is_ascii_whitespace() => break,
                _ => {}
            }
            len = len.saturating_add(1);
        }
        let (text, rest) = line.split_at_checked(len).filter(|(text, _)| !text.is_empty())?;
        self.rest = rest;
        Some(RawWord { text, at: self.bytes.saturating_sub(line.len()), bare })
    }
}

/// The words of a line, without those of the machine. An error is
/// [`ConfigError::OpenQuote`] or [`ConfigError::Backslash`].
#[derive(Clone, Debug)]
pub struct Words<'l>(RawWords<'l>);

impl<'l> Words<'l> {
    /// The words of `line`.
    pub fn new(line: &'l str) -> Self {
        Self(RawWords::new(line))
    }
}

impl<'l> Iterator for Words<'l> {
    type Item = Result<Cow<'l, str>, ConfigError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let RawWord { text, at, bare } = self.0.next()?;
            if !bare {
                return Some(unquoted(text, at).map(Cow::Owned));
            }
            if !is_the_machines(text) {
                return Some(Ok(Cow::Borrowed(text)));
            }
        }
    }
}

/// All [`Words`] of a line.
///
/// # Errors
/// [`ConfigError::OpenQuote`] and [`ConfigError::Backslash`].
pub fn words(line: &str) -> Result<Vec<String>, ConfigError> {
    Words::new(line).map(|word| word.map(Cow::into_owned)).collect()
}

/// What a word that begins at byte `start` of its line means.
fn unquoted(raw: &str, start: usize) -> Result<String, ConfigError> {
    let mut word = String::with_capacity(raw.len());
    let mut quote = None;
    let mut chars = raw.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => {
                let (_, escaped) = chars.next().ok_or(ConfigError::Backslash)?;
                word.push(escaped);
            }
            '"' => quote = if quote.is_some() { None } else { Some(start.saturating_add(at)) },
            _ => word.push(char),
        }
    }
    quote.map_or(Ok(word), |at| Err(ConfigError::OpenQuote { at }))
}

/// `word` as it must stand on a command line to be read as this one word.
///
/// A zero byte comes through [`words`], but ends the line for most machines.
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
