//! What a machine is told on its command line: where the image and its blobs are, and what to do.
//!
//! Always: a line that parses names every source once and by a name that is not empty; a word that
//! may be a setting that is misspelt is an error, never a default (`keys.rs`); any other is a
//! kernel's, or for its first program, and passed over (`kernel.rs`).
//!
//! ```text
//! image=SRC blobN=SRC disk=SERIAL,version=TEXT cache=SERIAL[@PART] share=TAG console=plain|framed|wire[:COPIES]
//! slot=64K|256K|1M domain=NAME ram-cache=SIZE cache-format=auto|force|never deadline=SECONDS
//! source-retry=SECONDS log=... -- COMMAND WORDS
//! ```
//! PART is `SECTOR+COUNT`, or of a GPT `name:NAME`, `type:GUID`, or `type` for a region's own type.
//! SRC is `SERIAL`, `share:NAME`, `share:TAG:NAME` or `share::NAME`, and may be followed by
//! `,version=TEXT` (`source.rs` says what that means). Numbers are decimal and may
//! end in K, M or G (times 2^10, 2^20, 2^30). How a line is cut into words says
//! [`crate::words`].

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::kernel::is_kernels;
use crate::keys;
pub use crate::partition::Guid;
use crate::partition::REGION_TYPE;
use crate::source::{self, mount_tag, not_empty};
pub use crate::source::{MOUNT_TAG_BYTES_MAX, SourceName, SourceWord};
pub use crate::words::{RawWord, RawWords, Words, quote, words};
use rootlet::blob::Domain;
use rootlet::cache::{FormatPolicy, SlotSize};
use rootlet::storage::Version;

/// The longest name of a partition in UTF-16 units (UEFI 2.10 5.3.3).
const NAME_CHARS_MAX: usize = 36;

/// So many of each kind there mostly are at most, so that no list has to grow.
const USUAL: usize = 8;

/// The keys, for messages.
const KEYS: &str = "image=, blobN=, disk=, cache=, share=, domain=, ram-cache=, console=, slot=, \
    cache-format=, deadline=, source-retry=, log=, and -- before the command";

/// A command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The image (`image=`).
    pub image: Option<SourceName>,
    /// The device slots that are bound by name (`blobN=`), in the order of the line; slots count
    /// from 1 and occur once.
    pub blobs: Vec<(u16, SourceName)>,
    /// The sources whose version is said (`version=`), in the order of the line, each once.
    pub versions: Vec<(SourceName, Version)>,
    /// Where the region is (`cache=`).
    pub cache: Option<CacheName>,
    /// The region's file and part as the task `region` of the host tool takes them, for messages.
    /// No key says it: a host tool that runs the commands itself fills it in.
    pub cache_file: Option<String>,
    /// The mount tags of the shares to use (`share=`), in the order of the line.
    pub shares: Vec<String>,
    /// How output leaves the machine (`console=`).
    pub console: Console,
    /// The size of slots for a region that is formatted (`slot=`).
    pub slot_size: Option<SlotSize>,
    /// Bytes of memory for blocks that small reads read again (`ram-cache=`); 0 is none.
    pub ram_cache_bytes: Option<usize>,
    /// The images that share blobs with this one in a region (`domain=`).
    pub domain: Domain,
    /// Whether a region is formatted (`cache-format=`).
    pub cache_format: FormatPolicy,
    /// How long a device may take to answer a request, in seconds (`deadline=`), at least 1.
    pub deadline_s: Option<u32>,
    /// How long a read that its source fails is tried again, in seconds (`source-retry=`); 0 is
    /// not at all.
    pub source_retry_s: Option<u32>,
    /// The words after `--`.
    pub command: Vec<String>,
}

/// Where the region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheName {
    /// The virtio-blk serial of the disk.
    pub serial: String,
    /// The part of the disk.
    pub part: Part,
}

/// The part of a disk that is a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// These sectors.
    Sectors(Sectors),
    /// The partition of this name in its GPT.
    Named(String),
    /// The partition of this type in its GPT.
    Typed(Guid),
}

