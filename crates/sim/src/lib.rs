//! The simulated world for rootlet's tests: an EROFS image builder and disks with faults.
//!
//! Always: one seed decides everything random, so every failure replays from its seed.

pub mod disk;
pub mod image;
mod rng;

pub use rng::Rng;
