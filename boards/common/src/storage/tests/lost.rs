//! The storage against devices that fall silent, go away, or are no devices at all.
//!
//! Always: no test waits for real time, and none leaves a device that it has reset with requests.

extern crate std;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rootlet::storage::{
    Background, Buffer, Discover, IoErrorKind, Job, JobKind, Storage, Transfer,
};

use super::super::VirtioStorage;
use super::super::fake::{self, Fake, Manner, Reset};
use super::{A, B, FLUSH, SECTOR, content, storage};
use crate::virtio::FILE_SYSTEM;
use crate::virtio::device::StartError;

const SECOND_NS: u64 = 1_000_000_000;

fn read_job(tag: u64) -> Job {
    let buffer = Some(Buffer::new(SECTOR));
    Job { tag: tag.into(), device: A, at: 0, kind: JobKind::Read, buffer }
}

fn poll(storage: &mut VirtioStorage<Fake>) -> Option<(Job, Result<(), IoErrorKind>)> {
    (0..1_000_000).find_map(|_| storage.poll())
}

/// Reads a sector of each disk. What came of it, unless the run ended: then why.
fn read_both(storage: &mut VirtioStorage<Fake>) -> Result<[Result<(), IoErrorKind>; 2], String> {
    let (mut one, mut two) = (vec![0; SECTOR], vec![0; SECTOR]);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut batch = [Transfer::read(A, 0, &mut one), Transfer::read(B, 0, &mut two)];
        storage.run(&mut batch, &mut |_, _| {});
        batch.map(|transfer| transfer.result.unwrap())
    }));
    if ended.is_err() {
        // The disk has it for ever.
        core::mem::forget(one);
    }
    ended.map_err(|why| *why.downcast::<String>().unwrap())
}

/// Two disks named "fake", the first of which is looked into.
fn two_disks() -> (VirtioStorage<Fake>, alloc::rc::Rc<core::cell::RefCell<fake::State>>) {
    let mut storage = storage();
    storage.set_timeout_ns(SECOND_NS);
    let (found, state) = fake::disk(content(3, 64), FLUSH);
    storage.add(found).unwrap();
    storage.add(fake::disk(content(9, 64), 0).0).unwrap();
    assert!(storage.disk("other").is_err(), "both have said their names");
    (storage, state)
}

#[test]
fn silent_disk_that_has_memory_of_a_read_is_told_and_ends_the_run_without_a_reset() {
    let (mut storage, silent) = two_disks();
    storage.set_timeout_ns(30 * SECOND_NS);
    silent.borrow_mut().manner = Manner::Silent;
    let begin = storage.now_ns();
    let why = read_both(&mut storage).unwrap_err();
    let took = storage.now_ns() - begin;
    assert_eq!(why, "FAIL fake: no answer before the deadline, and it keeps memory of a read");
    assert!((30..31).contains(&(took / SECOND_NS)), "{took}");
    let told = fake::told();
    assert_eq!(
        told,
        [
            "fake: no answer for 5 s",
            "fake: no answer for 30 s: given up, and 512 bytes of memory with it"
        ]
    );
    drop(storage);
    assert_eq!(silent.borrow().lost, [0], "the reset at its start, and no other");
}

#[test]
fn job_on_a_silent_disk_leaves_it_its_buffer_and_other_disks_go_on() {
    let (mut storage, silent) = two_disks();
    silent.borrow_mut().manner = Manner::Silent;
    assert!(storage.start(read_job(7)).is_ok());
    let (job, result) = poll(&mut storage).expect("the deadline ends it");
    assert_eq!((job.tag, result), (7.into(), Err(IoErrorKind::Timeout)));
    assert!(job.buffer.is_none(), "the disk may still write to it");
    assert_eq!(storage.given_up_bytes(), SECTOR);
    let late = Err(IoErrorKind::Timeout);
    assert_eq!(read_both(&mut storage), Ok([late, Ok(())]));
    assert_eq!(silent.borrow().lost, [0]);
    assert_eq!(
        fake::told(),
        ["fake: no answer for 1 s: given up, and 512 bytes of memory with it"]
    );
}

