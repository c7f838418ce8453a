//! A device from its first reset to its last.
//!
//! Always: once [`Device::stop`] has returned, the device touches no memory any more, and it is
//! never started again.

use core::fmt;
use core::hint::spin_loop;

use virtio_drivers::PAGE_SIZE;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::{Found, Place};

/// VIRTIO_F_VERSION_1 (virtio 1.2, 6).
const VERSION_1: u64 = 1 << 32;
/// Reads of a configuration that keeps changing.
const CONFIG_READS_MAX: u32 = 16;
/// How long a reset may take. A device that takes longer still has our memory, and then nothing
/// can go on.
const RESET_NS_MAX: u64 = 10_000_000_000;

/// Why a device could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// It has the registers of virtio 1.0, but no VIRTIO_F_VERSION_1.
    Old,
    /// It refuses the features that it offered.
    Features,
    /// Its configuration cannot be read.
    Config,
    /// A queue is missing, has a single entry, or cannot be notified; the number is the queue's.
    Queue(u16),
    /// It reports a capacity or length that no device has.
    Capacity(u64),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old => f.write_str("the device has the registers of virtio 1.0, and is older"),
            Self::Features => f.write_str("the device refuses the features it offered"),
            Self::Config => f.write_str("the configuration cannot be read"),
            Self::Queue(index) => {
                write!(f, "queue {index} is missing, has one entry, or cannot be notified")
            }
            Self::Capacity(sectors) => write!(f, "a capacity of {sectors} sectors is impossible"),
        }
    }
}

/// Proof that a device has been reset and touches no memory any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped(());

/// A device.
#[derive(Debug)]
pub(crate) struct Device<T: Transport> {
    pub(crate) transport: T,
    /// Features that both sides have, once they are settled.
    pub(crate) features: u64,
    /// Where it is, for messages.
    pub(crate) place: Place,
    now: fn() -> u64,
}

impl<T: Transport> Device<T> {
    /// A device that was found, as it is.
    pub(crate) fn new(found: Found<T>, now: fn() -> u64) -> Self {
        Self { transport: found.transport, features: 0, place: found.place, now }
    }

    /// Resets the device and settles features: those in `wanted` that it offers.
    pub(crate) fn begin(&mut self, wanted: u64) -> Result<(), StartError> {
        self.stop();
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.transport.set_status(status);
        let offered = self.transport.read_device_features();
        if self.transport.requires_legacy_layout() {
            // Has neither the feature nor the status bit (virtio 1.2, 3.1.2).
            self.features = offered & wanted;
            self.transport.write_driver_features(self.features);
            self.transport.set_guest_page_size(PAGE_SIZE as u32);
            return Ok(());
        }
        if offered & VERSION_1 == 0 {
            return Err(StartError::Old);
        }
        self.features = offered & (wanted | VERSION_1);
        self.transport.write_driver_features(self.features);
        status |= DeviceStatus::FEATURES_OK;
        self.transport.set_status(status);
        if !self.transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(StartError::Features);
        }
        Ok(())
    }

    /// Lets the device run; its queues are set.
    pub(crate) fn run(&mut self) {
        let status = self.transport.get_status();
        self.transport.set_status(status | DeviceStatus::DRIVER_OK);
    }

    /// Reads configuration until two looks at its generation agree (virtio 1.2, 2.5.1).
    pub(crate) fn config<V>(
        &self,
        mut read: impl FnMut(&T) -> virtio_drivers::Result<V>,
    ) -> Result<V, StartError> {
        for _ in 0..CONFIG_READS_MAX {
            let before = self.transport.read_config_generation();
            let value = read(&self.transport).map_err(|_| StartError::Config)?;
            if self.transport.read_config_generation() == before {
                return Ok(value);
            }
        }
        Err(StartError::Config)
    }

    /// Whether the device says that it cannot go on (virtio 1.2, 2.1.2).
    pub(crate) fn needs_reset(&self) -> bool {
        self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Resets the device, and returns when it says that it is reset (virtio 1.2, 2.4.2).
    ///
    /// # Panics
    ///
    /// If the device does not reset within 10 s: it may write to memory that would be reused.
    pub(crate) fn stop(&mut self) -> Stopped {
        self.transport.set_status(DeviceStatus::empty());
        let begin = (self.now)();
        while self.transport.get_status() != DeviceStatus::empty() {
            let waited = (self.now)().saturating_sub(begin);
            assert!(
                waited < RESET_NS_MAX,
                "virtio device at {} does not reset: its memory cannot be taken back",
                self.place
            );
            spin_loop();
        }
        Stopped(())
    }
}

impl<T: Transport> Drop for Device<T> {
    /// A device that nobody drives any more must not write to memory that will be reused.
    fn drop(&mut self) {
        self.stop();
    }
}
