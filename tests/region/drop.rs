//! Taking a blob out of the region: it is gone for good, and a power cut on the way is harmless.
//!
//! Always: the order of writes is watched (O1 to O3); what a check of the whole region finds is
//! what a person would be told.

use rootlet::cache::inspect::{Fault, Holds, Place, Region};
use rootlet::cache::{BlobIndex, Cache, CacheOptions, FormatPolicy, NotDropped};
use rootlet::storage::Storage;
use rootlet_sim::disk::{StableImage, Survive};

use rootlet_power::guest::Guest;
use rootlet_power::invariants::Watch;
use rootlet_power::machine::{Machine, Scale};

/// A machine whose region holds blocks of every blob of sample 0.
fn used(seed: u64) -> Machine {
    let mut machine = Machine::of(Scale::Large, seed);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    drop(guest);
    machine
}

fn tables(machine: &Machine) -> Region {
    let CacheOptions { device, start, bytes, .. } = machine.options;
    Region::read(&machine.world.attach(), &Place { device, start, bytes }).unwrap()
}

/// Everything that a check of the region tells.
fn faults(machine: &Machine) -> Vec<Fault> {
    let region = tables(machine);
    let mut faults = Vec::new();
    region.check_hint(&machine.world.attach(), &mut |fault| faults.push(fault));
    region.check_tables(&mut |fault| faults.push(fault));
    for page in 0..region.pages.len() as u32 {
        region.check_slots(&machine.world.attach(), page, &mut |fault| faults.push(fault));
    }
    faults
}

/// The blob that holds most.
fn largest(region: &Region) -> BlobIndex {
    region.blobs.iter().max_by_key(|blob| blob.resident_blocks).unwrap().index
}

fn drop_blob(machine: &mut Machine, blob: BlobIndex) -> Result<u32, NotDropped> {
    let options = machine.next_options().with_format(FormatPolicy::Never);
    let storage = machine.world.attach();
    let Ok(mut cache) = Cache::open(&storage, &options) else {
        return Err(NotDropped::NotDurable);
    };
    let end = storage.now_ns() + 100_000_000_000;
    cache.drop_blob(&storage, blob, end)
}

#[test]
fn dropped_blob_is_gone_and_the_others_are_as_they_were() {
    for seed in 1..=8 {
        let mut machine = used(seed);
        let before = tables(&machine);
        let blob = largest(&before);
        let watch = Watch::new(&machine, true);
        assert_eq!(drop_blob(&mut machine, blob), Ok(before.blobs[usize::from(blob.get())].slots));
        assert_eq!(watch.verdict(), Ok(()), "seed {seed}");
        // Nothing of it was volatile when it said so.
        machine.world.crash(Survive::Nothing);
        let after = tables(&machine);
        let held = |region: &Region| -> Vec<_> {
            let of = region.blobs.iter().filter(|other| other.index != blob);
            of.map(|blob| (blob.index, blob.resident_blocks)).collect()
        };
        assert_eq!(held(&after), held(&before), "seed {seed}");
        assert!(after.blobs.iter().all(|other| other.index != blob), "seed {seed}");
        assert!(after.slots.iter().all(|s| matches!(s.holds, Holds::Free | Holds::Window)));
        assert_eq!(faults(&machine), [], "seed {seed}");
        // It is fetched again, and kept again.
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read_all().unwrap();
        assert!(guest.stats().fetched_bytes > 0 && guest.sync());
        drop(guest);
        assert_eq!(faults(&machine), [], "seed {seed}");
    }
}

#[test]
fn power_cut_at_any_event_of_a_drop_leaves_a_region_without_a_wrong_block() {
    let mut machine = used(3);
    let full = machine.world.crash_image(machine.disk, Survive::Everything);
    let blob = largest(&tables(&machine));
    let mut cuts = 0;
    for event in 1.. {
        machine.world.restore(machine.disk, &full);
        let watch = Watch::new(&machine, true);
        machine.world.cut_after(event);
        let done = drop_blob(&mut machine, blob).is_ok();
        assert_eq!(watch.verdict(), Ok(()), "event {event}");
        if machine.world.has_power() {
            assert!(done, "it ends at event {event}");
            machine.world.cut();
        }
        let left: Vec<StableImage> = machine.world.crash_images(machine.disk, 6, event).collect();
        machine.world.crash(Survive::Nothing);
        for image in left {
            cuts += 1;
            machine.world.restore(machine.disk, &image);
            // A copy may be torn; the slots that it describes are not lost.
            let wrong = |fault: &Fault| {
                !matches!(fault, Fault::Page { twin: true, .. } | Fault::Superblock { .. })
            };
            let faults: Vec<_> = faults(&machine).into_iter().filter(wrong).collect();
            assert_eq!(faults, [], "event {event}");
            if done {
                assert!(tables(&machine).blobs.iter().all(|other| other.index != blob));
            }
            let guest = Guest::boot(&mut machine, 0).unwrap();
            guest.read_all().unwrap();
            assert_eq!(guest.cache_stats().check_failures, 0, "event {event}");
        }
        if done {
            break;
        }
    }
    assert!(cuts > 50, "{cuts} images");
}

#[test]
fn blob_that_is_read_or_not_there_is_not_dropped() {
    let mut machine = used(5);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    let drop = |blob| {
        guest.root.with_layer(|cache, storage| {
            cache.as_mut().unwrap().drop_blob(storage, BlobIndex::new(blob), u64::MAX)
        })
    };
    assert_eq!(drop(0), Err(NotDropped::Attached));
    assert_eq!(drop(100), Err(NotDropped::Unknown));
    guest.read_all().unwrap();
    assert!(guest.stats().hits > 0);
}

#[test]
fn region_that_may_not_be_written_keeps_its_blobs() {
    let mut machine = used(6);
    machine.world.set_read_only(machine.disk, true);
    let blob = largest(&tables(&machine));
    assert!(matches!(drop_blob(&mut machine, blob), Err(NotDropped::ReadOnly(_))));
}
