//! The most of the device table that one build reads, and the unit of the table.
//!
//! Always: a build with `alloc` reads every slot that a superblock can state.

/// The most device slots of an image: the most that a superblock can state.
#[cfg(feature = "alloc")]
pub const DEVICES_MAX: usize = 65_535;
/// The most device slots of an image. A build without `alloc` reserves room for all of them: 64, or
/// the value of `ROOTLET_DEVICES_MAX` in the environment of the build, from 1 to 65,535.
#[cfg(not(feature = "alloc"))]
pub const DEVICES_MAX: usize = match option_env!("ROOTLET_DEVICES_MAX") {
    None => 64,
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(slots @ 1..=65_535) => slots,
        _ => panic!("ROOTLET_DEVICES_MAX is not a number from 1 to 65535"),
    },
};

/// The binary logarithm of a slot's bytes, also of the unit of the table's place.
pub(super) const SLOT_BITS: u32 = 7;
