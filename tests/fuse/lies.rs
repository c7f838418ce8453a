//! Replies that are short, long, another's, or simply noise.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rootlet::fuse::{Cause, OpenFile, Operation, Session, Transport};
use rootlet::storage::{DiscoverError, IoErrorKind};

use crate::daemon::{
    DESTROY, Daemon, FORGET, INIT, LOOKUP, OPEN, READLINK, RELEASE, u32_at, u64_at,
};

/// Runs a whole session; `lie` changes the replies to `opcode`.
fn run(opcode: u32, mut lie: impl FnMut(&mut Vec<u8>) + 'static) -> Result<(), Cause> {
    let mut daemon = Daemon::new();
    daemon.lie = Some(Box::new(move |op, reply| {
        if op == opcode {
            lie(reply);
        }
    }));
    let mut go = || {
        let mut session = Session::connect(&mut daemon)?;
        let file = session.open(&mut daemon, b"dir/sub/file")?;
        session.close(&mut daemon, file)?;
        let file = session.open(&mut daemon, b"link")?;
        session.close(&mut daemon, file)?;
        session.destroy(&mut daemon)
    };
    match go() {
        Ok(()) => Ok(()),
        Err(error) => {
            let named = match error.operation {
                Operation::Init => INIT,
                Operation::Lookup(_) => LOOKUP,
                Operation::Readlink(_) => READLINK,
                Operation::Forget => FORGET,
                Operation::Open => OPEN,
                Operation::Release => RELEASE,
                Operation::Destroy => DESTROY,
                other => panic!("{other:?}"),
            };
            assert_eq!(named, opcode, "{error}");
            Err(error.cause)
        }
    }
}

const WITH_REPLY: [u32; 6] = [INIT, LOOKUP, READLINK, OPEN, RELEASE, DESTROY];

/// Makes a reply a lie.
type Change = fn(&mut Vec<u8>);

