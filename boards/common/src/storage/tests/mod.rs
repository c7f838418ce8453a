//! The storage against disks that answer out of order, late, wrongly or never.

mod anew;
mod lost;
mod manners;
mod places;
mod start;
mod together;

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use rootlet::storage::{
    Buffer, DeviceId, Discover, DiscoverError, IoErrorKind, Job, JobKind, Storage, Transfer,
};

use super::VirtioStorage;
use super::fake::{self, Fake, Manner};

const RO: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;
const A: DeviceId = DeviceId(0);
const B: DeviceId = DeviceId(1);
const SECTOR: usize = 512;

fn content(seed: u8, sectors: usize) -> Vec<u8> {
    (0..sectors * SECTOR).map(|at| (at / SECTOR * 7 + at) as u8 ^ seed).collect()
}

fn storage() -> VirtioStorage<Fake> {
    fake::told();
    VirtioStorage::new(fake::processor())
}

/// Reads one sector a transfer, and counts how often each is reported.
fn read_all(storage: &mut VirtioStorage<Fake>, out: &mut [u8], devices: &[DeviceId]) -> Vec<u32> {
    let mut batch: Vec<_> = out
        .chunks_mut(SECTOR)
        .enumerate()
        .map(|(index, sector)| {
            let at = index / devices.len() * SECTOR;
            Transfer::read(devices[index % devices.len()], at as u64, sector)
        })
        .collect();
    let mut reported = vec![0; batch.len()];
    storage.run(&mut batch, &mut |index, transfer| {
        assert_eq!(transfer.outcome(), Ok(()));
        reported[index] += 1;
    });
    reported
}

#[test]
fn batch_longer_than_both_queues_lands_where_it_belongs() {
    let mut storage = storage();
    let (a, b) = (content(1, 300), content(2, 300));
    let (found, state) = fake::disk(a.clone(), 0);
    storage.add(found).unwrap();
    storage.add(fake::disk(b.clone(), 0).0).unwrap();
    let mut out = vec![0; 600 * SECTOR];
    let reported = read_all(&mut storage, &mut out, &[A, B]);
    assert!(reported.iter().all(|&times| times == 1), "{reported:?}");
    for (pair, (a, b)) in out.chunks(2 * SECTOR).zip(a.chunks(SECTOR).zip(b.chunks(SECTOR))) {
        assert!(pair[..SECTOR] == *a && pair[SECTOR..] == *b);
    }
    assert_eq!(state.borrow().held_max, storage.queue_depth(A).unwrap(), "the queue was filled");
}

/// A reader begins a batch while each of the answers to another one is looked at: a reader that takes
/// an answer of the disk leaves the answer to its owner.
#[test]
fn batches_that_run_at_once_get_their_own_answers() {
    let mut storage = storage();
    let (found, state) = fake::disk(content(1, 300), 0);
    storage.add(found).unwrap();
    let mut out = vec![0; 90 * SECTOR];
    let mut batch: Vec<_> = (0..)
        .zip(out.chunks_mut(SECTOR))
        .map(|(sector, out)| Transfer::read(A, sector * 512, out))
        .collect();
    let mut reported = vec![0; batch.len()];
    storage.run(&mut batch, &mut |index, transfer| {
        assert_eq!(transfer.outcome(), Ok(()));
        reported[index] += 1;
        let mut inner = [[0; SECTOR]; 50];
        let places = (100 + index as u64..).map(|sector| sector * 512);
        let mut batch: Vec<_> =
            places.zip(&mut inner).map(|(at, out)| Transfer::read(A, at, out)).collect();
        let mut count = 0;
        storage.run(&mut batch, &mut |_, _| count += 1);
        assert_eq!(count, 50);
        assert!(inner.as_flattened() == &content(1, 300)[(100 + index) * SECTOR..][..50 * SECTOR]);
    });
    assert!(reported.iter().all(|&times| times == 1), "{reported:?}");
    assert!(out == content(1, 90));
    assert_eq!(state.borrow().held_max, storage.queue_depth(A).unwrap(), "the queue was filled");
}

#[test]
fn indices_of_the_rings_wrap() {
    let mut storage = storage();
    let a = content(3, 40);
    storage.add(fake::disk(a.clone(), 0).0).unwrap();
    let requests = if cfg!(miri) { 80 } else { 70_000 };
    for _ in 0..requests / 40 {
        let mut out = vec![0; a.len()];
        read_all(&mut storage, &mut out, &[A]);
        assert!(out == a);
    }
}

