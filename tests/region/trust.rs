//! Regions that an enemy rewrites between boots of guests that verify.

use rootlet_power::case::{runs, sweep};
use rootlet_power::machine::Scale;

#[test]
fn no_region_that_an_enemy_rewrites_gives_a_wrong_byte_or_fails_a_read() {
    sweep(Scale::Small, "trust", (1..=runs(60)).map(|seed| [seed]));
}
