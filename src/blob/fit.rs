//! The check of a device before anything is read from it.
//!
//! Always: no read is planned for a device that did not pass.

use super::bind_error::BindError;
use crate::storage::{DeviceId, DeviceInfo, Storage};

/// Returns the properties of a slot's device; `None` if the storage has no such device.
///
/// # Errors
/// [`BindError::Unfit`].
pub(crate) fn fit<S: Storage>(
    storage: &S,
    slot: u16,
    device: DeviceId,
) -> Result<Option<DeviceInfo>, BindError> {
    let info = storage.info(device);
    let checked = info.as_ref().map_or(Ok(()), DeviceInfo::check);
    checked.map_err(|unfit| BindError::Unfit { slot, device, unfit })?;
    Ok(info)
}