#[test]
fn each_fault_of_a_disk_has_its_error() {
    let faults = [(Manner::Half, IoErrorKind::Short(256)), (Manner::Fails, IoErrorKind::Device(1))];
    for (manner, kind) in faults {
        let mut storage = storage();
        let (found, state) = fake::disk(content(0, 8), 0);
        storage.add(found).unwrap();
        state.borrow_mut().manner = manner;
        let resets = state.borrow().resets;
        let mut out = [0; SECTOR];
        let mut batch = [Transfer::read(A, 0, &mut out)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(kind)), "{manner:?}");
        assert_eq!(state.borrow().resets, resets, "{manner:?}");
    }
}

#[test]
fn wrong_ranges_are_refused_before_the_disk_sees_them() {
    let mut storage = storage();
    storage.add(fake::disk(content(0, 8), RO).0).unwrap();
    let (mut odd, mut sector, mut three) = ([0; 100], [0; SECTOR], vec![0; 3 * SECTOR]);
    let mut huge = vec![0; (4 << 20) + SECTOR];
    let data = [0; SECTOR];
    let mut batch = [
        Transfer::read(A, 0, &mut odd),
        Transfer::read(A, 1, &mut sector),
        Transfer::read(A, 6 * 512, &mut three),
        Transfer::write(A, 0, &data),
        Transfer::read(B, 0, &mut []),
        Transfer::read(A, 8 * 512, &mut []),
        Transfer::read(A, 0, &mut huge),
    ];
    storage.run(&mut batch, &mut |_, _| {});
    let results = batch.map(|transfer| transfer.result.unwrap());
    let want = [
        Err(IoErrorKind::Unaligned),
        Err(IoErrorKind::Unaligned),
        Err(IoErrorKind::OutOfRange),
        Err(IoErrorKind::ReadOnly),
        Err(IoErrorKind::Gone),
        Ok(()),
        Err(IoErrorKind::Unaligned),
    ];
    assert_eq!(results, want);
}

#[test]
fn jobs_move_while_a_reader_runs_and_leave_it_room() {
    let mut storage = storage();
    let (found, state) = fake::disk(content(5, 64), FLUSH);
    storage.add(found).unwrap();
    let mut started: u64 = 0;
    let refused = loop {
        let mut buffer = Buffer::new(SECTOR);
        buffer.get_mut().unwrap().fill(started as u8);
        let buffer = Some(buffer);
        let tag = started.into();
        let job = Job { tag, device: A, at: started * 512, kind: JobKind::Write, buffer };
        match storage.start(job) {
            Ok(()) => started += 1,
            Err(job) => break job,
        }
    };
    assert_eq!(refused.tag, started.into());
    assert_eq!(started as usize, storage.queue_depth(A).unwrap() / 2);
    let mut out = vec![0; 20 * SECTOR];
    let mut batch: Vec<_> =
        out.chunks_mut(SECTOR).map(|sector| Transfer::read(A, 40 * 512, sector)).collect();
    storage.run(&mut batch, &mut |_, _| {});
    assert!(batch.iter().all(|transfer| transfer.result == Some(Ok(()))));
    let mut tags = Vec::new();
    for _ in 0..1000 {
        if let Some((job, result)) = storage.poll() {
            assert_eq!(result, Ok(()));
            tags.push(job.tag.number().unwrap());
        }
    }
    tags.sort_unstable();
    assert_eq!(tags, (0..started).collect::<Vec<_>>());
    for tag in 0..started as usize {
        assert!(state.borrow().bytes[tag * SECTOR..][..SECTOR].iter().all(|&b| b == tag as u8));
    }
    let mut flush = [Transfer::flush(A)];
    storage.run(&mut flush, &mut |_, _| {});
    assert_eq!((flush[0].result, state.borrow().flushes), (Some(Ok(())), 1));
}

