//! How often the library hides a value that cannot be: by saturation, or by a value in its place.
//!
//! Always: no folder has more of these than `MOST` says. What cannot happen is a `Bug`; what a disk
//! or a device says is checked, and the error names the place; only counters saturate.
//!
//! The same counter prints the table of docs/code.md:
//! `cargo test --test fallbacks -- --nocapture --test-threads 1`.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

#[path = "support/sources.rs"]
mod sources;

use sources::{LIBRARY, sources, text};
use std::collections::{BTreeMap, BTreeSet};

/// A way to hide a value: `saturating_*`, `unwrap_or_default()`, or `unwrap_or` with 0, 1, a
/// largest number or an empty slice.
const KINDS: [&str; 3] = ["saturating_", "or default", "or a number"];

/// The most of each kind in a folder of the library or a crate around it, without its tests. Lower
/// them with what goes.
const MOST: [(&str, [usize; 3]); 12] = [
    // Where all counters are full.
    ("crates/base", [1, 0, 0]),
    ("crates/crypt", [0, 0, 0]),
    ("crates/erofs", [0, 0, 0]),
    ("crates/fuse", [0, 0, 0]),
    ("crates/guest", [1, 1, 0]),
    ("crates/region", [0, 0, 0]),
    ("crates/storage", [1, 0, 1]),
    ("crates/trust", [0, 0, 0]),
    ("crates/verity", [0, 0, 0]),
    ("src", [0, 0, 0]),
    ("src/blob", [0, 0, 0]),
    ("src/read", [0, 0, 0]),
];

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

/// What is counted, and after that the kinds of [`KINDS`] for each 100 lines of code.
const COLUMNS: [&str; 10] = [
    "lines",
    "saturating",
    "wrapping",
    "checked",
    "try_from",
    "or MAX",
    "or 0/1",
    "or default",
    "public items",
    "noise",
];

/// The figures of some code, in the order of [`COLUMNS`]. Blank lines do not count; public items
/// are those with `pub` and no restriction, reachable or not, without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts([usize; 9]);

impl Counts {
    /// Returns the figures of one line of code.
    fn of(line: &str) -> Self {
        const ITEMS: [&str; 9] =
            ["const ", "enum ", "fn ", "mod ", "static ", "struct ", "trait ", "type ", "use "];
        let values = || {
            let rests = line.split("unwrap_or(").skip(1);
            rests.map(|rest| rest.split(')').next().unwrap_or(rest))
        };
        let item = line.trim_start().strip_prefix("pub ");
        Self([
            usize::from(!line.trim().is_empty()),
            line.matches("saturating_").count(),
            line.matches("wrapping_").count(),
            line.matches("checked_").count(),
            line.matches("::try_from(").count(),
            values().filter(|value| value.ends_with("MAX")).count(),
            values().filter(|value| matches!(*value, "0" | "1" | "&[]" | "&mut []")).count(),
            line.matches("unwrap_or_default()").count(),
            item.is_some_and(|item| ITEMS.iter().any(|kind| item.starts_with(kind))).into(),
        ])
    }

    fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }

    /// Returns the figures of [`KINDS`].
    fn kinds(self) -> [usize; 3] {
        let [_, saturating, _, _, _, or_max, or_least, or_default, _] = self.0;
        [saturating, or_default, or_max + or_least]
    }

    /// Returns the row of the table for `folder`.
    fn row(self, folder: &str) -> String {
        let noise = self.kinds().into_iter().sum::<usize>() * 1000;
        let tenths = (noise + self.0[0] / 2) / self.0[0].max(1);
        let cells = self.0.map(|n| n.to_string()).join(" | ");
        format!("| {folder} | {cells} | {}.{} |", tenths / 10, tenths % 10)
    }
}

/// Returns the crate below the library, or the folder of `src/`, that a file is in.
fn folder(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(top), Some(folder), Some(_)) => format!("{top}/{folder}"),
        _ => "src".into(),
    }
}

/// Returns the figures of each folder of the library, without tests and comments.
fn counts() -> BTreeMap<String, Counts> {
    let paths: Vec<String> = LIBRARY.into_iter().flat_map(sources).collect();
    let texts: Vec<String> = paths.iter().map(|path| text(path)).collect();
    let tests: BTreeSet<String> =
        paths.iter().zip(&texts).flat_map(|(path, text)| modules_for_tests(path, text)).collect();
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for (path, text) in paths.iter().zip(&texts) {
        let of_tests = |module: &String| {
            path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['/', '.']))
        };
        if tests.iter().any(of_tests) {
            continue;
        }
        let sum = counts.entry(folder(path)).or_default();
        code(text).into_iter().for_each(|line| sum.add(Counts::of(line)));
    }
    counts
}

#[test]
fn no_folder_hides_more_values_than_before() {
    let counts = counts();
    println!("| folder | {} |\n|-{}|", COLUMNS.join(" | "), "|-".repeat(COLUMNS.len()));
    let mut all = Counts::default();
    for (folder, found) in &counts {
        println!("{}", found.row(folder));
        all.add(*found);
    }
    println!("{}", all.row("all"));
    let mut faults = Vec::new();
    for (folder, found) in &counts {
        let found = found.kinds();
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
    let kinds = |line| Counts::of(line).kinds();
    assert_eq!(kinds("a.saturating_add(b).saturating_sub(1)"), [2, 0, 0]);
    assert_eq!(kinds("a.get(1..).unwrap_or_default()"), [0, 1, 0]);
    assert_eq!(kinds("f(a.unwrap_or(0), b.unwrap_or(usize::MAX), c.unwrap_or(&[]))"), [0, 0, 3]);
    assert_eq!(kinds("a.checked_add(b).unwrap_or(c) + a.unwrap_or(10)"), [0, 0, 0]);
}

#[test]
fn a_row_has_all_figures_of_some_code() {
    let mut sum = Counts::default();
    let code =
        ["pub fn f() {", "", "    a.checked_add(1).unwrap_or(u64::MAX)", "pub(crate) use b;"];
    code.into_iter().for_each(|line| sum.add(Counts::of(line)));
    assert_eq!(sum.row("x"), "| x | 3 | 0 | 0 | 1 | 0 | 1 | 0 | 0 | 1 | 33.3 |");
    assert_eq!(
        Counts::of("    pub field: u8,").row("y"),
        "| y | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0.0 |"
    );
}

#[test]
fn tests_and_comments_are_not_counted() {
    let source = "a // saturating_add\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(code(source), ["a "]);
    let source = "#[cfg(all(test, feature = \"std\"))]\nmod tests;\nmod other;\n";
    assert_eq!(modules_for_tests("src/cache/mod.rs", source), ["src/cache/tests"]);
    assert_eq!(modules_for_tests("src/cache/page.rs", source), ["src/cache/page/tests"]);
}
