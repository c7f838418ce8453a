//! The storage against devices that fall silent, go away, or were never devices at all.
//!
//! Always: no test waits for real time, and none leaves a device that it has reset with requests.

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rootlet::storage::{Buffer, Discover, IoErrorKind, Job, JobKind, Storage, Transfer};

use super::super::VirtioStorage;
use super::super::fake::{self, Fake, Manner, Reset};
use super::{A, B, FLUSH, SECTOR, content, storage};
use crate::virtio::aside::ASIDE_BYTES;

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn read_job(tag: u64) -> Job {
    let buffer = Some(Buffer::new(SECTOR));
    Job { tag: tag.into(), device: A, at: 0, kind: JobKind::Read, buffer }
}

pub(super) fn poll(storage: &mut VirtioStorage<Fake>) -> Option<(Job, Result<(), IoErrorKind>)> {
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

/// Returns two disks named "fake", the first of which is looked into.
pub(super) fn two_disks() -> (VirtioStorage<Fake>, alloc::rc::Rc<core::cell::RefCell<fake::State>>)
{
    two_disks_of(false)
}

/// Returns the same with the registers from before virtio 1.0, or those of today.
fn two_disks_of(
    is_legacy: bool,
) -> (VirtioStorage<Fake>, alloc::rc::Rc<core::cell::RefCell<fake::State>>) {
    let mut storage = storage();
    storage.set_timeout_ns(SECOND_NS);
    let (found, state) = fake::disk(content(3, 64), FLUSH);
    state.borrow_mut().is_legacy = is_legacy;
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
fn silent_disk_is_waited_for_until_the_deadline_of_who_waits_if_that_is_sooner() {
    for (is_job, until_s, took_s) in
        [(false, Some(2), 2), (true, Some(2), 2), (false, Some(40), 30), (true, None, 30)]
    {
        let (mut storage, silent) = two_disks();
        storage.set_timeout_ns(30 * SECOND_NS);
        silent.borrow_mut().manner = Manner::Silent;
        let begin = storage.now_ns();
        storage.set_deadline(until_s.map(|seconds| begin + seconds * SECOND_NS));
        let result = if is_job {
            assert!(storage.start(read_job(7)).is_ok());
            poll(&mut storage).unwrap().1
        } else {
            let mut batch = [Transfer::flush(A)];
            storage.run(&mut batch, &mut |_, _| {});
            batch[0].result.unwrap()
        };
        let took = storage.now_ns() - begin;
        assert_eq!((result, took / SECOND_NS), (Err(IoErrorKind::Timeout), took_s), "{took}");
        // What is too late already is asked, and has no time.
        storage.set_deadline(Some(begin));
        let mut batch = [Transfer::flush(A)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(IoErrorKind::Timeout)));
    }
}

#[test]
fn flush_and_write_of_a_silent_disk_fail_and_the_run_goes_on() {
    let (storage, silent) = two_disks();
    silent.borrow_mut().manner = Manner::Silent;
    let data = [0x5a; SECTOR];
    let mut batch = [Transfer::write(A, 0, &data), Transfer::flush(A)];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch.map(|one| one.result), [Some(Err(IoErrorKind::Timeout)); 2]);
}

/// A region's disk is expendable: a reader continues without a disk that is lost.
#[test]
fn expendable_disk_that_is_lost_keeps_no_memory_of_a_read() {
    let lost = [
        (Manner::Silent, IoErrorKind::Timeout, SECTOR),
        (Manner::BogusId, IoErrorKind::Protocol, SECTOR),
        (Manner::Broken, IoErrorKind::Gone, SECTOR),
        (Manner::Removed, IoErrorKind::Gone, 0),
    ];
    for ((manner, kind, kept), is_legacy) in
        lost.into_iter().flat_map(|lost| [(lost, false), (lost, true)])
    {
        let (mut storage, state) = two_disks_of(is_legacy);
        storage.set_expendable(A);
        state.borrow_mut().manner = manner;
        assert_eq!(read_both(&mut storage), Ok([Err(kind), Ok(())]), "{manner:?}");
        assert_eq!(storage.given_up_bytes(), kept, "{manner:?}");
        // It takes no other one.
        let late = if manner == Manner::Silent { kind } else { IoErrorKind::Gone };
        assert_eq!(read_both(&mut storage), Ok([Err(late), Ok(())]), "{manner:?}");
        assert_eq!(state.borrow().lost, [0], "{manner:?}");
    }
}

#[test]
fn expendable_disk_that_answers_in_the_end_is_used_again_and_writes_to_no_reader() {
    let (mut storage, state) = two_disks();
    storage.set_expendable(A);
    for _ in 0..3 {
        state.borrow_mut().manner = Manner::Silent;
        let mut out = vec![0; 64 * SECTOR];
        let mut batch = [Transfer::read(A, 0, &mut out)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(IoErrorKind::Timeout)));
        state.borrow_mut().manner = Manner::Honest;
        assert!((0..1000).all(|_| storage.poll().is_none()));
        assert!(out.iter().all(|byte| *byte == 0), "what came late");
        assert_eq!(storage.given_up_bytes(), 0);
    }
    assert_eq!(read_both(&mut storage), Ok([Ok(()), Ok(())]));
}

