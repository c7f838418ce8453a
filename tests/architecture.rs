//! Who may import whom, and what every source file keeps: read from the sources as text.
//!
//! Always: what is not allowed here by name is forbidden, so a new module needs a line.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

#[path = "support/sources.rs"]
mod sources;

use sources::{LIBRARY, root, sources, text};
use std::collections::BTreeSet;
use std::fs;

/// A top-level module of the library, and the others that it may name. What became a crate has no
/// line: Cargo knows what it may name.
///
/// `error` gathers the errors of the others: it does not count as a user of what stands above it.
const MAY_IMPORT: [(&str, &[&str]); 7] = [
    ("signature", &[]),
    ("evict", &["num"]),
    ("cache", &["signature", "evict", "storage", "num", "units", "trace"]),
    ("blob", &["signature", "fuse", "erofs", "cache", "storage", "error", "num", "units", "trace"]),
    ("error", &["blob", "erofs", "storage", "num"]),
    ("read", &["evict", "blob", "erofs", "cache", "storage", "error", "num", "units", "trace"]),
    (
        "command",
        &["read", "blob", "fuse", "erofs", "cache", "storage", "error", "num", "units", "trace"],
    ),
];

/// What the crate root re-exports, and from which module.
const REEXPORTS: [(&str, &str); 5] = [
    ("Error", "error"),
    ("PathError", "error"),
    ("Bug", "num"),
    ("DeviceSlot", "units"),
    ("RegionSlot", "units"),
];

/// Lines of a file without its tests.
const LINES_MAX: usize = 500;

/// Files that are longer, with how long they may be and why. An entry that is not needed any more
/// fails too.
const LONGER: [(&str, usize, &str); 0] = [];

/// Files that do not say what they are, to be named or to go.
const UNNAMED: [&str; 0] = [];

/// A word or a sign of a source, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// Cuts a source into words and signs; comments, strings and characters are left out.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0_usize;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = after_string(&chars, i, 0),
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            c if c == '_' || c.is_alphanumeric() => {
                while at(i) == '_' || at(i).is_alphanumeric() {
                    i += 1;
                }
                let word: String = chars[start..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                let raw = matches!(word.as_str(), "r" | "br" | "cr");
                if raw && at(i + hashes) == '"' {
                    i = after_string(&chars, i + hashes, hashes + 1);
                } else {
                    tokens.push(Token { text: word, line });
                }
            }
            ':' if at(i + 1) == ':' => {
                tokens.push(Token { text: "::".into(), line });
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.into(), line });
                }
                i += 1;
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Where the string ends whose quote stands at `i`; `raw` is 0, or 1 and its hashes.
fn after_string(chars: &[char], i: usize, raw: usize) -> usize {
    let mut i = i + 1;
    while i < chars.len() {
        if chars[i] == '\\' && raw == 0 {
            i += 2;
            continue;
        }
        i += 1;
        let closed =
            chars[i - 1] == '"' && chars[i..].iter().take(raw.saturating_sub(1)).all(|c| *c == '#');
        if closed {
            return i + raw.saturating_sub(1);
        }
    }
    chars.len()
}

