//! The simulated disk against the durability clause of the storage traits, and every fault
//! against its own doc.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rootlet::storage::{
    Buffer, DeviceId, Discover, DiscoverError, IoErrorKind, Job, JobKind, Storage, Transfer,
    Version,
};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Digests, Fault, OpKind, Rule, SimStorage, Sparse, Survive, World};

type Outcome = Result<(), IoErrorKind>;

fn one_disk(seed: u64) -> (World, DeviceId, SimStorage) {
    let world = World::new(seed);
    let disk = world.disk("disk", 512, Sparse::zeros(1 << 20));
    let storage = world.attach();
    (world, disk, storage)
}

fn run_one(storage: &mut SimStorage, transfer: Transfer<'_>) -> Outcome {
    let mut batch = [transfer];
    storage.run(&mut batch, &mut |_, _| {});
    batch[0].result.unwrap()
}

fn write(storage: &mut SimStorage, disk: DeviceId, at: u64, byte: u8, len: usize) -> Outcome {
    run_one(storage, Transfer::write(disk, at, &vec![byte; len]))
}

fn flush(storage: &mut SimStorage, disk: DeviceId) -> Outcome {
    run_one(storage, Transfer::flush(disk))
}

fn read(
    storage: &mut SimStorage,
    disk: DeviceId,
    at: u64,
    len: usize,
) -> Result<Vec<u8>, IoErrorKind> {
    let mut out = vec![0xee; len];
    run_one(storage, Transfer::read(disk, at, &mut out)).map(|()| out)
}

fn write_job(disk: DeviceId, at: u64, byte: u8, len: usize) -> Job {
    let mut buffer = Buffer::new(len);
    buffer.get_mut().unwrap().fill(byte);
    Job {
        tag: u64::from(byte).into(),
        device: disk,
        at,
        kind: JobKind::Write,
        buffer: Some(buffer),
    }
}

fn flush_job(disk: DeviceId, tag: u64) -> Job {
    Job { tag: tag.into(), device: disk, at: 0, kind: JobKind::Flush, buffer: None }
}

/// Polls until a job ends.
fn next_job(storage: &mut SimStorage) -> (u64, Outcome) {
    for _ in 0..10_000 {
        if let Some((job, result)) = storage.poll() {
            return (job.tag.number().unwrap(), result);
        }
    }
    panic!("no job ends");
}

/// The first byte of these sectors in every image that a crash may leave.
fn survivors(world: &World, disk: DeviceId, sectors: &[u64]) -> BTreeSet<Vec<u8>> {
    let images = world.crash_images(disk, 50, 1);
    assert!(images.is_exhaustive());
    let first_bytes = |image: rootlet_sim::disk::StableImage| {
        let first = |sector: &u64| {
            let mut byte = [0];
            image.read(sector * 512, &mut byte);
            byte[0]
        };
        sectors.iter().map(first).collect()
    };
    images.map(first_bytes).collect()
}

fn set<const N: usize>(all: &[[u8; N]]) -> BTreeSet<Vec<u8>> {
    all.iter().map(|bytes| bytes.to_vec()).collect()
}

#[test]
fn unflushed_write_may_vanish_and_a_flushed_one_never() {
    let (world, disk, mut storage) = one_disk(1);
    write(&mut storage, disk, 0, 1, 512).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1]]));
    flush(&mut storage, disk).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[1]]));
    assert_eq!(read(&mut storage, disk, 0, 512).unwrap(), [1; 512]);
}

#[test]
fn every_sector_of_a_write_survives_for_itself() {
    let (world, disk, mut storage) = one_disk(2);
    write(&mut storage, disk, 0, 1, 1024).unwrap();
    assert_eq!(survivors(&world, disk, &[0, 1]), set(&[[0, 0], [0, 1], [1, 0], [1, 1]]));
}

#[test]
fn no_write_overtakes_a_flush() {
    let (world, disk, mut storage) = one_disk(3);
    write(&mut storage, disk, 0, 1, 512).unwrap();
    flush(&mut storage, disk).unwrap();
    write(&mut storage, disk, 512, 2, 512).unwrap();
    assert_eq!(survivors(&world, disk, &[0, 1]), set(&[[1, 0], [1, 2]]));
}