/// Sixteen small reads at once cost what one costs: one look at the disk by the host, and one wait.
#[test]
fn jobs_that_are_started_together_are_on_the_disk_at_once_for_one_bell() {
    const JOBS: usize = 16;
    let mut storage = storage();
    let (found, state) = fake::disk(content(5, 64), 0);
    storage.add(found).unwrap();
    storage.disk("fake").unwrap();
    let bells = state.borrow().bells;
    for tag in 0..JOBS as u64 {
        let (at, buffer) = (tag * 512, Some(Buffer::new(SECTOR)));
        let job = Job { tag: tag.into(), device: A, at, kind: JobKind::Read, buffer };
        assert!(storage.start(job).is_ok(), "{tag}");
    }
    let mut ended = [false; JOBS];
    for (job, result) in (0..1000).filter_map(|_| storage.poll()) {
        let number = job.tag.number().unwrap() as usize;
        assert_eq!((result, core::mem::replace(&mut ended[number], true)), (Ok(()), false));
        assert!(job.buffer.unwrap()[..] == content(5, 64)[number * SECTOR..][..SECTOR]);
    }
    assert_eq!(ended, [true; JOBS]);
    let state = state.borrow();
    assert_eq!((state.held_max, state.bells - bells), (JOBS, 1));
}

/// A reader that always has sixteen jobs under way rings as seldom as if it read in batches.
#[test]
fn jobs_that_are_started_for_those_that_ended_together_take_one_bell() {
    const JOBS: u64 = 640;
    let mut storage = storage();
    let (found, state) = fake::disk(content(5, 64), 0);
    storage.add(found).unwrap();
    storage.disk("fake").unwrap();
    let bells = state.borrow().bells;
    let start = |number: u64| {
        let (at, buffer) = (number % 64 * 512, Some(Buffer::new(SECTOR)));
        let job = Job { tag: number.into(), device: A, at, kind: JobKind::Read, buffer };
        assert!(storage.start(job).is_ok(), "{number}");
    };
    (0..16).for_each(start);
    let (mut started, mut ended) = (16, 0);
    for _ in 0..100_000 {
        let Some((job, result)) = storage.poll() else { continue };
        assert_eq!(result, Ok(()));
        let sector = job.tag.number().unwrap() as usize % 64;
        assert!(job.buffer.unwrap()[..] == content(5, 64)[sector * SECTOR..][..SECTOR]);
        ended += 1;
        if started < JOBS {
            start(started);
            started += 1;
        }
        if ended == JOBS {
            break;
        }
    }
    // Half of what the disk holds ends at each look, eight at first and then mostly as many.
    let bells = state.borrow().bells - bells;
    assert!(ended == JOBS && bells as u64 <= JOBS / 4, "{ended} jobs, {bells} bells");
}

#[test]
fn disk_without_flush_flushes_at_once() {
    let mut storage = storage();
    let (found, state) = fake::disk(content(5, 64), 0);
    storage.add(found).unwrap();
    let mut flush = [Transfer::flush(A)];
    storage.run(&mut flush, &mut |_, _| {});
    assert_eq!((flush[0].result, state.borrow().flushes), (Some(Ok(())), 0));
}

#[test]
fn two_disks_of_one_serial_are_ambiguous() {
    let mut storage = storage();
    storage.add(fake::disk(content(0, 8), 0).0).unwrap();
    assert_eq!(storage.disk("fake"), Ok(A));
    storage.add(fake::disk(content(0, 8), 0).0).unwrap();
    assert_eq!(storage.disk("fake"), Err(rootlet::storage::DiscoverError::Ambiguous(2)));
    assert_eq!(storage.disk("fak"), Err(rootlet::storage::DiscoverError::NotFound));
}

#[test]
fn serial_that_is_no_text_is_shown_with_what_can_be_read_of_it() {
    let mut storage = storage();
    for serial in [&b"fake"[..], b"di\xffsk"] {
        let (found, state) = fake::disk(content(0, 8), 0);
        state.borrow_mut().serial = serial;
        storage.add(found).unwrap();
    }
    let mut shown = Vec::new();
    storage.disks(&mut |serial, _| shown.push(serial.to_string()));
    assert_eq!(shown, ["fake", "di\u{fffd}sk"]);
}

#[test]
fn name_that_is_still_on_its_way_holds_up_no_job_and_a_silent_disk_has_none() {
    for entries in [2, 128] {
        let mut storage = storage();
        let (found, state) = fake::disk(content(1, 8), 0);
        state.borrow_mut().entries_max = entries;
        storage.add(found).unwrap();
        let (kind, buffer) = (JobKind::Read, Some(Buffer::new(SECTOR)));
        let mut job = Some(Job { tag: 7.into(), device: A, at: 512, kind, buffer });
        let ended = (0..1000).find_map(|_| {
            if let Some(waits) = job.take() {
                job = storage.start(waits).err();
            }
            storage.poll()
        });
        let Some((Job { tag, buffer: Some(buffer), .. }, Ok(()))) = ended else {
            panic!("{entries}: {ended:?}")
        };
        assert_eq!(tag, 7.into(), "{entries}");
        assert!(buffer[..] == content(1, 8)[512..1024], "{entries}");
        assert_eq!(storage.disk("fake"), Ok(A), "{entries}");
    }
    let mut storage = storage();
    let (found, silent) = fake::disk(content(0, 8), 0);
    silent.borrow_mut().manner = Manner::Silent;
    storage.add(found).unwrap();
    storage.add(fake::disk(content(9, 8), 0).0).unwrap();
    assert_eq!(storage.disk("fake"), Ok(B));
}

