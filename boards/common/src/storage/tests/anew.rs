//! A share whose daemon is started anew while its files are open: no request that the old daemon
//! had comes back, and the new one knows of nothing.

use alloc::rc::Rc;
use alloc::vec;
use core::cell::RefCell;

use rootlet::storage::Retry;

use super::*;
use crate::storage::fake_share::{
    self, Course, FLUSH, FakeShare, INIT, LOOKUP, OPEN, READ, Shared, State,
};

const SECOND_NS: u64 = 1_000_000_000;
const BYTES: usize = 3000;

/// Returns a storage with two files of a share open, and a look into the share.
fn opened() -> (VirtioStorage<FakeShare>, Rc<RefCell<State>>) {
    fake::told();
    let file =
        |name, seed| Shared { name, bytes: content(seed, 8)[..BYTES].to_vec(), ctime: seed.into() };
    let (found, state) = fake_share::share(vec![file("a", 1), file("b", 2)]);
    let mut storage = VirtioStorage::new(fake::processor());
    storage.add(found).unwrap();
    assert_eq!(storage.share_file(None, "a"), Ok(A));
    assert_eq!(storage.share_file(None, "b"), Ok(B));
    (storage, state)
}

fn retried() -> (Retry<VirtioStorage<FakeShare>>, Rc<RefCell<State>>) {
    let (storage, state) = opened();
    (Retry::new(storage, 5, None), state)
}

/// Reads `b`, then `a`, and checks what was read.
fn read(storage: &mut impl Storage) -> [Result<(), IoErrorKind>; 2] {
    let (mut a, mut b) = ([0; BYTES], [0; BYTES]);
    let mut batch = [Transfer::read(B, 0, &mut b), Transfer::read(A, 0, &mut a)];
    storage.run(&mut batch, &mut |_, _| {});
    let results = batch.map(|transfer| transfer.result.unwrap());
    assert!(results[0].is_err() || b[..] == content(2, 8)[..BYTES]);
    assert!(results[1].is_err() || a[..] == content(1, 8)[..BYTES]);
    results
}

fn count(state: &Rc<RefCell<State>>, opcode: u32) -> usize {
    state.borrow().opcodes.iter().filter(|other| **other == opcode).count()
}

const ANEW: &str = "share: its daemon was started anew";

#[test]
fn daemon_that_was_started_anew_between_two_reads_is_no_error_of_the_second() {
    for unknown in [-5, -9] {
        let (mut storage, state) = retried();
        assert_eq!(read(&mut storage), [Ok(()); 2]);
        state.borrow_mut().unknown = unknown;
        state.borrow_mut().kill(0);
        assert_eq!(read(&mut storage), [Ok(()); 2], "errno {unknown}");
        assert_eq!([INIT, LOOKUP, OPEN].map(|opcode| count(&state, opcode)), [1, 2, 2]);
        let told = fake::told();
        assert!(told.len() == 1 && told[0].ends_with(ANEW), "{told:?}");
        let reads = count(&state, READ);
        assert_eq!(read(&mut storage), [Ok(()); 2]);
        assert_eq!((count(&state, READ), count(&state, INIT)), (reads + 2, 1));
    }
}

#[test]
fn requests_that_die_with_their_daemon_are_made_again_within_a_second_of_the_next_ones_start() {
    for away_ns in [SECOND_NS / 100, SECOND_NS / 2, SECOND_NS, 3 * SECOND_NS] {
        let (mut storage, state) = retried();
        state.borrow_mut().kill(away_ns);
        let begin = fake::now();
        assert_eq!(read(&mut storage), [Ok(()); 2], "{away_ns}");
        let took = fake::now() - begin;
        assert!((away_ns..away_ns + SECOND_NS).contains(&took), "{away_ns}: {took}");
        assert_eq!(storage.inner_mut().given_up_bytes(), 0);
        // A second time is like the first.
        state.borrow_mut().kill(away_ns);
        assert_eq!(read(&mut storage), [Ok(()); 2], "{away_ns}");
    }
}

#[test]
fn job_that_dies_with_its_daemon_is_made_again_and_comes_back_once() {
    let (storage, state) = retried();
    state.borrow_mut().kill(SECOND_NS);
    let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
    assert!(storage.start(Job { tag: 7.into(), device: A, at: 0, kind, buffer }).is_ok());
    let begin = fake::now();
    let poll = || {
        storage.rest(1000);
        storage.poll()
    };
    let (job, result) = (0..100_000).find_map(|_| poll()).unwrap();
    assert_eq!((job.tag, result), (7.into(), Ok(())));
    assert!(job.buffer.unwrap()[..] == content(1, 8)[..BYTES]);
    assert!(fake::now() - begin < 2 * SECOND_NS);
    assert!((0..1000).all(|_| poll().is_none()));
}

