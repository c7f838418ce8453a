//! `region`: looks at a region over a file of this machine, checks it, formats it, or takes a
//! blob out of it.
//!
//! Always: `show` and `check` open the file read-only; what writes leaves a region alone that
//! another process has open for writing.

mod args;
mod check;
mod holders;
mod json;
mod picture;
mod prepare;
mod show;
mod svg;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::HEXLOWER;
use rootlet::cache::inspect::{self, Blob, Place, Region, Superblocks};
use rootlet::cache::{Cache, CacheOptions, FormatPolicy, Refused, Remedy, SlotSize, Superblock};
use rootlet::storage::file::FileStorage;
use rootlet::storage::{Parts, Storage};
use rootlet_crypt::{KEY_BYTES_MAX, Key};
use rootlet_guest::Memory;
use rootlet_guest::config::Part;

pub use args::RegionArgs;
use args::{FormatArgs, RegionAction, ShowArgs};

use crate::boot::monitor::pasteable;
use crate::exit::{self, usage};
use crate::interrupt::Interrupt;
use crate::say;
use crate::shown::shown;
use crate::size::counted;
use crate::source::{BlobPlace, RegionPlace, Source, entropy};

/// Memory of the guest that a new region has to fit in: one of 64 MiB, without its firmware.
const GUEST_HEAP_BYTES: usize = 48 << 20;
/// How long taking out a blob may take, in nanoseconds.
const DROP_NS_MAX: u64 = 60_000_000_000;
/// The serial of the region's disk; nobody sees it.
const SERIAL: &str = "region";

/// Shows, checks or formats a region, as `args` say.
pub fn task(args: &RegionArgs, interrupt: &Interrupt) -> Result<()> {
    let action = args.action()?;
    let place = args.place.as_ref().ok_or_else(|| {
        usage(
            "no FILE given, and no rootlet.toml in the current folder names a region (see --help)",
        )
    })?;
    if let RegionAction::Prepare(args) = &action {
        return prepare::task(args, place, interrupt);
    }
    interrupt.ends_the_process();
    let writes = matches!(action, RegionAction::Format(_) | RegionAction::Drop(_));
    let holders = holders::of(&place.file);
    let name = place.file.display();
    if let Some(first) = holders.first().filter(|_| writes) {
        bail!("{name} is in use: {first} has it open for writing");
    }
    let mut opened = Opened::open(place, !writes)?;
    opened.key = args.cache_key.as_ref().map(read_key).transpose()?;
    if !matches!(action, RegionAction::Format(_)) {
        opened.unlock()?;
    }
    match action {
        RegionAction::Format(args) => format(&mut opened, args),
        RegionAction::Drop(args) => drop_blob(&mut opened, &args.blob),
        RegionAction::Show(args) => show(&mut opened, &args, &holders),
        RegionAction::Check(args) => check::task(&mut opened, args, &holders),
        RegionAction::Prepare(_) => unreachable!("a guest does it"),
    }
}

/// The disk with a region, and the device that deciphers it if there is a key.
type RegionStorage = Parts<FileStorage>;

/// A file with a region, and where in it the region is.
struct Opened<'a> {
    arg: &'a RegionPlace,
    storage: RegionStorage,
    place: Place,
    key: Option<Key>,
}

/// Reads the key of a region.
fn read_key(place: &BlobPlace) -> Result<Key> {
    let BlobPlace::Disk(Source::File(file)) = place else {
        return Err(usage("--cache-key is a file here: a share is for guests and images"));
    };
    let name = file.display();
    let refuse = |why: &dyn Display| usage(format!("--cache-key {name}: {why}"));
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| refuse(&error))?;
    // A byte more than a key may have shows that there are more.
    let read = opened.take(KEY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(&error))?;
    Key::new(&bytes).map_err(|error| refuse(&error))
}

impl<'a> Opened<'a> {
    fn open(arg: &'a RegionPlace, read_only: bool) -> Result<Self> {
        let name = arg.file.display();
        if arg.file.is_dir() {
            return Err(usage(format!("{name}: a directory, not a disk with a region")));
        }
        if !arg.file.exists() {
            let file = pasteable(&arg.file, &[]);
            let advice = format!("`truncate -s 64M {file}` makes a disk for a region");
            return Err(usage(format!("{name}: no such file; {advice}")));
        }
        let mut files = FileStorage::new();
        let device = files
            .add_disk(SERIAL, &arg.file, read_only)
            .map_err(|error| usage(format!("{name}: {error}")))?;
        let mut storage = Parts::new(files);
        let (start, bytes) = arg
            .part
            .find(&mut storage, device)
            .map_err(|error| usage(format!("{name}{}: {error:#}", arg.part)))?;
        Ok(Self { arg, storage, place: Place { device, start, bytes }, key: None })
    }