/// What every reply is checked for, as changes of a good one.
const LIES: [(&str, Change); 15] = [
    ("nothing arrives", |reply| reply.clear()),
    ("half a header", |reply| reply.truncate(15)),
    ("a length of 0", |reply| set_len(reply, 0)),
    ("a length of 15", |reply| set_len(reply, 15)),
    ("a length one too small", |reply| off_by(reply, -1)),
    ("a length one too large", |reply| off_by(reply, 1)),
    ("the largest length", |reply| set_len(reply, u32::MAX)),
    ("one byte more than fits", |reply| {
        reply.push(0);
        off_by(reply, 0);
    }),
    ("another's number", |reply| reply[8] ^= 2),
    ("a notification's number", |reply| reply[8..16].fill(0)),
    ("a positive errno", |reply| set_error(reply, 2)),
    ("a zero-length negative errno out of range", |reply| set_error(reply, -512)),
    ("the largest error", |reply| set_error(reply, i32::MAX)),
    ("the smallest error", |reply| set_error(reply, i32::MIN)),
    ("an error with a body", |reply| {
        reply.truncate(16);
        reply.push(0);
        reply[..8].copy_from_slice(&[17, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
    }),
];

fn set_len(reply: &mut [u8], len: u32) {
    reply[..4].copy_from_slice(&len.to_le_bytes());
}

/// Sets the length to that of the reply, and by so much wrong.
fn off_by(reply: &mut [u8], wrong: i32) {
    let len = reply.len() as u32;
    set_len(reply, len.wrapping_add_signed(wrong));
}

fn set_error(reply: &mut Vec<u8>, error: i32) {
    reply.truncate(16);
    set_len(reply, 16);
    reply[4..8].copy_from_slice(&error.to_le_bytes());
}

#[test]
fn every_lie_in_every_reply_is_malformed() {
    for opcode in WITH_REPLY {
        for (name, lie) in LIES {
            let Err(cause) = run(opcode, lie) else { panic!("{name} passed for {opcode}") };
            assert!(matches!(cause, Cause::Malformed { .. }), "{name}, {opcode}: {cause:?}");
        }
    }
}

#[test]
fn body_one_byte_short_is_malformed() {
    for opcode in [INIT, LOOKUP, OPEN] {
        let result = run(opcode, |reply| {
            reply.pop();
            off_by(reply, 0);
        });
        let Err(cause) = result else { panic!("{opcode}") };
        assert!(matches!(cause, Cause::Malformed { .. }), "{opcode}: {cause:?}");
    }
}

#[test]
fn init_shorter_than_its_minor_promises_is_malformed() {
    for (minor, len) in [(38u32, 24), (23, 63), (23, 8), (22, 23), (22, 8), (5, 8), (4, 7)] {
        let result = run(INIT, move |reply| {
            reply[20..24].copy_from_slice(&minor.to_le_bytes());
            reply.truncate(16 + len);
            off_by(reply, 0);
        });
        let Err(cause) = result else { panic!("7.{minor} with {len} bytes passed") };
        assert!(matches!(cause, Cause::Malformed { .. }), "7.{minor}: {cause:?}");
    }
}

#[test]
fn errno_is_kept_for_every_operation() {
    for opcode in WITH_REPLY {
        for errno in [1, 2, 5, 511] {
            let Err(cause) = run(opcode, move |reply| set_error(reply, -errno)) else {
                panic!("{opcode}")
            };
            assert_eq!(cause, Cause::Errno(errno.unsigned_abs()));
        }
    }
}

#[test]
fn device_that_claims_more_than_was_lent_is_malformed() {
    for claim in [81, 1 << 20, usize::MAX] {
        let mut daemon = Daemon { claim: Some(claim), ..Daemon::new() };
        let error = Session::connect(&mut daemon).unwrap_err();
        assert_eq!(DiscoverError::from(error), DiscoverError::Daemon(IoErrorKind::Protocol));
    }
}

fn opened() -> (Session, OpenFile) {
    let mut daemon = Daemon::new();
    let mut session = Session::connect(&mut daemon).unwrap();
    let file = session.open(&mut daemon, b"top").unwrap();
    (session, file)
}

fn reply_header(len: u32, error: i32, unique: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..8].copy_from_slice(&error.to_le_bytes());
    header[8..].copy_from_slice(&unique.to_le_bytes());
    header
}

#[test]
fn read_reply_yields_what_arrived_and_no_more_than_was_asked() {
    let (mut session, file) = opened();
    let request = session.read_request(&file, 0, 4096);
    let unique = request.unique();
    let protocol = Err(IoErrorKind::Protocol);
    for (len, error, unique, device_len, expected) in [
        (16, 0, unique, 16, Ok(0)),
        (17, 0, unique, 17, Ok(1)),
        (4112, 0, unique, 4112, Ok(4096)),
        (4113, 0, unique, 4113, protocol),
        (4112, 0, unique, 4111, protocol),
        (4111, 0, unique, 4112, protocol),
        (4112, 0, unique + 2, 4112, protocol),
        (4112, 0, 0, 4112, protocol),
        (15, 0, unique, 15, protocol),
        (0, 0, unique, 0, protocol),
        (u32::MAX, 0, unique, u32::MAX, protocol),
        (16, -5, unique, 16, Err(IoErrorKind::Device(5))),
        (16, -511, unique, 16, Err(IoErrorKind::Device(511))),
        (16, -512, unique, 16, protocol),
        (16, 5, unique, 16, protocol),
        (16, i32::MIN, unique, 16, protocol),
        (16, i32::MAX, unique, 16, protocol),
        (4112, -5, unique, 4112, protocol),
    ] {
        let header = reply_header(len, error, unique);
        assert_eq!(request.reply(&header, device_len), expected, "{len} {error} {device_len}");
    }
}

/// Answers with noise, made more believable by `truths`: bit 0 sets length and number, bit 1 the
/// error 0. Counts the lookups it gave out and got back.
struct Noise {
    replies: Vec<(Vec<u8>, u8, Option<usize>)>,
    given: BTreeMap<u64, u64>,
    taken: BTreeMap<u64, u64>,
}

impl Transport for Noise {
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        let (noise, truths, claim) = self.replies.pop().ok_or(IoErrorKind::Gone)?;
        let mut noise: Vec<u8> = noise.into_iter().cycle().take(reply.len().max(16)).collect();
        if truths & 1 != 0 {
            let len = noise.len() as u32;
            set_len(&mut noise, len);
            noise[8..16].copy_from_slice(&request[8..16]);
        }
        if truths & 2 != 0 {
            noise[4..8].fill(0);
        }
        if truths & 4 != 0 && u32_at(request, 4) == INIT {
            noise[16..24].copy_from_slice(&[7, 0, 0, 0, 38, 0, 0, 0]);
        }
        if truths & 4 != 0 && noise.len() == 144 {
            noise[16 + 40 + 60..16 + 40 + 64].copy_from_slice(&0o040_755u32.to_le_bytes());
        }
        let used = claim.unwrap_or(noise.len());
        reply.copy_from_slice(&noise[..reply.len()]);
        let good = used == reply.len()
            && u32_at(&noise, 0) as usize == used
            && u32_at(&noise, 4) == 0
            && noise[8..16] == request[8..16];
        if good && u32_at(request, 4) == LOOKUP && u64_at(&noise, 16) > 1 {
            *self.given.entry(u64_at(&noise, 16)).or_default() += 1;
        }
        Ok(used)
    }

    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind> {
        *self.taken.entry(u64_at(request, 16)).or_default() += u64_at(request, 40);
        Ok(())
    }
}

