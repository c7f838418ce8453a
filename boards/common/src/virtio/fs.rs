//! A share: its configuration and its two queues (virtio 1.2, 5.11).
//!
//! Always: queue 0 carries only what has no reply and must not wait for reads (FORGET); queue 1
//! carries everything else. More request queues are not used: some daemons fail with two.

use virtio_drivers::transport::Transport;

use super::device::{Device, StartError};

/// Queue for FORGET.
pub(crate) const HIGH_PRIORITY: u16 = 0;
/// The only request queue that is used.
pub(crate) const REQUESTS: u16 = 1;

/// Room for the longest head: a FUSE request (40 bytes) with a name of 255 bytes and its end.
pub(crate) const HEAD_BYTES_MAX: usize = 320;
/// Room for the longest that has no reply: FORGET.
pub(crate) const NOTICE_BYTES_MAX: usize = 64;

/// Length of a mount tag in bytes; a shorter one ends in zeros.
pub(crate) const TAG_BYTES: usize = 36;

/// Reads the mount tag into `tag`.
pub(crate) fn read_tag<T: Transport>(
    device: &Device<T>,
    tag: &mut [u8; TAG_BYTES],
) -> Result<(), StartError> {
    let queues = device.config(|config| {
        for (at, byte) in tag.iter_mut().enumerate() {
            *byte = config.read_config_space(at)?;
        }
        config.read_config_space::<u32>(TAG_BYTES)
    })?;
    match queues {
        0 => {
            let name = "num_request_queues";
            Err(StartError::Field { name, value: 0, wanted: "1 or more" })
        }
        _ => Ok(()),
    }
}
