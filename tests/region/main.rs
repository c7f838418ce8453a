//! The reserved region against power cuts, faults, foreign data and other guests.
//!
//! Always: everything follows from the numbers of a case, and a failure prints one line with
//! them that replays it, such as
//! `cargo run -- power-cut --case large/cut:1:57`. `ROOTLET_RUNS=10` runs ten times as many cases.
//! The worlds, the families of cases and the invariants are in `tests/power`.
//!
//! Each guard was taken out of src/cache once, to see what goes red (all by default counts):
//!
//! | guard taken out | first to go red |
//! |---|---|
//! | the flush before the descriptor pages | cut, deep, lives, flips: O3 |
//! | the check of hits | rates, script, flips, two, noise: wrong bytes |
//! | the place in a block's checksum (all; block number; blob) | flips, cut, lives, two |
//! | the UUID in a page's check | mutate, foreign, lives |
//! | a slot is free only when its tombstone is durable (written; given up) | cut, lives, flips: O1 |
//! | the two copies take turns (always A) | cut, deep, lives: synced blocks lost |
//! | no page twice between two flushes | flips: O2 |
//! | no tombstone into a page in flight | flips: O1 |
//! | a bit is set after the flush (at submission) | flips, lives, large, once |
//! | no bit for a failed write | flips: O3 |
//! | the flush before the announcement | kill: O2 |
//! | the flush behind the announcement; the announcement | cut, lives, flips |
//! | the blob table before the descriptors | lives: O3 |
//! | the superblock's check in its first sector | cut: region refused for ever |
//! | a moved, later or unreadable superblock forbids formatting | foreign |
//! | sizes of the superblock are bounded by the area | foreign: memory runs out |
//! | sync asks for its last flush, and says no when it failed | promises |

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod faults;
mod foreign;
mod healing;
mod large;
mod limits;
mod mutate;
mod power;
mod promises;
mod source;
