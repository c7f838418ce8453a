//! Sources that fail or change, guests that share a region, and what runs out.
//!
//! Always: bytes of an older version, of another blob or of another guest are never served.

use rootlet_power::case::{runs, sweep};
use rootlet_power::guest::Guest;
use rootlet_power::machine::{Machine, Scale};
use rootlet_sim::disk::{Sparse, Survive};

#[test]
fn failing_source_gives_errors_and_never_wrong_bytes() {
    sweep(Scale::Large, "source", (1..=runs(150)).map(|seed| [seed]));
}

#[test]
fn replaced_source_is_never_mixed_with_its_older_version() {
    sweep(Scale::Large, "version", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn two_guests_on_one_region_read_right() {
    sweep(Scale::Large, "two", (1..=runs(150)).map(|seed| [seed]));
}

#[test]
fn disk_content_survives_as_it_was_outside_the_region() {
    let mut machine = Machine::new(5);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    let now: Sparse = machine.world.crash_image(machine.disk, Survive::Everything).into();
    let (start, bytes) = (rootlet_power::machine::START, rootlet_power::machine::BYTES);
    let now = now.to_vec();
    let outside = [&now[..start as usize], &now[(start + bytes) as usize..]];
    assert!(outside.concat().iter().all(|byte| *byte == rootlet_power::machine::OUTSIDE));
    assert!(now[start as usize..(start + bytes) as usize].iter().any(|byte| *byte != 0));
}

#[test]
fn disk_that_changes_under_its_tag_gives_whole_blocks_of_the_one_or_the_other() {
    sweep(Scale::Small, "same-tag", (1..=runs(100)).map(|seed| [seed]));
}

/// The blob table wrote both copies of a page between two flushes when a blob was attached while
/// the page was on its way; a cut then took 31 entries, and all that they named.
#[test]
fn entry_of_the_blob_table_that_is_used_again_never_mixes_blobs() {
    sweep(Scale::Small, "blobs", (1..=runs(300)).map(|seed| [seed]));
}

#[test]
fn region_whose_resources_run_out_costs_no_read() {
    sweep(Scale::Small, "pools", (1..=runs(200)).map(|seed| [seed]));
}