#[test]
fn any_version_of_a_sector_may_survive() {
    let (world, disk, mut storage) = one_disk(4);
    write(&mut storage, disk, 0, 1, 512).unwrap();
    write(&mut storage, disk, 0, 2, 512).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1], [2]]));
    assert_eq!(read(&mut storage, disk, 0, 512).unwrap(), [2; 512], "reads see the newest");
    flush(&mut storage, disk).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[2]]));
}

#[test]
fn flush_covers_only_what_completed_before_it_was_submitted() {
    let mut overtaken = 0;
    for seed in 0..50 {
        let (world, disk, mut storage) = one_disk(seed);
        storage.start(write_job(disk, 0, 1, 512)).unwrap();
        assert_eq!(next_job(&mut storage), (1, Ok(())));
        storage.start(write_job(disk, 512, 2, 512)).unwrap();
        storage.start(flush_job(disk, 9)).unwrap();
        let mut order = Vec::new();
        for _ in 0..2 {
            order.push(next_job(&mut storage).0);
        }
        overtaken += u32::from(order[0] == 9);
        // In flight when the flush was submitted: volatile, whichever of the two ended first.
        assert_eq!(survivors(&world, disk, &[0, 1]), set(&[[1, 0], [1, 2]]), "seed {seed}");
    }
    assert!((5..45).contains(&overtaken), "both orders happen: {overtaken}");
}

#[test]
fn flush_does_not_take_a_newer_version_along() {
    let (world, disk, mut storage) = one_disk(5);
    write(&mut storage, disk, 0, 1, 512).unwrap();
    storage.start(flush_job(disk, 9)).unwrap();
    write(&mut storage, disk, 0, 2, 512).unwrap();
    assert_eq!(next_job(&mut storage), (9, Ok(())));
    assert_eq!(survivors(&world, disk, &[0]), set(&[[1], [2]]));
}

#[test]
fn write_in_flight_may_survive_a_cut() {
    let (world, disk, mut storage) = one_disk(6);
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    world.cut();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1]]));
    assert_eq!(next_job(&mut storage), (1, Err(IoErrorKind::Gone)));
    world.crash(Survive::Everything);
    assert_eq!(read(&mut world.attach(), disk, 0, 512).unwrap(), [1; 512]);
    assert_eq!(read(&mut storage, disk, 0, 512), Err(IoErrorKind::Gone), "the old guest is dead");
}

#[test]
fn torn_sectors_are_a_prefix_of_the_new_bytes() {
    let (world, disk, mut storage) = one_disk(7);
    write(&mut storage, disk, 0, 0xaa, 64 * 512).unwrap();
    let (mut old_tails, mut noisy) = (0, 0);
    for image in world.crash_images(disk, 200, 5) {
        for sector in image.to_vec()[..64 * 512].chunks(512) {
            let kept = sector.iter().take_while(|byte| **byte == 0xaa).count();
            if kept == 0 || kept == 512 {
                assert!(kept == 512 || sector.iter().all(|byte| *byte == 0));
            } else if sector[kept..].iter().all(|byte| *byte == 0) {
                old_tails += 1;
            } else {
                noisy += 1;
            }
        }
    }
    assert!(old_tails > 20 && noisy > 20, "{old_tails} {noisy}");
}

#[test]
fn damaged_neighbours_lie_in_the_same_4k() {
    let (world, disk, mut storage) = one_disk(8);
    write(&mut storage, disk, 0, 3, 1 << 20).unwrap();
    flush(&mut storage, disk).unwrap();
    write(&mut storage, disk, 8 * 512, 4, 512).unwrap();
    let image = |seed| world.crash_image(disk, Survive::SeededDamage(seed)).to_vec();
    let mut damaged = 0;
    for seed in 0..500 {
        let bytes = image(seed);
        let foreign = |range: std::ops::Range<usize>| bytes[range].iter().any(|byte| *byte != 3);
        assert!(!foreign(0..8 * 512) && !foreign(16 * 512..1 << 20));
        damaged += u32::from(foreign(9 * 512..16 * 512));
    }
    assert!(damaged > 0);
}

