//! From the user's arguments to the devices and the command line of a guest.
//!
//! Always: planning changes nothing; no two devices share a name; a file with several names is one
//! device, and the guest learns all of these names.

mod layers;
mod overlay;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rootlet::storage::FileStamp;
use rootlet_guest::config::{Config, Part, Sectors, SourceName};

use crate::boot::append;
use crate::boot::monitor::{Disk, MachineArgs, Room};
use crate::engine::Wait;
use crate::exit::usage;
use crate::note;
use crate::size::{Size, human};
use crate::source::{Node, RegionPlace, Source};

use sources::{is_one, read_only};
pub use sources::{option_of_share, plan};

/// virtio 1.2 5.2.6: a disk's id string has 20 bytes.
const SERIAL_BYTES_MAX: usize = 20;
/// The serial of the disk with the image.
pub const SERIAL_OF_IMAGE: &str = "image";
const SERIAL_OF_CACHE: &str = "cache";
/// The serial of the disk with the region's key.
pub const SERIAL_OF_KEY: &str = "cache-key";
/// The size of a region's disk that has to be made.
const REGION_BYTES: Size = Size(64 << 20);
/// For how long a guest repeats a failed read where nobody says so, as docs/usage.md has it.
const GUEST_RETRY_S: u32 = 5;
const RETRY: &str = "source-retry=";

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
    /// The disks; names of files may be relative still.
    pub disks: Vec<Disk>,
    /// Mount tag and directory of each share.
    pub shares: Vec<(String, PathBuf)>,
    /// The region among the disks.
    pub region: Option<RegionPlace>,
    /// A qcow2 file over the region, which takes what the guest writes.
    pub overlay: Option<PathBuf>,
    /// The options on the guest's command line.
    pub options: Vec<Word>,
    /// The guest's command.
    pub words: Vec<String>,
    /// How long those wait who read sources over a network.
    pub wait: Wait,
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
        let asks = |key: &str| {
            let key_of = |word: &String| word.split('=').next() == Some(key);
            machine.guest_option.iter().any(key_of)
        };
        if machine.timeline.is_some() && !asks("timeline") {
            self.options.push(Word::Plain("timeline".into()));
        }
        // The guest uses no more.
        if machine.cpus.is_some_and(|cpus| cpus > 1) && !asks("cpus") {
            self.options.push(Word::Plain("cpus=2".into()));
        }
        for disk in &machine.disk {
            let (name, read_only_disk) = match disk.value.strip_suffix(",ro") {
                Some(name) => (name, true),
                None => (disk.value.as_str(), false),
            };
            let source = name.parse().map_err(usage)?;
            if let Source::VhostUser(_) = source {
                return Err(usage(format!(
                    "--disk {}={source}: the disk has no serial of its own: give it as --blob N=",
                    disk.serial
                )));
            }
            self.disks.push(Disk { read_only: read_only_disk, ..read_only(&disk.serial, source) });
        }
        if let Some(overlay) = &machine.overlay {
            if self.region.is_none() {
                return Err(usage("--overlay needs a --region"));
            }
            let disk = self.disk(SERIAL_OF_CACHE)?;
            disk.source = Source::Node(Node::qcow2(overlay));
            disk.read_only = false;
            self.overlay = Some(overlay.clone());
        }
        for option in &machine.drive_opt {
            let disk = self.disk(&option.serial)?;
            if let Source::VhostUser(_) = disk.source {
                return Err(usage(format!("{}: it has no -drive", disk.source)));
            }
            disk.options = Some(option.value.clone());
        }
        for config in &machine.blkdebug {
            let disk = self.disk(&config.serial)?;
            if disk.source.file().is_none() {
                return Err(usage(format!("{}: blkdebug is for files", disk.source)));
            }
            disk.blkdebug = Some(PathBuf::from(&config.value));
        }
        self.wait = self.share_wait();
        let wait_s = self.wait.monitor_s();
        for disk in &mut self.disks {
            machine.monitor.check_source(disk)?;
            match &mut disk.source {
                Source::File(_) | Source::VhostUser(_) => {}
                source @ (Source::Web(_) | Source::Oci(_) | Source::Store(_))
                    if !disk.read_only =>
                {
                    let why = "a web server is only read (SERIAL=URL,ro)";
                    return Err(usage(format!("{source}: {why}")));
                }
                // Whether its server may be read is asked once there is a URL.
                Source::Oci(_) | Source::Store(_) => {}
                Source::Web(web) => machine.web.check(web)?,
                Source::Node(node) => {
                    node.wait_s = wait_s;
                    if let Some(why) = node.changes().filter(|_| disk.read_only) {
                        return Err(usage(format!("{node}: {why}")));
                    }
                }
            }
        }
        self.check_room(machine)
    }

    /// Checks that the machine has room for all devices, and that no two have one name.
    pub fn check_room(&self, machine: &MachineArgs) -> Result<()> {
        check(&self.disks, self.shares.len(), machine.monitor.room(machine.board(), machine.bus)?)
    }

    /// Tells the guest a version of each disk over a file of which the user has said none, so that a region
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
            let same = |other: &&Disk| is_one(&disk.source, &other.source);
            let only_region = self.is_region(disk) && self.disks.iter().filter(same).count() < 2;
            if only_region && self.shares.is_empty() {
                continue;
            }
            let Some(file) = disk.source.file() else { continue };
            // A missing file is reported where the disk is opened.
            let Ok(stat) = fs::metadata(file) else { continue };
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

    /// Tells the guest its part of the time for a source over a network, and returns all parts.
    fn share_wait(&mut self) -> Wait {
        // The guest refuses a line that is wrong, and says why.
        let Ok(config) = Config::parse(&self.append()) else { return self.wait };
        let wait = Wait::new(config.source_retry_s, config.deadline_s);
        let is_remote = |disk: &Disk| match &disk.source {
            Source::File(_) => false,
            Source::Node(node) => node.file().is_none(),
            Source::Web(_) | Source::Oci(_) | Source::Store(_) | Source::VhostUser(_) => true,
        };
        let guest_s = config.source_retry_s.unwrap_or(GUEST_RETRY_S);
        if guest_s != wait.guest_s && self.disks.iter().any(is_remote) {
            let says = |word: &Word| matches!(word, Word::Plain(text) if text.starts_with(RETRY));
            self.options.retain(|word| !says(word));
            self.options.push(Word::Plain(format!("{RETRY}{}", wait.guest_s)));
        }
        wait
    }

    /// Makes the region's disk if there is none, and checks that the named part lies on it.
    pub fn make_region(&self, size: Option<Size>) -> Result<()> {
        let size = size.unwrap_or(REGION_BYTES);
        let Some(region) = &self.region else { return Ok(()) };
        let name = region.file.display();
        if !region.file.exists() {
            let file = File::create_new(&region.file).with_context(|| name.to_string())?;
            file.set_len(size.0).with_context(|| name.to_string())?;
            note!("made a region disk of {}: {name}", human(size.0));
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
        match &self.overlay {
            Some(overlay) if !overlay.exists() => overlay::make(overlay, &region.file),
            _ => Ok(()),
        }
    }

    /// Whether `disk` is the region's and is made where it is missing.
    pub fn makes(&self, disk: &Disk) -> bool {
        let file = match &disk.source {
            Source::Node(node) => node.file(),
            source => source.file(),
        };
        self.is_region(disk) && file.is_some_and(|file| !file.exists())
    }

    /// Whether `disk` is the region's.
    pub fn is_region(&self, disk: &Disk) -> bool {
        disk.serial == SERIAL_OF_CACHE && self.region.is_some()
    }

    /// Tells the guest the version of the disk with this serial, unless the user has told one.
    pub fn tell_version(&mut self, serial: &str, version: &str) {
        // Else the guest refuses the line, and says why.
        let Ok(Config { versions: said, .. }) = Config::parse(&self.append()) else { return };
        let name = SourceName::Disk(serial.into());
        if said.iter().all(|(of, _)| *of != name) {
            self.options.push(Word::disk("disk", serial, format!(",version={version}")));
        }
    }

    /// Whether the guest's configuration has the key `key`.
    pub fn names(&self, key: &str) -> bool {
        self.options.iter().any(|word| match word {
            Word::Plain(text) => text.split('=').next() == Some(key),
            Word::Disk { key: of, .. } => of == key,
        })
    }

    /// Adds a disk for a blob, which is called as its slot is.
    pub fn add_blob(&mut self, serial: &str, source: Source) {
        self.options.push(Word::disk(serial, serial, ""));
        self.disks.push(read_only(serial, source));
    }

    /// Returns the disk with this serial.
    ///
    /// # Errors
    /// Status 2: there is none.
    pub fn disk(&mut self, serial: &str) -> Result<&mut Disk> {
        let disk = self.disks.iter_mut().find(|disk| disk.serial == serial);
        disk.ok_or_else(|| usage(format!("there is no disk with the serial `{serial}`")))
    }
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
mod tests;
