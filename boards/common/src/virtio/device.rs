//! A device from its first reset to its last.
//!
//! Always: where there is a [`Stopped`], the device touches no memory any more. Nothing here panics
//! or waits for ever because of what a device says.

use core::fmt;
use core::hint::spin_loop;

use virtio_drivers::PAGE_SIZE;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::{Found, Place};

/// Features of every device by their bits, as the specification names them (virtio 1.2, 6).
const VERSION_1: u64 = 1 << 32;
/// Addresses of memory pass through what the platform puts before it. Nothing translates here: an
/// IOMMU that nobody has set up leaves addresses as they are, in QEMU (`boot-bypass`) as in Cloud
/// Hypervisor (`iommu=on`).
const ACCESS_PLATFORM: u64 = 1 << 33;
/// Order of memory is that of the platform. virtio-drivers orders processors alone, which on Arm
/// may leave a device out (Arm ARM, inner and outer shareable domains).
const ORDER_PLATFORM: u64 = if cfg!(target_arch = "aarch64") { 0 } else { 1 << 36 };
/// Those that are taken wherever they are offered.
const TAKEN: u64 = VERSION_1 | ACCESS_PLATFORM | ORDER_PLATFORM;
const NAMES: [(u32, &str); 9] = [
    (33, "VIRTIO_F_ACCESS_PLATFORM"),
    (34, "VIRTIO_F_RING_PACKED"),
    (35, "VIRTIO_F_IN_ORDER"),
    (36, "VIRTIO_F_ORDER_PLATFORM"),
    (37, "VIRTIO_F_SR_IOV"),
    (38, "VIRTIO_F_NOTIFICATION_DATA"),
    (39, "VIRTIO_F_NOTIF_CONFIG_DATA"),
    (40, "VIRTIO_F_RING_RESET"),
    (41, "VIRTIO_F_ADMIN_VQ"),
];
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
    /// It does not run without a feature that was not taken: these it offered, without those that
    /// were taken.
    Features(u64),
    /// Its configuration cannot be read.
    Config,
    /// Its configuration is another one at each look.
    Changing,
    /// A field of its configuration has a value that nothing can be done with.
    Field {
        /// The specification's name of the field.
        name: &'static str,
        /// The value that the device has.
        value: u64,
        /// The values that the field may have.
        wanted: &'static str,
    },
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
            Self::Features(left) => {
                f.write_str("it does not run without one of the features that are not taken:")?;
                (0..u64::BITS).filter(|bit| left & 1 << bit != 0).try_for_each(|bit| {
                    match NAMES.iter().find(|(number, _)| *number == bit) {
                        Some((_, name)) => write!(f, " {name}"),
                        None => write!(f, " {bit}"),
                    }
                })
            }
            Self::Config => f.write_str("the configuration cannot be read"),
            Self::Changing => f.write_str("the configuration changes at each look"),
            Self::Field { name, value, wanted } => {
                write!(f, "its configuration has {name} {value}; it may be {wanted}")
            }
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
    /// Returns a device that was found, as it is.
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
        self.features = offered & (wanted | TAKEN);
        self.transport.write_driver_features(self.features);
        status |= DeviceStatus::FEATURES_OK;
        self.transport.set_status(status);
        if !self.transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(StartError::Features(offered & !self.features));
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
        Err(StartError::Changing)
    }

    /// Returns whether the device says that it cannot continue (virtio 1.2, 2.1.2).
    pub(crate) fn needs_reset(&self) -> bool {
        self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Returns the proof that the device touches no memory any more, if nothing answers.
    pub(crate) fn gone(&self) -> Option<Stopped> {
        self.is_gone().then_some(Stopped(()))
    }

    /// Returns whether nothing answers at the device's registers any more: a function that was
    /// pulled out reads as ones (PCI Express 6.0, 2.3.2), which no status is.
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
