//! What a region does with damage, with little memory and with too many blobs.
//!
//! Always: the reads are right meanwhile; the next mounts pay less than the one that met it.

use rootlet::cache::{
    BlobIdentity, Cache, FormatPolicy, IDENTITY_BYTES, Layer, Mode, Refused, SlotSize, Vacant, Why,
};
use rootlet::storage::{IoErrorKind, Parts};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage};

use rootlet_power::guest::Guest;
use rootlet_power::invariants::Watch;
use rootlet_power::machine::{Machine, START};

/// Fetches all of sample 0 into the region.
fn filled(machine: &mut Machine) {
    let guest = Guest::boot(machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
}

const BYTES: u64 = 4 << 20;

/// A machine with a region in use.
fn used(seed: u64) -> Machine {
    let mut machine = Machine::with(seed, BYTES, 512);
    machine.options.pool_bytes = 16 << 20;
    filled(&mut machine);
    machine
}

/// Garbles the slots, and neither superblocks nor descriptors.
fn garble(machine: &Machine) {
    let mut noise = vec![0; (BYTES - (1 << 20)) as usize];
    Rng::new(5).fill(&mut noise);
    machine.world.poke(machine.disk, START + (1 << 19), &noise);
}

/// A machine whose region condemned itself: one mount met that its slots are garbled.
fn condemned() -> Machine {
    let mut machine = used(3);
    garble(&machine);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(matches!(guest.mode(), Some(Mode::Bypass(_))), "{:?}", guest.mode());
    guest.sync();
    drop(guest);
    machine
}

#[test]
fn region_whose_slots_are_garbled_is_formatted_by_the_next_mount() {
    let mut machine = condemned();
    filled(&mut machine);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert_eq!(guest.stats().fetched_bytes, 0, "the region healed in one mount");
    assert_eq!(guest.cache_stats().check_failures, 0);
}

#[test]
fn condemned_region_is_left_alone_where_it_may_not_be_formatted() {
    let mut machine = condemned();
    machine.options.format = FormatPolicy::Never;
    let guest = Guest::boot(&mut machine, 0).unwrap();
    assert_eq!(guest.refused, Some(Refused::Unformatted(Vacant::Condemned)));
    guest.read_all().unwrap();
}

/// A guest is killed while it announces itself; its superblock may be volatile when the next one
/// condemns the region.
#[test]
fn condemning_never_has_both_superblocks_volatile() {
    for (seed, events) in (1..=8).flat_map(|seed| (1..=6).map(move |events| (seed, events))) {
        let mut machine = used(seed);
        let guest = Guest::boot(&mut machine, 1).unwrap();
        guest.read(0, 0, 4096).unwrap();
        let end = machine.world.events() + events;
        for _ in 0..200 {
            if machine.world.events() < end {
                guest.root.progress();
            }
        }
        drop(guest);
        garble(&machine);
        let watch = Watch::new(&machine, true);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        // Condemned before anything could be kept, and so without an announcement.
        machine.world.set_jobs_max(machine.disk, if seed % 2 == 0 { 0 } else { 64 });
        guest.read_all().unwrap();
        machine.world.set_jobs_max(machine.disk, 64);
        guest.sync();
        assert!(matches!(guest.mode(), Some(Mode::Bypass(_))), "{:?}", guest.mode());
        drop(guest);
        assert_eq!(watch.verdict(), Ok(()), "seed {seed}, killed after {events} events");
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read_all().unwrap();
        assert_eq!(guest.cache_stats().check_failures, 0, "seed {seed}: it was formatted");
    }
}

#[test]
fn flush_that_fails_before_condemning_leaves_it_to_the_next_mount() {
    let mut machine = used(3);
    garble(&machine);
    let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
    machine.world.rule(fail.op(OpKind::Flush).nth(1));
    for (mount, writes) in [("whose flush fails", 0), ("behind it", 1)] {
        let before = machine.world.counters(machine.disk).writes;
        let guest = Guest::boot(&mut machine, 0).unwrap();
        // Nothing can be kept before it is condemned.
        machine.world.set_jobs_max(machine.disk, 0);
        guest.read_all().unwrap();
        machine.world.set_jobs_max(machine.disk, 64);
        guest.sync();
        let after = machine.world.counters(machine.disk).writes;
        assert_eq!(after - before, writes, "superblocks of the mount {mount}");
    }
}

fn storage(machine: &Machine) -> SimStorage {
    machine.world.attach()
}

#[test]
fn region_whose_tables_do_not_fit_gets_larger_slots_or_is_refused() {
    let machine = Machine::with(1, 64 << 20, 512);
    let open = |tables_bytes, slot_size| {
        let options = machine
            .options
            .with_format(FormatPolicy::Force)
            .with_tables_bytes(tables_bytes)
            .with_slot_size(slot_size)
            .with_entropy([9; 16]);
        Cache::open(&storage(&machine), &options)
            .map(|cache| cache.superblock().geometry.slot_size())
    };
    assert_eq!(open(1 << 20, None), Ok(SlotSize::K64));
    assert_eq!(open(16 << 10, None), Ok(SlotSize::K256));
    assert_eq!(open(4 << 10, None), Ok(SlotSize::M1));
    assert!(matches!(open(100, None), Err(Refused::TooLarge { need, have: 100 }) if need > 100));
    assert!(matches!(open(16 << 10, Some(SlotSize::K64)), Err(Refused::TooLarge { .. })));
}

#[test]
fn one_blob_more_than_the_table_holds_takes_the_place_of_one_that_is_not_read() {
    let machine = Machine::with(1, 8 << 20, 512);
    let mut identity = [0; IDENTITY_BYTES];
    for round in 0..400u32 {
        let storage = storage(&machine);
        let options = machine.options.with_entropy([round as u8; 16]);
        let mut cache = Cache::open(&storage, &options).unwrap();
        identity[..4].copy_from_slice(&round.to_le_bytes());
        let identity = BlobIdentity(identity);
        let blob = Layer::<SimStorage>::attach(&mut cache, || identity, 1 << 20);
        let blob = blob.unwrap_or_else(|| panic!("no place for blob {round}"));
        Layer::<SimStorage>::prepare(&mut cache, &storage, blob, 0..16, Why::Read);
        Layer::<SimStorage>::fill(&mut cache, blob, 0, &[round as u8; 65536]);
        assert!(cache.sync(&storage, u64::MAX));
        // What was just kept is there, under its own blob.
        drop(cache);
        let mut cache = Cache::open(&storage, &options).unwrap();
        let again = Layer::<SimStorage>::attach(&mut cache, || identity, 1 << 20);
        assert_eq!(again, Some(blob));
        assert_eq!(cache.resident_bytes(blob), 65536, "blob {round}");
    }
}

#[test]
fn guest_whose_region_another_has_announced_itself_in_stops_writing() {
    for (cloned, seed) in [(false, 5), (true, 6)] {
        let mut machine = used(seed);
        machine.stir(1);
        let first = Guest::boot(&mut machine, 0).unwrap();
        first.read_all().unwrap();
        // It has something to write, and so announced itself.
        first.root.with_layer(|cache, _| {
            Layer::<SimStorage>::attach(
                cache.as_mut().unwrap(),
                || BlobIdentity([7; IDENTITY_BYTES]),
                4096,
            )
        });
        assert!(first.sync());
        if cloned {
            machine.stir(1);
        }
        let second = Guest::boot(&mut machine, 1).unwrap();
        second.read_all().unwrap();
        assert!(second.sync());
        first.root.with_layer(|cache, _| {
            Layer::<SimStorage>::attach(
                cache.as_mut().unwrap(),
                || BlobIdentity([8; IDENTITY_BYTES]),
                4096,
            )
        });
        assert!(!first.sync(), "nothing of it is durable: the other may have overwritten it");
        assert_eq!(first.cache_stats().foreign_writers, 1);
        assert!(matches!(first.mode(), Some(Mode::ReadOnly(_))), "{:?}", first.mode());
        first.read_all().unwrap();
        assert_eq!(second.cache_stats().foreign_writers, 0);
        assert_eq!(second.mode(), Some(Mode::ReadWrite));
    }
}

/// Of two machines that find the same generation, the later announcement stands.
#[test]
fn guest_that_was_overwritten_at_its_own_generation_stops_writing() {
    let mut machine = Machine::with(7, BYTES, 512);
    drop(Guest::boot(&mut machine, 0).unwrap());
    let mut boot = |entropy| {
        machine.stir(entropy);
        Guest::boot(&mut machine, 0).unwrap()
    };
    let (first, second) = (boot(1), boot(2));
    first.read(0, 0, 4096).unwrap();
    assert!(first.sync());
    first.read(1, 0, 4096).unwrap();
    second.read(2, 0, 4096).unwrap();
    for _ in 0..40 {
        second.root.progress();
    }
    let generation = |guest: &Guest| guest.cache(|cache| cache.superblock().generation);
    assert_eq!(generation(&first), generation(&second), "both have announced themselves");
    assert!(!first.sync());
    assert_eq!(first.cache_stats().foreign_writers, 1);
}

/// Both have one nonce and one generation, as after a resume of one snapshot of memory.
#[test]
fn clones_notice_each_other_within_one_group() {
    let mut machine = Machine::with(8, BYTES, 512);
    drop(Guest::boot(&mut machine, 0).unwrap());
    let mut boot = || {
        machine.stir(5);
        Guest::boot(&mut machine, 0).unwrap()
    };
    let (first, second) = (boot(), boot());
    let superblock = |guest: &Guest| guest.cache(|cache| *cache.superblock()).unwrap();
    first.read(0, 0, 4096).unwrap();
    assert!(first.sync());
    second.read(1, 0, 4096).unwrap();
    assert!(!second.sync(), "the other has written since");
    assert_eq!(superblock(&first), superblock(&second), "by the superblock they are the same");
    assert_eq!(second.cache_stats().foreign_writers, 1);
    assert!(matches!(second.mode(), Some(Mode::ReadOnly(_))), "{:?}", second.mode());
    second.read_all().unwrap();
    // The one that was first continues.
    first.read(2, 0, 4096).unwrap();
    assert!(first.sync());
    assert_eq!(first.cache_stats().foreign_writers, 0);
}

#[test]
fn mount_with_the_entropy_of_the_one_before_has_another_nonce() {
    let mut machine = Machine::with(9, BYTES, 512);
    let mut nonces = Vec::new();
    for file in 0..3 {
        machine.stir(5);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read(file, 0, 4096).unwrap();
        assert!(guest.sync());
        nonces.push(guest.cache(|cache| cache.superblock().nonce).unwrap());
    }
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2], "{nonces:x?}");
}

