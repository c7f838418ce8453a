//! Bounds: of a transfer of the region's disk, of what is staged, of what a blob is.
//!
//! Always: what the disk takes bounds every transfer to it; no transfer is refused for its
//! length, so none counts as a fault.

use rootlet::cache::{
    BlobIdentity, BlobIndex, BlockPlace, Cache, IDENTITY_BYTES, Layer, Mode, Residence, Why,
};
use rootlet::storage::Storage;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Survive};

use rootlet_power::guest::Guest;
use rootlet_power::machine::{Machine, START};

/// Reads everything twice over, in two mounts, and expects the second to fetch nothing.
fn keeps_everything(machine: &mut Machine, what: &str) {
    let guest = Guest::boot(machine, 0).unwrap();
    assert_eq!(guest.refused, None, "{what}");
    guest.read_all().unwrap();
    assert!(guest.sync(), "{what}");
    drop(guest);
    machine.world.crash(Survive::Everything);
    let guest = Guest::boot(machine, 0).unwrap();
    guest.read_all().unwrap();
    assert_eq!(guest.cache_stats().region_faults, 0, "{what}");
    assert_eq!(guest.stats().fetched_bytes, 0, "{what}");
}

#[test]
fn disk_of_the_region_with_short_transfers_serves_hits() {
    for max in [4096, 6144, 16 << 10, 64 << 10, 192 << 10] {
        let mut machine = Machine::with(11, 4 << 20, 512);
        machine.options.pool_bytes = 16 << 20;
        machine.world.set_transfer_max(machine.disk, max);
        keeps_everything(&mut machine, &format!("transfers of {max}"));
    }
}

#[test]
fn sources_with_short_transfers_take_over_what_fails_its_check() {
    let mut machine = Machine::with(12, 4 << 20, 512);
    machine.options.pool_bytes = 16 << 20;
    for device in machine.sources[0].clone() {
        machine.world.set_transfer_max(device, 8192);
    }
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    drop(guest);
    machine.world.poke(machine.disk, START + (1 << 20), &[0x55; 64 << 10]);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.cache_stats().check_failures > 0, "the damage was met");
}

/// A region of the large machine, opened without a guest.
fn opened(machine: &mut Machine) -> (Cache, SimStorage) {
    let storage = machine.world.attach();
    let options = machine.next_options();
    (Cache::open(&storage, &options).unwrap(), storage)
}

fn identity(number: u8) -> BlobIdentity {
    BlobIdentity([number; IDENTITY_BYTES])
}

fn attach(cache: &mut Cache, number: u8, bytes: u64) -> Option<BlobIndex> {
    Layer::<SimStorage>::attach(cache, || identity(number), bytes)
}

#[test]
fn staged_bytes_end_with_their_slot() {
    let mut machine = Machine::with(14, 4 << 20, 512);
    let (mut cache, storage) = opened(&mut machine);
    let blob = attach(&mut cache, 1, 1 << 20).unwrap();
    Layer::<SimStorage>::prepare(&mut cache, &storage, blob, 0..32, Why::Read);
    Layer::<SimStorage>::fill(&mut cache, blob, 0, &[7; 128 << 10]);
    let (found, _) = cache.find_block(blob, 3);
    let BlockPlace::Staged { block, .. } = found else { panic!("{found:?}") };
    let staged = Layer::<SimStorage>::staged(&cache, blob, 3).unwrap();
    assert_eq!((block, staged.len()), (3, 13 * 4096));
}

#[test]
fn ticket_begins_with_the_block_that_was_found_and_with_no_other() {
    let mut machine = Machine::with(18, 4 << 20, 512);
    let (mut cache, storage) = opened(&mut machine);
    let blob = attach(&mut cache, 1, 1 << 20).unwrap();
    Layer::<SimStorage>::prepare(&mut cache, &storage, blob, 0..32, Why::Read);
    Layer::<SimStorage>::fill(&mut cache, blob, 0, &[7; 128 << 10]);
    assert!(cache.sync(&storage, u64::MAX));
    let found = Layer::<SimStorage>::locate(&cache, blob, 3..32);
    let (Residence::Resident(first), 32) = found else { panic!("{found:?}") };
    let ticket = |blocks| Layer::<SimStorage>::ticket(&cache, first, blocks);
    assert!(ticket(3..4).is_some() && ticket(3..32).is_some());
    assert!(ticket(2..4).is_none(), "its bytes would be served for those of another block");
    assert!(ticket(4..5).is_none(), "its bytes would be served for those of another block");
    assert!(ticket(3..33).is_none(), "the last one is not there");
}

