//! What the session promises, against a daemon that keeps count.

use rootlet::fuse::{COMPONENTS_MAX, Cause, Error, Operation, PathFault, Session, Want};
use std::os::unix::fs::MetadataExt;

use rootlet::storage::file::FileStorage;
use rootlet::storage::{Discover, DiscoverError, IoErrorKind, Storage, Version};

use crate::daemon::{DESTROY, Daemon, FORGET, INIT, LOOKUP, OPEN, RELEASE, u64_at};

const PATH: &[u8] = b"dir/sub/file";
const READ_BYTES_MAX: u32 = 1 << 20;

fn connected() -> (Daemon, Session) {
    let mut daemon = Daemon::new();
    let session = Session::connect(&mut daemon).unwrap();
    (daemon, session)
}

fn refused(path: &[u8]) -> (Daemon, Error) {
    let (mut daemon, mut session) = connected();
    let error = session.open(&mut daemon, path).unwrap_err();
    assert_eq!(daemon.held.len(), 0, "nothing stays looked up");
    assert_eq!(daemon.open.len(), 0, "nothing stays open");
    (daemon, error)
}

#[test]
fn open_file_holds_one_lookup_and_close_gives_it_back() {
    let (mut daemon, mut session) = connected();
    let file = session.open(&mut daemon, PATH).unwrap();
    assert_eq!((file.nodeid, file.fh, file.size), (4, 0xf004, 123_456));
    assert_eq!(daemon.held, [(4, 1)].into());
    session.close(&mut daemon, file).unwrap();
    session.destroy(&mut daemon).unwrap();
    assert!(daemon.held.is_empty() && daemon.open.is_empty());
    let opcodes = [INIT, LOOKUP, LOOKUP, FORGET, LOOKUP, FORGET, OPEN, RELEASE, FORGET, DESTROY];
    assert_eq!(daemon.opcodes(), opcodes);
}

#[test]
fn two_files_in_one_directory_are_counted_apart() {
    let (mut daemon, mut session) = connected();
    let first = session.open(&mut daemon, PATH).unwrap();
    let second = session.open(&mut daemon, PATH).unwrap();
    assert_eq!(daemon.held, [(4, 2)].into());
    session.close(&mut daemon, first).unwrap();
    assert_eq!(daemon.held, [(4, 1)].into());
    // The modelled daemon has one handle a node, so the second one is already released.
    daemon.open.insert(second.fh);
    session.close(&mut daemon, second).unwrap();
    assert!(daemon.held.is_empty());
}

#[test]
fn read_request_has_the_bytes_of_the_abi() {
    let (mut daemon, mut session) = connected();
    let file = session.open(&mut daemon, b"top").unwrap();
    let sent = daemon.requests.len() as u64;
    let request = session.read_request(&file, 0x1122_3344_5566_7788, 0xabcd_e000);
    assert_eq!(request.unique(), 2 * (sent + 1));
    let mut expected = Vec::new();
    expected.extend(80u32.to_le_bytes());
    expected.extend(15u32.to_le_bytes());
    expected.extend(request.unique().to_le_bytes());
    expected.extend(5u64.to_le_bytes());
    expected.extend([0; 16]);
    expected.extend(0xf005u64.to_le_bytes());
    expected.extend(0x1122_3344_5566_7788u64.to_le_bytes());
    expected.extend(0xabcd_e000u32.to_le_bytes());
    expected.extend([0; 20]);
    assert_eq!(request.bytes(), expected);
    let next = session.read_request(&file, 0, 1);
    assert_eq!(next.unique(), request.unique() + 2);
}

#[test]
fn failure_at_any_step_leaves_nothing_behind() {
    // INIT is request 0; see the order of opcodes above.
    for (step, operation) in [
        (1, Operation::Lookup(1)),
        (2, Operation::Lookup(2)),
        (4, Operation::Lookup(3)),
        (6, Operation::Open),
    ] {
        let (mut daemon, mut session) = connected();
        daemon.lost = Some(step);
        let error = session.open(&mut daemon, PATH).unwrap_err();
        assert_eq!(error, Error::new(operation, Cause::Io(IoErrorKind::Timeout)));
        assert!(daemon.held.is_empty() && daemon.open.is_empty(), "step {step}");
        assert!(session.open(&mut daemon, PATH).is_ok(), "the session goes on");
    }
}

#[test]
fn lost_forget_does_not_fail_an_open_but_a_close() {
    let (mut daemon, mut session) = connected();
    daemon.lost = Some(3);
    let file = session.open(&mut daemon, PATH).unwrap();
    assert_eq!(daemon.held, [(2, 1), (4, 1)].into());
    daemon.lost = Some(daemon.requests.len() + 1);
    let error = session.close(&mut daemon, file).unwrap_err();
    let lost = Cause::Io(IoErrorKind::Timeout);
    assert_eq!(error, Error::new(Operation::Forget, lost));
}

