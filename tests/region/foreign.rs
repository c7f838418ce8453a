//! Areas that are not ours: foreign data, moved regions, later formats.
//!
//! Always: what is refused is not written, not one byte, and every read is served all the same.

use rootlet::cache::{FormatPolicy, Mode, Refusal, Refused, Remedy, SlotState, Vacant};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Sparse, Survive};

use rootlet_power::decode;
use rootlet_power::guest::Guest;
use rootlet_power::invariants::block;
use rootlet_power::machine::{BYTES, Machine, START, blank_disk};

/// Boots on `content`, reads everything, and says why the region was refused; the disk must be
/// as it was.
fn refused(content: Sparse, change: impl FnOnce(&mut Machine)) -> Option<Refused> {
    let mut machine = Machine::new(1);
    machine.world.replace(machine.disk, content, false);
    change(&mut machine);
    let before = machine.world.crash_image(machine.disk, Survive::Everything);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    guest.sync();
    assert_eq!(machine.world.write_log(machine.disk), [], "the area was written");
    assert_eq!(before, machine.world.crash_image(machine.disk, Survive::Everything));
    guest.refused
}

fn with(at: u64, data: &[u8]) -> Sparse {
    let mut content = blank_disk(BYTES);
    content.write(START + at, data);
    content
}

/// A disk with a region that was used.
fn used() -> Sparse {
    let mut machine = Machine::new(2);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    machine.world.crash_image(machine.disk, Survive::Everything).into()
}

/// The region with both superblocks changed and their checks put right.
fn changed(content: &Sparse, change: impl Fn(&mut Vec<u8>)) -> Sparse {
    let mut content = content.clone();
    for at in [START, START + 16 * 4096] {
        let mut raw = block(&content, at);
        change(&mut raw);
        decode::seal_superblock(&mut raw);
        content.write(at, &raw);
    }
    content
}

#[test]
fn foreign_data_is_never_written() {
    let signatures: [(u64, &[u8]); 10] = [
        (510, &[0x55, 0xaa]),
        (512, b"EFI PART"),
        (4096, b"EFI PART"),
        (1080, &[0x53, 0xef]),
        (0, b"LUKS\xba\xbe"),
        (0, b"XFSB"),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
        (65_600, b"_BHRfS_M"),
        (0, b"hsqs"),
        (4086, b"SWAPSPACE2"),
    ];
    for (at, data) in signatures {
        let why = refused(with(at, data), |_| {});
        assert!(matches!(why, Some(Refused::Foreign(_))), "{at} {data:?}: {why:?}");
    }
    let tails: [(u64, &[u8]); 5] = [
        (64, b"AVBf"),
        (512, b"EFI PART"),
        (4096, b"EFI PART"),
        (8192, &[0xfc, 0x4e, 0x2b, 0xa9]),
        (65_536, &[0xfc, 0x4e, 0x2b, 0xa9]),
    ];
    for (before, data) in tails {
        let why = refused(with(BYTES - before, data), |_| {});
        assert!(matches!(why, Some(Refused::Foreign(_))), "{before} from the end: {why:?}");
    }
    let mut noise = vec![0; BYTES as usize];
    Rng::new(4).fill(&mut noise);
    assert_eq!(refused(with(0, &noise), |_| {}), Some(Refused::Unknown));
    assert_eq!(refused(with(100_000, &[1]), |_| {}), Some(Refused::Unknown));
}

#[test]
fn region_that_starts_elsewhere_is_never_written() {
    let content = used();
    // Off by sectors of 512 bytes, each way; the area may reach beyond the region.
    for sectors in [8i64, 16, 64, 128, -8, -16] {
        let why = refused(content.clone(), |machine| {
            machine.options.start = START.checked_add_signed(sectors * 512).unwrap();
            // Foreign bytes before the region would be refused for themselves.
            machine.world.poke(machine.disk, 0, &vec![0; START as usize]);
        });
        // 128 sectors further on stands the second superblock, where the first belongs.
        let expected = match sectors {
            128 => Refused::Superblock(Refusal::Moved { start: START }),
            _ => Refused::Elsewhere { start: START },
        };
        assert_eq!(why, Some(expected), "{sectors}");
    }
    for sectors in 1..8 {
        let why = refused(content.clone(), |machine| machine.options.start += sectors * 512);
        assert!(matches!(why, Some(Refused::Range { .. })), "{sectors}: {why:?}");
    }
    let why = refused(changed(&content, |raw| raw[41] ^= 1), |_| {});
    assert!(matches!(why, Some(Refused::Superblock(Refusal::Moved { .. }))), "{why:?}");
}

