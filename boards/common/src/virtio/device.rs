//! A device from its first reset to its last.
//!
//! Always: where there is a [`Stopped`], the device touches no memory any more. Nothing here panics
//! or waits for ever because of what a device says.

use core::fmt;
use core::hint::spin_loop;

use virtio_drivers::PAGE_SIZE;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::{Found, Place};

/// VIRTIO_F_VERSION_1 (virtio 1.2, 6).
const VERSION_1: u64 = 1 << 32;
/// Reads of a configuration that keeps changing.
const CONFIG_READS_MAX: u32 = 16;
/// How long a reset may take.
const RESET_NS_MAX: u64 = 1_000_000_000;

/// Why a device could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Its registers read as ones: nothing is there, or not any more.
    Gone,
    /// It does not say that it is reset.
    Reset,
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
            Self::Gone => f.write_str("its registers read as ones: nothing is there any more"),
            Self::Reset => f.write_str("the device does not reset"),
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

/// Proof that a device touches no memory any more: it was reset, or it is not there.
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
    pub(super) now: fn() -> u64,
}

impl<T: Transport> Device<T> {
    /// A device that was found, as it is.
    pub(crate) fn new(found: Found<T>, now: fn() -> u64) -> Self {
        Self { transport: found.transport, features: 0, place: found.place, now }
    }

    /// Resets the device and settles features: those in `wanted` that it offers.
    pub(crate) fn begin(&mut self, wanted: u64) -> Result<(), StartError> {
        self.stop().ok_or(StartError::Reset)?;
        if self.is_gone() {
            return Err(StartError::Gone);
        }
        // One bit a step: Firecracker refuses two at once (virtio 1.2, 3.1.1, steps 2 and 3).
        let mut status = DeviceStatus::ACKNOWLEDGE;
        self.transport.set_status(status);
        status |= DeviceStatus::DRIVER;
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

    /// Whether nothing answers at the device's registers any more: a function that was pulled out
    /// reads as ones (PCI Express 6.0, 2.3.2), which no status is.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.transport.get_status().bits(), 0xff | u32::MAX)
    }

    /// Resets the device, and waits until it says that it is reset (virtio 1.2, 2.4.2). `None` if
    /// it does not say so within a second: it may write to its memory for ever.
    ///
    /// A monitor may wait inside this for what is in flight: for a device that does not answer
    /// that is for ever.
    pub(crate) fn stop(&mut self) -> Option<Stopped> {
        self.transport.set_status(DeviceStatus::empty());
        let begin = (self.now)();
        loop {
            // Before the look at the device, so that a machine which stood still looks once more.
            let waited = (self.now)().abs_diff(begin);
            if self.transport.get_status() == DeviceStatus::empty() || self.is_gone() {
                return Some(Stopped(()));
            }
            if waited >= RESET_NS_MAX {
                return None;
            }
            spin_loop();
        }
    }
}