impl Part {
    /// Cuts what names a disk and a part of it in two. A name that holds an `@` of its own is
    /// left whole, unless what follows can be nothing but a part.
    ///
    /// # Errors
    /// What would fit, if a part is meant and is none.
    pub fn split(text: &str) -> Result<(&str, Self), &'static str> {
        if !text.contains('@') {
            return Ok((text, Self::Whole));
        }
        if let Some((disk, name)) = text.split_once("@name:") {
            let fits = (1..=NAME_CHARS_MAX).contains(&name.encode_utf16().count());
            let want = "the name of a partition, of 1 to 36 characters, behind @name:";
            return if fits { Ok((disk, Self::Named(name.to_string()))) } else { Err(want) };
        }
        match text.rsplit_once('@') {
            Some((disk, "type")) => Ok((disk, Self::Typed(REGION_TYPE))),
            Some((disk, part)) => match part.strip_prefix("type:") {
                Some(guid) => {
                    let guid = Guid::try_parse(guid).map_err(|_| "a GUID behind @type:")?;
                    Ok((disk, Self::Typed(guid)))
                }
                None => match sectors(part) {
                    Some(sectors) => Ok((disk, Self::Sectors(sectors))),
                    None => Ok((text, Self::Whole)),
                },
            },
            None => Ok((text, Self::Whole)),
        }
    }
}

impl fmt::Display for Part {
    /// As it follows the name of a disk, before quoting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Sectors(Sectors { first, count }) => write!(f, "@{first}+{count}"),
            Self::Named(name) => write!(f, "@name:{name}"),
            Self::Typed(REGION_TYPE) => f.write_str("@type"),
            Self::Typed(guid) => write!(f, "@type:{guid}"),
        }
    }
}

impl fmt::Display for CacheName {
    /// As the command line has it, before quoting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.serial, self.part)
    }
}

/// A part of a disk in sectors of 512 bytes; its end in bytes fits a `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sectors {
    /// The first sector.
    pub first: u64,
    /// How many, at least 1.
    pub count: u64,
}

/// How output leaves the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// Text for a person.
    #[default]
    Plain,
    /// Frames for a host tool ([`crate::frame`]).
    Framed,
    /// Lines for a host tool at the other end of a real serial line ([`crate::wire`]).
    Wire {
        /// How often each is sent, from 1 to 9.
        copies: u8,
    },
}

impl Console {
    /// Reads the value of `console=`.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "plain" => Some(Self::Plain),
            "framed" => Some(Self::Framed),
            "wire" => Some(Self::Wire { copies: 1 }),
            _ => match value.strip_prefix("wire:")?.as_bytes() {
                [digit @ b'1'..=b'9'] => Some(Self::Wire { copies: digit.wrapping_sub(b'0') }),
                _ => None,
            },
        }
    }
}

