//! The reserved region against power cuts, faults, foreign data and other guests.
//!
//! Always: everything follows from the numbers of a case, and a failure prints one line with
//! them that replays it, such as
//! `cargo run -- power-cut --case large/cut:1:57`. `ROOTLET_RUNS=10` runs ten times as many cases.
//! The worlds, the families of cases and the invariants are in `crates/power`.
//!
//! `cargo run -- power-cut --guards` takes the guards of crates/region out, one at a time, and shows
//! what goes red. These here are missed by tests that are not part of its cases:
//!
//! | guard taken out | first to go red |
//! |---|---|
//! | a moved, later or unreadable superblock forbids formatting | foreign |
//! | sizes of the superblock are bounded by the area | foreign: memory runs out |
//! | a hint counts under its own generation only | hint: the guest that is killed |
//! | a table that cannot be read ends writing | promises |
//! | sync asks for its last flush, and says no when it failed | promises |
//! | another region forbids formatting | elsewhere |
//! | fills that wait for their flush are bounded | limits |

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod alone;
mod blame;
mod boot;
mod drop;
mod elsewhere;
mod faults;
mod foreign;
#[path = "../support/guest.rs"]
mod guest;
mod healing;
mod hint;
mod keyed;
mod large;
mod limits;
mod mutate;
mod power;
mod promises;
mod sharing;
mod source;
mod trust;
mod version;
mod words;
