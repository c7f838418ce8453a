//! The atomics of this machine, or with the feature `portable-atomic` those of that crate, for
//! machines that cannot compare and swap.
//!
//! Always: both are the same but for the instructions.

#[cfg(not(feature = "portable-atomic"))]
pub use alloc::sync::Arc;
#[cfg(not(feature = "portable-atomic"))]
pub use core::sync::atomic::AtomicU32;
pub use core::sync::atomic::Ordering;
#[cfg(feature = "portable-atomic")]
pub use portable_atomic::AtomicU32;
#[cfg(feature = "portable-atomic")]
pub use portable_atomic_util::Arc;
