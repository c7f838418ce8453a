//! Virtio devices: finding them, starting them, and moving requests through their queues.
//!
//! Always: a device is not trusted. Every number it reports is checked against what was lent, and
//! memory that was lent comes back only when the device gave it back or was reset.
//!
//! The layers: a transport (registers) below a `device` (start and reset), a `ring` (one
//! queue with its requests in flight), a `port` (a device with its rings, as disk or share).

pub(crate) mod blk;
pub(crate) mod device;
pub(crate) mod fs;
mod hal;
pub mod mmio;
pub(crate) mod port;
pub(crate) mod ring;

use virtio_drivers::transport::Transport;

/// A device that was found, before it is started.
#[derive(Debug)]
pub struct Found<T: Transport> {
    /// Its virtio device id (virtio 1.2, 5): 2 is a disk, 26 a share.
    pub id: u32,
    /// Its registers.
    pub transport: T,
    /// Where it is, for messages.
    pub place: u64,
}

/// A disk (virtio 1.2, 5.2).
pub const BLOCK: u32 = 2;
/// A share (virtio 1.2, 5.11).
pub const FILE_SYSTEM: u32 = 26;
