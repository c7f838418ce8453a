//! The settings of a guest, from its command line: where the image and its blobs are, and what to
//! do.
//!
//! Always: a line that parses names every source once and by a name that is not empty; a word that
//! may be a misspelt setting is an error, never a default (`keys.rs`); any other word belongs to a
//! kernel (`kernel.rs`) or to its first program, and is passed over.
//!
//! ```text
//! image=SRC[@PART] blobN=SRC[@PART] layer=SRC[@PART] layerN.blobM=SRC[@PART] disk=SERIAL,version=TEXT cache=SERIAL[@PART] cache-key=SRC share=TAG console=plain|framed|wire[:COPIES]
//! slot=64K|256K|1M domain=NAME ram-cache=SIZE cache-format=auto|force|never deadline=SECONDS
//! source-retry=SECONDS timeline[=EVENTS] cpus=COUNT log=... verity=SPEC verityN=SPEC
//! layerN.verityM=SPEC seal=SRC root=sha256:HEX verity-ram=SIZE
//! objects=share:TAG[:FOLDER]|SERIAL[@PART] composefs.digest=SPEC -- COMMAND WORDS
//! ```
//! SPEC is what `rootlet_trust::Spec` parses.
//! PART is `SECTOR+COUNT`, or, in a GPT, `name:NAME`, `type:GUID`, `type:root`, `type:usr`, or `type`
//! for the type of regions; of a layer also `name:START*` or `START*`, for several. SRC is `SERIAL`, `share:NAME`, `share:TAG:NAME` or `share::NAME`, and may be followed
//! by `,version=TEXT` (`source.rs` says what that means). Numbers are decimal and may end in K, M
//! or G (times 2^10, 2^20, 2^30). `words.rs` says how a line is cut into words.

mod console;
mod error;
mod kernel;
mod keys;
mod layers;
mod number;
mod part;
mod source;
mod words;

pub use console::Console;
pub use error::ConfigError;
pub use gpt_disk_io::gpt_disk_types::Guid;
pub use number::number;
pub use part::{CacheName, Part, REGION_TYPE, Role, Sectors};
pub use source::{MOUNT_TAG_BYTES_MAX, SourceName, SourceWord, name as source_name};
pub use words::{RawWord, RawWords, Words, machines_words, quote, words};

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use error::Fault;
use kernel::is_kernels;
use rootlet::blob::Domain;
use rootlet::cache::{FormatPolicy, SlotSize};
use rootlet::storage::Version;
use rootlet_trust::{Digest, Spec, Subject, parse_root};
use source::mount_tag;

/// Words of most lines, of each kind: lists of this length need not grow.
const USUAL: usize = 8;

/// Events that `timeline` keeps without a number, and the most that it keeps with one.
const TIMELINE_EVENTS: u32 = 4096;
const TIMELINE_EVENTS_MAX: u32 = 65_536;