#[test]
fn cut_at_each_event_loses_nothing_that_was_flushed() {
    // Write 1, flush, write 2, flush: 8 events.
    for cut in 1..=9 {
        for seed in 0..20 {
            let (world, disk, mut storage) = one_disk(seed);
            world.cut_after(cut);
            let outcomes = [
                write(&mut storage, disk, 0, 1, 512),
                flush(&mut storage, disk),
                write(&mut storage, disk, 512, 2, 512),
                flush(&mut storage, disk),
            ];
            let ended = (cut - 1) / 2;
            for (number, outcome) in outcomes.iter().enumerate() {
                let expected =
                    if (number as u64) < ended { Ok(()) } else { Err(IoErrorKind::Gone) };
                assert_eq!(*outcome, expected, "cut {cut} request {number}");
            }
            assert_eq!(world.has_power(), cut == 9);
            let possible = survivors(&world, disk, &[0, 1]);
            let expected = match cut {
                1..=4 => set(&[[0, 0], [1, 0]]),
                5..=8 => set(&[[1, 0], [1, 2]]),
                _ => set(&[[1, 2]]),
            };
            // Torn samples keep the first byte of new data, so they add nothing here.
            assert_eq!(possible, expected, "cut {cut}");
        }
    }
}

/// Any history: what survives is what an independent account of the promises allows.
#[test]
fn random_histories_keep_the_promise() {
    for seed in 0..150 {
        let (world, disk, mut storage) = one_disk(seed);
        let mut rng = Rng::new(seed ^ 0x5eed);
        // Per sector: the values that may be durable. The last one is what a read sees.
        let mut allowed: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut value = 0;
        for _ in 0..rng.below(60) {
            let sector = rng.below(12);
            if rng.below(4) == 0 {
                flush(&mut storage, disk).unwrap();
                allowed.values_mut().for_each(|values| *values = vec![*values.last().unwrap()]);
            } else {
                value += 1;
                write(&mut storage, disk, sector * 512, value, 512).unwrap();
                allowed.entry(sector).or_insert_with(|| vec![0]).push(value);
            }
            for (sector, values) in &allowed {
                let got = read(&mut storage, disk, sector * 512, 512).unwrap();
                assert_eq!(got[0], *values.last().unwrap());
            }
        }
        let images = world.crash(Survive::Seeded(seed));
        let image = &images.iter().find(|(id, _)| *id == disk).unwrap().1;
        for (sector, values) in &allowed {
            let mut byte = [0];
            image.read(sector * 512, &mut byte);
            assert!(values.contains(&byte[0]), "seed {seed} sector {sector}: {byte:?} {values:?}");
        }
    }
}

#[test]
fn one_seed_is_one_course_of_theworld() {
    let course = |seed| {
        let (world, disk, mut storage) = one_disk(seed);
        world.record_trace();
        world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(1))).per_million(200_000));
        for number in 0..40 {
            storage.start(write_job(disk, number * 512, number as u8, 512)).unwrap();
            storage.poll();
            let _ = read(&mut storage, disk, 0, 4096);
        }
        (world.trace(), world.trace_hash())
    };
    assert_eq!(course(1), course(1));
    assert_ne!(course(1).1, course(2).1);
}

#[test]
fn completions_come_in_any_order_and_each_once() {
    let (_, disk, storage) = one_disk(9);
    let mut buffers = vec![vec![0; 512]; 32];
    let reads = buffers.iter_mut().enumerate();
    let mut batch: Vec<Transfer<'_>> =
        reads.map(|(n, out)| Transfer::read(disk, n as u64 * 512, out)).collect();
    let mut order = Vec::new();
    storage.run(&mut batch, &mut |index, transfer| {
        assert_eq!(transfer.result, Some(Ok(())));
        order.push(index);
    });
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, (0..32).collect::<Vec<_>>());
}

#[test]
fn full_queue_gives_the_job_back() {
    let (world, disk, mut storage) = one_disk(10);
    world.set_jobs_max(disk, 2);
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    storage.start(write_job(disk, 512, 2, 512)).unwrap();
    let back = storage.start(write_job(disk, 1024, 3, 512)).unwrap_err();
    assert_eq!((back.tag.number().unwrap(), back.buffer.as_deref().unwrap()), (3, &[3; 512][..]));
    assert_eq!(next_job(&mut storage).1, Ok(()));
    assert_eq!(world.counters(disk).in_flight_max, 2);
    storage.start(back).unwrap();
}

