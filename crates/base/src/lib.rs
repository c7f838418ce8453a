//! What all crates of rootlet stand on: numbers, quantities, the error for what cannot happen, and
//! the log.
//!
//! Always: it knows of no device, no image and no region, and allocates nothing.
//!
//! For the crates of rootlet alone: what is public here may change in any release. [`Bug`] is the
//! exception, which `rootlet` hands on.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod num;
pub mod trace;
pub mod units;

pub use num::Bug;
