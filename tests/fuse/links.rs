//! Symbolic links on a share: followed within it, and refused for a reason that is said.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use rootlet::fuse::{Cause, Error, LINKS_MAX, Operation, Session};
use rootlet::storage::file::FileStorage;
use rootlet::storage::{Discover, DiscoverError, IoErrorKind, LinkFault, Storage};

use crate::daemon::{Daemon, FORGET, INIT, LOOKUP, OPEN, READLINK};

/// `dir`, `dir/sub`, `dir/sub/file` and `top` by their numbers.
const ROOT: u64 = 1;
const DIR: u64 = 2;
const SUB: u64 = 3;
const FILE: u64 = 4;
const TOP: u64 = 5;

fn daemon(links: &[(u64, &str, &str)]) -> Daemon {
    let mut daemon = Daemon::new();
    for (parent, name, target) in links {
        daemon.link(*parent, name, target.as_bytes());
    }
    daemon
}

/// Opens `path`, and gives back everything that was looked up but for what is open.
fn open(daemon: &mut Daemon, path: &str) -> Result<u64, Error> {
    let mut session = Session::connect(daemon).unwrap();
    let opened = session.open(daemon, path.as_bytes());
    let held = opened.as_ref().map_or([].into(), |file| [(file.nodeid, 1)].into());
    assert_eq!(daemon.held, held, "{path}");
    opened.map(|file| file.nodeid)
}

#[test]
fn links_lead_to_files_and_through_directories() {
    let mut daemon = daemon(&[
        (ROOT, "to-dir", "dir"),
        (ROOT, "to-file", "dir/sub/file"),
        (ROOT, "dotted", "./dir//sub/./file"),
        (SUB, "up", "../../top"),
        (SUB, "round", "../../to-dir/sub/../sub/file"),
        (DIR, "chain", "../link"),
        // The directory above `to-dir/sub` is `dir`, not the one that `to-dir` is in.
        (ROOT, "through", "to-dir/sub/../sub/up"),
    ]);
    for (path, nodeid) in [
        ("link", TOP),
        ("to-dir/sub/file", FILE),
        ("to-file", FILE),
        ("dotted", FILE),
        ("dir/sub/up", TOP),
        ("to-dir/sub/up", TOP),
        ("dir/sub/round", FILE),
        ("dir/chain", TOP),
        ("through", TOP),
    ] {
        daemon.held.clear();
        daemon.requests.clear();
        assert_eq!(open(&mut daemon, path), Ok(nodeid), "{path}");
    }
}

