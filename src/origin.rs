//! Origins: the numbers that tell the images and mounts of this program apart.
//!
//! Always: two calls of [`fresh`] return two origins.

use crate::erofs::Origin;
use crate::num::{Bug, OrBug};

/// Returns an origin that nothing has had yet.
///
/// # Errors
/// A [`Bug`] after 2^64 calls.
pub fn fresh() -> Result<Origin, Bug> {
    // A lock, not an atomic: processors of 32 bits have no atomics of 64.
    static LAST: spin::Mutex<u64> = spin::Mutex::new(0);
    let mut last = LAST.lock();
    *last = last.checked_add(1).or_bug()?;
    Ok(Origin::new(*last))
}
