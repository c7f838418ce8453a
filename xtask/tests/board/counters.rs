//! What the main paths cost a guest on its board, by the counters of its verdict.

use rootlet_sim::image::{Content, Tree};

use crate::boot::{Outcome, passes};
use crate::sample::Sample;

const FILE_BYTES: usize = 8 << 20;
/// What the verdict rounds a size of some MiB by, and metadata.
const ROUNDED: f64 = 0.06;

/// Returns a size of the verdict in MiB, or a number, by its name.
fn counter(outcome: &Outcome, name: &str) -> f64 {
    let (_, counters) = outcome.verdict().split_once("  ").unwrap();
    let words =
        counters.split(", ").find_map(|counter| counter.strip_prefix(name)?.strip_prefix(' '));
    let words = words.unwrap_or_else(|| panic!("no {name}: {counters}"));
    let (number, unit) = words.split_once(' ').unwrap_or((words, ""));
    let number: f64 = number.parse().unwrap();
    match unit {
        "bytes" => number / 1048576.0,
        "KiB" => number / 1024.0,
        _ => number,
    }
}

#[test]
fn reads_of_a_megabyte_cost_a_request_each_and_what_is_kept_is_not_fetched_again() {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, FILE_BYTES));
    let sample = Sample::from_tree(tree, 1);
    let steps = ["--", "race", "a=seq-1M:/large"];
    let mib = FILE_BYTES as f64 / 1048576.0;
    let about = |outcome: &Outcome, name: &str, expected: f64| {
        let found = counter(outcome, name);
        assert!((found - expected).abs() <= ROUNDED, "{name} {found}: {}", outcome.verdict());
    };

    let plain = passes(sample.args(&steps));
    about(&plain, "asked", mib);
    about(&plain, "fetched", mib);
    about(&plain, "copied", 0.0);
    assert!(counter(&plain, "batches") <= mib + 8.0, "{}", plain.verdict());

    let cold = passes(sample.cached(&steps));
    about(&cold, "fetched", mib);
    about(&cold, "kept", mib);
    about(&cold, "dropped", 0.0);
    about(&cold, "copied", 0.0);
    let written = counter(&cold, "written");
    assert!(written <= mib * 1.02 + ROUNDED, "{}", cold.verdict());
    assert!(counter(&cold, "flushes") <= 6.0, "{}", cold.verdict());

    let warm = passes(sample.cached(&steps));
    for nothing in ["fetched 0 bytes", "kept 0 bytes", "written 0 bytes", "check failures 0"] {
        warm.assert_counter(nothing);
    }
    about(&warm, "copied", 0.0);
    about(&warm, "hit", mib);
    assert!(counter(&warm, "flushes") <= 1.0, "{}", warm.verdict());
}