/// The module that a file of `src/` is: `["cache", "page"]` for `src/cache/page.rs`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let mut parts: Vec<String> = inner.split('/').map(Into::into).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// What a file names in the crate root, with the line: by `crate::`, or by enough `super::`.
fn named(path: &str, source: &str) -> BTreeSet<(String, usize)> {
    let tokens = tokens(source);
    let word = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let mut found = BTreeSet::new();
    let mut module = module_of(path);
    let mut depth = 0_usize;
    // Inline modules, by the depth of braces that they begin at.
    let mut inline: Vec<usize> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        match word(i) {
            "mod" if word(i + 2) == "{" => {
                module.push(word(i + 1).into());
                inline.push(depth);
                i += 1;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
            }
            "crate" | "super" if word(i + 1) == "::" => {
                let mut up = module.len();
                if word(i) == "super" {
                    up = 1;
                    while word(i + 2) == "super" && word(i + 3) == "::" {
                        (up, i) = (up + 1, i + 2);
                    }
                }
                i += 2;
                if up >= module.len() {
                    let line = tokens.get(i).map_or(0, |token| token.line);
                    found.extend(first_words(&tokens, i).into_iter().map(|name| (name, line)));
                }
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// The first word of a path, or of each path in a group.
fn first_words(tokens: &[Token], at: usize) -> Vec<String> {
    let word = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    if word(at) != "{" {
        return vec![word(at).into()];
    }
    let (mut words, mut depth, mut i, mut first) = (Vec::new(), 1_usize, at + 1, true);
    while depth > 0 && i < tokens.len() {
        match word(i) {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => first = true,
            name if depth == 1 && first => {
                words.push(name.into());
                first = false;
            }
            _ => {}
        }
        i += 1;
    }
    words
}

/// Panics with all faults, if there are any.
fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}\n", faults.join("\n  "));
}

#[test]
fn modules_import_only_what_stands_below_them() {
    let mut faults = Vec::new();
    for path in sources("src") {
        let own = module_of(&path).first().cloned().unwrap_or_default();
        if own.is_empty() {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == own) else {
            faults.push(format!(
                "{path}: the module `{own}` is new: give it a line in MAY_IMPORT of this test"
            ));
            continue;
        };
        for (name, line) in named(&path, &text(&path)) {
            let home = REEXPORTS.iter().find(|(item, _)| *item == name);
            let module = home.map_or(name.as_str(), |(_, home)| home);
            if module != own && !allowed.contains(&module) {
                faults.push(format!(
                    "{path}:{line}: `{own}` names crate::{name}; it may use {allowed:?}"
                ));
            }
        }
    }
    none(
        &faults,
        "the library is in layers: read -> {erofs, blob, cache} -> storage, blob -> fuse",
    );
}

#[test]
fn unsafe_code_is_only_in_the_platform_crate() {
    let mut faults = Vec::new();
    for dir in ["src", "crates", "xtask", "tests", "examples", "benches", "fuzz", "boards"] {
        for path in sources(dir).iter().filter(|path| !path.starts_with("boards/common/")) {
            let found = tokens(&text(path)).into_iter().filter(|token| token.text == "unsafe");
            faults.extend(found.map(|token| format!("{path}:{}: unsafe", token.line)));
        }
    }
    none(&faults, "`unsafe` is for boards/common alone");
    for root in LIBRARY.map(|dir| format!("{dir}/lib.rs")) {
        assert!(
            text(&root).contains("#![forbid(unsafe_code)]"),
            "{root} no longer forbids unsafe code"
        );
    }
}

/// The section `name` of a manifest, without its comments.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let lines = manifest.lines().map(str::trim).skip_while(|line| *line != name).skip(1);
    let own = lines.take_while(|line| !line.starts_with('['));
    own.filter(|line| !line.is_empty() && !line.starts_with('#')).map(Into::into).collect()
}

#[test]
fn crates_of_the_library_keep_the_lints_of_the_library() {
    for kind in ["[lints.rust]", "[lints.clippy]"] {
        let wanted = section(&text("Cargo.toml"), kind);
        assert!(!wanted.is_empty(), "Cargo.toml has no {kind}");
        for dir in LIBRARY.iter().filter_map(|dir| dir.strip_suffix("/src")) {
            let manifest = format!("{dir}/Cargo.toml");
            assert_eq!(section(&text(&manifest), kind), wanted, "{manifest}: {kind}");
        }
    }
}

/// A compiler may make an access of a volatile pointer that no hypervisor can emulate.
#[test]
fn registers_of_devices_are_reached_from_one_module() {
    const REGISTERS: &str = "boards/common/src/registers.rs";
    // What a device and the processor's walker write to memory.
    const MEMORY: [&str; 2] =
        ["boards/common/src/arch/x86_64/paging.rs", "boards/common/src/virtio/used.rs"];
    let mut faults = Vec::new();
    for path in sources("boards") {
        for Token { text, line } in tokens(&text(&path)) {
            let is_volatile = matches!(text.as_str(), "read_volatile" | "write_volatile");
            let is_register =
                text == "safe_mmio" || is_volatile && !MEMORY.contains(&path.as_str());
            if is_register && path != REGISTERS {
                faults.push(format!("{path}:{line}: {text}"));
            }
        }
    }
    none(&faults, "device registers are reached from registers.rs alone");
}

