//! Proving: mutated inputs, and power cuts of simulated machines.

mod args;
mod fuzz;
mod guards;
mod power_cut;

pub use args::{FuzzArgs, PowerCutArgs};
pub use fuzz::task as fuzz;
pub use power_cut::task as power_cut;
