//! Regions at another place of the disk than the area that is about to be formatted.
//!
//! Always: no byte of a region is written because the area was named wrongly.

use rootlet::cache::{FormatPolicy, Refused, Vacant};
use rootlet::storage::IoErrorKind;
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, Survive};

use rootlet_power::guest::Guest;
use rootlet_power::invariants::block;
use rootlet_power::machine::Machine;

const MIB: u64 = 1 << 20;
/// Length of the disk.
const DISK: u64 = 6 * MIB;
/// A part of it: first byte, and the length if it is not the rest.
type Part = (u64, Option<u64>);
const WHOLE: Part = (0, None);

/// Boots with the region in `part` of a disk that holds `content`.
fn boot(content: &Sparse, part: Part, change: impl FnOnce(&mut Machine)) -> (Guest, Machine) {
    let mut machine = Machine::new(1);
    machine.world.replace(machine.disk, content.clone(), false);
    (machine.options.start, machine.options.bytes) = part;
    change(&mut machine);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    (guest, machine)
}

/// A disk of zeros but for a region that nobody has used yet.
fn formatted(part: Part) -> Sparse {
    let (guest, machine) = boot(&Sparse::zeros(DISK), part, |_| {});
    assert!(guest.refused.is_none() && guest.sync());
    machine.world.crash_image(machine.disk, Survive::Everything).into()
}

/// Why the region is refused in `part`; nothing may have been written.
fn refused(content: &Sparse, part: Part, change: impl FnOnce(&mut Machine)) -> Option<Refused> {
    let (guest, machine) = boot(content, part, change);
    guest.read_all().unwrap();
    assert_eq!(machine.world.write_log(machine.disk), [], "{part:?}: the disk was written");
    guest.refused
}

/// The superblocks of the disk's copy A and B, moved from one start to another as they are.
fn moved(content: &Sparse, from: u64, to: u64) -> Sparse {
    let mut moved = Sparse::zeros(DISK);
    for at in [0, 16 * 4096] {
        moved.write(to + at, &block(content, from + at));
    }
    moved
}

#[test]
fn region_that_overlaps_the_area_is_never_formatted_over() {
    let part = |first, mib: u64| (first, Some(mib * MIB));
    for (region, area) in [
        // A disk is named where its first partition was meant, and the other way round.
        (part(MIB, 3), WHOLE),
        (WHOLE, part(MIB, 3)),
        (WHOLE, (2 * MIB, None)),
        (part(0, 3), part(2 * MIB, 2)),
        // A partition is named where the first one of a table in it was meant.
        (part(3 * MIB, 2), (2 * MIB, None)),
        // Off by blocks.
        (part(4096, 3), WHOLE),
        (part(15 * 4096, 3), WHOLE),
    ] {
        let whole = formatted(region);
        for lost in [None, Some(0), Some(16)] {
            let mut content = whole.clone();
            if let Some(block) = lost {
                content.write(region.0 + block * 4096, &[0; 4096]);
            }
            let why = refused(&content, area, |_| {});
            let expected = Refused::Elsewhere { start: region.0 };
            assert_eq!(why, Some(expected), "{region:?} {area:?} {lost:?}");
        }
        let never = refused(&whole, area, |machine| machine.options.format = FormatPolicy::Never);
        assert_eq!(never, Some(Refused::Elsewhere { start: region.0 }));
        let (guest, _) = boot(&whole, area, |machine| machine.options.format = FormatPolicy::Force);
        assert_eq!(guest.refused, None, "{region:?} {area:?}");
    }
}

/// The region was made on a partition that was a disk of its own there.
#[test]
fn region_that_says_it_starts_at_byte_0_is_found_where_it_stands() {
    let region = formatted((0, Some(3 * MIB)));
    // At 64 KiB its first superblock stands where the second one of the area belongs.
    for at in [4096, 8 * 4096, 16 * 4096, MIB] {
        let why = refused(&moved(&region, 0, at), WHOLE, |_| {});
        assert_eq!(why, Some(Refused::Elsewhere { start: at }));
    }
}

#[test]
fn areas_that_lie_side_by_side_are_formatted_each() {
    let mut content = Sparse::zeros(DISK);
    for first in [0, 3 * MIB, MIB, 4 * MIB] {
        let (guest, machine) = boot(&content, (first, Some(MIB)), |_| {});
        assert_eq!(guest.refused, None, "{first:#x}");
        guest.read_all().unwrap();
        assert!(guest.sync());
        content = machine.world.crash_image(machine.disk, Survive::Everything).into();
    }
}

#[test]
fn unreadable_place_of_another_region_is_no_reason_to_format() {
    for at in [0, MIB, MIB + 16 * 4096, 3 * MIB] {
        let why = refused(&Sparse::zeros(DISK), (2 * MIB, None), |machine| {
            let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
            machine.world.rule(fail.op(OpKind::Read).range(at..at + 4096));
        });
        assert_eq!(why, Some(Refused::Io(IoErrorKind::Device(5))), "{at:#x}");
    }
}

/// Only an area that is about to be formatted is looked around.
#[test]
fn nothing_else_of_the_disk_is_read_to_mount_a_region() {
    let region = (2 * MIB, Some(2 * MIB));
    let (guest, _) = boot(&formatted(region), region, |machine| {
        let fail = || Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
        machine.world.rule(fail().op(OpKind::Read).range(0..2 * MIB));
        machine.world.rule(fail().op(OpKind::Read).range(4 * MIB..DISK));
    });
    assert_eq!(guest.refused, None);
}

/// What was a region whose superblocks are damaged is formatted anew, unless another is near.
#[test]
fn damaged_region_is_not_formatted_over_another_one() {
    let mut content = formatted((MIB, None));
    let mut own = block(&formatted(WHOLE), 0);
    own[100] ^= 1;
    content.write(0, &own);
    assert_eq!(refused(&content, WHOLE, |_| {}), Some(Refused::Elsewhere { start: MIB }));
    for at in [0, 16 * 4096] {
        content.write(MIB + at, &[0; 4096]);
    }
    let never = refused(&content, WHOLE, |machine| machine.options.format = FormatPolicy::Never);
    assert!(matches!(never, Some(Refused::Unformatted(Vacant::Broken(_)))), "{never:?}");
    assert_eq!(boot(&content, WHOLE, |_| {}).0.refused, None);
}