#[test]
fn boards_stand_on_the_platform_and_the_platform_on_the_library() {
    let mut faults = Vec::new();
    let boards: Vec<String> = fs::read_dir(root().join("boards"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(boards.iter().any(|board| board == "common"), "boards/common is gone: {boards:?}");
    let mut above = vec!["platform".to_string(), "xtask".into()];
    above.extend(boards.iter().filter(|board| *board != "common").map(|b| b.replace('-', "_")));
    // What a crate may not name: in its sources, and as a dependency.
    let crates = [
        ("src", "Cargo.toml", &above[..]),
        ("boards/common/src", "boards/common/Cargo.toml", &above[1..]),
    ];
    for (dir, manifest, forbidden) in crates {
        for path in sources(dir) {
            let tokens = tokens(&text(&path));
            let starts = tokens
                .windows(2)
                .filter(|pair| pair[1].text == "::" && forbidden.contains(&pair[0].text));
            faults.extend(
                starts.map(|pair| format!("{path}:{}: names {}", pair[0].line, pair[0].text)),
            );
        }
        for line in text(manifest).lines() {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default().replace('-', "_");
            if forbidden.contains(&key) && line.contains('=') && line.contains('{') {
                faults.push(format!("{manifest}: depends on {key}"));
            }
        }
    }
    for board in boards.iter().filter(|board| *board != "common") {
        for other in boards.iter().filter(|other| *other != "common" && *other != board) {
            let manifest = format!("boards/{board}/Cargo.toml");
            if text(&manifest).contains(&format!("\n{other} = ")) {
                faults.push(format!("{manifest}: depends on the board {other}"));
            }
        }
    }
    none(&faults, "boards -> boards/common -> the library, never the other way");
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut faults = Vec::new();
    for dir in ["src", "crates", "xtask/src", "boards", "tests", "examples", "benches"] {
        for path in sources(dir) {
            let first = text(&path).lines().next().unwrap_or_default().to_string();
            if !first.starts_with("//! ") && !UNNAMED.contains(&path.as_str()) {
                faults.push(format!("{path}: begins with {first:?}"));
            }
        }
    }
    none(&faults, "a file begins with a `//! ` line that says what it is");
}

/// Lines of a source in front of its tests.
fn lines_without_tests(source: &str) -> usize {
    let lines: Vec<&str> = source.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    tests.unwrap_or(lines.len())
}

#[test]
fn no_file_is_too_long_to_be_read_in_one_go() {
    let mut faults = Vec::new();
    let paths = ["src", "crates", "xtask/src", "boards"].into_iter().flat_map(sources);
    // What only tests a crate is as free as the tests of the library.
    let read = paths.filter(|path| !path.starts_with("crates/") || path.contains("/src/"));
    for path in read {
        let lines = lines_without_tests(&text(&path));
        let longer = LONGER.iter().find(|(of, ..)| *of == path);
        let max = longer.map_or(LINES_MAX, |(_, max, _)| *max);
        if lines > max {
            faults
                .push(format!("{path}: {lines} lines without its tests; part it ({max} at most)"));
        } else if let Some((_, _, why)) = longer
            && lines <= LINES_MAX
        {
            faults.push(format!("{path}: {lines} lines: take it out of LONGER ({why})"));
        }
    }
    for (path, ..) in LONGER {
        if !root().join(path).is_file() {
            faults.push(format!("{path}: gone: take it out of LONGER"));
        }
    }
    none(&faults, "files stay below 500 lines without their tests");
}

// The reader of sources itself: a rule that sees nothing keeps nothing.

fn names(path: &str, source: &str) -> Vec<String> {
    named(path, source).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let path = "src/cache/page.rs";
    assert_eq!(names(path, "use crate::read::Root;"), ["read"]);
    assert_eq!(
        names(path, "use crate::{erofs, read::{Root, File}, blob as b};"),
        ["blob", "erofs", "read"]
    );
    assert_eq!(names(path, "use super::super::fuse;"), ["fuse"]);
    assert_eq!(names(path, "use super::super::{fuse, read::Root};"), ["fuse", "read"]);
    assert_eq!(
        names(path, "fn f() -> crate::read::Stats { crate::blob::identity() }"),
        ["blob", "read"]
    );
    assert_eq!(names(path, "macro_rules! m { () => { $crate::trace::emit!() } }"), ["trace"]);
    assert_eq!(names(path, "mod tests { use super::super::super::read; }"), ["read"]);
    assert_eq!(names("src/cache/mod.rs", "use super::erofs::Nid;"), ["erofs"]);
}

#[test]
fn what_is_no_import_is_not_seen() {
    let path = "src/cache/page.rs";
    assert_eq!(
        names(path, "//! See [`crate::read`].\n/* crate::read /* */ crate::fuse */"),
        [""; 0]
    );
    assert_eq!(
        names(path, r####"let a = "crate::read \" crate::x"; let b = r#"crate::"fuse"#;"####),
        [""; 0]
    );
    assert_eq!(
        names(path, "use super::geometry; mod tests { use super::super::geometry; }"),
        [""; 0]
    );
    assert_eq!(
        names(path, "let c = '\"'; let d: &'static str = \"crate::read\"; let e = '\\'';"),
        [""; 0]
    );
    assert_eq!(
        names(path, "mod at { use super::super::page; } use crate::storage::A;"),
        ["storage"]
    );
}

#[test]
fn lines_are_counted_to_the_tests() {
    assert_eq!(lines_without_tests("//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(lines_without_tests("//! A.\n#[cfg(test)]\nuse b;\nfn a() {}\n"), 4);
}
