//! From the user's arguments to the devices and the command line of a guest.
//!
//! Always: planning changes nothing; no two devices share a name; a file with several names is one
//! device, and the guest learns all of these names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootlet::storage::FileStamp;
use rootlet_guest::config::{Config, Part, Sectors, SourceName};

use crate::boot::append;
use crate::boot::monitor::{Disk, MachineArgs, Room};
use crate::exit::usage;
use crate::size::{Size, human};
use crate::source::{BlobPlace, RegionPlace, SourceArgs, disk_file};

/// virtio 1.2 5.2.6: a disk's id string has 20 bytes.
const SERIAL_BYTES_MAX: usize = 20;
/// The serial of the disk with the image.
pub const SERIAL_OF_IMAGE: &str = "image";
const SERIAL_OF_CACHE: &str = "cache";
/// The size of a region's disk that has to be made.
const REGION_BYTES: Size = Size(64 << 20);

/// A word of the guest's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it is.
    Plain(String),
    /// A key whose value is a disk: `key`, `=`, the name that the monitor gives the disk with this
    /// serial, `rest`.
    Disk {
        /// What the disk is to the guest.
        key: String,
        /// The disk's serial.
        serial: String,
        /// What follows its name.
        rest: String,
    },
}

impl Word {
    fn disk(key: &str, serial: &str, rest: impl ToString) -> Self {
        Self::Disk { key: key.into(), serial: serial.into(), rest: rest.to_string() }
    }

    /// The word, where `names` has the names that differ from the serials.
    fn text(&self, names: &BTreeMap<String, String>) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Disk { key, serial, rest } => {
                let name = names.get(serial).unwrap_or(serial);
                format!("{key}={name}{rest}")
            }
        }
    }
}

/// What a guest is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The disks; files may be relative still.
    pub disks: Vec<Disk>,
    /// Mount tag and directory of each share.
    pub shares: Vec<(String, PathBuf)>,
    /// The region among the disks.
    pub region: Option<RegionPlace>,
    /// The options on the guest's command line.
    pub options: Vec<Word>,
    /// The guest's command.
    pub words: Vec<String>,
}

impl Plan {
    /// The guest's command line.
    pub fn append(&self) -> String {
        self.append_with(&BTreeMap::new())
    }

    /// The guest's command line. `names` has the name of each disk that does not go by its serial.
    pub fn append_with(&self, names: &BTreeMap<String, String>) -> String {
        let options: Vec<String> = self.options.iter().map(|word| word.text(names)).collect();
        append::line(&options, &self.words)
    }

    /// Has the guest's console framed, for the tool to take apart.
    pub fn frame_console(&mut self) {
        self.options.insert(0, Word::Plain("console=framed".into()));
    }

    /// Adds what only a machine can have: more disks, and options of QEMU's for them.
    pub fn equip(&mut self, machine: &MachineArgs) -> Result<()> {
        machine.check(self.shares.len())?;
        self.options.extend(machine.guest_option.iter().cloned().map(Word::Plain));
        let asks = |word: &String| word.split('=').next() == Some("timeline");
        if machine.timeline.is_some() && !machine.guest_option.iter().any(asks) {
            self.options.push(Word::Plain("timeline".into()));
        }
        self.disks.extend(machine.disk.iter().map(|disk| {
            let (file, read_only_disk) = match disk.value.strip_suffix(",ro") {
                Some(file) => (file, true),
                None => (disk.value.as_str(), false),
            };
            Disk { read_only: read_only_disk, ..read_only(&disk.serial, file.into()) }
        }));
        for option in &machine.drive_opt {
            self.disk(&option.serial)?.options = Some(option.value.clone());
        }
        for config in &machine.blkdebug {
            self.disk(&config.serial)?.blkdebug = Some(PathBuf::from(&config.value));
        }
        check(&self.disks, self.shares.len(), machine.monitor.room(machine.board(), machine.bus)?)
    }