#[test]
fn background_jobs_move_on_while_a_batch_runs() {
    let (world, disk, mut storage) = one_disk(11);
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    for _ in 0..200 {
        read(&mut storage, disk, 4096, 512).unwrap();
    }
    assert_eq!(world.counters(disk).in_flight, 0);
}

#[test]
fn scripted_error_strikes_the_nth_request_of_its_range() {
    let (world, disk, mut storage) = one_disk(12);
    let failure = IoErrorKind::Device(5);
    world.rule(
        Rule::new(Fault::Fail(failure)).device(disk).op(OpKind::Read).range(512..1024).nth(2),
    );
    assert!(read(&mut storage, disk, 0, 512).is_ok());
    assert!(read(&mut storage, disk, 0, 1024).is_ok(), "first that touches the range");
    assert!(write(&mut storage, disk, 512, 1, 512).is_ok(), "no read");
    assert_eq!(read(&mut storage, disk, 512, 512), Err(failure));
    assert!(read(&mut storage, disk, 512, 512).is_ok(), "once only");
    assert_eq!(world.counters(disk).errors, 1);
}

#[test]
fn rates_strike_about_as_often_as_they_say() {
    let (world, disk, mut storage) = one_disk(13);
    world
        .rule(Rule::new(Fault::Fail(IoErrorKind::Device(5))).op(OpKind::Read).per_million(100_000));
    let failed = (0..1000).filter(|_| read(&mut storage, disk, 0, 512).is_err()).count();
    assert!((60..140).contains(&failed), "{failed}");
    world.heal();
    assert!((0..100).all(|_| read(&mut storage, disk, 0, 512).is_ok()));
}

#[test]
fn short_read_holds_its_first_bytes_and_then_noise() {
    let (world, disk, mut storage) = one_disk(14);
    write(&mut storage, disk, 0, 7, 4096).unwrap();
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Short(1000))).op(OpKind::Read));
    let mut out = vec![7; 4096];
    let mut batch = [Transfer::read(disk, 0, &mut out)];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch[0].result, Some(Err(IoErrorKind::Short(1000))));
    assert_eq!(out[..1000], [7; 1000]);
    assert_ne!(out[1000..], [7; 3096]);
}

#[test]
fn lying_writes_say_ok_and_do_something_else() {
    let fault = |fault| {
        let (world, disk, mut storage) = one_disk(15);
        world.rule(Rule::new(fault));
        write(&mut storage, disk, 0, 1, 1024).unwrap();
        read(&mut storage, disk, 0, 8192).unwrap()
    };
    assert_eq!(fault(Fault::LoseWrite), [0; 8192]);
    let misdirected = fault(Fault::MisdirectWrite(Some(4096)));
    assert_eq!((misdirected[0], misdirected[4096], misdirected[5119]), (0, 1, 1));
    let torn = fault(Fault::TearWrite(Some(700)));
    assert_eq!((torn[699], torn[700]), (1, 0));
}

#[test]
fn dropped_flush_says_ok_and_keeps_nothing() {
    let (world, disk, mut storage) = one_disk(16);
    world.rule(Rule::new(Fault::DropFlush).times(1));
    write(&mut storage, disk, 0, 1, 512).unwrap();
    flush(&mut storage, disk).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1]]));
    flush(&mut storage, disk).unwrap();
    assert_eq!(survivors(&world, disk, &[0]), set(&[[1]]));
}

#[test]
fn failed_flush_keeps_nothing() {
    let (world, disk, mut storage) = one_disk(17);
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(1))).op(OpKind::Flush));
    write(&mut storage, disk, 0, 1, 512).unwrap();
    assert_eq!(flush(&mut storage, disk), Err(IoErrorKind::Device(1)));
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1]]));
}

