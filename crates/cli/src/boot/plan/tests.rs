//! Plans by their command lines.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::*;
use crate::boot::BootArgs;
use clap::Parser;
use rootlet::storage::Version;
use rootlet_guest::config::SourceWord;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    boot: BootArgs,
}

fn planned(line: &str) -> Result<Plan> {
    let words = std::iter::once("rootlet").chain(line.split_whitespace());
    let Line { boot: args } = Line::try_parse_from(words).unwrap();
    let mut plan = plan(args.image.as_deref(), &args.source, &args.words)?;
    plan.equip(&args.machine)?;
    Ok(plan)
}

#[test]
fn devices_and_the_guest_line_name_each_other() {
    let plan = planned(
        "--image i.erofs --blob 1=a --blob 3=share:c.blob --share d --region r@8+64 -- sum /x",
    )
    .unwrap();
    let disks: Vec<_> =
        plan.disks.iter().map(|disk| (disk.serial.as_str(), disk.read_only)).collect();
    assert_eq!(disks, [("image", true), ("blob1", true), ("cache", false)]);
    assert_eq!(plan.shares, [("share".to_string(), PathBuf::from("d"))]);
    assert_eq!(
        plan.append(),
        "image=image blob1=blob1 blob3=share:c.blob cache=cache@8+64 \
         share=share -- sum /x"
    );
}

#[test]
fn disk_that_the_monitor_names_is_named_so_to_the_guest() {
    let plan = planned("--image i --blob 2=b --region r@8+64 --guest-option image=x").unwrap();
    let names = [("image", "650240111"), ("cache", "650240113")];
    let names = names.map(|(serial, name)| (serial.to_string(), name.to_string())).into();
    assert_eq!(
        plan.append_with(&names),
        "image=650240111 blob2=blob2 cache=650240113@8+64 image=x -- ls /"
    );
}

#[test]
fn one_file_is_one_disk() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["i", "a"] {
        fs::write(dir.path().join(file), [0; 512]).unwrap();
    }
    std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("hard")).unwrap();
    let open = fs::File::open(dir.path().join("hard")).unwrap();
    let plan = planned(&format!(
        "--image {0}/i --blob 1={0}/a --blob 2={0}/./link --blob 3={0}/i --blob 4={0}/hard \
         --blob 5=/proc/self/fd/{1}",
        dir.path().display(),
        open.as_raw_fd()
    ))
    .unwrap();
    let serials: Vec<_> = plan.disks.iter().map(|disk| disk.serial.as_str()).collect();
    assert_eq!(serials, ["image", "blob1"]);
    let line = "image=image blob1=blob1 blob2=blob1 blob3=image blob4=blob1 blob5=blob1 -- ls /";
    assert_eq!(plan.append(), line);
    // A region may lie on another part of a disk.
    let line = format!("--image {0}/i --region {0}/i", dir.path().display());
    assert_eq!(planned(&format!("{line}@8+64")).unwrap().disks.len(), 2);
    fs::hard_link(dir.path().join("i"), dir.path().join("same")).unwrap();
    for region in ["i", "same"] {
        let line = format!("--image {0}/i --region {0}/{region}", dir.path().display());
        let error = planned(&line).unwrap_err().to_string();
        assert!(error.ends_with("is the disk `image` as well"), "{error}");
        let line =
            format!("--image x --blob 1=qcow2:{0}/i --region {0}/{region}", dir.path().display());
        let error = planned(&line).unwrap_err().to_string();
        assert!(error.ends_with("is the disk `blob1` as well"), "{error}");
    }
}