fn noise() -> impl Strategy<Value = (Vec<u8>, u8, Option<usize>)> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..200),
        prop::collection::vec(0u8..3, 1..40),
    ];
    let truths = prop_oneof![1 => any::<u8>(), 6 => Just(7u8)];
    let claim = prop_oneof![
        8 => Just(None),
        1 => any::<usize>().prop_map(Some),
        1 => (0usize..200).prop_map(Some),
    ];
    (bytes, truths, claim)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn noise_never_panics_and_every_lookup_is_given_back(
        replies in prop::collection::vec(noise(), 1..12),
        truthful_init in any::<bool>(),
    ) {
        let mut daemon = Noise { replies, given: BTreeMap::new(), taken: BTreeMap::new() };
        if truthful_init {
            daemon.replies.push((vec![0], 7, None));
        }
        if let Ok(mut session) = Session::connect(&mut daemon) {
            let bytes = session.read_bytes_max();
            prop_assert!((4096..=1 << 20).contains(&bytes) && bytes.is_multiple_of(4096));
            for path in [b"a".as_slice(), b"a/b/c/d"] {
                if let Ok(file) = session.open(&mut daemon, path) {
                    prop_assert!(file.size <= u64::MAX >> 1);
                    let _ = session.close(&mut daemon, file);
                }
                prop_assert_eq!(&daemon.given, &daemon.taken);
            }
            let _ = session.destroy(&mut daemon);
        }
    }

    #[test]
    fn read_reply_never_exceeds_what_was_asked_or_arrived(
        size in any::<u32>(),
        device_len in any::<u32>(),
        len in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
        error in prop_oneof![Just(0), -600i32..5, any::<i32>()],
        own in any::<bool>(),
    ) {
        let (mut session, file) = opened();
        let request = session.read_request(&file, 0, size);
        let unique = if own { request.unique() } else { 4 };
        let header = reply_header(len.unwrap_or(device_len), error, unique);
        match request.reply(&header, device_len) {
            Ok(data) => {
                prop_assert!(data <= size && u64::from(data) + 16 == u64::from(device_len));
                prop_assert!(own && error == 0);
            }
            Err(IoErrorKind::Device(errno)) => prop_assert_eq!(i64::from(errno), -i64::from(error)),
            Err(kind) => prop_assert_eq!(kind, IoErrorKind::Protocol),
        }
    }
}