/// The processors that a guest uses at most.
const CPUS_MAX: u8 = 2;

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The image (`image=`).
    pub image: Option<SourceName>,
    /// The device slots that are bound by name (`blobN=`), in the order of the line; slots count
    /// from 1 and occur once.
    pub blobs: Vec<(u16, SourceName)>,
    /// The images of a stack (`layer=`), the bottom first, each with its part of its disk; of these
    /// one may stand for several.
    pub layers: Vec<(SourceName, Part)>,
    /// The device slots of a stack that are bound by name (`layerN.blobM=`): the number of the image,
    /// from 1, the slot, and the source.
    pub layer_blobs: Vec<(u16, u16, SourceName)>,
    /// The parts of disks that sources are, where they are not the whole: the number of the image in
    /// a stack or 0, the slot or 0 for the image, and the part.
    pub parts: Vec<(u16, u16, Part)>,
    /// The sources whose version the line gives (`version=`), in the order of the line, each once.
    pub versions: Vec<(SourceName, Version)>,
    /// Where the region is (`cache=`).
    pub cache: Option<CacheName>,
    /// The source that holds the region's key (`cache-key=`).
    pub cache_key: Option<SourceName>,
    /// The region's file and part as the task `region` of the host tool takes them, for messages.
    /// No key gives it: a host tool that runs the commands itself fills it in.
    pub cache_file: Option<String>,
    /// The mount tags of the shares to use (`share=`), in the order of the line.
    pub shares: Vec<String>,
    /// How output leaves the machine (`console=`).
    pub console: Console,
    /// The size of slots for a region that is formatted (`slot=`).
    pub slot_size: Option<SlotSize>,
    /// Bytes of memory for blocks that small reads read again (`ram-cache=`); 0 for none.
    pub ram_cache_bytes: Option<usize>,
    /// The name that images share if they share blobs in a region (`domain=`).
    pub domain: Domain,
    /// When a region is formatted (`cache-format=`).
    pub cache_format: FormatPolicy,
    /// How long a device may take to answer a request, in seconds (`deadline=`), at least 1.
    pub deadline_s: Option<u32>,
    /// For how long a failed read of a source is repeated, in seconds (`source-retry=`); 0 for not
    /// at all.
    pub source_retry_s: Option<u32>,
    /// How many events of the run are kept and sent at its end (`timeline`, `timeline=`); 0 for
    /// none.
    pub timeline_events: u32,
    /// How many processors sum files (`cpus=`): 1 or 2.
    pub cpus: Option<u8>,
    /// What the image (0) and the blobs of device slots are (`verity=`, `verityN=`), each a text
    /// that [`Spec`] parses, in the order of the line. In a stack the numbers are those of images.
    pub verity: Vec<(u16, String)>,
    /// What the blobs of a stack are (`layerN.verityM=`): the number of the image, the slot, and the
    /// text.
    pub layer_verity: Vec<(u16, u16, String)>,
    /// The seal that says what image and blobs are (`seal=`), and its digest (`root=`).
    pub seal: Option<(SourceName, Digest)>,
    /// Bytes of memory for the nodes of trees (`verity-ram=`).
    pub verity_ram_bytes: Option<usize>,
    /// Where the objects of a composefs image are (`objects=`).
    pub objects: Option<ObjectsName>,
    /// The words after `--`.
    pub command: Vec<String>,
}

impl Config {
    /// Returns the part of its disk that a source is: that of a slot, 0 for the image, of the image
    /// with this number of a stack, 0 for an image alone.
    pub fn part_of(&self, layer: u16, slot: u16) -> &Part {
        let of = self.parts.iter().find(|(of, number, _)| (*of, *number) == (layer, slot));
        of.map_or(&Part::Whole, |(_, _, part)| part)
    }

    /// Returns the name that the configuration gives the source of a slot.
    pub fn blob(&self, layer: u16, slot: u16) -> Option<&SourceName> {
        match layer {
            0 => self.blobs.iter().find(|(of, _)| *of == slot).map(|(_, name)| name),
            _ => {
                let mut blobs = self.layer_blobs.iter();
                blobs
                    .find(|(of, number, _)| (*of, *number) == (layer, slot))
                    .map(|(_, _, name)| name)
            }
        }
    }

    /// Parses a whole command line.
    ///
    /// # Errors
    /// [`ConfigError`]: the first fault of the line.
    pub fn parse(line: &str) -> Result<Self, ConfigError> {
        let config = Self {
            blobs: Vec::with_capacity(USUAL),
            versions: Vec::with_capacity(USUAL),
            shares: Vec::with_capacity(USUAL),
            command: Vec::with_capacity(USUAL),
            ..Self::default()
        };
        let mut given = Given { config, console: None, cache_format: None, seal: None, root: None };
        let mut words = Words::new(line);
        for word in &mut words {
            let word = word?;
            if word == "--" {
                break;
            }
            if !is_foreign(&word) {
                given.take(&word).map_err(|fault| fault.of(&word))?;
            }
        }
        let Given { mut config, console, cache_format, seal, root } = given;
        config.seal = match (seal, root) {
            (Some(seal), Some(root)) => Some((seal, root)),
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::Together("seal= needs root=sha256:HEX")),
            (None, Some(_)) => return Err(ConfigError::Together("root=sha256: needs seal=")),
        };
        if config.cache_key.is_some() && config.cache.is_none() {
            return Err(ConfigError::Together("cache-key= needs cache="));
        }
        if config.seal.is_some() && !config.verity.is_empty() {
            return Err(ConfigError::Together("seal= says what all are, and so does verity="));
        }
        let is_image = |(slot, _): &(u16, String)| *slot == 0;
        layers::check(&config)?;
        let is_alone = config.layers.is_empty();
        if is_alone && !config.verity.is_empty() && !config.verity.iter().any(is_image) {
            let why = "a blob is verified, and the image that leads to it is not: give verity=";
            return Err(ConfigError::Together(why));
        }
        if let Some(console) = console {
            config.console = console;
        }
        if let Some(cache_format) = cache_format {
            config.cache_format = cache_format;
        }
        for word in words {
            config.command.push(word?.into_owned());
        }
        Ok(config)
    }
}