#[test]
fn guest_is_told_a_version_of_each_disk_that_changes_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for file in ["i", "a", "r", "more"] {
        fs::write(dir.join(file), [0; 512]).unwrap();
    }
    let line = format!(
        "--image {0}/i --blob 1={0}/a --region {0}/r --disk tag={0}/more,ro --guest-option {1}",
        dir.display(),
        "disk=blob1,version=mine"
    );
    let told = || {
        let mut plan = planned(&line).unwrap();
        plan.tell_versions();
        Config::parse(&plan.append()).unwrap().versions
    };
    let disk = |serial: &str| SourceName::Disk(serial.into());
    let first = told();
    let names: Vec<_> = first.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["blob1", "image", "tag"].map(disk));
    assert_eq!(told(), first);
    let stat = fs::metadata(dir.join("i")).unwrap();
    assert_eq!(first[1].1, Version::File(FileStamp::from(&stat).version()));
    // Another content of the same length, with the old mtime.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(dir.join("i"), [1; 512]).unwrap();
    let file = fs::File::options().write(true).open(dir.join("i")).unwrap();
    file.set_modified(stat.modified().unwrap()).unwrap();
    let second = told();
    assert_ne!(second[1], first[1]);
    assert_eq!((&second[0], &second[2]), (&first[0], &first[2]));
}

#[test]
fn version_of_a_file_that_holds_the_region_too_stays_when_the_region_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("i");
    fs::write(&file, [0; 64 << 10]).unwrap();
    let told = || {
        let mut plan = planned(&format!("--image {0} --region {0}@8+64", file.display())).unwrap();
        plan.tell_versions();
        Config::parse(&plan.append()).unwrap().versions
    };
    let first = told();
    let names: Vec<_> = first.iter().map(|(name, _)| SourceWord(name).to_string()).collect();
    assert_eq!(names, ["image", "cache"]);
    assert_eq!(first[0].1, first[1].1, "they are one source");
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::File::options().write(true).open(&file).unwrap().write_all_at(b"region", 4096).unwrap();
    assert_eq!(told(), first);
    // Another file of that name is another one.
    let new = dir.path().join("new");
    fs::write(&new, [0; 64 << 10]).unwrap();
    fs::rename(&new, &file).unwrap();
    assert_ne!(told(), first);
}

/// A guest that knows it formats no region over a blob.
#[test]
fn region_whose_file_a_share_may_have_is_told_with_the_version_that_the_share_tells() {
    let dir = tempfile::tempdir().unwrap();
    let (file, shared) = (dir.path().join("r"), dir.path().join("shared"));
    fs::write(&file, [0; 512]).unwrap();
    fs::create_dir(&shared).unwrap();
    fs::hard_link(&file, shared.join("blob")).unwrap();
    let line = format!("--image i --region {} --share {}", file.display(), shared.display());
    let mut plan = planned(&line).unwrap();
    plan.tell_versions();
    let told = Config::parse(&plan.append()).unwrap().versions;
    let stat = fs::metadata(shared.join("blob")).unwrap();
    let version = Version::File(FileStamp::from(&stat).version());
    assert_eq!(told, [(SourceName::Disk("cache".into()), version)]);
}

#[test]
fn one_server_is_one_disk_and_waits_less_than_the_deadline() {
    let plan = planned(
        "--image i --blob 1=nbd://h --blob 2=nbd://h:10809 --blob 3=nbd://h/e --disk x=rbd:p/i \
         --blob 4=http://h/x --plain-http --guest-option deadline=6",
    )
    .unwrap();
    assert_eq!(
        plan.append(),
        "image=image blob1=blob1 blob2=blob1 blob3=blob3 blob4=blob4 deadline=6 source-retry=3 -- ls /"
    );
    let waits = plan.disks.iter().filter_map(|disk| match &disk.source {
        Source::Node(node) => Some(node.wait_s),
        _ => None,
    });
    assert_eq!(waits.collect::<Vec<_>>(), [1, 1, 1]);
    let serials: Vec<_> = plan.disks.iter().map(|disk| disk.serial.as_str()).collect();
    assert_eq!(serials, ["image", "blob1", "blob3", "blob4", "x"]);
}

