//! Mounting an image of this machine: its files become the devices that a guest would see.
//!
//! Always: devices have the names that a guest would see; a region that cannot be used costs a
//! line on standard error, and the image is read without one.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootlet::cache::Mode;
use rootlet::storage::file::FileStorage;
use rootlet::storage::{Parts, Retry};
use rootlet_guest::config::{Config, Part};
use rootlet_guest::{self as command, Counters, GuestRoot, Memory, Mounted, SYNC_TIME};
use rootlet_trust::Software;
use rootlet_verity::Verified;

use super::{SourceArgs, avb, disk_file};
use crate::boot::plan::{Plan, option_of_share, plan};
use crate::boot::verdict::Verdict;
use crate::exit::usage;
use crate::note;
use crate::output::notice;
use crate::region;
use crate::size::human;

/// The devices of this machine's files, of which those that are pinned are verified.
pub type HostStorage = Verified<Parts<Retry<FileStorage>>>;

/// Memory that a mount may have.
const HEAP_BYTES: usize = 64 << 20;

/// The devices of an image, opened and not looked into.
pub struct Prepared {
    /// The devices.
    pub storage: HostStorage,
    /// The configuration that a guest with these devices would get.
    pub config: Config,
    /// How the memory of the mount is divided.
    pub memory: Memory,
    /// Whether each device has a line on standard error.
    pub verbose: bool,
    /// Whether the image is signed for Android Verified Boot.
    pub has_avb_footer: bool,
    image: Option<PathBuf>,
}

/// The notice about an image that is signed for Android Verified Boot.
pub const AVB_NOTICE: &str =
    "image   has an AVB footer: Android's signature and hashes are not verified here";

/// An image that is mounted.
pub struct Opened {
    /// The tree of files.
    pub root: GuestRoot<HostStorage>,
    /// The image and where its bytes are.
    pub mounted: Mounted,
    /// The configuration that a guest with these devices would get.
    pub config: Config,
    /// How the memory of the mount is divided.
    pub memory: Memory,
    /// Whether the counters are shown at the end.
    verbose: bool,
}

/// Mounts `image`, or the stack that `source` names, with the blobs and the region of `source`. With `verbose` each device has
/// a line on standard error.
///
/// # Errors
/// A file is missing or is something else (status 2), or it holds no image that can be read.
pub fn open(image: Option<&Path>, source: &SourceArgs, verbose: bool) -> Result<Opened> {
    open_for(1, image, source, verbose)
}

/// Mounts as [`open`] does, for this many readers at once.
///
/// # Errors
/// Those of [`open`].
pub fn open_for(
    readers: u8,
    image: Option<&Path>,
    source: &SourceArgs,
    verbose: bool,
) -> Result<Opened> {
    let mut prepared = Prepared::new(image, source, &[], verbose)?;
    prepared.set_readers(readers);
    prepared.mount()
}

impl Prepared {
    /// Opens the files. `words` are a guest command, if there is one.
    pub fn new(
        image: Option<&Path>,
        source: &SourceArgs,
        words: &[String],
        verbose: bool,
    ) -> Result<Self> {
        let mut plan = plan(image, source, words)?;
        let mut config = Config::parse(&plan.append())?;
        plan.make_region(source.region_size)?;
        plan.tell_versions();
        config.cache_file = plan.region.as_ref().map(region::quoted);
        let storage = command::retrying(storage(&plan)?, &config);
        let memory = Memory::of(HEAP_BYTES, &config)?;
        let storage = Verified::new(Parts::new(storage), &Software, memory.nodes);
        let has_avb_footer = image.is_some_and(avb::has_footer);
        let image = image.map(Path::to_path_buf);
        Ok(Self { storage, config, memory, verbose, has_avb_footer, image })
    }

    /// Takes memory for this many readers at once: each may decode and read ahead beside the others.
    pub fn set_readers(&mut self, readers: u8) {
        let mount = &mut self.memory.mount;
        mount.decoders = readers;
        mount.decoder_bytes *= usize::from(readers);
        mount.stream_bytes *= usize::from(readers);
    }

    /// Finds the image and its blobs.
    pub fn bind(&mut self) -> Result<Mounted> {
        let mounted = command::open_verified(&mut self.storage, &self.config);
        mounted.map_err(|error| match &self.image {
            None => error.into(),
            Some(image) => {
                let name = image.display();
                let avb = ", but a partition with an AVB footer (Android Verified Boot)";
                let but = if self.has_avb_footer { avb } else { "" };
                // Only text names a part, and the error says what is in it.
                let part = image.to_str().and_then(|text| Part::split(text).ok());
                let in_part = part.is_some_and(|(_, part)| part != Part::Whole);
                anyhow::Error::from(error).context(match in_part || disk_file::is_erofs(image) {
                    true => name.to_string(),
                    false => format!("{name}: not an EROFS image{but}"),
                })
            }
        })
    }

    /// Mounts the image.
    pub fn mount(mut self) -> Result<Opened> {
        let mounted = self.bind()?;
        self.mount_bound(mounted)
    }

