//! Words that comments of the library, its tests, its tools and the boards do not use, because a
//! reader has to ask "which one?".
//!
//! Always: a folder in [`EXEMPT`] still has one of them, so the table can only shrink.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

#[path = "support/sources.rs"]
mod sources;

use sources::{LIBRARY, sources, text};

/// Further folders whose comments are read: tests, tools, the boards, and the crates that tests and
/// tools alone use.
const AROUND: [&str; 10] = [
    "benches",
    "boards",
    "crates/cli",
    "crates/golden",
    "crates/power",
    "crates/rows",
    "crates/sim",
    "crates/targets",
    "tests",
    "xtask",
];

/// A phrase that is denied, what to write in its place, and a longer phrase that is fine.
const DENIED: [(&str, &str, &str); 16] = [
    ("so many", "the variable, or *n*", ""),
    ("of its.", "the noun: \"a tag of this owner\"", ""),
    ("of its,", "the noun: \"a tag of this owner\"", ""),
    ("of its;", "the noun: \"a tag of this owner\"", ""),
    ("is told", "\"is reported\", \"is logged\", \"is an error\"", ""),
    ("are told", "\"are reported\", \"are logged\", \"are errors\"", ""),
    ("goes on", "\"continues\"", ""),
    ("go on", "\"continue\"", ""),
    ("is no ", "\"is not a\"", "there is no "),
    ("are no ", "\"are not\"", "there are no "),
    ("behind", "\"after\"", ""),
    ("whoever", "the caller, the reader, the user: the noun", ""),
    ("be it ", "\"whether ... or ...\"", "be it's"),
    ("what it ", "the noun that \"what\" and \"it\" stand for", ""),
    ("brings near", "\"reads ahead\", \"prefetches\"", ""),
    ("wanted is", "\"the caller needs\"", ""),
];

/// Folders whose comments still use a denied phrase.
const EXEMPT: [&str; 0] = [];

/// Returns the comment of a line; `None` if the line has none.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let start = if line.starts_with("//") { 0 } else { line.find(" // ")? + 1 };
    Some(line[start..].trim_start_matches(['/', '!']).trim())
}

/// Returns the denied phrases in the comments of a source, each with its line and its rule. Phrases
/// may run across lines.
fn denied(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = source.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(here) = comment(line) else { continue };
        let next = lines.get(index + 1).and_then(|next| comment(next)).unwrap_or_default();
        let here = here.to_lowercase() + " ";
        let text = format!("{here}{}", next.to_lowercase());
        for (phrase, instead, fine) in DENIED {
            let at = text.match_indices(phrase).find(|(at, _)| {
                let word = !text[..*at].ends_with(|c: char| c.is_alphanumeric());
                let is_fine = !fine.is_empty()
                    && fine.find(phrase).is_some_and(|skip| {
                        at.checked_sub(skip).is_some_and(|start| text[start..].starts_with(fine))
                    });
                // A phrase in the next line alone is found there.
                word && *at < here.len() && !is_fine
            });
            if at.is_some() {
                found.push((index + 1, format!("\"{}\": write {instead}", phrase.trim())));
            }
        }
    }
    found
}

#[test]
fn comments_of_the_library_name_what_they_mean() {
    let mut faults = Vec::new();
    let mut needed = [false; EXEMPT.len()];
    for path in LIBRARY.into_iter().chain(AROUND).flat_map(sources) {
        let found = denied(&text(&path));
        let folder = EXEMPT.iter().position(|folder| path.starts_with(&format!("{folder}/")));
        match folder {
            Some(folder) => needed[folder] |= !found.is_empty(),
            None => {
                faults.extend(found.iter().map(|(line, rule)| format!("{path}:{line}: {rule}")))
            }
        }
    }
    for (folder, _) in EXEMPT.iter().zip(needed).filter(|(_, needed)| !needed) {
        faults.push(format!("{folder}: none is left: take it out of EXEMPT"));
    }
    assert!(
        faults.is_empty(),
        "subject, verb, object, and nouns instead of \"it\" and \"what\":\n  {}\n",
        faults.join("\n  ")
    );
}

#[test]
fn denied_phrases_are_found_across_lines_and_in_comments_alone() {
    let lines = |source: &str| denied(source).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(lines("/// Reads so many bytes.\nfn a() {}\n"), [1]);
    assert_eq!(lines("//! The list goes\n//! on.\n"), [1]);
    assert_eq!(lines(&["let a = 1; /", "/ A tag of its.\n"].concat()), [1]);
    assert_eq!(lines("let so_many = \"so many\";\n"), [0; 0]);
    assert_eq!(lines("// `None` if there is no device.\n// There is\n// no other.\n"), [0; 0]);
    assert_eq!(lines("// It is no device.\n"), [1]);
    assert_eq!(lines("// Let us forgo onions.\n"), [0; 0]);
}
