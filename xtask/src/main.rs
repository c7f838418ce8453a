//! The host tool of rootlet.
fn main() {}