/// Returns the words before the command that are passed over, except those that kernels are known
/// to have: a person may want to know of them.
pub fn passed_over(line: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let words = Words::new(line).map_while(Result::ok).take_while(|word| word != "--");
    words.filter(|word| is_foreign(word) && !is_kernels(word))
}

/// Returns whether a word belongs to others: it is not a setting, and not like one.
fn is_foreign(word: &str) -> bool {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
    if layers::is_key(key) {
        // A kernel's words have dots, too.
        return false;
    }
    let is_like_ours = keys::is_key(key) || keys::meant(word).is_some();
    // Nobody has a word without a name.
    let is_name = key.bytes().any(|byte| byte.is_ascii_alphanumeric()) && !key.starts_with('-');
    is_kernels(word) || is_name && !is_like_ours
}

/// The settings so far.
struct Given {
    config: Config,
    console: Option<Console>,
    cache_format: Option<FormatPolicy>,
    seal: Option<SourceName>,
    root: Option<Digest>,
}

impl Given {
    /// Takes one setting.
    fn take(&mut self, word: &str) -> Result<(), Fault> {
        let Self { config, console, cache_format, seal, root } = self;
        if word == "timeline" {
            return timeline(config, TIMELINE_EVENTS);
        }
        let (key, value) = word.split_once('=').ok_or(Fault::Unknown)?;
        match key {
            "image" => {
                vacant(&mut config.image)?;
                config.image = Some(parted(config, (0, 0), value)?);
            }
            "layer" => layers::image(config, value)?,
            "disk" => disk(config, value)?,
            "cache" => *vacant(&mut config.cache)? = Some(CacheName::parse(value)?),
            "cache-key" => {
                *vacant(&mut config.cache_key)? = Some(source::name(value).map_err(Fault::Value)?);
            }
            // There may be several.
            "share" => share(config, value)?,
            "console" => {
                let want =
                    Fault::Value("plain, framed, wire or wire:COPIES with COPIES from 1 to 9");
                *vacant(console)? = Some(Console::parse(value).ok_or(want)?);
            }
            "domain" => domain(config, value)?,
            "ram-cache" => {
                let want = Fault::Value("a size in bytes, K, M or G; 0 keeps no blocks in memory");
                let bytes = number(value).and_then(|bytes| usize::try_from(bytes).ok());
                *vacant(&mut config.ram_cache_bytes)? = Some(bytes.ok_or(want)?);
            }
            "slot" => *vacant(&mut config.slot_size)? = Some(slot_size(value)?),
            "cache-format" => *vacant(cache_format)? = Some(policy(value)?),
            "source-retry" => {
                let want = Fault::Value("a number of seconds");
                *vacant(&mut config.source_retry_s)? = Some(seconds(value).ok_or(want)?);
            }
            "deadline" => {
                let want = Fault::Value("a number of seconds, at least 1");
                let seconds = seconds(value).filter(|&seconds| seconds > 0);
                *vacant(&mut config.deadline_s)? = Some(seconds.ok_or(want)?);
            }
            "timeline" => {
                let want = Fault::Value("a number of events from 1 to 65536");
                let fits = |events: &u32| (1..=TIMELINE_EVENTS_MAX).contains(events);
                let events = number(value).and_then(|events| u32::try_from(events).ok());
                timeline(config, events.filter(fits).ok_or(want)?)?;
            }
            "cpus" => {
                let want = Fault::Value("1 or 2 processors");
                let cpus = number(value).and_then(|cpus| u8::try_from(cpus).ok());
                let cpus = cpus.filter(|cpus| (1..=CPUS_MAX).contains(cpus));
                *vacant(&mut config.cpus)? = Some(cpus.ok_or(want)?);
            }
            // The platform reads it, before there is memory for the rest.
            "log" => {}
            "seal" => *vacant(seal)? = Some(source::name(value).map_err(Fault::Value)?),
            "root" => *vacant(root)? = Some(parse_root(value).map_err(Fault::Seal)?),
            "verity-ram" => {
                let want = Fault::Value("a size in bytes, K, M or G");
                let bytes = number(value).and_then(|bytes| usize::try_from(bytes).ok());
                *vacant(&mut config.verity_ram_bytes)? = Some(bytes.ok_or(want)?);
            }
            // As composefs writes it.
            "verity" | "composefs.digest" => verity(config, 0, value)?,
            "objects" => objects(config, value)?,
            _ if layers::is_key(key) => layers::setting(config, key, value)?,
            _ if key.starts_with("verity") => {
                let want = Fault::Value("verityN= with a device slot N from 1 to 65535");
                let slot = key.strip_prefix("verity").map(slot_number);
                verity(config, slot.and_then(Result::ok).ok_or(want)?, value)?;
            }
            _ => blob(config, key.strip_prefix("blob").ok_or(Fault::Unknown)?, value)?,
        }
        Ok(())
    }
}

