//! The names of settings, and words that may be one of them, misspelt.
//!
//! Always: a word that is like no setting belongs to others. A kernel hands the words that it does
//! not know to its first program, so a line may have any word; a mistyped setting is near to the
//! right one.

use alloc::vec::Vec;

/// All names that a word may be a misspelling of; `blob` is followed by a number, and `verity` may
/// be. `root=sha256:` is not among them: most kernels have a word that is like it.
const NAMES: [&str; 22] = [
    "image",
    "layer",
    "blob",
    "disk",
    "cache",
    "share",
    "domain",
    "ram-cache",
    "console",
    "slot",
    "cache-format",
    "cache-key",
    "deadline",
    "source-retry",
    "timeline",
    "cpus",
    "log",
    "verity",
    "verity-ram",
    "seal",
    "objects",
    "composefs.digest",
];
/// Shorter names begin words of others, too (`log_buf_len`).
const TELLING_BYTES_MIN: usize = 4;

/// The settings, for messages.
pub(super) const KEYS: &str = "image=, blobN=, layer=, layerN.blobM=, disk=, cache=, share=, domain=, ram-cache=, \
    console=, slot=, cache-format=, cache-key=, deadline=, source-retry=, timeline, cpus=, log=, \
    verity=, verityN=, layerN.verityM=, seal=, root=sha256:, verity-ram=, objects=, \
    composefs.digest=, and -- before the command";

/// Returns whether a setting has this name; that of a blob has a number, right or wrong.
pub(super) fn is_key(key: &str) -> bool {
    let number = ["blob", "verity", "layer"].into_iter().find_map(|name| key.strip_prefix(name));
    match number.filter(|number| number.starts_with(|digit: char| digit.is_ascii_digit())) {
        Some(_) => true,
        None => key != "blob" && NAMES.contains(&key) || key == "root",
    }
}

/// Returns the setting that a word may mean: one whose name has nearly the same letters, whatever
/// their case and dashes; or one with whose name the word begins.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    let key = word.split_once(['=', ':']).map_or(word, |(key, _)| key);
    if key.contains('.') {
        return None;
    }
    let given = letters(key.trim_end_matches(|end: char| end.is_ascii_digit()));
    let near = |name: &&&str| {
        let name = letters(name);
        // One wrong letter in four.
        is_within(&name, &given, name.len() / 4)
    };
    let first = key.split_once(['-', '_']).map_or(key, |(first, _)| first);
    let begins = |name: &&&str| name.len() >= TELLING_BYTES_MIN && first.eq_ignore_ascii_case(name);
    NAMES.iter().find(near).or_else(|| NAMES.iter().find(begins)).copied()
}

/// Returns the letters of a name, without case and dashes.
fn letters(name: &str) -> Vec<u8> {
    let letters = name.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Returns whether `one` becomes `other` when at most `wrong` letters are changed, added, left out,
/// or swapped with the next. Recurses no deeper than the shorter one is long, plus `wrong`.
fn is_within(one: &[u8], other: &[u8], wrong: usize) -> bool {
    if let ([a, one @ ..], [b, other @ ..]) = (one, other)
        && a == b
    {
        return is_within(one, other, wrong);
    }
    let Some(wrong) = wrong.checked_sub(1) else { return one.is_empty() && other.is_empty() };
    let swapped = match (one, other) {
        ([a, b, one @ ..], [c, d, other @ ..]) => (a, b) == (d, c) && is_within(one, other, wrong),
        _ => false,
    };
    let [one_rest, other_rest] =
        [one, other].map(|text| text.split_first().map_or(text, |(_, rest)| rest));
    swapped
        || is_within(one_rest, other_rest, wrong)
        || is_within(one_rest, other, wrong)
        || is_within(one, other_rest, wrong)
}
