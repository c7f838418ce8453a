//! Several threads in one storage at once.

use std::thread;

use rootlet::storage::file::FileStorage;
use rootlet::storage::{DeviceId, Storage, Transfer};
use rootlet_sim::disk::World;

const SECTOR: usize = 512;
const SECTORS: usize = 256;
const THREADS: usize = 4;
const BATCHES: usize = 50;
/// Transfers of a batch.
const LONG: usize = 7;

fn content() -> Vec<u8> {
    (0..SECTORS * SECTOR).map(|at| (at / SECTOR * 31 + at) as u8).collect()
}

/// Runs batches in each of several threads. Every transfer ends once, with the bytes of its place.
fn read_in_threads<S: Storage + Sync>(storage: &S, device: DeviceId) {
    let want = &content();
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                for batch in 0..BATCHES {
                    let at = |index: usize| (number * 61 + batch * LONG + index) % SECTORS * SECTOR;
                    let mut out = [[0; SECTOR]; LONG];
                    let mut transfers: Vec<_> = out
                        .iter_mut()
                        .enumerate()
                        .map(|(index, out)| Transfer::read(device, at(index) as u64, out))
                        .collect();
                    let mut ended = [0; LONG];
                    storage.run(&mut transfers, &mut |index, transfer| {
                        assert_eq!(transfer.outcome(), Ok(()));
                        ended[index] += 1;
                    });
                    assert_eq!(ended, [1; LONG], "thread {number}, batch {batch}");
                    for (index, out) in out.iter().enumerate() {
                        assert!(
                            out[..] == want[at(index)..][..SECTOR],
                            "{number}, {batch}, {index}"
                        );
                    }
                }
            });
        }
    });
}

#[test]
fn threads_that_run_batches_at_once_get_their_own_bytes_from_simulated_devices() {
    for seed in 0..20 {
        let world = World::new(seed);
        let device = world.blob("blob", &content()[..]);
        read_in_threads(&world.attach(), device);
    }
}

#[test]
fn threads_that_run_batches_at_once_get_their_own_bytes_from_files() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content()).unwrap();
    let mut storage = FileStorage::new();
    let device = storage.add_disk("blob", file.path(), true).unwrap();
    read_in_threads(&storage, device);
}
