//! A region's disk that takes less at a time than a piece of a read has.
//!
//! Always: what the disk takes bounds every transfer to it; no transfer is refused for its
//! length, so none counts as a fault.

use rootlet_sim::disk::Survive;

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
