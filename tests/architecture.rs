//! What every source file keeps, read from the sources as text. Who may import whom is in the
//! manifests: the layers are crates.
//!
//! Always: the reader of sources has tests of its own; a rule that sees nothing keeps nothing.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

#[path = "support/sources.rs"]
mod sources;

use sources::{LIBRARY, root, sources, text};

/// Lines of a file without its tests.
const LINES_MAX: usize = 500;

/// Files that are longer, with how long they may be and why. An entry that is not needed any more
/// fails too.
const LONGER: [(&str, usize, &str); 0] = [];

/// Files that do not say what they are, to be named or to go.
const UNNAMED: [&str; 0] = [];

/// Where `unsafe` may be: in the platform, and in what an example knows of its machine.
const UNSAFE: [&str; 4] = [
    "boards/common/",
    "examples/cortex-m/src/machine.rs",
    "examples/embassy/src/machine.rs",
    "examples/virtio-drivers/src/machine.rs",
];

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

/// Panics with all faults, if there are any.
fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}\n  {}\n", faults.join("\n  "));
}

/// Cargo keeps the crates apart; within the library reading stands on the blobs.
#[test]
fn blobs_know_nothing_of_reading() {
    let mut faults = Vec::new();
    for path in sources("src/blob") {
        let tokens = tokens(&text(&path));
        let named = tokens.windows(3).filter(|words| {
            matches!(words[0].text.as_str(), "crate" | "super")
                && words[1].text == "::"
                && matches!(words[2].text.as_str(), "read" | "{")
        });
        faults.extend(named.map(|words| format!("{path}:{}", words[0].line)));
    }
    none(&faults, "read -> blob, never the other way, nor by a group of paths");
}

#[test]
fn unsafe_code_is_only_in_the_platform_crate() {
    let mut faults = Vec::new();
    for dir in ["src", "crates", "xtask", "tests", "examples", "benches", "fuzz", "boards"] {
        let machines = |path: &&String| UNSAFE.iter().any(|start| path.starts_with(start));
        for path in sources(dir).iter().filter(|path| !machines(path)) {
            let found = tokens(&text(path)).into_iter().filter(|token| token.text == "unsafe");
            faults.extend(found.map(|token| format!("{path}:{}: unsafe", token.line)));
        }
    }
    none(&faults, "`unsafe` is for boards/common, and for the machines of examples, alone");
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

fn words(source: &str) -> Vec<String> {
    tokens(source).into_iter().map(|token| token.text).collect()
}

#[test]
fn every_word_of_code_is_seen() {
    assert_eq!(
        words("fn f() -> crate::read"),
        ["fn", "f", "(", ")", "-", ">", "crate", "::", "read"]
    );
    assert!(words("macro_rules! m { () => { unsafe {} } }").contains(&"unsafe".into()));
    let lines: Vec<usize> = tokens("a\n\nb\n\"c\nd\"\ne").iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 3, 6]);
}

#[test]
fn words_of_comments_and_strings_are_not_seen() {
    for source in [
        "//! unsafe\n// unsafe\n/* unsafe /* */ unsafe */",
        r####"let a = "unsafe \" unsafe"; let b = r#"unsafe "x"#;"####,
        "let c = '\"'; let d: &'static str = \"unsafe\"; let e = '\\'';",
    ] {
        assert!(!words(source).contains(&"unsafe".into()), "{source}");
    }
}

#[test]
fn lines_are_counted_to_the_tests() {
    assert_eq!(lines_without_tests("//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(lines_without_tests("//! A.\n#[cfg(test)]\nuse b;\nfn a() {}\n"), 4);
}
