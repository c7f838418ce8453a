//! A mount with digests reads nothing unverified: images, blobs, trees and regions that an enemy
//! writes, over the devices of the simulator, mounted as a guest mounts them.
//!
//! Always: what is compared with is the content as it was made, or Linux's own manifest.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod costs;
mod flips;
#[path = "../support/guest.rs"]
mod guest;
mod hashing;
mod many;
mod offline;
mod refused;
mod region;
mod set;
mod table;
mod tasks;
mod twice;
mod world;
