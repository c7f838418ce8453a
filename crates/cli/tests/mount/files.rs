//! Single files and directories of a mount.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rootlet_sim::image::{Content, FileLayout, Holes, Options, Tree};
use rustix::fs::{
    RawDir, SeekFrom as Whence, getxattr, getxattr_query, listxattr, listxattr_query,
};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::mounted::{Files, Mount, PATIENCE, is_able, say};

#[test]
fn sizes_of_xattrs_are_told_before_their_bytes() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    let meta = tree.file("/file", Content::bytes(*b"file"));
    meta.xattrs.push(("user.long".into(), vec![7; 65_000]));
    meta.xattrs.push(("trusted.one".into(), b"1".to_vec()));
    let mount = Mount::new(&Files::of(&tree, &Options::default()));
    let file = mount.at("file");
    let value = |name: &str, room: usize| {
        let mut value = vec![0; room];
        getxattr(&file, name, &mut value[..])
    };
    assert_eq!(getxattr_query(&file, "user.long"), Ok(65_000));
    assert_eq!(value("user.long", 64_999), Err(Errno::RANGE));
    assert_eq!(value("user.long", 65_536), Ok(65_000));
    assert_eq!(value("trusted.one", 10), Ok(1));
    assert_eq!(value("user.none", 10), Err(Errno::NODATA));
    let names = b"user.long\0trusted.one\0".len();
    assert_eq!(listxattr_query(&file), Ok(names));
    assert_eq!(listxattr(&file, &mut vec![0; names - 1][..]), Err(Errno::RANGE));
    assert_eq!(listxattr(&file, &mut vec![0; names][..]), Ok(names));
    mount.end();
}

#[test]
fn directory_is_listed_again_from_any_entry() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    for number in 0..3000 {
        tree.file(format!("/dir/{number:04}-{}", "n".repeat(40)), Content::bytes(*b""));
    }
    let mount = Mount::new(&Files::of(&tree, &Options::default()));
    let dir = File::open(mount.at("dir")).unwrap();
    let list = |from: u64| {
        rustix::fs::seek(&dir, Whence::Start(from)).unwrap();
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = Vec::new();
        let mut raw = RawDir::new(&dir, buffer.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = entry.unwrap();
            entries.push((entry.file_name().to_owned(), entry.next_entry_cookie()));
        }
        entries
    };
    let all = list(0);
    assert_eq!(all.len(), 3002);
    assert_eq!((all[0].0.as_c_str(), all[1].0.as_c_str()), (c".", c".."));
    for number in [0, 1, 2, 50, 1000, 3000, 3001] {
        assert_eq!(list(all[number].1), all[number + 1..], "after entry {number}");
    }
    drop(dir);
    mount.end();
}

#[test]
fn holes_of_a_file_are_found() {
    if !is_able() {
        return;
    }
    let (chunk, mut content) = (4096, Content::hole(100 * 4096 + 5));
    content.put(10 * chunk, vec![1; 4096]);
    content.put(50 * chunk, vec![2; 4096]);
    let mut tree = Tree::new();
    tree.file("/sparse", content);
    tree.file("/full", Content::seeded(1, 5000));
    let options = Options {
        layout: FileLayout::ChunkIndexes,
        chunk_bits: 12,
        holes: Holes::Sparse,
        blobs: 1,
        ..Options::default()
    };
    let mount = Mount::new(&Files::of(&tree, &options));
    let sparse = File::open(mount.at("sparse")).unwrap();
    let seek = |whence| rustix::fs::seek(&sparse, whence);
    assert_eq!(seek(Whence::Data(0)), Ok(10 * chunk));
    assert_eq!(seek(Whence::Data(10 * chunk + 7)), Ok(10 * chunk + 7));
    assert_eq!(seek(Whence::Hole(10 * chunk + 7)), Ok(11 * chunk));
    assert_eq!(seek(Whence::Data(11 * chunk)), Ok(50 * chunk));
    assert_eq!(seek(Whence::Hole(0)), Ok(0));
    assert_eq!(seek(Whence::Data(51 * chunk)), Err(Errno::NXIO));
    assert_eq!(seek(Whence::Data(100 * chunk + 5)), Err(Errno::NXIO));
    let full = File::open(mount.at("full")).unwrap();
    assert_eq!(rustix::fs::seek(&full, Whence::Hole(0)), Ok(5000));
    drop((sparse, full));
    mount.end();
}

