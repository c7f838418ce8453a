//! A path on a share, cut into names.
//!
//! Always: a name that comes out is one to 255 bytes without zero or slash, and is no dot name,
//! so no path leaves the share or means two things.

use super::error::{Cause, Error, Operation, PathFault};

/// The longest name in bytes (`NAME_MAX` of Linux; `FUSE_NAME_MAX` is larger).
pub const NAME_BYTES_MAX: usize = 255;
/// The most components in a path.
pub const COMPONENTS_MAX: usize = 32;

/// Checks the whole path, so that nothing is sent for a path that is refused later on.
pub(super) fn check(path: &[u8]) -> Result<(), Error> {
    for (number, name) in components(path) {
        let fault = match name {
            _ if number > COMPONENTS_MAX => PathFault::Deep,
            b"" => PathFault::Empty,
            b"." | b".." => PathFault::Dots,
            _ if name.len() > NAME_BYTES_MAX => PathFault::Long(name.len()),
            // `contains` takes many bytes at a time, which is twice the code, run but once.
            _ if !name.iter().all(|&byte| byte != 0) => PathFault::Nul,
            _ => continue,
        };
        return Err(Error { operation: Operation::Lookup(number), cause: Cause::Path(fault) });
    }
    Ok(())
}

/// Returns the names in their order, counted from 1.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(path.split(|&byte| byte == b'/'))
}
