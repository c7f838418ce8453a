//! What a user of the library sees: reads, paths, names and errors, over images of every layout.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

mod ahead;
mod binding;
mod blocks;
mod bulk;
mod cases;
mod chains;
mod clock;
mod counters;
mod damage;
mod elsewhere;
mod ends;
mod events;
mod faults;
mod files;
mod foreign;
mod forgotten;
#[path = "../support/guest.rs"]
mod guest;
mod joins;
mod malformed;
mod many;
mod mount;
mod one_source;
mod oracle;
mod paths;
mod places;
mod random;
mod rows;
mod simple;
mod strangers;
mod viewed;
