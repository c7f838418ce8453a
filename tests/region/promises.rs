//! What the region promises readers: one fetch a block, no waiting, an end to all work.
//!
//! Always: figures come from the world's trace and counters, not from the reader's own.

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions, Mode};
use rootlet::read::Root;
use rootlet::storage::{IoErrorKind, Storage};
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, Step, Survive, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use rootlet_power::case::{runs, sweep};
use rootlet_power::guest::Guest;
use rootlet_power::machine::{Machine, START, Scale, samples};
use rootlet_power::script::{self, Op};

/// A file whose chunks are the same bytes, stored once.
#[test]
fn chunk_that_occurs_several_times_in_one_read_is_fetched_once() {
    let mut tree = Tree::new();
    let chunk = |number: u64| Content::seeded(number, 65_536).to_vec();
    let bytes = [chunk(1), chunk(2), chunk(1), chunk(1), chunk(3), chunk(2)].concat();
    tree.file("/twice", Content::bytes(bytes.clone()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    for (at, len) in [(0, bytes.len()), (100, bytes.len() - 1000), (65_000, 200_000)] {
        let world = World::new(5);
        let (image, blob) = (world.blob("image", &built.image), world.blob("b", &built.blobs[0]));
        let disk = world.disk("region", 512, Sparse::zeros(4 << 20));
        let mut storage = world.attach();
        let image = Image::read(&storage, image).unwrap();
        let parts = image.bind(&mut storage, &[(1, SourceName::Disk("b"))]).unwrap();
        let cache = Cache::open(&storage, &CacheOptions::new(disk, [1; 16])).unwrap();
        let root = Root::new(storage, Some(cache), &image, &parts).unwrap();
        let mut out = vec![0; len];
        assert_eq!(root.open(b"/twice").unwrap().read_at(at as u64, &mut out), Ok(len));
        assert!(out == bytes[at..at + len], "wrong bytes from {at} on");
        // The last of these ends in the first block of the third chunk.
        let distinct = if at == 65_000 { 2 * 65_536 + 4096 } else { 3 * 65_536 };
        assert_eq!(world.counters(blob).read_bytes, distinct, "{len} bytes at {at}");
    }
}

/// How long each read of a tour takes, from its start to the end of its last transfer.
fn read_times(delay_ns: u64) -> Vec<u64> {
    let mut machine = Machine::with(9, 4 << 20, 512);
    machine.world.set_jitter_ns(0);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    assert!(guest.sync());
    let device = machine.disk;
    let slow = |op| Rule::new(Fault::Delay(delay_ns)).device(device).op(op);
    machine.world.rule(slow(OpKind::Write));
    machine.world.rule(slow(OpKind::Flush));
    machine.world.record_trace();
    let mut times = Vec::new();
    for op in script::tour(9, &samples(Scale::Large)[0]) {
        if !matches!(op, Op::Read { .. }) {
            continue;
        }
        let (before, start) = (machine.world.trace().len(), guest.root.now_ns());
        guest.run(&machine, &op).unwrap();
        let trace = machine.world.trace();
        let ends = trace[before..].iter().filter(|e| e.step == Step::Done && e.op == OpKind::Read);
        times.push(ends.map(|end| end.ns).max().unwrap_or(start) - start);
    }
    times
}

#[test]
fn no_block_is_fetched_twice_while_there_is_room() {
    sweep(Scale::Large, "once", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn reader_does_not_wait_for_a_region_that_takes_ten_seconds_to_write() {
    let (fast, slow) = (read_times(0), read_times(10_000_000_000));
    assert_eq!(fast.len(), slow.len());
    for (fast, slow) in fast.iter().zip(&slow) {
        // The idle polls after a read move the simulated clock on; the next read starts later,
        // and takes as long.
        assert!(*slow <= fast + 1_000_000, "{slow} ns instead of {fast} ns");
    }
}

#[test]
fn work_behind_the_readers_ends() {
    for seed in 1..=runs(20) {
        let mut machine = Machine::new(seed);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        for op in script::random(seed, guest.sample, 20) {
            guest.run(&machine, &op).unwrap();
        }
        for _ in 0..3 {
            machine.world.advance_ns(2_000_000_000);
            (0..400).for_each(|_| guest.root.progress());
        }
        let events = machine.world.events();
        machine.world.advance_ns(10_000_000_000);
        (0..400).for_each(|_| guest.root.progress());
        assert_eq!(machine.world.events(), events, "seed {seed}: the region never rests");
        assert!(guest.sync(), "seed {seed}");
    }
}

#[test]
fn blank_region_is_not_written_before_there_is_something_to_keep() {
    let mut machine = Machine::new(3);
    drop(Guest::boot(&mut machine, 0).unwrap());
    let writes = machine.world.write_log(machine.disk);
    let format: Vec<u64> = writes.iter().map(|write| write.at - START).collect();
    assert_eq!(format[..2], [0, 16 * 4096], "the format writes its superblocks and no more");
    assert!(format[2..].iter().all(|at| *at == 0 || *at == 16 * 4096), "{format:?}");
}

#[test]
fn sync_whose_last_flush_is_not_taken_says_no() {
    let mut machine = Machine::new(6);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read(4, 0, 77).unwrap();
    assert!(guest.sync());
    let sync = || {
        guest.root.with_layer(|cache, storage| {
            let deadline_ns = storage.now_ns() + 1_000_000;
            cache.as_mut().unwrap().sync(storage, deadline_ns)
        })
    };
    machine.world.set_jobs_max(machine.disk, 0);
    assert!(!sync(), "the device has no room for a flush");
    machine.world.set_jobs_max(machine.disk, 1);
    assert!(sync());
}

#[test]
fn sync_after_a_failed_flush_says_no_and_goes_on_saying_so() {
    let mut machine = Machine::new(6);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
    machine.world.rule(fail.op(OpKind::Flush).nth(1));
    assert!(!guest.sync());
    assert!(!guest.sync(), "nothing of what was offered is durable");
    guest.read_all().unwrap();
}

/// A guest was killed with its pages volatile; the next one found all it read, wrote nothing, and
/// said that it was synced without a flush.
#[test]
fn sync_of_a_guest_that_only_reads_makes_durable_what_a_killed_one_left() {
    for seed in 1..=runs(20) {
        let mut machine = Machine::new(seed);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read(0, 0, 100_000).unwrap();
        machine.world.advance_ns(2_000_000_000);
        (0..400).for_each(|_| guest.root.progress());
        drop(guest);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        let found = guest.opened.clone();
        assert!(!found.is_empty(), "seed {seed}");
        assert!(guest.sync(), "seed {seed}");
        machine.world.crash(Survive::Nothing);
        drop(guest);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        assert_eq!(guest.opened, found, "seed {seed}");
    }
}

/// A sync that ran out of time, at whatever moment, does not hinder the next.
#[test]
fn sync_that_ran_out_of_time_is_made_up_for_by_the_next() {
    let mut late = 0;
    for patience_ns in (0..400_000).step_by(4000) {
        let mut machine = Machine::new(3);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read(0, 0, 100_000).unwrap();
        let sync = |ns: u64| {
            guest.root.with_layer(|cache, storage| {
                let deadline_ns = storage.now_ns() + ns;
                cache.as_mut().unwrap().sync(storage, deadline_ns)
            })
        };
        late += u32::from(!sync(patience_ns));
        assert!(sync(10_000_000_000), "after {patience_ns} ns");
        guest.read(1, 0, 100_000).unwrap();
        assert!(sync(10_000_000_000), "and on after {patience_ns} ns");
    }
    assert!(late > 10, "{late} of 100 ran out of time");
}

/// Each copy of each table in turn cannot be read while a guest mounts that would write; the copy
/// may be the newer one, and is not to be overwritten.
#[test]
fn copy_of_a_table_that_cannot_be_read_loses_nothing() {
    for block in [32, 36, 40, 41] {
        let mut machine = Machine::of(Scale::Small, 4);
        machine.options.pool_bytes = 1 << 20;
        // Twice, so that both copies were written.
        for file in 0..2 {
            let guest = Guest::boot(&mut machine, 0).unwrap();
            guest.read(file, 0, 8192).unwrap();
            assert!(guest.sync());
        }
        let found = Guest::boot(&mut machine, 0).unwrap().opened;
        assert!(found.len() >= 4, "{found:?}");
        let at = START + block * 4096;
        let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
        machine.world.rule(fail.op(OpKind::Read).range(at..at + 4096).times(2));
        let guest = Guest::boot(&mut machine, 0).unwrap();
        assert!(matches!(guest.mode(), Some(Mode::ReadOnly(_))), "block {block}");
        guest.read_all().unwrap();
        guest.sync();
        drop(guest);
        machine.world.crash(Survive::Everything);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        assert_eq!(guest.opened, found, "block {block}");
        guest.read_all().unwrap();
        assert_eq!(guest.cache_stats().check_failures, 0, "block {block}");
    }
}

/// Once is not a reason: the read is made again.
#[test]
fn read_of_a_table_that_fails_once_costs_nothing() {
    for block in [32, 36, 40, 41] {
        let mut machine = Machine::of(Scale::Small, 4);
        let guest = Guest::boot(&mut machine, 0).unwrap();
        guest.read(0, 0, 8192).unwrap();
        assert!(guest.sync());
        drop(guest);
        let at = START + block * 4096;
        let fail = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(machine.disk);
        machine.world.rule(fail.op(OpKind::Read).range(at..at + 4096).times(1));
        let guest = Guest::boot(&mut machine, 0).unwrap();
        assert_eq!(guest.mode(), Some(Mode::ReadWrite), "block {block}");
        assert_eq!(guest.cache_stats().region_faults, 1);
    }
}
