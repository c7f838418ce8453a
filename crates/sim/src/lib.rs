//! The simulated world for rootlet's tests: an EROFS image builder, disks with faults, and threads
//! and futures that take turns.
//!
//! Always: one seed decides everything random, so every failure replays from its seed.

pub mod disk;
pub mod image;
mod rng;
pub mod tasks;
mod turns;

pub use rng::Rng;
pub use turns::Turns;