#[test]
fn silent_disk_that_answers_in_the_end_gives_the_memory_back_and_is_used_again() {
    let (mut storage, silent) = two_disks();
    silent.borrow_mut().manner = Manner::Silent;
    assert!(storage.start(read_job(7)).is_ok());
    assert!(matches!(poll(&mut storage), Some((_, Err(IoErrorKind::Timeout)))));
    silent.borrow_mut().manner = Manner::Honest;
    assert!((0..1000).all(|_| storage.poll().is_none()), "the job has ended once");
    assert_eq!(storage.given_up_bytes(), 0);
    assert_eq!(read_both(&mut storage), Ok([Ok(()), Ok(())]));
    assert_eq!(fake::told().last().unwrap(), "fake: answers again");
}

#[test]
fn flush_and_write_of_a_silent_disk_fail_and_the_run_goes_on() {
    let (mut storage, silent) = two_disks();
    silent.borrow_mut().manner = Manner::Silent;
    let data = [0x5a; SECTOR];
    let mut batch = [Transfer::write(A, 0, &data), Transfer::flush(A)];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch.map(|one| one.result), [Some(Err(IoErrorKind::Timeout)); 2]);
}

#[test]
fn queue_of_two_entries_keeps_no_memory_of_a_read() {
    let mut storage = storage();
    storage.set_timeout_ns(SECOND_NS);
    for _ in 0..2 {
        let (found, state) = fake::disk(content(3, 64), FLUSH);
        state.borrow_mut().entries_max = 2;
        storage.add(found).unwrap();
        assert!(storage.disk("other").is_err());
        state.borrow_mut().manner = Manner::Silent;
    }
    let late = Err(IoErrorKind::Timeout);
    assert_eq!(read_both(&mut storage), Ok([late, late]));
}

#[test]
fn pause_of_the_machine_is_no_timeout() {
    let (mut storage, state) = two_disks();
    state.borrow_mut().manner = Manner::Silent;
    assert!(storage.start(read_job(7)).is_ok());
    for _ in 0..3 {
        assert!((0..10).all(|_| storage.poll().is_none()));
        fake::pause(3600 * SECOND_NS);
        assert!(storage.poll().is_none());
    }
    state.borrow_mut().manner = Manner::Honest;
    assert!(matches!(poll(&mut storage), Some((_, Ok(())))));
    assert_eq!(fake::told(), [""; 0]);
}

#[test]
fn answer_that_came_while_the_machine_stood_still_is_taken_though_its_deadline_is_over() {
    let (mut storage, state) = two_disks();
    storage.set_timeout_ns(SECOND_NS / 10);
    state.borrow_mut().manner = Manner::Silent;
    assert!(storage.start(read_job(7)).is_ok());
    assert!(storage.poll().is_none());
    fake::pause(3600 * SECOND_NS);
    // This look is past the deadline, and the next one finds the answer.
    assert!(storage.poll().is_none());
    state.borrow_mut().manner = Manner::Honest;
    assert!(matches!(poll(&mut storage), Some((_, Ok(())))));
}

#[test]
fn disk_that_is_pulled_out_fails_its_reads_at_once_and_gives_all_memory_back() {
    let (mut storage, pulled) = two_disks();
    pulled.borrow_mut().manner = Manner::Removed;
    assert!(storage.start(read_job(7)).is_ok());
    let begin = storage.now_ns();
    let gone = Err(IoErrorKind::Gone);
    assert_eq!(read_both(&mut storage), Ok([gone, Ok(())]));
    assert!(storage.now_ns() - begin < SECOND_NS);
    let (job, result) = poll(&mut storage).unwrap();
    assert_eq!((job.tag, result, job.buffer.is_some()), (7.into(), gone, true));
    assert_eq!(storage.given_up_bytes(), 0);
    assert_eq!(read_both(&mut storage), Ok([gone, Ok(())]));
}

#[test]
fn disk_that_breaks_its_protocol_and_does_not_reset_keeps_what_it_has_for_ever() {
    let (mut storage, stuck) = two_disks();
    stuck.borrow_mut().manner = Manner::Stuck;
    assert!(storage.start(read_job(7)).is_ok());
    let (job, result) = poll(&mut storage).unwrap();
    assert_eq!((job.tag, result), (7.into(), Err(IoErrorKind::Protocol)));
    assert!(job.buffer.is_none());
    assert_eq!(storage.given_up_bytes(), SECTOR);
    assert_eq!(read_both(&mut storage), Ok([Err(IoErrorKind::Gone), Ok(())]));
    let resets = stuck.borrow().resets;
    drop(storage);
    assert_eq!(stuck.borrow().resets, resets, "its rings are left to it");

    let (mut storage, stuck) = two_disks();
    stuck.borrow_mut().manner = Manner::Stuck;
    let why = read_both(&mut storage).unwrap_err();
    assert!(why.starts_with("FAIL fake: "), "{why}");
}