#[test]
fn lying_reads_say_ok_and_bring_something_else() {
    let fault = |fault| {
        let (world, disk, mut storage) = one_disk(18);
        write(&mut storage, disk, 0, 1, 512).unwrap();
        write(&mut storage, disk, 0, 2, 512).unwrap();
        world.rule(Rule::new(fault));
        read(&mut storage, disk, 0, 512).unwrap()
    };
    assert_eq!(fault(Fault::StaleRead), [1; 512]);
    let flipped = fault(Fault::FlipRead);
    let wrong: u32 = flipped.iter().map(|byte| (byte ^ 2).count_ones()).sum();
    assert_eq!(wrong, 1);
    assert!(fault(Fault::NoiseRead).iter().collect::<BTreeSet<_>>().len() > 50);
}

#[test]
fn hanging_device_times_out_and_is_gone() {
    let (world, disk, mut storage) = one_disk(19);
    let other = world.blob("blob", vec![4; 512]);
    world.rule(Rule::new(Fault::Hang).device(disk).nth(1));
    let before_ns = storage.now_ns();
    let (mut first, mut second, mut third) = ([0; 512], [0; 512], [0; 512]);
    let mut batch = [
        Transfer::read(disk, 0, &mut first),
        Transfer::read(disk, 512, &mut second),
        Transfer::read(other, 0, &mut third),
    ];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch[0].result, Some(Err(IoErrorKind::Timeout)));
    assert_eq!(batch[2].result, Some(Ok(())), "another device goes on");
    assert!(storage.now_ns() - before_ns >= 5_000_000_000);
    assert_eq!(read(&mut storage, disk, 0, 512), Err(IoErrorKind::Gone));
    world.set_gone(disk, false);
    assert!(read(&mut storage, disk, 0, 512).is_ok(), "plugged in again");
}

#[test]
fn delay_moves_the_virtual_clock_only() {
    let (world, disk, mut storage) = one_disk(20);
    world.rule(Rule::new(Fault::Delay(10_000_000_000)));
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    let start_ns = storage.now_ns();
    assert_eq!(next_job(&mut storage), (1, Ok(())));
    assert!(storage.now_ns() - start_ns >= 10_000_000_000);
}

#[test]
fn device_may_turn_read_only_shrink_or_be_unplugged_by_script() {
    let at_second_write = |fault| {
        let (world, disk, mut storage) = one_disk(21);
        world.rule(Rule::new(fault).op(OpKind::Write).nth(2));
        write(&mut storage, disk, 8192, 1, 512).unwrap();
        let outcome = write(&mut storage, disk, 8192, 2, 512);
        (outcome, storage.info(disk).unwrap(), read(&mut storage, disk, 8192, 512))
    };
    let (outcome, info, after) = at_second_write(Fault::TurnReadOnly);
    assert_eq!((outcome, info.read_only), (Err(IoErrorKind::ReadOnly), true));
    assert_eq!(after.unwrap(), [1; 512]);
    let (outcome, info, after) = at_second_write(Fault::Shrink(4096));
    assert_eq!((outcome, info.bytes), (Err(IoErrorKind::OutOfRange), 4096));
    assert_eq!(after, Err(IoErrorKind::OutOfRange));
    let (outcome, _, after) = at_second_write(Fault::Unplug);
    assert_eq!((outcome, after), (Err(IoErrorKind::Gone), Err(IoErrorKind::Gone)));
}

#[test]
fn replaced_content_shows_in_the_version_of_a_file_only_when_asked() {
    let world = World::new(22);
    let file = world.share_file("tag", "blob", vec![1; 700]);
    let mut storage = world.attach();
    let version = storage.info(file).unwrap().version;
    assert!(matches!(version, Version::File(_)));
    world.replace(file, vec![2; 700], false);
    assert_eq!(storage.info(file).unwrap().version, version);
    assert_eq!(read(&mut storage, file, 1, 699).unwrap(), [2; 699]);
    world.replace(file, vec![3; 800], true);
    assert_ne!(storage.info(file).unwrap().version, version);
    assert_eq!(storage.info(file).unwrap().bytes, 800);
}