    /// Tells the guest a version of each disk of which the user has said none, so that a region
    /// serves nothing of what the file held earlier, and that disks of one file are one source. A
    /// file that a guest writes has a version without times. One that is the region's alone has none,
    /// unless a share may have it as well: the version that the share's daemon tells has times. A
    /// block device has none: the times of its node say nothing of its content.
    pub fn tell_versions(&mut self) {
        // Else the guest refuses the line, and says why.
        let Ok(Config { versions: said, .. }) = Config::parse(&self.append()) else { return };
        let mut words = Vec::new();
        for disk in &self.disks {
            let name = SourceName::Disk(disk.serial.clone());
            let same = |other: &&Disk| is_one_file(&disk.file, &other.file);
            let only_region = self.is_region(disk) && self.disks.iter().filter(same).count() < 2;
            if only_region && self.shares.is_empty() {
                continue;
            }
            // A missing file is reported where the disk is opened.
            let Ok(stat) = fs::metadata(&disk.file) else { continue };
            if stat.is_file() && said.iter().all(|(of, _)| *of != name) {
                let written = self.disks.iter().filter(same).any(|disk| !disk.read_only);
                let stamp = match written && !only_region {
                    true => FileStamp::of_written(&stat),
                    false => FileStamp::from(&stat),
                };
                let version = format!(",file={:#x}", stamp.version());
                words.push(Word::disk("disk", &disk.serial, version));
            }
        }
        self.options.extend(words);
    }

    /// Makes the region's disk if there is none, and checks that the named part lies on it.
    pub fn make_region(&self, size: Option<Size>) -> Result<()> {
        let size = size.unwrap_or(REGION_BYTES);
        let Some(region) = &self.region else { return Ok(()) };
        let name = region.file.display();
        if !region.file.exists() {
            let file = File::create_new(&region.file).with_context(|| name.to_string())?;
            file.set_len(size.0).with_context(|| name.to_string())?;
            eprintln!("made a region disk of {}: {name}", human(size.0));
        }
        let bytes = fs::metadata(&region.file).with_context(|| name.to_string())?.len();
        if let Part::Sectors(Sectors { first: sector, count }) = region.part
            && sector.checked_add(count).is_none_or(|end| end > bytes / 512)
        {
            let sectors = bytes / 512;
            return Err(usage(format!(
                "{name} has {sectors} sectors, the region wants {count} from {sector} on"
            )));
        }
        Ok(())
    }

    /// Whether `disk` is the region's and is made where it is missing.
    pub fn makes(&self, disk: &Disk) -> bool {
        self.is_region(disk) && !disk.file.exists()
    }

    fn is_region(&self, disk: &Disk) -> bool {
        disk.serial == SERIAL_OF_CACHE && self.region.is_some()
    }

    fn disk(&mut self, serial: &str) -> Result<&mut Disk> {
        let disk = self.disks.iter_mut().find(|disk| disk.serial == serial);
        disk.ok_or_else(|| usage(format!("there is no disk with the serial `{serial}`")))
    }
}

