//! Passes a linker script to the examples, which are images for any board of their architecture.

mod link;

fn main() {
    let script = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => "aarch64-image.ld",
        Ok("riscv64") => "riscv64-image.ld",
        _ => "x86_64-pvh.ld",
    };
    link::image("examples", script);
}
