//! A storage by a reference to it, or in a box: it stays whose it is.
//!
//! Always: each method is that of the storage itself; none falls back to a default.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use super::{Discover, Storage, forward};

macro_rules! by_pointer {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: Storage + ?Sized> Storage for $pointer {
            forward! { self, (**self);
                info run view vouch objects object object_node prove_object open_file close_file whole
                set_deadline now_ns clock unlocked locking
            }
            #[cfg(feature = "alloc")]
            forward! { self, (**self); start poll has_work work patience_ns rest unique }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<S: Discover + ?Sized> Discover for $pointer {
            forward! { self, (**self); disk share_file disks part set_version set_expendable }

            #[cfg(feature = "alloc")]
            forward! { self, (**self); enciphered }
        }
    };
}

by_pointer!(&mut S);
#[cfg(feature = "alloc")]
by_pointer!(Box<S>);

#[cfg(all(test, feature = "alloc"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;
    use crate::Parts;
    use crate::memory::MemoryStorage;

    #[test]
    fn partitions_are_found_behind_a_pointer() {
        let mut disks = MemoryStorage::new();
        let disk = disks.add_disk("disk", b"0123456789").unwrap();
        let mut boxed: Box<dyn Discover> = Box::new(Parts::new(disks));
        let part = boxed.part(disk, 3, 4).unwrap();
        assert_eq!(Storage::whole(&boxed, part), Some((disk, 3)));
        assert_eq!(Storage::whole(&&mut *boxed, part), Some((disk, 3)));
    }
}
