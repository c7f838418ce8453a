//! What an application returns.
//!
//! Always: an application that has not passed says why.

use core::fmt::{self, Write};

/// What an application may return: a number, 0 for success; `Ok(())` or an error that can be
/// written; or nothing, which is success.
pub trait Status {
    /// Returns whether the application has passed; if not, writes the reason to `why`.
    fn has_passed(self, why: &mut dyn Write) -> bool;
}

impl Status for () {
    fn has_passed(self, _: &mut dyn Write) -> bool {
        true
    }
}

impl Status for u8 {
    fn has_passed(self, why: &mut dyn Write) -> bool {
        // A text that is too long is cut.
        let _ = write!(why, "status {self}");
        self == 0
    }
}

impl<E: fmt::Display> Status for Result<(), E> {
    fn has_passed(self, why: &mut dyn Write) -> bool {
        if let Err(error) = &self {
            // A text that is too long is cut.
            let _ = write!(why, "{error:#}");
        }
        self.is_ok()
    }
}
