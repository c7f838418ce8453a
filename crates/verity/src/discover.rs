//! The search for devices, which the storage below does.
//!
//! Always: what is found is pinned later, before its first byte is read.

use alloc::boxed::Box;

use rootlet_storage::{Discover, forward};

use crate::Verified;

#[deny(clippy::missing_trait_methods)]
impl<S: Discover> Discover for Verified<S> {
    forward! { self, self.storage;
        disk share_file disks part enciphered set_version set_expendable
    }
}