#[test]
fn requests_that_no_device_takes_are_refused_by_kind() {
    let world = World::new(23);
    let blob = world.blob("b", vec![1; 1000]);
    let disk = world.disk("d", 4096, Sparse::zeros(1 << 30));
    let mut storage = world.attach();
    assert_eq!(storage.info(blob).unwrap().bytes, 1024);
    assert_eq!(write(&mut storage, blob, 0, 1, 512), Err(IoErrorKind::ReadOnly));
    assert_eq!(read(&mut storage, blob, 512, 1024), Err(IoErrorKind::OutOfRange));
    assert_eq!(read(&mut storage, disk, 512, 4096), Err(IoErrorKind::Unaligned));
    assert_eq!(read(&mut storage, disk, 0, 2 << 20), Err(IoErrorKind::Unaligned), "too long");
    assert_eq!(read(&mut storage, DeviceId(9), 0, 512), Err(IoErrorKind::Gone));
}

#[test]
fn hook_sees_each_write_before_it_lands() {
    let (world, disk, mut storage) = one_disk(24);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    world.on_write(move |write| {
        let mut before = [9; 1];
        write.medium.current().read(write.at, &mut before);
        let row = (write.event, write.at, write.data[0], before[0], write.in_flight.len());
        sink.lock().unwrap().push(row);
    });
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    storage.start(write_job(disk, 512, 2, 512)).unwrap();
    assert_eq!(next_job(&mut storage).1, Ok(()));
    assert_eq!(next_job(&mut storage).1, Ok(()));
    write(&mut storage, disk, 512, 3, 512).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(1, 0, 1, 0, 0), (2, 512, 2, 0, 1), (5, 512, 3, 2, 0)]);
    let log = world.write_log(disk);
    assert_eq!(
        log.iter().map(|row| (row.event, row.at)).collect::<Vec<_>>(),
        [(1, 0), (2, 512), (5, 512)]
    );
    let counters = world.counters(disk);
    assert_eq!((counters.writes, counters.write_bytes), (3, 1536));
}

#[test]
fn poke_changes_every_version_and_settles_nothing_else() {
    let (world, disk, mut storage) = one_disk(25);
    write(&mut storage, disk, 0, 1, 1024).unwrap();
    world.poke(disk, 0, &[8]);
    assert_eq!(survivors(&world, disk, &[0, 1]), set(&[[8, 0], [8, 1]]));
}

#[test]
fn two_guests_share_the_disk_and_a_killed_one_leaves_its_writes_to_chance() {
    let mut done = 0;
    for seed in 0..40 {
        let (world, disk, first) = one_disk(seed);
        let mut second = world.attach();
        first.start(write_job(disk, 0, 1, 512)).unwrap();
        drop(first);
        let byte = read(&mut second, disk, 0, 512).unwrap()[0];
        done += u32::from(byte == 1);
        assert_eq!(second.poll().map(|(job, _)| job.tag), None, "jobs stay with their guest");
    }
    assert!((5..35).contains(&done), "{done}");
}

#[test]
fn ended_jobs_go_to_the_guest_that_started_them() {
    let (world, disk, mut first) = one_disk(27);
    let second = world.attach();
    first.start(write_job(disk, 0, 1, 512)).unwrap();
    for _ in 0..1000 {
        assert!(second.poll().is_none());
    }
    assert_eq!(world.counters(disk).in_flight, 0, "one guest's polls move the disk for all");
    assert_eq!(next_job(&mut first), (1, Ok(())));
}

#[test]
fn names_are_found_as_a_machine_gives_them() {
    let world = World::new(26);
    let long = world.blob("twenty-bytes-exactly", vec![0; 512]);
    let file = world.share_file("tag", "layer", vec![0; 5]);
    let mut storage = world.attach();
    assert_eq!(storage.disk("twenty-bytes-exactly-and-more"), Ok(long));
    assert_eq!(storage.disk("none"), Err(DiscoverError::NotFound));
    assert_eq!(storage.share_file(Some("tag"), "layer"), Ok(file));
    assert_eq!(storage.share_file(None, "layer"), Ok(file));
    assert_eq!(storage.share_file(Some("tag"), "no"), Err(DiscoverError::Share(2)));
    assert_eq!(storage.share_file(Some("no"), "layer"), Err(DiscoverError::NotFound));
    world.blob("twenty-bytes-exactly", vec![0; 512]);
    assert_eq!(storage.disk("twenty-bytes-exactly"), Err(DiscoverError::Ambiguous(2)));
    world.set_share_fault("tag", DiscoverError::TooMany);
    assert_eq!(storage.share_file(Some("tag"), "layer"), Err(DiscoverError::TooMany));
}

