//! The heap: one range of RAM.
//!
//! Always: what decides where a block lies runs anywhere; the machine's allocator is made of it.

#[cfg(target_os = "none")]
mod allocator;
mod space;

#[cfg(target_os = "none")]
pub(crate) use allocator::init;
#[cfg(target_os = "none")]
pub use allocator::{HeapUse, seal, usage};