    /// Mounts an image whose blobs were found.
    pub fn mount_bound(self, mounted: Mounted) -> Result<Opened> {
        let Self { mut storage, config, memory, verbose, has_avb_footer, .. } = self;
        if verbose {
            mounted.describe(&config, &mut notice);
        }
        if verbose && has_avb_footer {
            note!("{AVB_NOTICE}");
        }
        let mut said = Vec::new();
        let mut keep = |line: Arguments<'_>| said.push(line.to_string());
        let region =
            command::open_region(&mut storage, &config, &mounted, entropy()?, &memory, &mut keep);
        let in_use = region.as_ref().is_some_and(|region| region.mode() == Mode::ReadWrite);
        if verbose || config.cache.is_some() && !in_use {
            said.iter().for_each(|line| note!("{line}"));
        }
        let mut told = |line: Arguments<'_>| note!("{line}");
        let root = command::root_verified(&mounted, storage, region, &memory, &mut told)?;
        Ok(Opened { root, mounted, config, memory, verbose })
    }
}

impl Opened {
    /// Makes durable what the region took in; says so where that failed. Says which bytes of sources
    /// had another digest than they should.
    pub fn leave(&self) {
        let storage = self.root.storage();
        for refused in storage.take_refusals() {
            note!("digest  {refused}");
        }
        let stats = storage.stats();
        if self.verbose && stats.verified_bytes > 0 {
            let bytes = human(stats.verified_bytes);
            let (nodes, wrong) = (stats.nodes, stats.wrong);
            note!("digest  verified {bytes}, tree nodes {nodes}, digests wrong {wrong}");
        }
        if let Err(error) = command::keep_trees(&self.root) {
            note!("region  a node of a tree is not kept: {error:#}");
        }
        if !self.root.leave(SYNC_TIME) {
            note!("region  not all of it is durable");
        }
    }

    /// Leaves, at the end of a command that read `files` files, and with `--verbose` writes the
    /// counters to standard error. `result` is the command's.
    pub fn end<T>(&self, files: u64, result: &Result<T>) {
        self.leave();
        if self.verbose {
            let counters = Counters { files, ..Counters::of(&self.root) };
            let word = if result.is_ok() { "PASS" } else { "FAIL" };
            let verdict = Verdict::parse(&format!("{word} {counters}"));
            note!("{}", verdict.expect("a verdict begins with PASS or FAIL").line());
        }
    }
}

/// The files of `plan` as the devices that a guest would see, under the same names.
fn storage(plan: &Plan) -> Result<FileStorage> {
    let mut storage = FileStorage::new();
    for disk in &plan.disks {
        disk_file::check(disk)?;
        let file = disk.source.file().ok_or_else(|| {
            usage(format!(
                "{}: only a guest under QEMU reads it (`rootlet boot`): make it a file or a block \
                 device of this machine",
                disk.source
            ))
        })?;
        storage
            .add_disk(&disk.serial, file, disk.read_only)
            .map_err(|error| usage(format!("{}: {error}", file.display())))?;
    }
    for (tag, dir) in &plan.shares {
        let option = option_of_share(tag);
        storage
            .add_share(tag, dir)
            .map_err(|error| usage(format!("{option} {}: {error}", dir.display())))?;
    }
    Ok(storage)
}

/// Random bytes of this machine.
pub fn entropy() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    io::Read::read_exact(&mut source, &mut bytes).context("/dev/urandom")?;
    Ok(bytes)
}

/// A writer of the standard library for the library's commands.
pub struct Standard<W: Write>(pub W);

impl<W: Write> embedded_io::ErrorType for Standard<W> {
    type Error = io::Error;
}

impl<W: Write> embedded_io::Write for Standard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet::storage::Discover;
    use rootlet_guest::config::SourceName;

    #[test]
    fn the_devices_have_the_names_that_the_command_line_tells() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["image", "b.blob", "region"] {
            std::fs::write(dir.path().join(file), [0; 512]).unwrap();
        }
        let source = SourceArgs {
            blob: vec!["1=share:b.blob".parse().unwrap()],
            share: vec![dir.path().into()],
            region: Some(dir.path().join("region").to_str().unwrap().parse().unwrap()),
            ..SourceArgs::default()
        };
        let words = ["cat", "/a b"].map(String::from);
        let plan = plan(Some(&dir.path().join("image")), &source, &words).unwrap();
        let config = Config::parse(&plan.append()).unwrap();
        let mut storage = storage(&plan).unwrap();
        let Some(SourceName::Disk(serial)) = &config.image else { panic!("{config:?}") };
        storage.disk(serial).unwrap();
        storage.disk(&config.cache.unwrap().serial).unwrap();
        let SourceName::File { mount_tag, name } = &config.blobs[0].1 else { panic!() };
        storage.share_file(mount_tag.as_deref(), name).unwrap();
        assert_eq!(config.command, ["cat", "/a b"]);
    }
}
