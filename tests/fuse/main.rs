//! The FUSE session against a recorded daemon, a modelled daemon, and daemons that lie.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

mod anew;
mod daemon;
mod lies;
mod links;
mod recorded;
mod session;
