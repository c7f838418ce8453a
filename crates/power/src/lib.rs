//! Histories of the region under power cuts and faults, and the fifteen invariants that they are
//! held to: for `cargo run -- power-cut` and for `cargo test` alike.
//!
//! Always: everything follows from the numbers of a case, so that every failure replays from one
//! line, such as `cargo run -- power-cut --case life:17:3`.
//!
//! | module | what |
//! |-|-|
//! | [`invariants`] | the fifteen, by number, and their checks |
//! | [`machine`], [`guest`], [`script`] | the world of a case, one mount in it, what that does |
//! | [`decode`] | the region's format, from its document alone |
//! | [`life`], [`power`], [`faults`], [`source`], [`sharing`], [`foreign`], [`mutate`], [`pools`], [`large`], [`promises`], [`synced`], [`torn`], [`trust`] | the families of cases |
//! | [`case`](mod@case), [`mix`], [`run`] | cases by name, which are run, and how many at once |
//! | [`guards`] | what is taken out of the library to see that somebody misses it |

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

pub mod case;
#[expect(missing_docs, reason = "the names are those of FORMAT.md")]
pub mod decode;
pub mod faults;
pub mod foreign;
pub mod guards;
pub mod guest;
pub mod hint;
pub mod invariants;
pub mod large;
pub mod life;
pub mod machine;
pub mod mix;
pub mod mutate;
pub mod pools;
pub mod power;
pub mod promises;
pub mod run;
pub mod script;
pub mod sharing;
pub mod source;
pub mod synced;
pub mod torn;
pub mod trust;
