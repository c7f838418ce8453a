//! From the user's arguments to the devices and the command line of a guest.
//!
//! Always: planning changes nothing; no two devices share a name; a file with several names is one
//! device, and the guest learns all of these names.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rootlet::storage::FileStamp;
use rootlet_guest::config::{Config, Part, Sectors, SourceName};

use crate::boot::append;
use crate::boot::monitor::{Disk, MachineArgs, Room};
use crate::exit::usage;
use crate::note;
use crate::size::{Size, human};
use crate::source::RegionPlace;

pub use sources::plan;
use sources::{is_one_file, read_only};

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