#[test]
fn disk_that_never_says_that_it_is_reset_is_no_matter_at_the_end() {
    let (mut storage, state) = two_disks();
    state.borrow_mut().reset = Reset::Fails;
    assert_eq!(read_both(&mut storage), Ok([Ok(()), Ok(())]));
    let begin = storage.now_ns();
    storage.shut_down().unwrap();
    assert!(storage.now_ns() - begin < SECOND_NS / 10);
    assert_eq!(state.borrow().resets, 1, "the one at its start");
    drop(storage);
    assert_eq!(state.borrow().resets, 2, "and its rings stay allocated");
}

#[test]
fn disk_that_cannot_be_started_is_told_by_its_place_and_passed_over() {
    let start = |change: &dyn Fn(&mut fake::State)| {
        let (found, state) = fake::disk(content(3, 8), 0);
        change(&mut state.borrow_mut());
        storage().add(found).map_err(|unusable| unusable.error)
    };
    assert_eq!(start(&|_| {}), Ok(()));
    assert_eq!(start(&|disk| disk.manner = Manner::Removed), Err(StartError::Gone));
    let in_use = |disk: &mut fake::State| {
        disk.status = virtio_drivers::transport::DeviceStatus::DRIVER_OK;
        disk.reset = Reset::Fails;
    };
    assert_eq!(start(&in_use), Err(StartError::Reset));
    assert_eq!(start(&|disk| disk.entries_max = 0), Err(StartError::Queue(0)));
    assert_eq!(start(&|disk| disk.generations = vec![0, 1]), Err(StartError::Config));
    assert_eq!(start(&|disk| disk.config[..8].fill(0xff)), Err(StartError::Capacity(u64::MAX)));
}

#[test]
fn share_without_a_request_queue_is_refused_by_the_queues_number() {
    for queues in [0, 1] {
        let (mut found, state) = fake::disk(Vec::new(), 0);
        found.id = FILE_SYSTEM;
        state.borrow_mut().config[..5].copy_from_slice(b"share");
        state.borrow_mut().config[5..36].fill(0);
        state.borrow_mut().config[36..40].copy_from_slice(&u32::to_le_bytes(queues));
        let mut storage = storage();
        let started = storage.add(found).map_err(|unusable| unusable.error);
        assert_eq!(started, if queues == 0 { Err(StartError::Queue(1)) } else { Ok(()) });
        assert_eq!(storage.mount_tags().collect::<Vec<_>>(), ["share"][..queues as usize]);
    }
}

#[test]
fn configuration_that_changes_while_it_is_read_is_read_again() {
    let (found, state) = fake::disk(content(3, 8), 0);
    state.borrow_mut().generations = vec![0, 1, 1, 1];
    storage().add(found).unwrap();
    assert_eq!(state.borrow().looks.get(), 4);
}

#[test]
fn block_size_that_no_disk_has_counts_as_a_sector() {
    const BLK_SIZE: u64 = 1 << 6;
    for (says, counts) in [(512, 512), (4096, 4096), (3, 512), (0, 512), (256, 512), (8192, 512)] {
        let (found, state) = fake::disk(content(3, 64), BLK_SIZE);
        state.borrow_mut().config[20..24].copy_from_slice(&u32::to_le_bytes(says));
        let mut storage = storage();
        storage.add(found).unwrap();
        assert_eq!(storage.info(A).map(|info| info.sector_bytes), Some(counts), "{says}");
    }
}

#[test]
fn disk_that_shrinks_fails_what_it_lost_and_serves_the_rest() {
    let (mut storage, state) = two_disks();
    state.borrow_mut().bytes.truncate(8 * SECTOR);
    let (mut here, mut lost) = ([0; SECTOR], [0; SECTOR]);
    let mut batch = [Transfer::read(A, 7 * 512, &mut here), Transfer::read(A, 8 * 512, &mut lost)];
    storage.run(&mut batch, &mut |_, _| {});
    let results = batch.map(|transfer| transfer.result.unwrap());
    assert_eq!(results, [Ok(()), Err(IoErrorKind::Device(1))]);
    assert!(here[..] == content(3, 64)[7 * SECTOR..8 * SECTOR]);
}