/// From now on the daemon takes requests, and keeps its answers.
fn keep_answers(state: &Rc<RefCell<State>>) {
    let mut course = Course::new(1);
    course.keeps = 1_000_000;
    state.borrow_mut().course = Some(course);
}

#[test]
fn job_of_a_file_that_is_opened_again_waits_in_the_table_and_nobody_else_does() {
    let (mut storage, state) = opened();
    state.borrow_mut().kill(0);
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Forgotten); 2]);
    keep_answers(&state);
    let begin = fake::now();
    for (tag, device) in [(7, A), (8, B)] {
        let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
        assert!(storage.start(Job { tag: tag.into(), device, at: 0, kind, buffer }).is_ok());
        assert!((0..10).all(|_| storage.poll().is_none()));
    }
    assert!(fake::now() - begin < SECOND_NS / 10, "nothing waits for the daemon");
    state.borrow_mut().course.as_mut().unwrap().heal();
    let mut ended: Vec<_> = (0..1000).filter_map(|_| storage.poll()).collect();
    ended.sort_by_key(|(job, _)| job.device.0);
    let [(a, Ok(())), (b, Ok(()))] = &ended[..] else { panic!("{ended:?}") };
    assert!(a.buffer.as_ref().unwrap()[..] == content(1, 8)[..BYTES]);
    assert!(b.buffer.as_ref().unwrap()[..] == content(2, 8)[..BYTES]);
    assert_eq!([INIT, LOOKUP, OPEN, READ].map(|opcode| count(&state, opcode)), [1, 2, 2, 2]);
}

#[test]
fn blocking_read_ends_the_opening_that_a_job_has_begun() {
    let (mut storage, state) = opened();
    state.borrow_mut().kill(0);
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Forgotten); 2]);
    let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
    assert!(storage.start(Job { tag: 7.into(), device: A, at: 0, kind, buffer }).is_ok());
    assert_eq!(read(&mut storage), [Ok(()); 2]);
    let ended = (0..100).find_map(|_| storage.poll());
    assert!(matches!(ended, Some((_, Ok(())))), "{ended:?}");
    assert_eq!([INIT, LOOKUP, OPEN].map(|opcode| count(&state, opcode)), [1, 2, 2]);
}

#[test]
fn end_of_a_run_waits_for_no_opening_that_is_under_way() {
    let (mut storage, state) = opened();
    state.borrow_mut().kill(0);
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Forgotten); 2]);
    keep_answers(&state);
    let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
    assert!(storage.start(Job { tag: 7.into(), device: A, at: 0, kind, buffer }).is_ok());
    let begin = fake::now();
    assert!(storage.shut_down().is_ok());
    assert!(fake::now() - begin < SECOND_NS);
}

#[test]
fn daemon_that_is_away_for_longer_is_asked_until_it_is_back() {
    let (mut storage, state) = retried();
    state.borrow_mut().kill(20 * SECOND_NS);
    let begin = fake::now();
    assert_eq!(read(&mut storage), [Ok(()); 2]);
    let took = fake::now() - begin;
    assert!((20 * SECOND_NS..26 * SECOND_NS).contains(&took), "{took}");
    let told = fake::told();
    assert!(told.iter().any(|told| told.ends_with("share: no answer for 5 s")), "{told:?}");
    assert!(told.iter().any(|told| told.ends_with(ANEW)), "{told:?}");
}

#[test]
fn requests_that_fill_the_ring_leave_room_to_ask() {
    let (storage, state) = retried();
    state.borrow_mut().kill(SECOND_NS);
    let mut out = vec![0; 100 * 30];
    let mut batch: Vec<_> = (0..)
        .zip(out.chunks_mut(30))
        .map(|(number, part)| Transfer::read(A, number * 30, part))
        .collect();
    let begin = fake::now();
    storage.run(&mut batch, &mut |_, _| {});
    assert!(batch.iter().all(|transfer| transfer.result == Some(Ok(()))));
    assert!(out == content(1, 8)[..BYTES]);
    assert!(fake::now() - begin < 2 * SECOND_NS);
}