#[test]
fn later_format_is_passed_by() {
    let content = used();
    let version = refused(changed(&content, |raw| raw[8] = 5), |_| {});
    assert_eq!(version, Some(Refused::Superblock(Refusal::Version(5))));
    let incompat = refused(changed(&content, |raw| raw[22] = 0x80), |_| {});
    assert_eq!(incompat, Some(Refused::Superblock(Refusal::Incompat(0x80_0000))));
    let checksum = refused(changed(&content, |raw| raw[73] = 9), |_| {});
    assert_eq!(checksum, Some(Refused::Superblock(Refusal::Checksum(9))));
}

#[test]
fn earlier_format_is_formatted_anew_where_that_is_allowed() {
    let old = changed(&used(), |raw| raw[8] = 1);
    let never = refused(old.clone(), |machine| machine.options.format = FormatPolicy::Never);
    let version = Vacant::Broken(Refusal::Version(1));
    assert_eq!(never, Some(Refused::Unformatted(version)));
    let moved = refused(changed(&old, |raw| raw[41] ^= 1), |_| {});
    assert!(matches!(moved, Some(Refused::Superblock(Refusal::Moved { .. }))), "{moved:?}");

    let mut machine = Machine::new(1);
    machine.world.replace(machine.disk, old, false);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    assert_eq!((guest.refused, guest.opened.len()), (None, 0), "nothing of it is believed");
    guest.read_all().unwrap();
    assert!(guest.sync());
    assert_eq!(guest.cache_stats().check_failures, 0);
}

/// One superblock says that the region is not ours to use; the other is damaged or older.
#[test]
fn later_format_in_one_superblock_is_enough_to_pass_by() {
    let content = used();
    for newer in [0, 16] {
        for damaged in [true, false] {
            let mut one = content.clone();
            let mut raw = block(&one, START + newer * 4096);
            (raw[8], raw[63]) = (5, 1);
            decode::seal_superblock(&mut raw);
            one.write(START + newer * 4096, &raw);
            if damaged {
                one.write(START + (16 - newer) * 4096 + 80, &[0xff]);
            }
            let why = refused(one, |_| {});
            assert_eq!(why, Some(Refused::Superblock(Refusal::Version(5))), "{newer} {damaged}");
        }
    }
}

#[test]
fn impossible_sizes_are_refused_and_take_no_memory() {
    let content = used();
    let huge = |raw: &mut Vec<u8>| {
        raw[48..56].copy_from_slice(&(1u64 << 60).to_le_bytes());
        raw[76..80].copy_from_slice(&0x7fff_0000u32.to_le_bytes());
    };
    let why = refused(changed(&content, huge), |_| {});
    assert_eq!(why, Some(Refused::Shrunk { says: 1 << 60, bytes: BYTES }));
    let no_slots = |raw: &mut Vec<u8>| raw[76..80].fill(0);
    let why = refused(changed(&content, no_slots), |_| {});
    assert_eq!(why, Some(Refused::Superblock(Refusal::Layout)));
}

#[test]
fn region_longer_than_its_area_gives_hits_and_is_not_written() {
    let content = used();
    let mut machine = Machine::new(1);
    machine.world.replace(machine.disk, content.clone(), false);
    machine.options.bytes = Some(BYTES - (200 << 10));
    let guest = Guest::boot(&mut machine, 0).unwrap();
    assert_eq!(
        guest.mode(),
        Some(Mode::ReadOnly("it is longer than its area: its disk has shrunk"))
    );
    // Slots that end beyond the area are not used.
    assert_eq!(guest.cache(|cache| cache.slots(SlotState::Dead)), Some(3));
    guest.read_all().unwrap();
    assert!(guest.stats().hits > 0);
    assert_eq!(guest.cache_stats().region_faults, 0);
    assert_eq!(machine.world.write_log(machine.disk), []);
}

#[test]
fn unknown_ro_compat_bit_gives_hits_and_is_not_written() {
    let content = changed(&used(), |raw| raw[16] = 1);
    let mut machine = Machine::new(1);
    machine.world.replace(machine.disk, content, false);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    assert!(matches!(guest.mode(), Some(Mode::ReadOnly(_))));
    guest.read_all().unwrap();
    assert!(guest.stats().hits > 0);
    assert_eq!(machine.world.write_log(machine.disk), []);
}

#[test]
fn unreadable_superblock_is_no_reason_to_format() {
    use rootlet::storage::IoErrorKind;
    use rootlet_sim::disk::{Fault, OpKind, Rule};
    let mut content = used();
    // The newer copy is damaged, the other cannot be read for once.
    for (broken, unread) in [(0, 16), (16, 0)] {
        let whole = content.clone();
        content.write(START + broken * 4096 + 80, &[0xff]);
        let why = refused(content, |machine| {
            let at = START + unread * 4096;
            let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
            machine.world.rule(fail.op(OpKind::Read).range(at..at + 4096).nth(1));
        });
        assert_eq!(why, Some(Refused::Io(IoErrorKind::Device(5))));
        content = whole;
    }
}

