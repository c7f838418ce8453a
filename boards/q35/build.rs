//! Passes the board's linker script.

#[path = "../common/link.rs"]
mod link;

fn main() {
    link::image("bins", "x86_64-pvh.ld");
}
