//! Measuring: the guest's own benchmark, beside guests that do nothing and beside Linux.

mod args;
mod bench;
mod median;
mod peer;
mod tables;
pub mod tiny;
mod tiny_virt;

pub use args::BenchArgs;
pub use bench::task as bench;