/// More than lands aside at once, and one that is longer than all of it: that lands where it is
/// wanted, and so do jobs.
#[test]
fn reads_of_an_expendable_disk_of_any_length_bring_its_bytes() {
    let sectors = 4096;
    for entries in [2, 128] {
        let mut storage = storage();
        let right = content(3, sectors);
        let (found, state) = fake::disk(right.clone(), FLUSH);
        state.borrow_mut().entries_max = entries;
        storage.add(found).unwrap();
        assert!(storage.disk("other").is_err(), "it has said its name");
        storage.set_expendable(A);
        let longest = storage.info(A).unwrap().transfer_bytes_max as usize;
        assert_eq!(longest, if entries == 2 { 64 << 10 } else { ASIDE_BYTES });
        for len in [SECTOR, 3 * SECTOR, 8 << 10, 24 << 10, 64 << 10, 256 << 10, longest] {
            let len = len.min(longest);
            let mut out = vec![0; right.len() / len * len];
            let mut batch: Vec<_> = (0..).step_by(len).zip(out.chunks_mut(len)).collect();
            // Not in the order of the disk.
            batch.reverse();
            let batch = batch.into_iter().map(|(at, part)| Transfer::read(A, at, part));
            let mut batch: Vec<_> = batch.collect();
            assert!(storage.start(read_job(7)).is_ok());
            storage.run(&mut batch, &mut |_, transfer| assert_eq!(transfer.outcome(), Ok(())));
            assert!(out[..] == right[..out.len()], "{entries} {len}");
            assert!(matches!(poll(&mut storage), Some((_, Ok(())))));
        }
    }
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
    // A status of PCI, and one of virtio-mmio.
    for ones in [0xff, u32::MAX] {
        let (mut storage, pulled) = two_disks();
        (pulled.borrow_mut().manner, pulled.borrow_mut().ones) = (Manner::Removed, ones);
        assert!(storage.start(read_job(7)).is_ok());
        let begin = storage.now_ns();
        let gone = Err(IoErrorKind::Gone);
        assert_eq!(read_both(&mut storage), Ok([gone, Ok(())]));
        assert!(storage.now_ns() - begin < SECOND_NS);
        assert_eq!(fake::told(), ["fake: it is gone: not used any more"]);
        let (job, result) = poll(&mut storage).unwrap();
        assert_eq!((job.tag, result, job.buffer.is_some()), (7.into(), gone, true));
        assert_eq!(storage.given_up_bytes(), 0);
        assert_eq!(read_both(&mut storage), Ok([gone, Ok(())]));
    }
}

/// A disk that cannot continue has not said that it touches no memory any more, nor that a monitor
/// would not wait in its reset.
#[test]
fn disk_that_cannot_go_on_keeps_what_it_has_and_is_not_reset() {
    let faults = [
        (Manner::BogusId, IoErrorKind::Protocol, "it gave back a request that it does not have"),
        (Manner::Broken, IoErrorKind::Gone, "it cannot go on without a reset"),
    ];
    let resets = [(Reset::Works, false), (Reset::Fails, false), (Reset::Works, true)];
    for ((manner, kind, why), (reset, is_legacy)) in
        faults.into_iter().flat_map(|fault| resets.map(|reset| (fault, reset)))
    {
        let (mut storage, broken) = two_disks_of(is_legacy);
        (broken.borrow_mut().manner, broken.borrow_mut().reset) = (manner, reset);
        assert!(storage.start(read_job(7)).is_ok());
        let (job, result) = poll(&mut storage).unwrap();
        assert_eq!((job.tag, result), (7.into(), Err(kind)));
        assert!(job.buffer.is_none(), "the disk may still write to it");
        assert_eq!(storage.given_up_bytes(), SECTOR);
        let told =
            format!("fake: {why}: not used any more, and 512 bytes of memory are left with it");
        assert_eq!(fake::told(), [told]);
        assert_eq!(read_both(&mut storage), Ok([Err(IoErrorKind::Gone), Ok(())]));
        drop(storage);
        assert_eq!(broken.borrow().lost, [0], "its rings are left to it");

        let (mut storage, broken) = two_disks_of(is_legacy);
        (broken.borrow_mut().manner, broken.borrow_mut().reset) = (manner, reset);
        let ended = read_both(&mut storage).unwrap_err();
        assert_eq!(ended, format!("FAIL fake: {why}, and it keeps memory of a read"));
        drop(storage);
        assert_eq!(broken.borrow().lost, [0], "the reset at its start, and no other");
    }
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
fn disk_that_shrinks_fails_what_it_lost_and_serves_the_rest() {
    let (storage, state) = two_disks();
    state.borrow_mut().bytes.truncate(8 * SECTOR);
    let (mut here, mut lost) = ([0; SECTOR], [0; SECTOR]);
    let mut batch = [Transfer::read(A, 7 * 512, &mut here), Transfer::read(A, 8 * 512, &mut lost)];
    storage.run(&mut batch, &mut |_, _| {});
    let results = batch.map(|transfer| transfer.result.unwrap());
    assert_eq!(results, [Ok(()), Err(IoErrorKind::Device(1))]);
    assert!(here[..] == content(3, 64)[7 * SECTOR..8 * SECTOR]);
    assert_eq!(fake::told(), [""; 0], "it says that it is as long as ever");
}

#[test]
fn disk_that_fails_a_request_and_has_another_length_than_before_is_told_once() {
    let (storage, state) = two_disks();
    state.borrow_mut().bytes.truncate(8 * SECTOR);
    state.borrow_mut().config[..8].copy_from_slice(&8_u64.to_le_bytes());
    for _ in 0..2 {
        let mut lost = [0; SECTOR];
        let mut batch = [Transfer::read(A, 8 * 512, &mut lost)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(IoErrorKind::Device(1))));
    }
    let told = "fake: has 4096 bytes now, and had 32768: what it was made of has changed";
    assert_eq!(fake::told(), [told]);
}