#[test]
fn region_that_may_not_be_formatted_is_left_alone() {
    let blank = blank_disk(BYTES);
    let never = refused(blank.clone(), |machine| machine.options.format = FormatPolicy::Never);
    assert_eq!(never, Some(Refused::Unformatted(Vacant::Blank)));
    let read_only = refused(blank, |machine| machine.world.set_read_only(machine.disk, true));
    assert_eq!(read_only, Some(Refused::ReadOnly));
}

#[test]
fn what_is_found_is_said_where_it_may_not_be_formatted() {
    let never = |content| refused(content, |machine| machine.options.format = FormatPolicy::Never);
    assert_eq!(never(with(100_000, &[1])), Some(Refused::Unknown));
    assert!(matches!(never(with(0, b"XFSB")), Some(Refused::Foreign(_))));
    let mut lost = used();
    for superblock in [0, 16] {
        lost.write(START + superblock * 4096, &[0; 4096]);
    }
    assert_eq!(never(lost), Some(Refused::Unformatted(Vacant::Lost)));
}

/// What is left of a region whose superblocks are gone is formatted, and serves the next boot.
#[test]
fn region_that_lost_both_superblocks_is_formatted_anew() {
    let mut noise = vec![0; 4096];
    Rng::new(4).fill(&mut noise);
    for lost in [vec![0; 4096], noise] {
        let mut content = used();
        content.write(START, &lost);
        content.write(START + 16 * 4096, &lost);
        let mut machine = Machine::new(1);
        machine.world.replace(machine.disk, content, false);
        for boot in 0..2 {
            let guest = Guest::boot(&mut machine, 0).unwrap();
            assert_eq!(guest.refused, None);
            guest.read_all().unwrap();
            assert_eq!(guest.cache_stats().check_failures, 0);
            assert_eq!(guest.stats().hits > 0, boot == 1, "boot {boot}");
            assert!(guest.sync());
        }
    }
}

/// Somebody else's bytes stand in the head, and pages of a former region after it.
#[test]
fn area_whose_head_holds_more_than_our_pages_is_left_alone() {
    for block in [1, 8, 15, 24, 31] {
        let mut content = used();
        for superblock in [0, 16] {
            content.write(START + superblock * 4096, &[0; 4096]);
        }
        content.write(START + block * 4096, b"not a word of ours");
        assert_eq!(refused(content, |_| {}), Some(Refused::Unknown), "block {block}");
    }
}

/// An area that has the start of a region differs from one that never was a region.
#[test]
fn region_of_which_not_even_a_slot_is_left_says_that_its_disk_has_shrunk() {
    let content = used();
    for (bytes, lost) in [(4096, 16), (102_400, 0), (102_400, 16), (232_000, 0)] {
        let mut content = content.clone();
        content.write(START + lost * 4096, &[0; 4096]);
        let why = refused(content, |machine| machine.options.bytes = Some(bytes));
        let bytes = bytes & !4095;
        assert_eq!(why, Some(Refused::Shrunk { says: BYTES, bytes }));
    }
    let why = refused(blank_disk(BYTES), |machine| machine.options.bytes = Some(102_400));
    assert_eq!(why, Some(Refused::TooSmall { bytes: 102_400 }));
}

#[test]
fn what_is_refused_says_what_it_found_and_what_to_do() {
    let says = |refused: Refused| (format!("{refused:#}"), refused.remedy());
    let overwrite = |text: &str| (text.to_owned(), Some(Remedy::Overwrite));
    assert_eq!(
        says(Refused::Superblock(Refusal::Moved { start: 0x1000 })),
        overwrite("the region says it starts at byte 0x1000 of its disk, not here")
    );
    assert_eq!(
        says(Refused::Elsewhere { start: 0x10_0000 }),
        overwrite("the area has bytes of a region that starts at byte 0x100000 of the disk")
    );
    assert_eq!(
        says(Refused::Shrunk { says: 1 << 20, bytes: 1 << 19 }),
        overwrite("the region has 1048576 bytes, of which 524288 are left: its disk has shrunk")
    );
    // No word makes a region of so few bytes.
    assert_eq!(says(Refused::Shrunk { says: 1 << 20, bytes: 102_400 }).1, None);
    let foreign = says(Refused::Foreign("an XFS file system"));
    assert_eq!(foreign, overwrite("the area holds an XFS file system"));
    assert_eq!(says(Refused::Unknown), overwrite("the area holds unknown data"));
    let blank = says(Refused::Unformatted(Vacant::Blank));
    assert_eq!(blank, ("the area is blank".into(), Some(Remedy::Format)));
    assert_eq!(says(Refused::ReadOnly).1, Some(Remedy::Writable));
    assert_eq!(says(Refused::NoDevice).1, None);
}