#[test]
fn failed_release_still_forgets() {
    let (mut daemon, mut session) = connected();
    let file = session.open(&mut daemon, PATH).unwrap();
    daemon.lost = Some(daemon.requests.len());
    let error = session.close(&mut daemon, file).unwrap_err();
    assert_eq!(error.operation, Operation::Release);
    assert!(daemon.held.is_empty());
}

#[test]
fn paths_that_are_no_list_of_names_are_refused_unsent() {
    let long = [b"dir/".as_slice(), &[b'n'; 256]].concat();
    let deep = vec![b"d".as_slice(); COMPONENTS_MAX + 1].join(&b'/');
    let cases: [(&[u8], usize, PathFault); 13] = [
        (b"", 1, PathFault::Empty),
        (b"/", 1, PathFault::Empty),
        (b"/top", 1, PathFault::Empty),
        (b"dir/", 2, PathFault::Empty),
        (b"dir//sub", 2, PathFault::Empty),
        (b".", 1, PathFault::Dots),
        (b"..", 1, PathFault::Dots),
        (b"dir/./sub", 2, PathFault::Dots),
        (b"dir/sub/..", 3, PathFault::Dots),
        (b"top\0", 1, PathFault::Nul),
        (b"dir/s\0b", 2, PathFault::Nul),
        (&long, 2, PathFault::Long(256)),
        (&deep, 33, PathFault::Deep),
    ];
    for (path, component, fault) in cases {
        let (daemon, error) = refused(path);
        let operation = Operation::Lookup(component);
        assert_eq!(error, Error::new(operation, Cause::Path(fault)));
        assert_eq!(DiscoverError::from(error), DiscoverError::Path(fault));
        assert_eq!(daemon.opcodes(), [INIT]);
    }
}

#[test]
fn longest_name_deepest_path_and_dotted_names_are_sent() {
    let (daemon, error) = refused(&[b'n'; 255]);
    assert_eq!(error, Error::new(Operation::Lookup(1), Cause::Errno(2)));
    assert_eq!(daemon.requests[1].len(), 40 + 255 + 1);
    assert_eq!(daemon.requests[1][40..], [[b'n'; 255].as_slice(), b"\0"].concat());
    refused(b"...");
    refused(b".hidden");

    let (mut daemon, mut session) = connected();
    for nodeid in 7..7 + 31 {
        let parent = if nodeid == 7 { 1 } else { nodeid };
        let name = b"d".to_vec();
        daemon.nodes.push(crate::daemon::Node { parent, name, ..daemon.nodes[0].clone() });
    }
    let parent = daemon.nodes.len() as u64;
    daemon.nodes.push(crate::daemon::Node { parent, ..daemon.nodes[4].clone() });
    let path = format!("{}top", "d/".repeat(31));
    let file = session.open(&mut daemon, path.as_bytes()).unwrap();
    assert_eq!(daemon.held, [(file.nodeid, 1)].into());
}

#[test]
fn only_directories_lead_on_and_only_regular_files_open() {
    for (path, operation, mode) in [
        (b"top/x".as_slice(), Operation::Lookup(1), 0o100_644),
        (b"dir/sub", Operation::Lookup(2), 0o040_755),
        (b"pipe", Operation::Lookup(1), 0o010_644),
    ] {
        let (daemon, error) = refused(path);
        assert_eq!(error, Error::new(operation, Cause::Type(mode)));
        assert_eq!(DiscoverError::from(error), DiscoverError::Type(mode));
        assert!(!daemon.opcodes().contains(&OPEN), "OPEN of a pipe may never come back");
    }
}

#[test]
fn negative_entry_is_no_such_file_and_is_not_forgotten() {
    let (mut daemon, mut session) = connected();
    daemon.nodes.clear();
    daemon.lie = Some(Box::new(|opcode, reply| {
        assert_eq!(opcode, LOOKUP);
        reply.resize(16 + 128, 0);
        reply[..8].copy_from_slice(&144u64.to_le_bytes());
    }));
    let error = session.open(&mut daemon, b"gone").unwrap_err();
    assert_eq!(error, Error::new(Operation::Lookup(1), Cause::Errno(2)));
    assert_eq!(daemon.opcodes(), [INIT, LOOKUP]);
    assert_eq!(DiscoverError::from(error), DiscoverError::Share(2));
}

#[test]
fn root_as_a_child_is_refused_and_never_forgotten() {
    let (mut daemon, mut session) = connected();
    daemon.lie = Some(Box::new(|_, reply| reply[16..24].copy_from_slice(&1u64.to_le_bytes())));
    let error = session.open(&mut daemon, b"dir/sub").unwrap_err();
    let what = "the node's number";
    let cause = Cause::Malformed { what, got: 1, want: Want::AtLeast(2) };
    assert_eq!(error, Error::new(Operation::Lookup(1), cause));
    assert_eq!(daemon.opcodes(), [INIT, LOOKUP]);
}

