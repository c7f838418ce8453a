//! File storage against real files.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use rootlet::storage::file::FileStorage;
use rootlet::storage::{
    Buffer, DeviceId, Discover, DiscoverError, IoErrorKind, Job, JobKind, LinkFault, PathFault,
    Storage, Transfer, Version,
};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rootlet-file-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run_one(storage: &mut FileStorage, transfer: Transfer<'_>) -> Result<(), IoErrorKind> {
    let mut batch = [transfer];
    let mut ended = 0;
    storage.run(&mut batch, &mut |_, _| ended += 1);
    assert_eq!(ended, 1);
    batch[0].result.unwrap()
}

#[test]
fn disk_of_odd_length_is_padded_with_zeros() {
    let scratch = Scratch::new("odd");
    let path = scratch.0.join("disk");
    fs::write(&path, vec![7; 1000]).unwrap();
    let mut storage = FileStorage::new();
    let disk = storage.add_disk("odd", &path, true).unwrap();
    let info = storage.info(disk).unwrap();
    assert_eq!((info.bytes, info.sector_bytes, info.read_only), (1024, 512, true));
    let mut out = [1; 1024];
    run_one(&mut storage, Transfer::read(disk, 0, &mut out)).unwrap();
    assert_eq!((&out[..1000], &out[1000..]), (&[7; 1000][..], &[0; 24][..]));
    let write = run_one(&mut storage, Transfer::write(disk, 0, &[0; 512]));
    assert_eq!(write, Err(IoErrorKind::ReadOnly));
}

#[test]
fn written_bytes_are_in_the_file_and_read_back() {
    let scratch = Scratch::new("write");
    let path = scratch.0.join("disk");
    fs::write(&path, vec![0; 4096]).unwrap();
    let mut storage = FileStorage::new();
    let disk = storage.add_disk("rw", &path, false).unwrap();
    run_one(&mut storage, Transfer::write(disk, 512, &[5; 1024])).unwrap();
    run_one(&mut storage, Transfer::flush(disk)).unwrap();
    assert_eq!(fs::read(&path).unwrap()[512..1536], [5; 1024]);
    let mut job = Job {
        tag: 9.into(),
        device: disk,
        at: 512,
        kind: JobKind::Read,
        buffer: Some(Buffer::new(512)),
    };
    storage.start(job).unwrap();
    let (back, result) = storage.poll().unwrap();
    assert_eq!((back.tag, result), (9.into(), Ok(())));
    assert_eq!(back.buffer.as_deref().unwrap(), &[5; 512]);
    job = Job { kind: JobKind::Read, ..back };
    let shared = job.buffer.clone();
    storage.start(job).unwrap();
    assert_eq!(storage.poll().unwrap().1, Err(IoErrorKind::Protocol), "a shared buffer");
    drop(shared);
}

#[test]
fn ranges_that_do_not_fit_are_refused_by_kind() {
    let scratch = Scratch::new("range");
    let path = scratch.0.join("disk");
    fs::write(&path, vec![0; 4096]).unwrap();
    let mut storage = FileStorage::new();
    let disk = storage.add_disk("x", &path, false).unwrap();
    let mut out = [0; 1024];
    let mut read = |at| run_one(&mut storage, Transfer::read(disk, at, &mut out));
    assert_eq!(read(100), Err(IoErrorKind::Unaligned));
    assert_eq!(read(3584), Err(IoErrorKind::OutOfRange));
    assert_eq!(read(u64::MAX - 511), Err(IoErrorKind::OutOfRange));
    let read = run_one(&mut storage, Transfer::read(DeviceId(7), 0, &mut out));
    assert_eq!(read, Err(IoErrorKind::Gone));
}

#[test]
fn file_truncated_under_us_is_a_short_read() {
    let scratch = Scratch::new("short");
    let path = scratch.0.join("f");
    fs::write(&path, vec![1; 4096]).unwrap();
    let mut storage = FileStorage::new();
    storage.add_share("t", &scratch.0).unwrap();
    let file = storage.share_file(None, "f").unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let mut out = [0; 4096];
    let read = run_one(&mut storage, Transfer::read(file, 0, &mut out));
    assert_eq!(read, Err(IoErrorKind::Short(1000)));
}