/// Takes the version of a disk that is not a source.
fn disk(config: &mut Config, value: &str) -> Result<(), Fault> {
    let known = config.versions.len();
    let disk = versioned(config, value)?;
    if !matches!(disk, SourceName::Disk(_)) || config.versions.len() == known {
        return Err(Fault::Value("SERIAL,version=TEXT"));
    }
    Ok(())
}

/// Takes another share.
fn share(config: &mut Config, value: &str) -> Result<(), Fault> {
    let mount_tag = mount_tag(value).map_err(Fault::Value)?;
    if config.shares.contains(&mount_tag) {
        return Err(Fault::Duplicate);
    }
    config.shares.push(mount_tag);
    Ok(())
}

/// Takes the domain of the image.
fn domain(config: &mut Config, value: &str) -> Result<(), Fault> {
    let want = Fault::Value("the name of a domain, of 1 to 32 bytes");
    let domain = Domain::new(value).filter(|_| !value.is_empty()).ok_or(want)?;
    if config.domain != Domain::default() {
        return Err(Fault::Duplicate);
    }
    config.domain = domain;
    Ok(())
}

/// Takes the source of the blob with this number.
fn blob(config: &mut Config, number: &str, value: &str) -> Result<(), Fault> {
    let slot = slot_number(number)?;
    if config.blobs.iter().any(|(known, _)| *known == slot) {
        return Err(Fault::Duplicate);
    }
    let source = parted(config, (0, slot), value)?;
    config.blobs.push((slot, source));
    Ok(())
}

/// Where objects are, each as `xx/rest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectsName {
    /// In a folder of a share.
    Folder {
        /// The share's mount tag.
        mount_tag: String,
        /// The path of the folder on the share; empty for the share itself.
        folder: String,
    },
    /// In an image on a disk, or on a part of one.
    Image(SourceName, Part),
}

