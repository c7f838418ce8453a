//! Simulated devices: blobs, writable disks and shared files with faults, power cuts and a
//! virtual clock.
//!
//! Always: a disk keeps exactly the promise of [`rootlet::storage::Storage::run`] and nothing
//! kinder: a completed write is volatile until a flush that was submitted after its completion
//! has itself completed; until then each of its 512-byte sectors may after a power cut be old,
//! new or torn, independently of all others. One seed decides everything: a [`World`] that is
//! driven in the same way takes the same course ([`World::trace_hash`]).
//!
//! A [`World`] holds the devices and the faults; [`World::attach`] gives a guest its
//! [`SimStorage`]. The world stays in the hands of the test while a reader owns the storage.

mod counters;
mod crash;
mod engine;
mod fault;
mod medium;
mod request;
mod sparse;
mod storage;
mod world;

pub use counters::{Counters, Step, TraceEvent, WriteRecord};
pub use crash::{CrashImages, Digests, StableImage, Survive};
pub use fault::{Fault, OpKind, Rule};
pub use medium::{Medium, SECTOR};
pub use sparse::Sparse;
pub use storage::SimStorage;
pub use world::{World, WriteSeen};