#[test]
fn share_names_do_not_leave_the_share() {
    let scratch = Scratch::new("share");
    let dir = scratch.0.join("share");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/in"), b"abc").unwrap();
    fs::write(scratch.0.join("secret"), b"x").unwrap();
    symlink("../secret", dir.join("out")).unwrap();
    symlink("sub/in", dir.join("within")).unwrap();
    let mut storage = FileStorage::new();
    storage.add_share("tag", &dir).unwrap();
    for (name, fault) in [
        ("../secret", PathFault::Dots),
        ("/etc/hostname", PathFault::Empty),
        ("sub/../../secret", PathFault::Dots),
        ("", PathFault::Empty),
        (".", PathFault::Dots),
        ("./within", PathFault::Dots),
    ] {
        let got = storage.share_file(Some("tag"), name);
        assert_eq!(got, Err(DiscoverError::Path(fault)), "{name}");
    }
    let leaves = Err(DiscoverError::Link(LinkFault::Leaves));
    assert_eq!(storage.share_file(Some("tag"), "out"), leaves);
    assert_eq!(storage.share_file(Some("tag"), "none"), Err(DiscoverError::Share(2)));
    assert_eq!(storage.share_file(Some("other"), "sub/in"), Err(DiscoverError::NotFound));
    let mode = fs::metadata(dir.join("sub")).unwrap().mode();
    assert_eq!(storage.share_file(None, "sub"), Err(DiscoverError::Type(mode)), "a directory");
    let file = storage.share_file(None, "sub/in").unwrap();
    assert_eq!(storage.share_file(Some("tag"), "within"), Ok(file), "one device for one file");
    let info = storage.info(file).unwrap();
    assert_eq!((info.bytes, info.sector_bytes, info.read_only), (3, 1, true));
}

#[test]
fn version_follows_the_content() {
    let scratch = Scratch::new("version");
    let version = || {
        let mut storage = FileStorage::new();
        storage.add_share("t", &scratch.0).unwrap();
        let file = storage.share_file(None, "f").unwrap();
        storage.info(file).unwrap().version
    };
    fs::write(scratch.0.join("f"), b"one").unwrap();
    let first = version();
    assert_eq!(version(), first);
    fs::write(scratch.0.join("f"), b"three").unwrap();
    assert_ne!(version(), first);
}

#[test]
fn content_changed_in_place_is_another_version_whatever_mtime_says() {
    let scratch = Scratch::new("ctime");
    let path = scratch.0.join("f");
    fs::write(&path, b"one").unwrap();
    let mut storage = FileStorage::new();
    storage.add_share("t", &scratch.0).unwrap();
    let old = storage.share_file(None, "f").unwrap();
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    // The host's clock ticks.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&path, b"two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), mtime);

    let new = storage.share_file(None, "f").unwrap();
    assert_ne!(new, old, "what was opened before keeps the version that it was opened with");
    let version = |device| storage.info(device).unwrap().version;
    assert_ne!(version(new), version(old));
    assert_eq!(storage.share_file(Some("t"), "f"), Ok(new));
}

#[test]
fn disk_of_a_file_has_the_files_version_until_another_is_said() {
    let scratch = Scratch::new("told");
    let path = scratch.0.join("f");
    fs::write(&path, vec![1; 512]).unwrap();
    let mut storage = FileStorage::new();
    let disk = storage.add_disk("disk", &path, true).unwrap();
    storage.add_share("t", &scratch.0).unwrap();
    let file = storage.share_file(None, "f").unwrap();
    assert!(matches!(storage.info(disk).unwrap().version, Version::File(_)));
    assert_eq!(storage.info(disk).unwrap().version, storage.info(file).unwrap().version);
    storage.set_version(disk, Version::Said(7));
    assert_eq!(storage.info(disk).unwrap().version, Version::Said(7));
}

