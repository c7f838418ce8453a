//! Three layers as containerd, Kata and nerdbox have them, with the rows that Linux's overlay shows.
//!
//! Always: the rows are compared one by one, without those that nobody chose: times and modes of
//! directories that a later layer alone made.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rootlet_rows::{Rows, differences, of_manifest};

use crate::made::stack;
use crate::rows;

/// The files of the fixture.
pub static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(rootlet_golden::layers);

/// Returns what Linux's overlay shows of the three layers.
pub fn linux() -> Rows {
    of_manifest(&FILES["overlay.jsonl"])
}

/// Returns the three layers, the bottom first.
pub fn three() -> Vec<Vec<u8>> {
    [1, 2, 3].map(|number| FILES[&format!("l{number}.erofs")].clone()).into()
}

#[test]
fn three_layers_are_what_linux_shows() {
    let three = three();
    let ours = rows::rows(&stack(&three).unwrap()).unwrap();
    let found = differences("rootlet", &ours, "Linux", &linux());
    assert!(found.is_empty() && ours.len() == 17, "{}", found.join("\n"));
}
