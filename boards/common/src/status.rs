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
        if self != 0 {
            // A text that is too long is cut.
            let _ = write!(why, "status {self}");
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn ending(status: impl Status) -> Option<String> {
        let mut why = String::new();
        (!status.has_passed(&mut why)).then_some(why)
    }

    #[test]
    fn application_passes_by_0_by_ok_or_by_nothing_and_else_says_why() {
        assert_eq!(ending(()), None);
        assert_eq!(ending(0), None);
        assert_eq!(ending(3), Some("status 3".into()));
        assert_eq!(ending(Ok::<(), &str>(())), None);
        assert_eq!(ending(Err("no table")), Some("no table".into()));
    }
}
