//! What the program `rootlet` is made of: images, blobs and regions over files of this machine, and
//! guests that mount them.
//!
//! Always: nothing here needs a checkout; standard output is the command's own.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a write that fails is an error or lost, and panics nowhere: see `output`"
)]

pub mod app;
pub mod boot;
pub mod color;
pub mod config;
pub mod engine;
pub mod exit;
pub mod hil;
pub mod host;
pub mod interrupt;
pub mod line;
pub mod mount;
pub mod output;
pub mod programs;
pub mod progress;
pub mod region;
pub mod rows;
pub mod seal;
pub mod serve;
pub mod shown;
pub mod size;
pub mod source;
pub mod svg;
pub mod timeline;
pub mod unpack;
