//! A daemon that is started anew while files are open: how that shows, and how reads continue.

use rootlet::fuse::{Cause, Error, Operation, Session};
use rootlet::storage::IoErrorKind;

use crate::daemon::{Daemon, FORGET, INIT, LOOKUP, Node, u32_at, u64_at};

/// What happens to a file while its daemon is away.
type Change = fn(&mut Node);

const PATH: &[u8] = b"dir/sub/file";

fn connected() -> (Daemon, Session) {
    let mut daemon = Daemon::new();
    let session = Session::connect(&mut daemon).unwrap();
    (daemon, session)
}

#[test]
fn daemon_that_was_started_anew_does_not_know_the_file_and_serves_it_once_it_is_opened_again() {
    let (mut daemon, mut session) = connected();
    let mut file = session.open(&mut daemon, PATH).unwrap();
    let mut question = file.question();
    let mut knows = |daemon: &Daemon| {
        let (bytes, answer) = question.ask();
        answer.knows(&daemon.reply_to(&bytes), 16)
    };
    assert_eq!(knows(&daemon), Ok(true));

    daemon.start_anew();
    assert_eq!(knows(&daemon), Ok(false));
    let before = file.fh;
    let mut session = Session::connect(&mut daemon).unwrap();
    session.reopen(&mut daemon, PATH, &mut file).unwrap();
    assert_ne!(file.fh, before);
    assert_eq!((file.size, daemon.held.clone()), (123_456, [(4, 1)].into()));
    let (bytes, answer) = file.question().ask();
    assert_eq!(answer.knows(&daemon.reply_to(&bytes), 16), Ok(true));
    session.close(&mut daemon, file).unwrap();
    assert!(daemon.held.is_empty() && daemon.open.is_empty());
}

#[test]
fn file_that_changed_while_its_daemon_was_away_is_refused_and_given_back() {
    let changes: [Change; 3] =
        [|node| node.size += 1, |node| node.ctime_nsec += 1, |node| node.ino += 1];
    for change in changes {
        let (mut daemon, mut session) = connected();
        let mut file = session.open(&mut daemon, b"top").unwrap();
        let before = (file.nodeid, file.fh, file.version);
        daemon.start_anew();
        change(&mut daemon.nodes[4]);
        let mut session = Session::connect(&mut daemon).unwrap();
        let error = session.reopen(&mut daemon, b"top", &mut file).unwrap_err();
        assert_eq!(error, Error::new(Operation::Lookup(1), Cause::Changed));
        let words = "FUSE LOOKUP of path component 1: the file changed under the mount";
        assert_eq!(format!("{error:#}"), words);
        assert_eq!(IoErrorKind::from(error), IoErrorKind::Changed);
        assert_eq!((file.nodeid, file.fh, file.version), before);
        assert_eq!(daemon.opcodes(), [INIT, LOOKUP, FORGET], "nothing is opened");
        assert!(daemon.held.is_empty() && daemon.open.is_empty());
    }
}

#[test]
fn what_stands_in_the_files_place_decides_how_its_reads_fail() {
    let cases: [(Change, IoErrorKind); 3] = [
        (|node| node.name = b"elsewhere".to_vec(), IoErrorKind::Device(2)),
        (|node| node.mode = 0o040_755, IoErrorKind::Changed),
        (|node| node.size = 1 << 63, IoErrorKind::Protocol),
    ];
    for (change, kind) in cases {
        let (mut daemon, mut session) = connected();
        let mut file = session.open(&mut daemon, b"top").unwrap();
        daemon.start_anew();
        change(&mut daemon.nodes[4]);
        let mut session = Session::connect(&mut daemon).unwrap();
        let error = session.reopen(&mut daemon, b"top", &mut file).unwrap_err();
        assert_eq!(IoErrorKind::from(error), kind, "{error}");
    }
    let (mut daemon, mut session) = connected();
    let mut file = session.open(&mut daemon, b"top").unwrap();
    daemon.start_anew();
    let mut session = Session::connect(&mut daemon).unwrap();
    daemon.lost = Some(1);
    let error = session.reopen(&mut daemon, b"top", &mut file).unwrap_err();
    assert_eq!(IoErrorKind::from(error), IoErrorKind::Timeout);
}

#[test]
fn question_has_the_bytes_of_a_flush_and_a_new_number_each_time() {
    let (mut daemon, mut session) = connected();
    let file = session.open(&mut daemon, b"top").unwrap();
    let mut question = file.question();
    let numbers = [question.ask(), question.ask()].map(|(bytes, _)| {
        assert_eq!((u32_at(&bytes, 0), u32_at(&bytes, 4)), (64, 25));
        assert_eq!((u64_at(&bytes, 16), u64_at(&bytes, 40)), (file.nodeid, file.fh));
        assert_eq!((&bytes[24..40], &bytes[48..]), ([0; 16].as_slice(), [0; 16].as_slice()));
        u64_at(&bytes, 8)
    });
    let session_number = session.read_request(&file, 0, 1).unique();
    assert!(numbers[0] != numbers[1] && numbers.iter().all(|number| number % 2 == 0));
    assert!(numbers.iter().all(|number| *number > session_number + (1 << 60)));
}

#[test]
fn only_a_daemon_without_the_session_does_not_know() {
    let (mut daemon, mut session) = connected();
    let mut question = session.open(&mut daemon, b"top").unwrap().question();
    let mut knows = |error: i32, length: u32, device: u32, more: u64| {
        let (bytes, answer) = question.ask();
        let unique = u64_at(&bytes, 8) + more;
        let parts = [&length.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()];
        answer.knows(&parts.concat().try_into().unwrap(), device)
    };
    for (error, known) in [(0, true), (5, false), (9, false), (38, true), (24, true), (4, true)] {
        assert_eq!(knows(-error, 16, 16, 0), Ok(known), "errno {error}");
    }
    for (error, length, device, more) in
        [(0, 16, 16, 2), (-5, 16, 16, 2), (0, 17, 17, 0), (-5, 16, 0, 0), (5, 16, 16, 0)]
    {
        assert_eq!(knows(error, length, device, more), Err(IoErrorKind::Protocol));
    }
}