#[test]
fn daemon_that_is_back_after_the_deadline_gives_the_memory_back_and_is_used_again() {
    let (mut storage, state) = opened();
    storage.set_timeout_ns(2 * SECOND_NS);
    state.borrow_mut().kill(4 * SECOND_NS);
    let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
    assert!(storage.start(Job { tag: 7.into(), device: A, at: 0, kind, buffer }).is_ok());
    let ended = (0..1_000_000).find_map(|_| storage.poll());
    assert!(matches!(ended, Some((_, Err(IoErrorKind::Timeout)))), "{ended:?}");
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Timeout); 2]);
    assert_eq!(storage.given_up_bytes(), BYTES);
    let mut is_back = || storage.poll().is_none() && read(&mut storage) == [Ok(()); 2];
    assert!((0..100_000).any(|_| is_back()));
    assert_eq!((storage.given_up_bytes(), count(&state, INIT)), (0, 1));
}

#[test]
fn file_that_changed_while_the_daemon_was_away_is_an_error_and_its_neighbour_is_none() {
    let (mut storage, state) = retried();
    state.borrow_mut().kill(0);
    state.borrow_mut().files[0].ctime += 1;
    let begin = fake::now();
    assert_eq!(read(&mut storage), [Ok(()), Err(IoErrorKind::Changed)]);
    assert!(fake::now() - begin < SECOND_NS, "it is not tried for long");
    assert_eq!(read(&mut storage), [Ok(()), Err(IoErrorKind::Changed)]);
    assert_eq!(count(&state, INIT), 1);
}

#[test]
fn file_that_is_gone_with_the_daemon_fails_after_the_time_of_a_retry_and_not_for_ever() {
    let (mut storage, state) = retried();
    state.borrow_mut().kill(0);
    state.borrow_mut().files[0].name = "c";
    let begin = fake::now();
    assert_eq!(read(&mut storage), [Ok(()), Err(IoErrorKind::Device(2))]);
    assert!((5 * SECOND_NS..7 * SECOND_NS).contains(&(fake::now() - begin)));
}

#[test]
fn without_a_second_try_one_read_fails_and_the_next_one_does_not() {
    let (mut storage, state) = opened();
    state.borrow_mut().kill(SECOND_NS / 10);
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Forgotten); 2]);
    assert_eq!(read(&mut storage), [Ok(()); 2]);
    assert_eq!(count(&state, INIT), 1);
}

#[test]
fn daemon_that_fails_reads_and_knows_its_files_keeps_its_session() {
    let (mut storage, state) = opened();
    let resets = state.borrow().resets;
    state.borrow_mut().failure = Some(-5);
    for _ in 0..3 {
        assert_eq!(read(&mut storage), [Err(IoErrorKind::Device(5)); 2]);
    }
    state.borrow_mut().failure = None;
    assert_eq!(read(&mut storage), [Ok(()); 2]);
    let state = state.borrow();
    assert!(state.opcodes.contains(&FLUSH), "it was asked");
    assert_eq!(state.resets, resets);
    assert_eq!(state.opcodes.iter().filter(|opcode| **opcode == INIT).count(), 1);
}

#[test]
fn daemon_that_is_stopped_is_asked_and_never_reset() {
    let (mut storage, state) = opened();
    let resets = state.borrow().resets;
    state.borrow_mut().is_stopped = true;
    storage.set_timeout_ns(3 * SECOND_NS);
    let (kind, buffer) = (JobKind::Read, Some(Buffer::new(BYTES)));
    assert!(storage.start(Job { tag: 7.into(), device: A, at: 0, kind, buffer }).is_ok());
    let ended = (0..1_000_000).find_map(|_| storage.poll());
    assert!(matches!(ended, Some((_, Err(IoErrorKind::Timeout)))), "{ended:?}");
    state.borrow_mut().is_stopped = false;
    let mut is_back = || storage.poll().is_none() && read(&mut storage) == [Ok(()); 2];
    assert!((0..100_000).any(|_| is_back()));
    assert_eq!(storage.given_up_bytes(), 0);
    assert!(count(&state, FLUSH) > 2);
    assert_eq!((count(&state, INIT), state.borrow().resets), (1, resets));
}

#[test]
fn end_of_a_run_begins_no_session() {
    let (mut storage, state) = opened();
    state.borrow_mut().kill(0);
    assert_eq!(read(&mut storage), [Err(IoErrorKind::Forgotten); 2]);
    state.borrow_mut().opcodes.clear();
    assert_eq!(storage.shut_down(), Ok(()));
    assert!(state.borrow().opcodes.is_empty(), "{:?}", state.borrow().opcodes);
}
