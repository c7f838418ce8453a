//! rootlet on microvm.
fn main() {}
