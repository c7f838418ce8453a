//! Stacks of images, as container runtimes hand them over: one tree, equal to a model and to Linux's
//! overlayfs.
//!
//! Always: what is compared with is a model of the rules, rows that Linux gave, or Linux itself.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod costs;
mod disks;
mod fixture;
#[path = "../support/guest.rs"]
mod guest;
mod made;
mod model;
mod objects;
mod odd;
mod random;
mod rows;