    /// Turns to the device that deciphers the region, if there is a key. Formats nothing.
    fn unlock(&mut self) -> Result<()> {
        let options = self.options(FormatPolicy::Never, None)?;
        let options = self.with_key(&options).map_err(|why| self.refused(why))?;
        let CacheOptions { device, start, bytes, .. } = options;
        self.place = Place { device, start, bytes };
        Ok(())
    }

    /// Returns the options with which the region is opened that `options` name, with the key if
    /// there is one.
    fn with_key(&mut self, options: &CacheOptions) -> Result<CacheOptions, Refused> {
        match &self.key {
            Some(key) => rootlet_crypt::open(&mut self.storage, options, key),
            None => Ok(*options),
        }
    }

    /// Returns the superblock that counts, if there is a region that can be used.
    fn counts(&mut self) -> Option<Superblock> {
        let options = self.options(FormatPolicy::Never, None).ok()?;
        let CacheOptions { device, start, bytes, .. } = self.with_key(&options).ok()?;
        let found = inspect::superblocks(&self.storage, &Place { device, start, bytes }).ok()?;
        found.counts.ok().map(|(superblock, _)| superblock)
    }

    fn superblocks(&mut self) -> Result<Superblocks> {
        inspect::superblocks(&self.storage, &self.place).map_err(|why| self.refused(why))
    }

    /// Reads the tables of the region.
    fn region(&mut self) -> Result<Region> {
        Region::read(&self.storage, &self.place).map_err(|why| self.refused(why))
    }

    /// Returns the error for an area without a usable region, with the command that makes one.
    fn refused(&self, refused: Refused) -> anyhow::Error {
        let place = quoted(self.arg);
        let name = format!("{}{}", self.arg.file.display(), self.arg.part);
        let next = self.advice(&refused);
        // Without it the region would be one that anybody reads.
        let key = if self.key.is_some() { " --cache-key FILE" } else { "" };
        match refused.remedy() {
            Some(Remedy::Overwrite) => anyhow!(
                "{name}: {refused:#}{next}; `rootlet region {place} format --force{key}` overwrites it"
            ),
            Some(Remedy::Format) => {
                anyhow!("{name}: {refused:#}; `rootlet region {place} format{key}` formats it")
            }
            _ => anyhow!("{name}: {refused:#}"),
        }
    }

    /// Returns what to give instead, as the end of a sentence; empty if nothing is known.
    fn advice(&self, refused: &Refused) -> String {
        let file = pasteable(&self.arg.file, &[]);
        match refused {
            Refused::Encrypted => " (--cache-key FILE)".into(),
            Refused::NotEncrypted => " (leave --cache-key out to use it)".into(),
            Refused::Foreign(what) if what.contains("EROFS") => {
                format!("; `rootlet ls {file}` lists it")
            }
            Refused::Foreign(what)
                if what.contains("partition table") && self.arg.part == Part::Whole =>
            {
                format!("; FILE@name:NAME or FILE@type is a partition ({file}@type)")
            }
            _ => String::new(),
        }
    }

    fn options(&self, format: FormatPolicy, slot_size: Option<SlotSize>) -> Result<CacheOptions> {
        let Place { device, start, bytes } = self.place;
        let tables_bytes = Memory::of_heap(GUEST_HEAP_BYTES).tables;
        let options = CacheOptions::new(device, entropy()?);
        let options = options.with_start(start).with_bytes(bytes).with_format(format);
        Ok(options.with_slot_size(slot_size).with_tables_bytes(tables_bytes))
    }
}

/// Returns the file of a region and its part, as one word for a shell.
pub fn quoted(arg: &RegionPlace) -> String {
    let mut word = arg.file.clone().into_os_string();
    word.push(arg.part.to_string());
    pasteable(Path::new(&word), &[])
}

