//! How often the library hides a value that cannot be: by saturation, or by a value in its place.
//!
//! Always: no folder has more of these than `MOST` says. What cannot happen is a `Bug`; what a disk
//! or a device says is checked, and the error names the place; only counters saturate.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the sources of the library and of the crates below it begin.
const LIBRARY: [&str; 3] = ["crates/base/src", "crates/erofs/src", "src"];

/// A way to hide a value: `saturating_*`, `unwrap_or_default()`, or `unwrap_or` with 0, 1, a
/// largest number or an empty slice.
const KINDS: [&str; 3] = ["saturating_", "or default", "or a number"];

/// The most of each kind in a folder of the library or a crate below it, without its tests. Lower
/// them with what goes.
const MOST: [(&str, [usize; 3]); 10] = [
    // Where all counters are full.
    ("crates/base", [1, 0, 0]),
    ("crates/erofs", [0, 0, 0]),
    ("src", [0, 0, 0]),
    ("src/blob", [0, 0, 0]),
    ("src/cache", [5, 1, 4]),
    ("src/command", [62, 19, 25]),
    ("src/evict", [0, 0, 0]),
    ("src/fuse", [0, 0, 0]),
    ("src/read", [0, 0, 0]),
    ("src/storage", [1, 0, 1]),
];

/// Returns the Rust files below `dir`, by their paths from the root of the repository.
fn sources(dir: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::from(dir)]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).expect("a folder").flatten() {
            let path = dir.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Returns the lines of code before the tests of a source, each without its comment.
fn code(source: &str) -> Vec<&str> {
    let lines: Vec<&str> = source.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        is_for_tests(pair[0]) && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    let before = &lines[..tests.unwrap_or(lines.len())];
    before.iter().map(|line| line.split("//").next().unwrap_or(line)).collect()
}

fn is_for_tests(attribute: &str) -> bool {
    attribute.starts_with("#[cfg(test)]") || attribute.starts_with("#[cfg(all(test,")
}

/// Returns the modules that `source`, at `path`, declares for tests only: where their paths begin.
fn modules_for_tests(path: &str, source: &str) -> Vec<String> {
    let folder = match path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix("/lib.rs")) {
        Some(folder) => folder,
        None => path.strip_suffix(".rs").expect("a Rust file"),
    };
    let lines: Vec<&str> = source.lines().collect();
    let pairs = lines.windows(2).filter(|pair| is_for_tests(pair[0]));
    let names = pairs.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// Returns how often each kind occurs in `line`.
fn count(line: &str) -> [usize; 3] {
    let numbers = line.split("unwrap_or(").skip(1).filter(|rest| {
        let value = rest.split(')').next().unwrap_or(rest);
        matches!(value, "0" | "1" | "&[]" | "&mut []") || value.ends_with("MAX")
    });
    [
        line.matches("saturating_").count(),
        line.matches("unwrap_or_default()").count(),
        numbers.count(),
    ]
}

/// Returns the crate below the library, or the folder of `src/`, that a file is in.
fn folder(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(top), Some(folder), Some(_)) => format!("{top}/{folder}"),
        _ => "src".into(),
    }
}

#[test]
fn no_folder_hides_more_values_than_before() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths: Vec<String> = LIBRARY.into_iter().flat_map(sources).collect();
    let texts: Vec<String> =
        paths.iter().map(|path| fs::read_to_string(root.join(path)).expect("a source")).collect();
    let tests: BTreeSet<String> =
        paths.iter().zip(&texts).flat_map(|(path, text)| modules_for_tests(path, text)).collect();
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for (path, text) in paths.iter().zip(&texts) {
        let of_tests = |module: &String| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['/', '.']))
        };
        if tests.iter().any(of_tests) {
            continue;
        }
        let sums = counts.entry(folder(path)).or_default();
        for line in code(text) {
            sums.iter_mut().zip(count(line)).for_each(|(sum, n)| *sum += n);
        }
    }
    println!("{:12} {:>12} {:>12} {:>12}", "", KINDS[0], KINDS[1], KINDS[2]);
    let mut faults = Vec::new();
    for (folder, found) in &counts {
        println!("{folder:12} {:12} {:12} {:12}", found[0], found[1], found[2]);
        let most = MOST.iter().find(|(name, _)| name == folder);
        let (_, most) = most.unwrap_or_else(|| panic!("{folder} is new: give it a line in MOST"));
        let above = (0..3).filter(|kind| found[*kind] > most[*kind]);
        faults.extend(above.map(|kind| {
            format!("{folder}: {} `{}`, at most {}", found[kind], KINDS[kind], most[kind])
        }));
    }
    assert!(faults.is_empty(), "name the impossible instead:\n  {}\n", faults.join("\n  "));
}

#[test]
fn every_way_to_hide_a_value_is_counted() {
    assert_eq!(count("a.saturating_add(b).saturating_sub(1)"), [2, 0, 0]);
    assert_eq!(count("a.get(1..).unwrap_or_default()"), [0, 1, 0]);
    assert_eq!(count("f(a.unwrap_or(0), b.unwrap_or(usize::MAX), c.unwrap_or(&[]))"), [0, 0, 3]);
    assert_eq!(count("a.checked_add(b).unwrap_or(c) + a.unwrap_or(10)"), [0, 0, 0]);
}

#[test]
fn tests_and_comments_are_not_counted() {
    let source = "a // saturating_add\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(code(source), ["a "]);
    let source = "#[cfg(all(test, feature = \"std\"))]\nmod tests;\nmod other;\n";
    assert_eq!(modules_for_tests("src/cache/mod.rs", source), ["src/cache/tests"]);
    assert_eq!(modules_for_tests("src/cache/page.rs", source), ["src/cache/page/tests"]);
}
