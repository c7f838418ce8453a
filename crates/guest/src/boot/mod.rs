//! Starting a kernel out of the image: where its files are loaded, and its zero page or device tree.
//!
//! Always: a kernel, an initrd and a command line are handed over as they were read, whole, or not
//! at all; memory is taken before the first of them is read. Nothing here touches a register.

mod choice;
mod entries;
mod error;
mod load;
mod part;
mod room;

pub use choice::{Choice, Words};
pub use entries::choose;
pub use error::{BootError, Why};
pub use load::{Handover, Plan};
pub use part::Part;
pub use room::{Ask, Room};
pub use rootlet_handover::{Arch, MAP_ENTRIES_MAX, MapEntry};

/// What a machine is, and what a kernel has to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'f> {
    /// The architecture.
    pub arch: Arch,
    /// All memory, on x86.
    pub map: &'f [MapEntry],
    /// The address of ACPI's first table, on x86; 0 for none.
    pub rsdp: u64,
    /// The device tree, elsewhere.
    pub tree: &'f [u8],
}
