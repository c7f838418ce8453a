//! How many cases a property is tried with.

use proptest::prelude::ProptestConfig;

/// `cases` cases, or as many as PROPTEST_CASES says. A seed cannot be made simpler, so there is
/// no shrinking.
pub fn cases(cases: u32) -> ProptestConfig {
    let default =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..Default::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, ..default },
    }
}