/// The eighth failed read comes while the announcement settles.
#[test]
fn bypassed_region_is_not_announced() {
    let mut machine = used(3);
    let guest = Guest::boot(&mut machine, 1).unwrap();
    // Flushes take their time, so that it settles while everything else fails.
    let slow = Rule::new(Fault::Delay(1_000_000_000)).device(machine.disk).op(OpKind::Flush);
    machine.world.rule(slow);
    guest.read(0, 0, 4096).unwrap();
    guest.root.progress();
    drop(guest);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.root.with_layer(|cache, storage| {
        let cache = cache.as_mut().unwrap();
        let identity = || BlobIdentity([7; IDENTITY_BYTES]);
        let blob = Layer::<SimStorage>::attach(cache, identity, 1 << 20).unwrap();
        Layer::<Parts<SimStorage>>::prepare(cache, storage, blob, 0..1, Why::Read);
        Layer::<SimStorage>::fill(cache, blob, 0, &[1; 4096]);
        Layer::<Parts<SimStorage>>::progress(cache, storage);
    });
    let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
    machine.world.rule(fail.op(OpKind::Read));
    let writes = machine.world.counters(machine.disk).writes;
    guest.read_all().unwrap();
    assert!(matches!(guest.mode(), Some(Mode::Bypass(_))), "{:?}", guest.mode());
    machine.world.advance_ns(5_000_000_000);
    (0..100).for_each(|_| guest.root.progress());
    assert_eq!(machine.world.counters(machine.disk).writes, writes, "it was written");
}