/// Why a command line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A quote that opens at this byte of the line is not closed.
    OpenQuote {
        /// The byte.
        at: usize,
    },
    /// The line ends in a backslash that escapes nothing.
    Backslash,
    /// The word is not known, and may be a setting that is misspelt.
    Unknown {
        /// The word.
        word: String,
    },
    /// The word says again what an earlier one said.
    Duplicate {
        /// The word.
        word: String,
    },
    /// The word has a known key and a value that does not fit it.
    Value {
        /// The word.
        word: String,
        /// What would fit.
        want: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("command line: ")?;
        match self {
            Self::OpenQuote { at } => write!(f, "the quote at byte {at} is not closed"),
            Self::Backslash => f.write_str("it ends in a backslash"),
            Self::Unknown { word } => {
                write!(f, "unknown word {word:?}; ")?;
                if let Some(name) = keys::meant(word) {
                    write!(f, "did you mean {name}=? ")?;
                }
                write!(f, "known are {KEYS}")
            }
            Self::Duplicate { word } => write!(f, "{word:?} is given a second time"),
            Self::Value { word, want } => write!(f, "{word:?}: expected {want}"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Parses a whole command line.
    ///
    /// # Errors
    /// See [`ConfigError`]; the first fault of the line counts.
    pub fn parse(line: &str) -> Result<Self, ConfigError> {
        // None of these grows in most lines.
        let config = Self {
            image: None,
            blobs: Vec::with_capacity(USUAL),
            versions: Vec::with_capacity(USUAL),
            cache: None,
            cache_file: None,
            shares: Vec::with_capacity(USUAL),
            console: Console::default(),
            slot_size: None,
            ram_cache_bytes: None,
            domain: Domain::default(),
            cache_format: FormatPolicy::default(),
            deadline_s: None,
            source_retry_s: None,
            command: Vec::with_capacity(USUAL),
        };
        let mut given = Given { config, console: None, cache_format: None };
        let mut words = Words::new(line);
        for word in &mut words {
            let word = word?;
            if word == "--" {
                break;
            }
            if !is_somebody_elses(&word) {
                given.take(&word).map_err(|fault| fault.of(&word))?;
            }
        }
        let mut config = given.config;
        config.console = given.console.unwrap_or_default();
        config.cache_format = given.cache_format.unwrap_or_default();
        for word in words {
            config.command.push(word?.into_owned());
        }
        Ok(config)
    }
}

/// Returns the words before the command that are no setting, nor known to be a kernel's: they are
/// passed over, and a person may want to know.
pub fn passed_over(line: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let words = Words::new(line).map_while(Result::ok).take_while(|word| word != "--");
    words.filter(|word| is_somebody_elses(word) && !is_kernels(word))
}

/// Whether a word is no setting, and like none.
fn is_somebody_elses(word: &str) -> bool {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
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
}

impl Given {
    /// Takes one setting.
    fn take(&mut self, word: &str) -> Result<(), Fault> {
        let Self { config, console, cache_format } = self;
        let (key, value) = word.split_once('=').ok_or(Fault::Unknown)?;
        match key {
            "image" => {
                vacant(&mut config.image)?;
                config.image = Some(versioned(config, value)?);
            }
            "disk" => {
                let known = config.versions.len();
                let disk = versioned(config, value)?;
                if !matches!(disk, SourceName::Disk(_)) || config.versions.len() == known {
                    return Err(Fault::Value("SERIAL,version=TEXT"));
                }
            }
            "cache" => *vacant(&mut config.cache)? = Some(cache(value)?),
            // There may be several.
            "share" => {
                let mount_tag = mount_tag(value).map_err(Fault::Value)?;
                if config.shares.contains(&mount_tag) {
                    return Err(Fault::Duplicate);
                }
                config.shares.push(mount_tag);
            }
            "console" => {
                let want =
                    Fault::Value("plain, framed, wire or wire:COPIES with COPIES from 1 to 9");
                *vacant(console)? = Some(Console::parse(value).ok_or(want)?);
            }
            "domain" => {
                let want = Fault::Value("the name of a domain, of 1 to 32 bytes");
                let domain = Domain::new(value).filter(|_| !value.is_empty()).ok_or(want)?;
                if config.domain != Domain::default() {
                    return Err(Fault::Duplicate);
                }
                config.domain = domain;
            }
            "ram-cache" => {
                let want = Fault::Value("a size in bytes, K, M or G; 0 keeps no blocks in memory");
                let bytes = number(value).and_then(|bytes| usize::try_from(bytes).ok());
                *vacant(&mut config.ram_cache_bytes)? = Some(bytes.ok_or(want)?);
            }
            "slot" => *vacant(&mut config.slot_size)? = Some(slot_size(value)?),
            "cache-format" => {
                let choices = [
                    ("auto", FormatPolicy::Auto),
                    ("force", FormatPolicy::Force),
                    ("never", FormatPolicy::Never),
                ];
                *vacant(cache_format)? = Some(choice(value, choices, "auto, force or never")?);
            }
            "source-retry" => {
                let want = Fault::Value("a number of seconds");
                let seconds = number(value).and_then(|number| u32::try_from(number).ok());
                *vacant(&mut config.source_retry_s)? = Some(seconds.ok_or(want)?);
            }
            "deadline" => {
                let want = Fault::Value("a number of seconds, at least 1");
                let seconds = number(value).and_then(|number| u32::try_from(number).ok());
                let seconds = seconds.filter(|&seconds| seconds > 0);
                *vacant(&mut config.deadline_s)? = Some(seconds.ok_or(want)?);
            }
            "log" => {}
            _ => {
                let slot = slot_number(key.strip_prefix("blob").ok_or(Fault::Unknown)?)?;
                if config.blobs.iter().any(|(known, _)| *known == slot) {
                    return Err(Fault::Duplicate);
                }
                let source = versioned(config, value)?;
                config.blobs.push((slot, source));
            }
        }
        Ok(())
    }
}

/// The source that `value` names. Keeps the version that is said of it.
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

/// Where a setting goes that has not been set before.
fn vacant<T>(setting: &mut Option<T>) -> Result<&mut Option<T>, Fault> {
    if setting.is_some() { Err(Fault::Duplicate) } else { Ok(setting) }
}

/// What is wrong with a word.
enum Fault {
    Unknown,
    Duplicate,
    Value(&'static str),
}

impl Fault {
    fn of(self, word: &str) -> ConfigError {
        let word = word.to_string();
        match self {
            Self::Unknown => ConfigError::Unknown { word },
            Self::Duplicate => ConfigError::Duplicate { word },
            Self::Value(want) => ConfigError::Value { word, want },
        }
    }
}

/// The device slot in `blobN`: it has one spelling, so that no slot is named twice.
fn slot_number(digits: &str) -> Result<u16, Fault> {
    let want = Fault::Value("blobN= with a device slot N from 1 to 65535");
    match digits.bytes().next() {
        Some(b'1'..=b'9') => digits.parse().map_err(|_| want),
        Some(b'0') => Err(want),
        _ => Err(Fault::Unknown),
    }
}

fn cache(value: &str) -> Result<CacheName, Fault> {
    let want = "SERIAL or SERIAL@SECTOR+COUNT, in sectors of 512 bytes, or @name:NAME, @type or \
                @type:GUID of a partition";
    let (serial, part) = Part::split(value).map_err(Fault::Value)?;
    if part == Part::Whole && serial.contains('@') {
        return Err(Fault::Value(want));
    }
    Ok(CacheName { serial: not_empty(serial, want).map_err(Fault::Value)?, part })
}

fn sectors(range: &str) -> Option<Sectors> {
    let (first, count) = range.split_once('+')?;
    let (first, count) = (number(first)?, number(count)?);
    first.checked_add(count)?.checked_mul(512)?;
    (count > 0).then_some(Sectors { first, count })
}

fn slot_size(value: &str) -> Result<SlotSize, Fault> {
    let bytes = number(value);
    let sizes = [SlotSize::K64, SlotSize::K256, SlotSize::M1];
    let found = sizes.into_iter().find(|size| bytes == Some(size.bytes()));
    found.ok_or(Fault::Value("64K, 256K or 1M"))
}

fn choice<T, const N: usize>(
    value: &str,
    choices: [(&str, T); N],
    want: &'static str,
) -> Result<T, Fault> {
    let found = choices.into_iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| choice).ok_or(Fault::Value(want))
}

/// A decimal number with a suffix K, M or G, or none. `None` if it is no number or over `u64`.
pub fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' | b'k' => (text.get(..text.len().checked_sub(1)?)?, 1 << 10),
        b'M' | b'm' => (text.get(..text.len().checked_sub(1)?)?, 1 << 20),
        b'G' | b'g' => (text.get(..text.len().checked_sub(1)?)?, 1 << 30),
        _ => (text, 1),
    };
    // `parse` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}
