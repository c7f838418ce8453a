//! The reserved region against power cuts, faults, foreign data and other guests.
//!
//! Always: everything follows from the numbers of a case, and a failure prints one line with
//! them that replays it, such as
//! `ROOTLET_CASE=cut:1:57 cargo test --test region replay -- --nocapture`. `ROOTLET_RUNS=10`
//! runs ten times as many cases.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

mod case;
mod decode;
mod faults;
mod foreign;
mod guest;
mod healing;
mod kept;
mod large;
mod machine;
mod mutate;
mod power;
mod promises;
mod script;
mod source;
mod watch;
