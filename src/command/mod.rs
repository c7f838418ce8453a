//! What the guest commands and the host tool share.
//!
//! Always: `no_std`, and free of any board.

pub mod frame;