fn show(opened: &mut Opened<'_>, args: &ShowArgs, holders: &[String]) -> Result<()> {
    let superblocks = opened.superblocks()?;
    let region = match superblocks.counts {
        Ok(_) => opened.region()?,
        Err(why) => {
            if args.json {
                say!("{}", json::superblocks(&superblocks));
            } else if show::is_there(&superblocks) {
                show::superblocks(&superblocks)?;
            }
            return Err(opened.refused(why));
        }
    };
    if let Some(file) = &args.svg {
        fs::write(file, svg::draw(&region)).with_context(|| file.display().to_string())?;
    }
    if args.json {
        say!("{:#}", json::region(&region, &mut opened.storage, holders, args.pages));
    } else {
        show::region(&region, holders)?;
        if args.pages {
            show::pages(&region, &mut opened.storage)?;
        }
    }
    Ok(())
}

/// Draws the region that fills the disk `file`.
pub fn draw(file: &Path, picture: &Path) -> Result<()> {
    let whole = RegionPlace { file: file.into(), part: Part::Whole };
    let mut opened = Opened::open(&whole, true)?;
    let region = opened.region()?;
    fs::write(picture, svg::draw(&region)).with_context(|| picture.display().to_string())
}

fn format(opened: &mut Opened<'_>, args: FormatArgs) -> Result<()> {
    let slot_size = match args.slot.map(|size| size.0) {
        None => None,
        Some(0x1_0000) => Some(SlotSize::K64),
        Some(0x4_0000) => Some(SlotSize::K256),
        Some(0x10_0000) => Some(SlotSize::M1),
        Some(_) => return Err(usage("--slot is 64K, 256K or 1M")),
    };
    let policy = if args.force { FormatPolicy::Force } else { FormatPolicy::Auto };
    if !args.force
        && let Some(superblock) = opened.counts().filter(|found| !found.condemned)
    {
        let uuid = HEXLOWER.encode(&superblock.uuid);
        let place = quoted(opened.arg);
        bail!(
            "the area holds the region {uuid}; `rootlet region {place} format --force` formats it anew"
        );
    }
    // A region of any size may be formatted with the slots that are asked for.
    let mut options = opened.options(policy, slot_size)?;
    if slot_size.is_some() {
        options.tables_bytes = usize::MAX;
    }
    let options = opened.with_key(&options).map_err(|why| opened.refused(why))?;
    let cache = Cache::open(&opened.storage, &options).map_err(|why| opened.refused(why))?;
    let superblock = cache.superblock();
    let geometry = superblock.geometry;
    say!(
        "formatted {}: {} slots of {} KiB, uuid {}",
        opened.arg.file.display(),
        geometry.slots(),
        geometry.slot_size().bytes() >> 10,
        HEXLOWER.encode(&superblock.uuid)
    );
    Ok(())
}

fn drop_blob(opened: &mut Opened<'_>, name: &str) -> Result<()> {
    let region = opened.region()?;
    let blob = named(&region, name)?;
    let mut options = opened.options(FormatPolicy::Never, None)?;
    options.tables_bytes = usize::MAX;
    let mut cache = Cache::open(&opened.storage, &options).map_err(|why| opened.refused(why))?;
    let end = opened.storage.now_ns().saturating_add(DROP_NS_MAX);
    let slots = cache.drop_blob(&opened.storage, blob.index, end)?;
    let slots = counted(slots.into(), "slot", "slots");
    say!("dropped blob {}, which had {slots}", blob.index.get());
    Ok(())
}

/// Returns the blob with this number, or with this tag if no other has it.
fn named<'r>(region: &'r Region, name: &str) -> Result<&'r Blob> {
    let tagged = |blob: &&Blob| tag(blob) == name && !name.is_empty();
    let by_tag: Vec<_> = region.blobs.iter().filter(tagged).collect();
    let by_number = region.blobs.iter().find(|blob| blob.index.get().to_string() == name);
    match (by_number, by_tag.as_slice()) {
        (Some(blob), _) => Ok(blob),
        (None, [blob]) => Ok(blob),
        (None, []) => bail!("the region has no blob {name}"),
        (None, several) => {
            let numbers: Vec<_> = several.iter().map(|blob| blob.index.get().to_string()).collect();
            bail!("{name} is the tag of blobs {}; give the number", numbers.join(", "))
        }
    }
}

/// Returns the tag of a blob, as far as it can be shown.
fn tag(blob: &Blob) -> String {
    let described = blob.entry.identity.describe();
    described
        .filter(|described| !described.tag().is_empty())
        .map_or(String::new(), |described| shown(described.tag()))
}

/// Returns the error of a check that printed its faults.
fn faulty() -> anyhow::Error {
    exit::stop(exit::FAILED, "")
}