/// Plans a guest with these sources. `words` are its command; without one it lists the root.
pub fn plan(image: Option<&Path>, source: &SourceArgs, words: &[String]) -> Result<Plan> {
    let mut options = Vec::new();
    let mut disks = Vec::new();
    if let Some(file) = image {
        options.push(Word::disk("image", SERIAL_OF_IMAGE, ""));
        disks.push(read_only(SERIAL_OF_IMAGE, file.into()));
    }
    let mut slots = BTreeSet::new();
    for blob in &source.blob {
        if !slots.insert(blob.slot) {
            return Err(usage(format!("--blob {} is given twice", blob.slot)));
        }
        match &blob.place {
            BlobPlace::File(file) => {
                let key = format!("blob{}", blob.slot);
                match disks.iter().find(|disk: &&Disk| is_one_file(&disk.file, file)) {
                    Some(disk) => options.push(Word::disk(&key, &disk.serial, "")),
                    None => {
                        options.push(Word::disk(&key, &key, ""));
                        disks.push(read_only(&key, file.clone()));
                    }
                }
            }
            BlobPlace::Share(_) if source.share.is_empty() => {
                return Err(usage(format!("--blob {}=share:... needs a --share", blob.slot)));
            }
            BlobPlace::Share(name) => {
                options.push(Word::Plain(format!("blob{}=share:{name}", blob.slot)));
            }
        }
    }
    if source.region.is_none() && source.region_size.is_some() {
        return Err(usage("--region-size needs a --region"));
    }
    if let Some(region) = &source.region {
        let is_source = |disk: &&Disk| is_one_file(&disk.file, &region.file);
        if let Some(disk) = disks.iter().find(is_source).filter(|_| region.part == Part::Whole) {
            let file = region.file.display();
            return Err(usage(format!("--region {file} is the disk `{}` as well", disk.serial)));
        }
        options.push(Word::disk("cache", SERIAL_OF_CACHE, &region.part));
        // A region that may not be written gives hits.
        let read_only_disk = disk_file::is_read_only(&region.file);
        let disk = read_only(SERIAL_OF_CACHE, region.file.clone());
        disks.push(Disk { read_only: read_only_disk, ..disk });
    }
    options.extend(source.domain.iter().map(|name| Word::Plain(format!("domain={name}"))));
    let shares: Vec<_> =
        source.share.iter().enumerate().map(|(at, dir)| (mount_tag(at), dir.clone())).collect();
    options.extend(shares.iter().map(|(tag, _)| Word::Plain(format!("share={tag}"))));
    let words = match words {
        [] => vec!["ls".into(), "/".into()],
        words => words.to_vec(),
    };
    Ok(Plan { disks, shares, region: source.region.clone(), options, words })
}

fn read_only(serial: &str, file: PathBuf) -> Disk {
    Disk { serial: serial.into(), file, read_only: true, blkdebug: None, options: None }
}

/// Whether two names are those of one file that is there, or of one block device: links, mounts
/// and open files are names as well.
fn is_one_file(one: &Path, other: &Path) -> bool {
    let which = |path| {
        let stat = fs::metadata(path).ok()?;
        match stat.file_type().is_block_device() {
            true => Some((true, 0, stat.rdev())),
            false => Some((false, stat.dev(), stat.ino())),
        }
    };
    matches!((which(one), which(other)), (Some(one), Some(other)) if one == other)
}

fn mount_tag(at: usize) -> String {
    if at == 0 { "share".into() } else { format!("share{}", at + 1) }
}

fn check(disks: &[Disk], shares: usize, room: Room) -> Result<()> {
    let mut serials = BTreeSet::new();
    for disk in disks {
        if disk.serial.len() > SERIAL_BYTES_MAX {
            let serial = &disk.serial;
            return Err(usage(format!("serial `{serial}` has over {SERIAL_BYTES_MAX} bytes")));
        }
        if !serials.insert(&disk.serial) {
            return Err(usage(format!("two disks have the serial `{}`", disk.serial)));
        }
    }
    let devices = disks.len() + shares;
    if devices > room.devices_max {
        let max = room.devices_max;
        return Err(usage(format!("{devices} devices, and the machine has room for {max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

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
        let line =
            "image=image blob1=blob1 blob2=blob1 blob3=image blob4=blob1 blob5=blob1 -- ls /";
        assert_eq!(plan.append(), line);
        // A region may lie on another part of a disk.
        let line = format!("--image {0}/i --region {0}/i", dir.path().display());
        assert_eq!(planned(&format!("{line}@8+64")).unwrap().disks.len(), 2);
        fs::hard_link(dir.path().join("i"), dir.path().join("same")).unwrap();
        for region in ["i", "same"] {
            let line = format!("--image {0}/i --region {0}/{region}", dir.path().display());
            let error = planned(&line).unwrap_err().to_string();
            assert!(error.ends_with("is the disk `image` as well"), "{error}");
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
            let mut plan =
                planned(&format!("--image {0} --region {0}@8+64", file.display())).unwrap();
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
        assert_eq!(plan.disks[1].file, PathBuf::from("x"));
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
}