/// Which of the free requests is used next depends on the order in which they came back.
#[test]
fn request_that_came_back_long_ago_and_comes_back_again_is_no_other_request() {
    let mut refused = 0;
    for jobs in 2..6 {
        let (mut storage, state) = two_disks();
        assert!((0..jobs).all(|tag| storage.start(read_job(tag)).is_ok()));
        assert!((0..jobs).all(|_| matches!(poll(&mut storage), Some((_, Ok(()))))));
        state.borrow_mut().manner = Manner::Stale;
        assert!(storage.start(read_job(7)).is_ok());
        match poll(&mut storage) {
            Some((_, Err(IoErrorKind::Protocol))) => refused += 1,
            // It was the same one.
            ended => assert!(matches!(ended, Some((_, Ok(())))), "{ended:?}"),
        }
    }
    assert!(refused > 0);
}

/// What a disk can say that no disk says, on queues of every size: no panic, no wait without an
/// end, and no bytes that it never said were there.
#[test]
fn disk_of_any_manners_serves_nothing_wrong_and_takes_no_other_with_it() {
    let manners = [
        Manner::Twice,
        Manner::Stale,
        Manner::Jumps(1),
        Manner::Jumps(3),
        Manner::Jumps(128),
        Manner::Jumps(0x8000),
        Manner::Jumps(0xffff),
        Manner::HighId,
        Manner::Mute,
        Manner::Long,
        Manner::Scribbles,
        Manner::Middle,
    ];
    for manner in manners {
        for entries in if cfg!(miri) { &[2, 16][..] } else { &[2, 4, 16, 128] } {
            let entries = *entries;
            for warm in [false, true] {
                let results = hostile(manner, entries, warm);
                let case = std::format!("{manner:?} {entries} {warm}: {results:?}");
                let refused = match manner {
                    Manner::HighId | Manner::Mute | Manner::Long => 8,
                    // The first that it gives back is a request of its own.
                    Manner::Middle => usize::from(entries > 2) * 8,
                    _ => 0,
                };
                let failed = results[..8].iter().filter(|result| result.is_err()).count();
                assert!(failed >= refused, "{case}");
                assert!(results[..8].iter().all(|r| *r != Err(IoErrorKind::Timeout)), "{case}");
                assert_eq!(results[10], Ok(()), "the other disk: {case}");
            }
        }
    }
}

/// Eight reads, a write and a flush of a disk, and a read of another.
fn hostile(manner: Manner, entries: u32, warm: bool) -> Vec<Result<(), IoErrorKind>> {
    let mut storage = storage();
    let (found, state) = fake::disk(content(3, 64), FLUSH);
    state.borrow_mut().entries_max = entries;
    storage.add(found).unwrap();
    storage.add(fake::disk(content(9, 64), 0).0).unwrap();
    if warm {
        super::read_all(&mut storage, &mut vec![0; 40 * SECTOR], &[A]);
    }
    let _ = storage.disk("fake");
    state.borrow_mut().manner = manner;
    let right = content(3, 64);
    let (mut out, data, mut other) = (vec![0xee; 8 * SECTOR], [0x77; SECTOR], [0; SECTOR]);
    let mut batch: Vec<_> = out
        .chunks_mut(SECTOR)
        .zip(0..)
        .map(|(sector, index)| Transfer::read(A, index * 512, sector))
        .collect();
    batch.push(Transfer::write(A, 512 * 20, &data));
    batch.push(Transfer::flush(A));
    batch.push(Transfer::read(B, 512, &mut other));
    let mut reported = vec![0; batch.len()];
    storage.run(&mut batch, &mut |index, _| reported[index] += 1);
    let results: Vec<_> = batch.iter().map(|transfer| transfer.result.unwrap()).collect();
    drop(batch);
    assert!(reported.iter().all(|times| *times == 1), "{manner:?} {reported:?}");
    assert!(other[..] == content(9, 64)[SECTOR..2 * SECTOR], "{manner:?}");
    for (index, sector) in out.chunks(SECTOR).enumerate() {
        let is_right = *sector == right[index * SECTOR..][..SECTOR];
        assert!(results[index].is_err() || is_right, "{manner:?} {entries} {warm} {index}");
    }
    let started = (0..4).filter(|tag| storage.start(read_job(*tag)).is_ok()).count();
    let ended = (0..20_000).filter_map(|_| storage.poll()).count();
    assert_eq!(ended, started, "{manner:?}");
    results
}