#[test]
fn overlay_takes_the_place_of_the_region() {
    let plan = planned("--image i --region r@8+64 --overlay o").unwrap();
    assert_eq!(plan.append(), "image=image cache=cache@8+64 -- ls /");
    let disk = &plan.disks[1];
    assert_eq!((disk.source.to_string().as_str(), disk.read_only), ("qcow2:o", false));
    assert!(plan.makes(disk));
}

#[test]
fn version_of_content_is_told_unless_the_user_tells_one() {
    for (more, version) in [("", "512-1"), ("--guest-option disk=blob1,version=mine", "mine")] {
        let mut plan = planned(&format!("--image i --blob 1=https://h/x {more}")).unwrap();
        plan.tell_version("blob1", "512-1");
        let told = plan.append().matches(",version=").count();
        assert!(told == 1 && plan.append().contains(&format!("disk=blob1,version={version}")));
    }
}

#[test]
fn without_a_command_the_root_is_listed() {
    assert!(planned("--image i").unwrap().append().ends_with(" -- ls /"));
}

#[test]
fn disks_take_their_extra_options_by_serial() {
    let plan = planned(
        "--region r --disk 0123abcd=x,ro --drive-opt cache=discard=unmap --blkdebug cache=conf",
    )
    .unwrap();
    assert_eq!(plan.disks[0].options.as_deref(), Some("discard=unmap"));
    assert_eq!(plan.disks[0].blkdebug, Some("conf".into()));
    assert!(plan.disks[1].read_only);
    assert_eq!(plan.disks[1].source.file(), Some(Path::new("x")));
}

#[test]
fn plans_that_cannot_work_are_refused_with_the_reason() {
    let eight = (1..9).map(|slot| format!("--blob {slot}=f ")).collect::<String>();
    for (line, part) in [
        ("--blob 1=a --blob 1=b", "given twice"),
        ("--blob 1=share:a", "needs a --share"),
        ("--drive-opt x=y", "no disk with the serial `x`"),
        ("--disk 012345678901234567890=f", "over 20 bytes"),
        ("--image i --disk image=f", "two disks"),
        ("--image i --overlay o", "--overlay needs a --region"),
        ("--monitor firecracker --image i --region r --overlay o", "qcow2:o is `cache`"),
        ("--image nbd://h:x", "no URL"),
        ("--image i --disk x=ftp://h/x", "unknown scheme `ftp`"),
        ("--image i --disk x=rbd:p/i,ro", "an image without @SNAPSHOT may change"),
        ("--image i --disk x=https://h/x", "a web server is only read (SERIAL=URL,ro)"),
        ("--image i --blob 1=http://h/x", "insist by --plain-http"),
        ("--image i --disk x=vhost-user:/s", "the disk has no serial of its own"),
        ("--image i --blob 1=nbd://h --blkdebug blob1=c", "blkdebug is for files"),
        ("--monitor firecracker --image i --blob 1=nbd://h", "nbd://h is `blob1`: take --monitor"),
        ("--monitor cloud-hypervisor --image i --blob 1=https://h/x", "files and block devices"),
        (&format!("--image i {eight}"), "9 devices"),
        ("--monitor firecracker --disk x=f", "--blob N=FILE"),
        ("--monitor firecracker --image i --share d", "give each blob as a disk"),
        ("--monitor firecracker --image i --mem 67109376", "whole MiB"),
        ("--monitor cloud-hypervisor --image i --mem 67109376", "whole pages"),
        ("--monitor cloud-hypervisor --image i --bus mmio", "it has pci"),
        ("--monitor cloud-hypervisor --image i --qemu-arg x", "--qemu-arg is for QEMU alone"),
        ("--monitor firecracker --region r --drive-opt cache=x", "--drive-opt is for QEMU"),
        ("--monitor firecracker --region r --blkdebug cache=x", "--blkdebug is for QEMU"),
    ] {
        let error = planned(line).unwrap_err();
        assert!(error.to_string().contains(part), "{line}: {error}");
        assert_eq!(crate::exit::status_of(&error), crate::exit::USAGE);
    }
}