#[test]
fn length_is_a_part_of_what_a_blob_is() {
    let mut machine = Machine::with(15, 4 << 20, 512);
    let (mut cache, storage) = opened(&mut machine);
    let whole = attach(&mut cache, 1, 4096).unwrap();
    Layer::<SimStorage>::prepare(&mut cache, &storage, whole, 0..1, Why::Read);
    Layer::<SimStorage>::fill(&mut cache, whole, 0, &[7; 4096]);
    assert!(cache.sync(&storage, u64::MAX));
    assert_eq!(attach(&mut cache, 1, 4096), Some(whole));
    assert_ne!(attach(&mut cache, 1, 4000), Some(whole));
    assert_eq!(cache.held(identity(1), Some(4096)), Some((identity(1), 4096)));
    assert_eq!(cache.held(identity(1), Some(4000)), None, "its one block is not this blob's");
}

#[test]
fn region_that_is_not_written_takes_no_new_blob() {
    let mut machine = Machine::with(16, 4 << 20, 512);
    let (mut cache, storage) = opened(&mut machine);
    let blob = attach(&mut cache, 1, 4096).unwrap();
    assert!(cache.sync(&storage, u64::MAX));
    machine.world.set_read_only(machine.disk, true);
    let (mut cache, _) = opened(&mut machine);
    assert!(matches!(cache.mode(), Mode::ReadOnly(_)), "{:?}", cache.mode());
    assert_eq!(attach(&mut cache, 1, 4096), Some(blob));
    assert_eq!(attach(&mut cache, 2, 4096), None);
    assert_eq!(cache.blobs().count(), 1);
}

/// Offers one block of `blob` to the region, and gives that a moment to write.
fn offer(cache: &mut Cache, storage: &SimStorage, blob: BlobIndex, block: u64) {
    Layer::<SimStorage>::prepare(cache, storage, blob, block..block + 1, Why::Read);
    Layer::<SimStorage>::fill(cache, blob, block, &[7; 4096]);
    let moment = storage.now_ns() + 1_000_000;
    cache.catch_up(storage, moment);
}

/// A disk that takes writes and whose flush never ends fills neither the memory nor the region.
#[test]
fn fills_that_wait_for_their_flush_are_bounded() {
    // Of a pool of 1 MiB and less.
    const FILLS_MAX: u64 = 1024;
    let mut machine = Machine::with(17, 32 << 20, 512);
    machine.options.pool_bytes = 1 << 20;
    let (mut cache, storage) = opened(&mut machine);
    let blob = attach(&mut cache, 1, 24 << 20).unwrap();
    // So that the mount has announced itself.
    offer(&mut cache, &storage, blob, 0);
    assert!(cache.sync(&storage, u64::MAX));
    let keep = Rule::new(Fault::Keep).device(machine.disk).op(OpKind::Flush);
    machine.world.rule(keep.times(1));
    // Of blocks that do not adjoin, each is a fill.
    let blocks = || (2..24 << 8).step_by(2);
    blocks().for_each(|block| offer(&mut cache, &storage, blob, block));
    let offered = blocks().count() as u64;
    let taken = offered - cache.stats().dropped_bytes / 4096;
    assert!((FILLS_MAX * 3 / 4..=FILLS_MAX + 1).contains(&taken), "{taken} of {offered}");
    // They wait for the flush alone.
    assert_eq!(machine.world.release(), 1);
    assert!(cache.sync(&storage, u64::MAX));
    let resident = |block: &u64| {
        let (found, _) = cache.find_block(blob, *block);
        matches!(found, BlockPlace::Resident { .. })
    };
    assert_eq!(blocks().filter(resident).count() as u64, taken);
}