/// Takes where the objects are.
fn objects(config: &mut Config, value: &str) -> Result<(), Fault> {
    if config.objects.is_some() {
        return Err(Fault::Duplicate);
    }
    config.objects = Some(match value.strip_prefix("share:") {
        Some(place) => {
            let (tag, folder) = place.split_once(':').map_or((place, ""), |split| split);
            let mount_tag = mount_tag(tag).map_err(Fault::Value)?;
            ObjectsName::Folder { mount_tag, folder: folder.into() }
        }
        None => {
            let (name, part) = with_part(config, value, Part::split)?;
            if matches!(part, Part::Matching(_)) {
                let want = "share:TAG, share:TAG:FOLDER, or a disk and one part of it";
                return Err(Fault::Value(want));
            }
            ObjectsName::Image(name, part)
        }
    });
    Ok(())
}

/// Takes what the image or a blob is.
fn verity(config: &mut Config, slot: u16, value: &str) -> Result<(), Fault> {
    if config.verity.iter().any(|(known, _)| *known == slot) {
        return Err(Fault::Duplicate);
    }
    let fault = |error| Fault::Verity(Subject::of_slot(slot), error);
    Spec::parse(value).map_err(fault)?;
    config.verity.push((slot, value.into()));
    Ok(())
}

/// Sets the number of events that are kept.
const fn timeline(config: &mut Config, events: u32) -> Result<(), Fault> {
    if config.timeline_events > 0 {
        return Err(Fault::Duplicate);
    }
    config.timeline_events = events;
    Ok(())
}

/// Returns the source that `value` names, and keeps its version if `value` gives one.
fn versioned(config: &mut Config, value: &str) -> Result<SourceName, Fault> {
    let (source, version) = source::parse(value).map_err(Fault::Value)?;
    if let Some(version) = version {
        if config.versions.iter().any(|(known, _)| *known == source) {
            return Err(Fault::Duplicate);
        }
        config.versions.push((source.clone(), version));
    }
    Ok(source)
}

/// Returns the source that `value` names, and keeps its version, and its part of a disk as that of
/// the slot `of`.
fn parted(config: &mut Config, of: (u16, u16), value: &str) -> Result<SourceName, Fault> {
    let (source, part) = with_part(config, value, Part::split)?;
    if part != Part::Whole {
        config.parts.push((of.0, of.1, part));
    }
    Ok(source)
}

/// Cuts a text into the name of a disk and a part of it.
type Split = fn(&str) -> Result<(&str, Part), &'static str>;

/// Returns the source that `value` names and its part of a disk, as `split` cuts them, and keeps its
/// version.
fn with_part(config: &mut Config, value: &str, split: Split) -> Result<(SourceName, Part), Fault> {
    let (name, rest) = source::cut(value);
    let (disk, part) = split(name).map_err(Fault::Value)?;
    let source = versioned(config, &alloc::format!("{disk}{rest}"))?;
    Ok((source, part))
}

/// Returns the place of a setting, which has to be vacant.
fn vacant<T>(setting: &mut Option<T>) -> Result<&mut Option<T>, Fault> {
    if setting.is_some() { Err(Fault::Duplicate) } else { Ok(setting) }
}

/// Returns the device slot of the digits in `blobN`. A slot has one spelling, so that none is named
/// twice.
fn slot_number(digits: &str) -> Result<u16, Fault> {
    let want = Fault::Value("blobN= with a device slot N from 1 to 65535");
    match digits.bytes().next() {
        Some(b'1'..=b'9') => digits.parse().map_err(|_| want),
        Some(b'0') => Err(want),
        _ => Err(Fault::Unknown),
    }
}

fn slot_size(value: &str) -> Result<SlotSize, Fault> {
    let bytes = number(value);
    let sizes = [SlotSize::K64, SlotSize::K256, SlotSize::M1];
    let found = sizes.into_iter().find(|size| bytes == Some(size.bytes()));
    found.ok_or(Fault::Value("64K, 256K or 1M"))
}

fn policy(value: &str) -> Result<FormatPolicy, Fault> {
    match value {
        "auto" => Ok(FormatPolicy::Auto),
        "force" => Ok(FormatPolicy::Force),
        "never" => Ok(FormatPolicy::Never),
        _ => Err(Fault::Value("auto, force or never")),
    }
}

fn seconds(value: &str) -> Option<u32> {
    number(value).and_then(|seconds| u32::try_from(seconds).ok())
}
