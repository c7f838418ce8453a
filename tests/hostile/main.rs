//! Malformed images, class by class: what a reader must make of each, and how little it may cost.
//!
//! Always: every class of [`classes::CLASSES`] has a case; a case is a whole image that is mounted
//! through the public API, the exact error (or the exact bytes) of one call on it, and the most
//! reads and bytes that mount and call may ask of the devices.
//!
//! `ROOTLET_CASE=TEXT cargo test --test hostile` runs the cases whose name holds TEXT.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod bounds;
mod case;
mod classes;
mod codec;
mod craft;
mod device;
mod directory;
mod hidden;
mod inode;
mod map;
mod xattr;

use classes::{CLASSES, Family};

const FAMILIES: [Family; 7] = [
    directory::CLASSES,
    inode::CLASSES,
    map::CLASSES,
    codec::CLASSES,
    hidden::CLASSES,
    xattr::CLASSES,
    device::CLASSES,
];

/// Runs the cases of a family.
fn check(family: Family) {
    let asked = std::env::var("ROOTLET_CASE").unwrap_or_default();
    let mut faults = Vec::new();
    for (class, make) in family {
        for case in make() {
            let name = format!("{class}: {}", case.name);
            if name.contains(&asked) {
                faults.extend(case.check(&name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_class_of_the_list_has_a_case_and_every_case_a_class() {
    let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.iter()).map(|c| c.0).collect();
    for class in CLASSES {
        let makers = FAMILIES.iter().flat_map(|family| family.iter());
        let cases: usize = makers.filter(|of| of.0 == class).map(|of| of.1().len()).sum();
        assert!(cases > 0, "{class}: no case");
    }
    for class in known {
        assert!(CLASSES.contains(&class), "{class}: not in the list");
    }
}

#[test]
fn directories_that_lie() {
    check(directory::CLASSES);
}

#[test]
fn inodes_that_lie() {
    check(inode::CLASSES);
}

#[test]
fn maps_of_compressed_files_that_lie() {
    check(map::CLASSES);
}

#[test]
fn streams_that_lie() {
    check(codec::CLASSES);
}

#[test]
fn fragments_and_metaboxes_that_lie() {
    check(hidden::CLASSES);
}

#[test]
fn xattrs_that_lie() {
    check(xattr::CLASSES);
}

#[test]
fn device_tables_that_lie() {
    check(device::CLASSES);
}