/// Whatever a name is, a directory of the host has the same file for it, or the same words.
#[test]
fn names_lead_to_the_same_on_a_share_and_in_the_directory_behind_it() {
    let far = &"n".repeat(256);
    let links = [
        (ROOT, "to-dir", "dir"),
        (ROOT, "dotted", "./dir//sub/./file"),
        (SUB, "up", "../../top"),
        (ROOT, "through", "to-dir/sub/../sub/up"),
        (ROOT, "absolute", "/top"),
        (ROOT, "above", "../top"),
        (ROOT, "hidden", "dir/../../top"),
        (ROOT, "gone", "none"),
        (ROOT, "round", "round"),
        (ROOT, "far", far),
        (ROOT, "root", "."),
        (ROOT, "through-file", "top/../dir/sub/file"),
    ];
    let parent = tempfile::tempdir().unwrap();
    let share = &parent.path().join("share");
    fs::create_dir_all(share.join("dir/sub")).unwrap();
    fs::write(share.join("dir/sub/file"), vec![0; 123_456]).unwrap();
    fs::write(share.join("top"), [0; 7]).unwrap();
    fs::write(parent.path().join("top"), b"not of the share").unwrap();
    assert!(Command::new("mkfifo").arg(share.join("pipe")).status().unwrap().success());
    symlink("top", share.join("link")).unwrap();
    for (parent, name, target) in links {
        let dir = if parent == SUB { share.join("dir/sub") } else { share.clone() };
        symlink(target, dir.join(name)).unwrap();
    }
    // One to a path of the host that lies in the share.
    symlink(share.join("top"), share.join("host")).unwrap();
    for (name, mode) in
        [("", 0o755), ("dir", 0o755), ("dir/sub", 0o755), ("dir/sub/file", 0o644), ("top", 0o644)]
            .into_iter()
            .chain([("pipe", 0o644)])
    {
        fs::set_permissions(share.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut storage = FileStorage::new();
    storage.add_share("t", share).unwrap();
    let deep = &"d/".repeat(40);
    let names = links.map(|(_, name, _)| name).into_iter().chain([
        "top",
        "link",
        "host",
        "dir/sub/file",
        "dir/sub/up",
        "to-dir/sub/file",
        "to-dir/sub/up",
        "./top",
        "dir/../top",
        "dir/./sub/file",
        "dir//sub/file",
        "/top",
        "../top",
        "top/",
        "",
        ".",
        "..",
        "none",
        "none/top",
        "top/x",
        "dir",
        "dir/sub",
        "pipe",
        "pipe/x",
        "root/top",
        deep,
        far,
        "to\0p",
    ]);
    for name in names {
        let mut daemon = daemon(&links);
        daemon.link(ROOT, "host", share.join("top").to_str().unwrap().as_bytes());
        let mut session = Session::connect(&mut daemon).unwrap();
        let guest = session.open(&mut daemon, name.as_bytes());
        let guest = guest.map(|file| file.size).map_err(DiscoverError::from);
        let host = storage.share_file(None, name);
        let host = host.map(|device| storage.info(device).unwrap().bytes);
        assert_eq!(host, guest, "{name}");
        let through_file = name == "through-file";
        assert!(!through_file || guest == Err(DiscoverError::Type(0o100_644)), "{guest:?}");
    }
}

#[test]
fn link_costs_one_message_more_than_its_lookup() {
    let mut daemon = daemon(&[]);
    open(&mut daemon, "link").unwrap();
    assert_eq!(daemon.opcodes(), [INIT, LOOKUP, READLINK, FORGET, LOOKUP, OPEN]);
}

#[test]
fn link_that_leads_out_of_the_share_is_refused_by_that_reason() {
    let mut daemon = daemon(&[
        (ROOT, "absolute", "/etc/passwd"),
        (ROOT, "above", "../secret"),
        (SUB, "above", "../../../secret"),
        (ROOT, "later", "dir/sub/above"),
        (ROOT, "hidden", "dir/../../secret"),
    ]);
    for path in ["absolute", "above", "dir/sub/above", "later", "hidden"] {
        daemon.requests.clear();
        let error = open(&mut daemon, path).unwrap_err();
        assert_eq!(error.cause, Cause::Link(LinkFault::Leaves), "{path}");
        assert_eq!(DiscoverError::from(error), DiscoverError::Link(LinkFault::Leaves));
        assert!(!daemon.opcodes().contains(&OPEN), "{path}");
    }
    assert_eq!(
        format!("{:#}", open(&mut self::daemon(&[(ROOT, "l", "..")]), "l").unwrap_err()),
        "FUSE READLINK of path component 1: a symbolic link leads out of the share"
    );
}

#[test]
fn links_that_lead_round_end_after_as_many_as_linux_follows() {
    let mut round = daemon(&[(ROOT, "a", "b"), (ROOT, "b", "a"), (ROOT, "grows", "dir/../grows")]);
    for path in ["a", "grows"] {
        round.requests.clear();
        let error = open(&mut round, path).unwrap_err();
        assert_eq!(error.cause, Cause::Link(LinkFault::Many), "{path}");
    }
    let names: Vec<String> = (0..=LINKS_MAX).map(|number| format!("l{number}")).collect();
    let mut chain = daemon(&[]);
    names.windows(2).for_each(|pair| chain.link(ROOT, &pair[0], pair[1].as_bytes()));
    chain.nodes.push(crate::daemon::Node {
        name: names[LINKS_MAX].as_bytes().to_vec(),
        ..chain.nodes[TOP as usize - 1].clone()
    });
    open(&mut chain, "l0").unwrap();
    chain.held.clear();
    chain.requests.clear();
    chain.link(ROOT, "one-more", b"l0");
    let error = open(&mut chain, "one-more").unwrap_err();
    assert_eq!(error.cause, Cause::Link(LinkFault::Many));
}

#[test]
fn link_to_a_directory_or_to_nothing_is_no_file() {
    let mut daemon = daemon(&[(ROOT, "dirs", "dir"), (DIR, "root", ".."), (ROOT, "gone", "none")]);
    let (directory, none) = (DiscoverError::Type(0o040_755), DiscoverError::Share(2));
    for (path, refusal) in [("dirs", directory), ("dir/root", directory), ("gone", none)] {
        daemon.requests.clear();
        let error = open(&mut daemon, path).unwrap_err();
        assert_eq!(DiscoverError::from(error), refusal, "{path}");
    }
}

#[test]
fn target_that_is_no_path_is_refused() {
    let mut daemon = daemon(&[(ROOT, "empty", "")]);
    daemon.link(ROOT, "zero", b"to\0p");
    daemon.link(ROOT, "long", &[b'n'; 256]);
    daemon.link(ROOT, "longest", &[b'n'; 4096]);
    daemon.link(ROOT, "too-long", &[b'n'; 4097]);
    for path in ["empty", "zero", "too-long"] {
        daemon.requests.clear();
        let error = open(&mut daemon, path).unwrap_err();
        assert_eq!(error.operation, Operation::Readlink(1), "{path}");
        assert!(matches!(error.cause, Cause::Malformed { .. }), "{path}: {error}");
        assert_eq!(DiscoverError::from(error), DiscoverError::Daemon(IoErrorKind::Protocol));
    }
    for path in ["long", "longest"] {
        daemon.requests.clear();
        let error = open(&mut daemon, path).unwrap_err();
        assert_eq!(error.cause, Cause::Link(LinkFault::Long), "{path}");
    }
}

#[test]
fn node_is_given_back_whichever_message_fails() {
    for lost in 1..6 {
        let mut daemon = daemon(&[]);
        let mut session = Session::connect(&mut daemon).unwrap();
        daemon.lost = Some(lost);
        let opened = session.open(&mut daemon, b"link");
        assert_eq!(opened.is_err(), lost != 3, "FORGET has no reply to wait for");
        // The link that was not forgotten, and the file that is open.
        let held: u64 = daemon.held.values().sum();
        assert_eq!(held, if lost == 3 { 2 } else { 0 }, "{lost}");
    }
}
