//! The storage against disks that say what no disk says.

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rootlet::storage::{Discover, IoErrorKind, Job, Storage, Transfer};

use super::super::VirtioStorage;
use super::super::fake::{self, Fake, Manner};
use super::lost::{poll, read_job, two_disks};
use super::{A, B, FLUSH, SECTOR, content, storage};

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

/// What a disk can say that no disk says.
const MANNERS: [Manner; 12] = [
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

/// Returns a disk of these manners beside an honest one, and whether it was honest for 40 reads.
fn hostile(manner: Manner, entries: u32, warm: bool) -> VirtioStorage<Fake> {
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
    storage
}

fn hostile_disks() -> impl Iterator<Item = (Manner, u32, bool)> {
    let entries = if cfg!(miri) { &[2, 16][..] } else { &[2, 4, 16, 128] };
    let of_all = |manner| {
        entries.iter().flat_map(move |&entries| [(manner, entries, false), (manner, entries, true)])
    };
    MANNERS.into_iter().flat_map(of_all)
}

/// On queues of every size: no panic, no wait without an end, and no bytes that it never said were
/// there.
#[test]
fn disk_of_any_manners_brings_nothing_wrong_and_takes_no_other_with_it() {
    let right = content(3, 64);
    for (manner, entries, warm) in hostile_disks() {
        let case = format!("{manner:?} {entries} {warm}");
        let mut storage = hostile(manner, entries, warm);
        let (mut failed, mut ended) = (0, 0);
        for tag in 0..8 {
            if let Err(Job { at, .. }) = storage.start(Job { at: tag * 512, ..read_job(tag) }) {
                assert_eq!(at, tag * 512);
                continue;
            }
            let (job, result) = poll(&mut storage).expect(&case);
            let at = job.at as usize;
            let is_right = job.buffer.is_some_and(|buffer| buffer[..] == right[at..at + SECTOR]);
            assert!(result.is_err() || is_right, "{case}: {result:?}");
            assert_ne!(result, Err(IoErrorKind::Timeout), "{case}");
            failed += usize::from(result.is_err());
            ended += 1;
        }
        let refused = match manner {
            Manner::HighId | Manner::Mute | Manner::Long => ended,
            // The first that it gives back is a request of its own.
            Manner::Middle => usize::from(entries > 2) * ended,
            _ => 0,
        };
        assert!(failed >= refused && ended > 0, "{case}: {failed} of {ended}");
        let (data, mut other) = ([0x77; SECTOR], [0; SECTOR]);
        let mut batch = [
            Transfer::write(A, 512 * 20, &data),
            Transfer::flush(A),
            Transfer::read(B, 512, &mut other),
        ];
        let mut reported = vec![0; batch.len()];
        storage.run(&mut batch, &mut |index, _| reported[index] += 1);
        assert_eq!(batch[2].result, Some(Ok(())), "{case}");
        assert_eq!(reported, [1, 1, 1], "{case}");
        assert!(other[..] == content(9, 64)[SECTOR..2 * SECTOR], "{case}");
    }
}

/// The reader's own memory, which a disk that does not keep to its protocol may write for ever.
#[test]
fn disk_of_any_manners_brings_nothing_wrong_or_ends_the_run_by_its_name() {
    let right = content(3, 64);
    for (manner, entries, warm) in hostile_disks() {
        let case = format!("{manner:?} {entries} {warm}");
        let storage = hostile(manner, entries, warm);
        let mut out = vec![0xee; 8 * SECTOR];
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let sectors = out.chunks_mut(SECTOR).zip(0..);
            let mut batch: Vec<_> =
                sectors.map(|(sector, index)| Transfer::read(A, index * 512, sector)).collect();
            let mut reported = [0; 8];
            storage.run(&mut batch, &mut |index, _| reported[index] += 1);
            assert_eq!(reported, [1; 8], "{case}");
            batch.iter().map(|transfer| transfer.result.unwrap()).collect::<Vec<_>>()
        }));
        match ended {
            Ok(results) => {
                for (index, sector) in out.chunks(SECTOR).enumerate() {
                    let is_right = *sector == right[index * SECTOR..][..SECTOR];
                    assert!(results[index].is_err() || is_right, "{case} {index}");
                }
            }
            Err(why) => {
                let why = *why.downcast::<String>().unwrap();
                let wanted = "it gave back a request that it does not have, and it keeps memory";
                assert!(why.starts_with("FAIL ") && why.contains(wanted), "{case}: {why}");
                // The disk has it for ever.
                core::mem::forget(out);
            }
        }
    }
}