#[test]
fn end_of_a_file_is_where_its_size_says() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(3, 10_001));
    let want = tree.content("/file").unwrap().to_vec();
    let mount = Mount::new(&Files::of(&tree, &Options::default()));
    let mut file = File::open(mount.at("file")).unwrap();
    let mut out = [0; 100];
    assert_eq!(file.read_at(&mut out, 9_990).unwrap(), 11);
    assert_eq!(out[..11], want[9_990..]);
    assert_eq!(file.read_at(&mut out, 10_001).unwrap(), 0);
    file.seek(SeekFrom::End(-1)).unwrap();
    assert_eq!(file.read(&mut out).unwrap(), 1);
    drop(file);
    mount.end();
}

#[test]
fn nothing_can_be_written() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/dir/file", Content::bytes(*b"file"));
    let mount = Mount::new(&Files::of(&tree, &Options::default()));
    let read_only = |result: std::io::Result<()>| {
        let errno = result.unwrap_err().raw_os_error();
        assert_eq!(errno, Some(Errno::ROFS.raw_os_error()));
    };
    read_only(fs::write(mount.at("new"), b""));
    read_only(fs::write(mount.at("dir/file"), b""));
    read_only(fs::remove_file(mount.at("dir/file")));
    read_only(fs::create_dir(mount.at("dir/sub")));
    read_only(fs::rename(mount.at("dir"), mount.at("other")));
    mount.end();
}

#[test]
fn others_are_let_in_when_told_and_modes_hold() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/open", Content::bytes(*b"open"));
    let meta = tree.file("/closed", Content::bytes(*b"closed"));
    meta.mode = 0o600;
    let files = Files::of(&tree, &Options::default());
    let reads = |mount: &Mount, name: &str| {
        let mut cat = Command::new("cat");
        cat.arg(mount.at(name)).uid(65_534).gid(65_534);
        cat.output().unwrap().status.success()
    };
    let alone = Mount::new(&files);
    let with_others = Mount::with(&files, &["--allow-other"]);
    if !reads_at_all(&with_others) {
        say(&format!("skipped: others do not come to {}", alone.dir().display()));
        return;
    }
    assert!(!reads(&alone, "open"));
    assert!(reads(&with_others, "open"));
    assert!(!reads(&with_others, "closed"));
    alone.end();
    with_others.end();
}

/// Whether another user comes as far as the folder of the mount.
fn reads_at_all(mount: &Mount) -> bool {
    let parent = mount.dir().parent().unwrap();
    parent.ancestors().all(|dir| fs::metadata(dir).unwrap().mode() & 0o001 != 0)
}

/// What was said once the kernel keeps: the program is stopped meanwhile.
#[test]
fn kernel_asks_nothing_twice() {
    if !is_able() {
        return;
    }
    let mut tree = Tree::new();
    tree.file("/dir/file", Content::seeded(5, 300_000));
    tree.symlink("/dir/link", "file");
    let want = tree.content("/dir/file").unwrap().to_vec();
    let mount = Mount::new(&Files::of(&tree, &Options::default()));
    let file = File::open(mount.at("dir/file")).unwrap();
    let (dir, at) = (mount.at("dir"), mount.at(""));
    let look = move || {
        let mut names: Vec<_> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "link"]);
        assert_eq!(fs::symlink_metadata(dir.join("file")).unwrap().len(), 300_000);
        assert_eq!(fs::read_link(dir.join("link")).unwrap(), Path::new("file"));
        assert!(!at.join("absent").exists());
        let mut bytes = vec![0; 300_000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == want);
    };
    look();
    mount.signal(Signal::STOP);
    // On a thread of its own: what the kernel does not keep it waits for, and cannot be told not to.
    let (sender, looked) = mpsc::channel();
    let looking = thread::spawn(move || {
        look();
        let _ = sender.send(());
    });
    let in_time = looked.recv_timeout(PATIENCE);
    mount.signal(Signal::CONT);
    assert_eq!(in_time, Ok(()), "the kernel asked again");
    looking.join().unwrap();
    mount.end();
}