#[test]
fn size_beyond_a_signed_offset_is_refused() {
    let (mut daemon, mut session) = connected();
    daemon.nodes[4].size = 1 << 63;
    let error = session.open(&mut daemon, b"top").unwrap_err();
    let want = Want::AtMost((1 << 63) - 1);
    let cause = Cause::Malformed { what: "the file's size", got: 1 << 63, want };
    assert_eq!(error, Error::new(Operation::Lookup(1), cause));
    assert!(daemon.held.is_empty());
    daemon.nodes[4].size -= 1;
    assert_eq!(session.open(&mut daemon, b"top").unwrap().size, u64::MAX >> 1);
}

#[test]
fn version_follows_inode_times_and_size_and_nothing_else() {
    let version = |change: fn(&mut crate::daemon::Node)| {
        let (mut daemon, mut session) = connected();
        change(&mut daemon.nodes[4]);
        session.open(&mut daemon, b"top").unwrap().version
    };
    let same = version(|_| ());
    assert_eq!(version(|node| node.atime = 99), same);
    assert_eq!(version(|node| node.mode = 0o100_600), same);
    assert_ne!(version(|node| node.ino += 1), same);
    assert_ne!(version(|node| node.mtime += 1), same);
    assert_ne!(version(|node| node.mtime_nsec += 1), same);
    // What sets mtime back does not set these back.
    assert_ne!(version(|node| node.ctime += 1), same);
    assert_ne!(version(|node| node.ctime_nsec += 1), same);
    assert_ne!(version(|node| node.size += 1), same);
}

#[test]
fn daemon_and_host_give_one_file_one_version() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"content").unwrap();
    let stat = file.path().metadata().unwrap();
    let (mut daemon, mut session) = connected();
    let node = &mut daemon.nodes[4];
    (node.ino, node.size) = (stat.ino(), stat.len());
    (node.mtime, node.mtime_nsec) = (stat.mtime() as u64, stat.mtime_nsec() as u32);
    (node.ctime, node.ctime_nsec) = (stat.ctime() as u64, stat.ctime_nsec() as u32);
    let by_daemon = session.open(&mut daemon, b"top").unwrap().version;

    let mut storage = FileStorage::new();
    storage.add_share("share", file.path().parent().unwrap()).unwrap();
    let name = file.path().file_name().unwrap().to_str().unwrap();
    let shared = storage.share_file(None, name).unwrap();
    let disk = storage.add_disk("disk", file.path(), true).unwrap();
    let versions = [shared, disk].map(|device| storage.info(device).unwrap().version);
    assert_eq!(versions, [Version::File(by_daemon); 2]);
}

#[test]
fn init_agrees_on_pages_with_daemons_of_every_age() {
    let max_pages = 1 << 22;
    for (minor, flags, pages, bytes) in [
        (38, max_pages, 256, 1 << 20),
        (36, max_pages, 256, 1 << 20),
        (41, max_pages, 256, 1 << 20),
        (38, max_pages, 0, 4096),
        (38, max_pages, 1, 4096),
        (38, max_pages, u16::MAX, READ_BYTES_MAX),
        (38, 0, 256, 32 * 4096),
        (23, 0, 0, 32 * 4096),
        (27, max_pages, 256, 32 * 4096), // before MAX_PAGES
        (22, max_pages, 0, 32 * 4096),
        (5, 0, 0, 32 * 4096),
        (4, 0, 0, 32 * 4096),
    ] {
        let mut daemon = Daemon { minor, flags, max_pages: pages, ..Daemon::new() };
        let mut session = Session::connect(&mut daemon).unwrap();
        assert_eq!(session.read_bytes_max(), bytes, "7.{minor}, {pages} pages");
        let file = session.open(&mut daemon, PATH).unwrap();
        assert_eq!(file.size, 123_456, "7.{minor}");
        session.close(&mut daemon, file).unwrap();
    }
}

#[test]
fn another_major_version_is_refused_by_number() {
    for major in [0, 6, 8] {
        let mut daemon = Daemon { major, minor: 12, ..Daemon::new() };
        let error = Session::connect(&mut daemon).unwrap_err();
        let cause = Cause::Version { major, minor: 12 };
        assert_eq!(error, Error::new(Operation::Init, cause));
        let text = format!("FUSE INIT: the daemon speaks FUSE {major}.12, only 7.x is supported");
        assert_eq!(format!("{error:#}"), text);
    }
}

#[test]
fn forget_names_node_and_count() {
    let (daemon, _) = refused(b"dir/none");
    let forget = daemon.requests.last().unwrap();
    assert_eq!((u64_at(forget, 16), u64_at(forget, 40)), (2, 1));
}

#[test]
fn errors_read_well() {
    for (path, text) in [
        (
            b"dir/none".as_slice(),
            "FUSE LOOKUP of path component 2: no such file or directory (errno 2)",
        ),
        (b"dir//x", "FUSE LOOKUP of path component 2: the name is empty"),
        (
            b"pipe",
            "FUSE LOOKUP of path component 1: it is a pipe; wanted is a regular file, or a directory \
             on the way to one (mode 0o10644)",
        ),
    ] {
        assert_eq!(format!("{:#}", refused(path).1), text);
    }
}
