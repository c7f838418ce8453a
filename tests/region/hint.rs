//! Regions with a hint: a mount reads the pages that it needs, and finds all that the slots hold.
//!
//! Always: regions are of the smallest length that has a hint, or longer.

use rootlet::cache::inspect::{Place, Region};
use rootlet::cache::{Cache, CacheOptions, Copy2, Geometry, Layer};
use rootlet::storage::events::{Kind, Recorder};
use rootlet_power::case::{runs, sweep};
use rootlet_power::guest::Guest;
use rootlet_power::hint::{machine, range};
use rootlet_power::invariants::block;
use rootlet_power::machine::{Machine, START, Scale};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Step, Survive};

#[test]
fn lives_that_leave_hints_keep_both_laws() {
    sweep(Scale::Large, "hint", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn spoiled_hint_costs_time_and_no_byte() {
    sweep(Scale::Large, "stale", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn hint_that_is_wrong_and_checks_out_is_only_followed() {
    sweep(Scale::Large, "forged", (1..=runs(60)).map(|seed| [seed]));
}

/// A table is recorded where it lies on the disk, as all else of the region is.
#[test]
fn reads_of_the_hint_and_the_boot_trace_are_recorded_where_they_lie_on_the_disk() {
    let mut machine = machine(4);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.leave());
    drop(guest);
    let storage = machine.world.attach();
    let mut cache = Cache::open(&storage, &machine.options).unwrap();
    let recorder = Recorder::new(100);
    Layer::<SimStorage>::record(&mut cache, &recorder);
    cache.boot_trace(&storage);
    let mut places = Vec::new();
    recorder.each(|event| places.push((event.kind, event.at, event.len)));
    assert_eq!(places, [(Kind::Table, START + Geometry::BOOT_TRACE_AT, 4096)]);
}

/// Bytes that a mount reads of the region, and how often reading everything then fetches.
fn cost(machine: &mut Machine) -> (u64, usize) {
    let read = |machine: &Machine| machine.world.counters(machine.disk).read_bytes;
    let before = read(machine);
    let guest = Guest::boot_blind(machine, 0).unwrap();
    let mount = read(machine) - before;
    machine.world.record_trace();
    machine.world.take_trace();
    guest.read_all().unwrap();
    let trace = machine.world.take_trace();
    let fetches = trace.iter().filter(|seen| {
        seen.device != machine.disk && seen.op == OpKind::Read && seen.step == Step::Submit
    });
    (mount, fetches.count())
}

#[test]
fn region_that_was_left_in_order_is_mounted_without_its_descriptor_pages() {
    let mut machine = machine(4);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.leave());
    let figures = |guest: &Guest| {
        guest.root.with_layer(|cache, _| {
            let cache = cache.as_ref().unwrap();
            let bytes = cache.blobs().map(|(blob, _)| cache.resident_bytes(blob));
            (cache.used_slots(), bytes.collect::<Vec<_>>())
        })
    };
    let left = figures(&guest);
    drop(guest);
    let guest = Guest::boot_blind(&mut machine, 0).unwrap();
    assert_eq!(figures(&guest), left, "before anything was read");
    guest.read_all().unwrap();
    assert_eq!(figures(&guest), left, "after all was read");
    guest.root.with_layer(|cache, storage| cache.as_mut().unwrap().scan_all(storage));
    assert_eq!(figures(&guest), left, "after all was looked at");
    drop(guest);

    // Superblocks, blob table twice, head of the hint; for the root directory a page of the hint,
    // both copies of a descriptor page, and a block.
    let (bytes, fetches) = cost(&mut machine);
    assert!(bytes <= 15 * 4096, "{bytes} bytes");
    assert_eq!(fetches, 0);
    // The same, with the hint gone: all pages of both copies.
    machine.world.crash(Survive::Nothing);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    let hint = range(&guest).unwrap();
    drop(guest);
    machine.world.poke(machine.disk, hint.start, &[0; 4096]);
    let (bytes, fetches) = cost(&mut machine);
    assert!(bytes > 128 * 4096, "{bytes} bytes");
    assert_eq!(fetches, 0);
}

#[test]
fn region_that_was_formatted_is_mounted_without_most_of_its_descriptor_pages() {
    let mut machine = machine(4);
    machine.world.record_trace();
    for mount in ["that formats", "behind it"] {
        let guest = Guest::boot_blind(&mut machine, 0).unwrap();
        // Free slots for what was fetched are looked for in 32 pages of both copies.
        let read = pages_read(&machine, &guest);
        assert!(read <= 64, "the mount {mount} read {read} descriptor pages");
        drop(guest);
        machine.world.crash(Survive::Everything);
    }
    let CacheOptions { device, start, bytes, .. } = machine.options;
    let storage = machine.world.attach();
    let region = Region::read(&storage, &Place { device, start, bytes }).unwrap();
    region.check_hint(&storage, &mut |fault| panic!("{fault}"));
    // A power cut may take the hint.
    let guest = Guest::boot_blind(&mut machine, 0).unwrap();
    let hint = range(&guest).unwrap();
    drop(guest);
    machine.world.poke(machine.disk, hint.start, &[0; 4096]);
    machine.world.take_trace();
    let guest = Guest::boot_blind(&mut machine, 0).unwrap();
    assert!(pages_read(&machine, &guest) >= 128);
}

/// Descriptor pages that were read since the trace was taken.
fn pages_read(machine: &Machine, guest: &Guest) -> u64 {
    let geometry = guest.cache(|cache| cache.superblock().geometry).unwrap();
    let pages = geometry.page_at(Copy2::A, 0)..geometry.hint_at(0);
    let trace = machine.world.take_trace();
    let reads = trace.iter().filter(|seen| {
        let at = seen.at.saturating_sub(START);
        let step = (seen.op, seen.step) == (OpKind::Read, Step::Submit);
        step && seen.device == machine.disk && pages.contains(&at)
    });
    reads.map(|read| read.len / 4096).sum()
}

#[test]
fn what_a_lazy_mount_adds_stands_in_the_next_hint_beside_what_it_never_saw() {
    let mut machine = machine(6);
    for file in 0..5 {
        let guest = Guest::boot_blind(&mut machine, 0).unwrap();
        guest.read(file, 0, guest.sample.files[file].bytes.len()).unwrap();
        assert!(guest.leave(), "file {file}");
        drop(guest);
        machine.world.crash(Survive::Nothing);
    }
    let (bytes, fetches) = cost(&mut machine);
    assert!(bytes <= 15 * 4096, "{bytes} bytes");
    assert_eq!(fetches, 0);
}

#[test]
fn guest_that_is_killed_after_a_hint_leaves_none_that_counts() {
    let mut machine = machine(8);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read(0, 0, 100_000).unwrap();
    assert!(guest.leave());
    guest.read_all().unwrap();
    assert!(guest.sync());
    drop(guest);
    machine.world.crash(Survive::Nothing);
    let (bytes, fetches) = cost(&mut machine);
    assert!(bytes > 128 * 4096, "{bytes} bytes");
    assert_eq!(fetches, 0);
}

/// Each write of the hint takes ten seconds; what was fetched is durable in time, the hint is not.
#[test]
fn leave_ends_at_its_deadline_without_a_hint() {
    leave_without_a_hint(Fault::Delay(10_000_000_000));
}

/// The disk falls silent, and would be waited for longer than the run has time for its end.
#[test]
fn leave_of_a_silent_disk_ends_at_its_own_deadline_and_not_at_the_disks() {
    leave_without_a_hint(Fault::Hang);
}

#[track_caller]
fn leave_without_a_hint(fault: Fault) {
    let mut machine = machine(4);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    machine.world.set_deadline_ns(60_000_000_000);
    let slow = Rule::new(fault).device(machine.disk).op(OpKind::Write);
    machine.world.rule(slow.range(range(&guest).unwrap()));
    let start = guest.root.now_ns();
    let left = guest.root.with_layer(|cache, storage| {
        cache.as_mut().unwrap().leave(storage, start + 15_000_000_000)
    });
    let took = guest.root.now_ns() - start;
    assert!(left, "all of it is durable");
    assert!(took < 15_500_000_000, "{took} ns");
    drop(guest);
    machine.world.heal();
    machine.world.set_gone(machine.disk, false);
    machine.world.crash(Survive::Nothing);
    let (bytes, fetches) = cost(&mut machine);
    assert!(bytes > 128 * 4096, "no hint counts: {bytes} bytes");
    assert_eq!(fetches, 0);
}

/// A page of the hint is as an earlier run left it, its head is of the last run.
#[test]
fn page_of_an_older_hint_is_not_followed() {
    let mut machine = machine(4);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read(0, 0, 70_000).unwrap();
    assert!(guest.leave());
    let hint = range(&guest).unwrap();
    let pages = (hint.start + 4096..hint.end).step_by(4096);
    let disk = machine.disk;
    let read =
        |machine: &Machine, at| machine.world.with_medium(disk, |disk| block(disk.current(), at));
    let old: Vec<_> = pages.map(|at| (at, read(&machine, at))).collect();
    guest.read_all().unwrap();
    assert!(guest.leave());
    drop(guest);
    for (at, raw) in old {
        machine.world.poke(machine.disk, at, &raw);
    }
    let (_, fetches) = cost(&mut machine);
    assert_eq!(fetches, 0, "all that the region holds is found");
}