/// As an image and a region in one file are.
#[test]
fn file_that_is_written_keeps_its_version_and_another_file_has_its_own() {
    let scratch = Scratch::new("written");
    let path = scratch.0.join("f");
    fs::write(&path, vec![1; 4096]).unwrap();
    fs::hard_link(&path, scratch.0.join("linked")).unwrap();
    let open = |written_first: bool| {
        let mut storage = FileStorage::new();
        let mut add = |serial, read_only| storage.add_disk(serial, &path, read_only).unwrap();
        let disks = match written_first {
            true => [add("region", false), add("image", true)],
            false => [add("image", true), add("region", false)],
        };
        storage.add_share("t", &scratch.0).unwrap();
        let file = storage.share_file(None, "linked").unwrap();
        let versions = [disks[0], disks[1], file].map(|of| storage.info(of).unwrap().version);
        assert_eq!(versions, [versions[0]; 3]);
        assert!(matches!(versions[0], Version::File(_)));
        (storage, versions[0])
    };
    let (mut storage, first) = open(false);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let region = storage.disk("region").unwrap();
    run_one(&mut storage, Transfer::write(region, 512, &[5; 512])).unwrap();
    assert_eq!(open(true).1, first);
    fs::write(scratch.0.join("new"), vec![1; 4096]).unwrap();
    fs::rename(scratch.0.join("new"), &path).unwrap();
    fs::remove_file(scratch.0.join("linked")).unwrap();
    fs::hard_link(&path, scratch.0.join("linked")).unwrap();
    assert_ne!(open(false).1, first);
}

#[test]
fn file_of_one_name_on_two_shares_is_refused_and_one_file_under_two_names_is_one() {
    let scratch = Scratch::new("two");
    let (a, b) = (scratch.0.join("a"), scratch.0.join("b"));
    for dir in [&a, &b] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("f"), dir.to_str().unwrap()).unwrap();
    }
    fs::write(b.join("own"), b"b").unwrap();
    fs::hard_link(a.join("f"), a.join("linked")).unwrap();
    symlink("f", a.join("symlinked")).unwrap();
    for dirs in [[&a, &b], [&b, &a]] {
        let mut storage = FileStorage::new();
        storage.add_share("one", dirs[0]).unwrap();
        storage.add_share("two", dirs[1]).unwrap();
        assert_eq!(storage.share_file(None, "f"), Err(DiscoverError::Files(2)));
        assert!(storage.share_file(None, "own").is_ok());
        let f = storage.share_file(Some(if dirs[0] == &a { "one" } else { "two" }), "f");
        assert_eq!(storage.share_file(None, "linked"), f);
        assert_eq!(storage.share_file(None, "symlinked"), f);

        let mut storage = FileStorage::new();
        storage.add_share("tag", dirs[0]).unwrap();
        storage.add_share("tag", dirs[1]).unwrap();
        assert_eq!(storage.share_file(Some("tag"), "own"), Err(DiscoverError::MountTags(2)));
    }
}

#[test]
fn disks_are_found_by_the_first_twenty_bytes_of_their_serial() {
    let scratch = Scratch::new("serial");
    let path = scratch.0.join("disk");
    fs::write(&path, vec![0; 512]).unwrap();
    let mut storage = FileStorage::new();
    let one = storage.add_disk("twenty-bytes-exactly", &path, true).unwrap();
    assert_eq!(storage.disk("twenty-bytes-exactly-and-more"), Ok(one));
    assert_eq!(storage.disk("twenty"), Err(DiscoverError::NotFound));
    storage.add_disk("twenty-bytes-exactly!", &path, true).unwrap();
    assert_eq!(storage.disk("twenty-bytes-exactly"), Err(DiscoverError::Ambiguous(2)));
    let mut names = Vec::new();
    storage.disks(&mut |name, _| names.push(name.to_owned()));
    assert_eq!(names, ["twenty-bytes-exactly", "twenty-bytes-exactly!"]);
}