#[test]
fn early_flush_says_ok_before_it_is_done() {
    let (mut early, mut done) = (0, 0);
    for seed in 0..60 {
        let (world, disk, mut storage) = one_disk(seed);
        world.rule(Rule::new(Fault::EarlyFlush).times(1));
        write(&mut storage, disk, 0, 1, 512).unwrap();
        flush(&mut storage, disk).unwrap();
        early += usize::from(survivors(&world, disk, &[0]).len() == 2);
        // Eight events further on it is durable, whatever the chance.
        (0..4).for_each(|_| write(&mut storage, disk, 512, 2, 512).unwrap());
        done += usize::from(survivors(&world, disk, &[0]) == set(&[[1]]));
    }
    assert_eq!((early > 30, done), (true, 60), "{early}");
}

#[test]
fn early_flush_is_lost_with_the_power() {
    let (world, disk, mut storage) = one_disk(28);
    world.rule(Rule::new(Fault::EarlyFlush).times(1));
    write(&mut storage, disk, 0, 1, 512).unwrap();
    flush(&mut storage, disk).unwrap();
    world.crash(Survive::Nothing);
    let mut storage = world.attach();
    assert_eq!(read(&mut storage, disk, 0, 512).unwrap(), [0; 512]);
}

#[test]
fn doubled_request_ends_twice_and_is_done_once() {
    let (world, disk, mut storage) = one_disk(29);
    world.rule(Rule::new(Fault::EndTwice).op(OpKind::Write).times(1));
    storage.start(write_job(disk, 0, 1, 512)).unwrap();
    assert_eq!(next_job(&mut storage), (1, Ok(())));
    assert_eq!(next_job(&mut storage), (1, Ok(())));
    assert!((0..1000).all(|_| storage.poll().is_none()));
    assert_eq!(world.counters(disk).writes, 1);
    world.rule(Rule::new(Fault::EndTwice).op(OpKind::Read));
    let mut out = [0; 512];
    let mut ends = 0;
    storage.run(&mut [Transfer::read(disk, 0, &mut out)], &mut |_, _| ends += 1);
    assert_eq!((ends, out), (2, [1; 512]));
}

#[test]
fn sector_written_back_is_no_choice_and_everything_is_the_newest() {
    let (world, disk, mut storage) = one_disk(30);
    for byte in [1, 0, 1, 1] {
        write(&mut storage, disk, 0, byte, 512).unwrap();
    }
    assert_eq!(survivors(&world, disk, &[0]), set(&[[0], [1]]));
    assert_eq!(world.crash_images(disk, 0, 1).count(), 2);
    write(&mut storage, disk, 0, 0, 512).unwrap();
    let mut byte = [9];
    world.crash_image(disk, Survive::Everything).read(0, &mut byte);
    assert_eq!(byte, [0]);
}

#[test]
fn digest_is_of_the_bytes_and_not_of_how_they_came_there() {
    let (world, disk, mut storage) = one_disk(31);
    write(&mut storage, disk, 0, 3, 1024).unwrap();
    let image = world.crash_image(disk, Survive::Everything);
    let other = Sparse::from(image.to_vec());
    let blank = Digests::new(Sparse::zeros(1 << 20));
    assert_eq!(blank.digest(&image), Digests::new(other).digest(&image));
    let digests: BTreeSet<u64> =
        world.crash_images(disk, 0, 1).map(|image| blank.digest(&image)).collect();
    assert_eq!(digests.len(), 4);
}

#[test]
fn request_in_flight_fails_when_the_device_becomes_too_short_for_it() {
    let (world, disk, storage) = one_disk(32);
    world.rule(Rule::new(Fault::Shrink(4096)).op(OpKind::Read).nth(2));
    let (mut first, mut second) = ([0; 512], [0; 512]);
    let mut batch = [Transfer::read(disk, 8192, &mut first), Transfer::read(disk, 0, &mut second)];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch[0].result, Some(Err(IoErrorKind::OutOfRange)));
    assert_eq!(batch[1].result, Some(Ok(())));
}