/// Queues of every size that a device may have, with two of them in one batch.
#[test]
fn queue_of_any_size_serves_reads_writes_jobs_and_flushes() {
    let sizes = [2, 16, 4, 8, 32, 64, 128, 256, 1024];
    for entries in sizes.into_iter().take(if cfg!(miri) { 2 } else { sizes.len() }) {
        let mut storage = storage();
        let (a, b) = (content(1, 300), content(2, 300));
        let (found, state) = fake::disk(a.clone(), FLUSH);
        state.borrow_mut().entries_max = entries;
        storage.add(found).unwrap();
        storage.add(fake::disk(b.clone(), 0).0).unwrap();
        assert_eq!(storage.disk("fake").unwrap_err(), DiscoverError::Ambiguous(2), "{entries}");
        let mut out = vec![0; 600 * SECTOR];
        let reported = read_all(&mut storage, &mut out, &[A, B]);
        assert!(reported.iter().all(|&times| times == 1), "{entries}: {reported:?}");
        for (pair, (a, b)) in out.chunks(2 * SECTOR).zip(a.chunks(SECTOR).zip(b.chunks(SECTOR))) {
            assert!(pair[..SECTOR] == *a && pair[SECTOR..] == *b, "{entries}");
        }
        let mut buffer = Buffer::new(SECTOR);
        buffer.get_mut().unwrap().fill(0x5a);
        let (kind, buffer) = (JobKind::Write, Some(buffer));
        assert!(storage.start(Job { tag: 1.into(), device: A, at: 1024, kind, buffer }).is_ok());
        // A job fills the smallest ring, and neither a call nor a batch is lost for it.
        let (mut sector, data) = ([0; SECTOR], [0xa5; 2 * SECTOR]);
        let mut batch = [Transfer::write(A, 4096, &data), Transfer::read(A, 512, &mut sector)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch.map(|transfer| transfer.result), [Some(Ok(())); 2], "{entries}");
        assert!(sector[..] == a[512..1024], "{entries}");
        let ended = (0..1000).find_map(|_| storage.poll());
        assert!(matches!(ended, Some((job, Ok(()))) if job.tag == 1.into()), "{entries}");
        let mut flush = [Transfer::flush(A)];
        storage.run(&mut flush, &mut |_, _| {});
        let state = state.borrow();
        assert_eq!(state.flushes, 1, "{entries}");
        assert!(state.bytes[1024..1536].iter().all(|&byte| byte == 0x5a), "{entries}");
        assert!(state.bytes[4096..5120] == data, "{entries}");
    }
}

#[test]
fn queue_of_two_entries_tells_how_much_it_takes_and_each_fault_all_the_same() {
    for (manner, kind) in
        [(Manner::Half, IoErrorKind::Short(256)), (Manner::Fails, IoErrorKind::Device(1))]
    {
        let mut storage = storage();
        let (found, state) = fake::disk(content(0, 256), 0);
        state.borrow_mut().entries_max = 2;
        storage.add(found).unwrap();
        assert_eq!(storage.info(A).unwrap().transfer_bytes_max, 64 << 10);
        let mut large = vec![0; 64 << 10];
        let mut batch = [Transfer::read(A, 0, &mut large)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Ok(())));
        assert!(large == content(0, 128));
        state.borrow_mut().manner = manner;
        let mut out = [0; SECTOR];
        let mut batch = [Transfer::read(A, 0, &mut out)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(kind)), "{manner:?}");
    }
}

#[test]
fn queue_of_one_entry_is_refused_by_its_number() {
    let (found, state) = fake::disk(content(0, 8), 0);
    state.borrow_mut().entries_max = 1;
    let unusable = storage().add(found).unwrap_err();
    assert!(unusable.to_string().contains("queue 0 is missing, has one entry"), "{unusable}");
}
