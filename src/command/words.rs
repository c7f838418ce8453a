//! A command line cut into words, and the quoting that brings a word through it.
//!
//! Always: [`words`] of quoted words, joined by blanks, are these words again.
//!
//! ASCII white space separates words. Double quotes group, also in the middle of a word; a
//! backslash takes the next character as it is, inside quotes and out. `""` is an empty word.

use alloc::string::String;
use alloc::vec::Vec;

use super::config::ConfigError;

/// Words that begin so, unquoted, are the machine's own: QEMU's microvm appends one for each
/// device at the very end of the line, behind the command; Firecracker adds them before it.
const MACHINE: &str = "virtio_mmio.device=";
/// Firecracker adds this one for a machine without PCI.
const MACHINE_WITHOUT_PCI: &str = "pci=off";

fn is_the_machines(word: &str) -> bool {
    word.starts_with(MACHINE) || word == MACHINE_WITHOUT_PCI
}

/// The words of a line, without those of the machine.
///
/// # Errors
/// [`ConfigError::OpenQuote`] and [`ConfigError::Backslash`].
pub fn words(line: &str) -> Result<Vec<String>, ConfigError> {
    let mut words = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some((at, first)) = chars.next() {
        if first.is_ascii_whitespace() {
            continue;
        }
        let mut word = String::new();
        let mut quote = None;
        let mut bare = true;
        let mut next = Some((at, first));
        while let Some((at, char)) = next {
            match char {
                '\\' => {
                    bare = false;
                    let (_, escaped) = chars.next().ok_or(ConfigError::Backslash)?;
                    word.push(escaped);
                }
                '"' => {
                    bare = false;
                    quote = if quote.is_some() { None } else { Some(at) };
                }
                _ => word.push(char),
            }
            next = chars.next_if(|(_, char)| quote.is_some() || !char.is_ascii_whitespace());
        }
        if let Some(at) = quote {
            return Err(ConfigError::OpenQuote { at });
        }
        if !(bare && is_the_machines(&word)) {
            words.push(word);
        }
    }
    Ok(words)
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
