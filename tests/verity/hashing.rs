//! When bytes are hashed: while the lock of a mount is free, and beside the reads that follow.
//!
//! Always: time is virtual, and a hash takes as much of it as the test says.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rootlet::storage::Storage;
use rootlet_guest::open_verified;
use rootlet_sim::disk::{Fault, OpKind, Rule, World};
use rootlet_trust::{Hasher, Software};
use rootlet_verity::Verified;

use crate::guest::Guest;
use crate::world::{Checked, made};

/// Input blocks of a data block or a node, or more.
const DATA: usize = 64;

/// A hasher that tells of the first block that it hashes, and waits for an answer.
#[derive(Debug)]
struct Gate(Mutex<Option<(Sender<()>, Receiver<()>)>>);

static GATE: Gate = Gate(Mutex::new(None));

impl Hasher for Gate {
    fn sha256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        let gate = if blocks.len() < DATA { None } else { self.0.lock().unwrap().take() };
        if let Some((tell, answer)) = gate {
            tell.send(()).unwrap();
            let answer = answer.recv_timeout(Duration::from_secs(30));
            assert!(answer.is_ok(), "nobody can use the mount");
        }
        Software.sha256(state, blocks);
    }

    fn sha512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]]) {
        Software.sha512(state, blocks);
    }
}

#[test]
fn mount_serves_others_while_the_bytes_of_a_stream_are_hashed() {
    let made = made(30, 400_000);
    let (world, ..) = made.world();
    let storage = Verified::new(world.attach(), &GATE, 1 << 20);
    let line = format!("{} ram-cache=0", made.line());
    let guest = Guest::mount_by(open_verified, storage, &line, 1).unwrap();
    // The leaves are known from now on, so that a stream is read by jobs.
    assert!(made.files.iter().all(|(path, content)| read(&guest, path).len() == content.len()));
    let (tell, told) = channel();
    let (answer, answered) = channel();
    *GATE.0.lock().unwrap() = Some((tell, answered));
    thread::scope(|scope| {
        let root = &guest.root;
        scope.spawn(move || {
            told.recv().unwrap();
            assert_eq!(root.metadata(b"/f1").unwrap().size(), 200_000);
            answer.send(()).unwrap();
        });
        assert!(read(&guest, "/f0") == made.files[0].1);
    });
    assert!(GATE.0.lock().unwrap().is_none(), "nothing was hashed");
}

/// Reads a file by a stream.
fn read(guest: &Checked, path: &str) -> Vec<u8> {
    let mut stream = guest.root.stream(path.as_bytes()).unwrap();
    let mut out = Vec::new();
    loop {
        let bytes = stream.lend().unwrap();
        if bytes.is_empty() {
            return out;
        }
        out.extend_from_slice(bytes);
        let len = bytes.len();
        stream.advance(len);
    }
}

/// A hasher that takes virtual time.
#[derive(Debug)]
struct Slow(Mutex<Option<Clock>>);

/// The clock of a world, and the time that a data block takes.
struct Clock(World, u64);

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ns a block", self.1)
    }
}

static SLOW: Slow = Slow(Mutex::new(None));

impl Hasher for Slow {
    fn sha256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        if let Some(Clock(world, ns)) = &*self.0.lock().unwrap() {
            world.advance_ns(ns * blocks.len() as u64 / DATA as u64);
        }
        Software.sha256(state, blocks);
    }

    fn sha512(&self, _: &mut [u64; 8], _: &[[u8; 128]]) {
        panic!("no tree of this test has it");
    }
}

/// A read of a device, and how much longer a hash of as many bytes takes.
const READ_NS: u64 = 2_000_000;

/// Returns the virtual time that a file takes, by a stream or by reads of 256 KiB, if a data block is
/// hashed in `block_ns`.
fn time_ns(by_stream: bool, block_ns: u64) -> u64 {
    let made = made(31, 4 << 20);
    let (world, data, _) = made.world();
    world.set_jitter_ns(1);
    let storage = Verified::new(world.attach(), &SLOW, 1 << 20);
    let line = format!("{} ram-cache=0", made.line());
    let guest = Guest::mount_by(open_verified, storage, &line, 1).unwrap();
    assert!(read(&guest, "/f0") == made.files[0].1);
    for device in data {
        world.rule(Rule::new(Fault::Delay(READ_NS)).device(device).op(OpKind::Read));
    }
    *SLOW.0.lock().unwrap() = Some(Clock(world.clone(), block_ns));
    let start_ns = guest.root.storage().now_ns();
    if by_stream {
        assert!(read(&guest, "/f0") == made.files[0].1);
    } else {
        let file = guest.root.open(b"/f0").unwrap();
        let mut out = vec![0; 256 << 10];
        for at in (0..4 << 20).step_by(out.len()) {
            assert_eq!(file.read_at(at, &mut out), Ok(256 << 10));
        }
    }
    *SLOW.0.lock().unwrap() = None;
    guest.root.storage().now_ns() - start_ns
}

#[test]
fn hashes_of_a_stream_are_computed_while_the_next_bytes_are_on_their_way() {
    let blocks = (4 << 20) / 4096;
    let read_ns = time_ns(true, 0);
    // As long for all hashes as for all reads.
    let hash_ns = read_ns / blocks * blocks;
    let both_ns = time_ns(true, hash_ns / blocks);
    let apart_ns = time_ns(false, hash_ns / blocks);
    println!(
        "reads {read_ns} ns, hashes {hash_ns} ns, a stream {both_ns} ns, reads alone and their hashes {apart_ns} ns"
    );
    assert!(both_ns * 4 < (read_ns + hash_ns) * 3, "{both_ns} of {read_ns} and {hash_ns}");
    assert!(apart_ns > both_ns);
}
