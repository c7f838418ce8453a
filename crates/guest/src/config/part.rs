//! Where a region is: a disk, or a part of one.
//!
//! Always: sectors end within 64 bits of bytes; a name fits in a GPT.

use super::error::Fault;
use super::number::number;
use super::source::not_empty;
use alloc::string::{String, ToString};
use core::fmt;
use gpt_disk_io::gpt_disk_types::{Guid, guid};
use rootlet_base::units::{ByteRange, Pow2};

/// The type of a partition that holds a region, see `crates/region/FORMAT.md`.
pub const REGION_TYPE: Guid = guid!("5e4a3680-bb1e-4551-8d14-7538e87347a3");

/// The longest name of a partition in UTF-16 units (UEFI 2.10 5.3.3).
const NAME_CHARS_MAX: usize = 36;

/// The unit of [`Sectors`] in bytes, as a power of two.
const SECTOR_BITS: u32 = 9;

/// Where the region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheName {
    /// The virtio-blk serial of the disk.
    pub serial: String,
    /// The part of the disk.
    pub part: Part,
}

impl CacheName {
    /// Parses the value of `cache=`.
    pub(super) fn parse(value: &str) -> Result<Self, Fault> {
        let want = "SERIAL or SERIAL@SECTOR+COUNT, in sectors of 512 bytes, or @name:NAME, @type or \
                    @type:GUID of a partition";
        let (serial, part) = Part::split(value).map_err(Fault::Value)?;
        if part == Part::Whole && serial.contains('@') {
            return Err(Fault::Value(want));
        }
        Ok(Self { serial: not_empty(serial, want).map_err(Fault::Value)?, part })
    }
}

impl fmt::Display for CacheName {
    /// Writes the name as the command line has it, before quoting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.serial, self.part)
    }
}

/// The part of a disk that is a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The whole disk.
    #[default]
    Whole,
    /// These sectors.
    Sectors(Sectors),
    /// The partition of this name in the disk's GPT.
    Named(String),
    /// The partition of this type in the disk's GPT.
    Typed(Guid),
}

impl Part {
    /// Cuts a text into the name of a disk and a part of it. A name with an `@` of its own is left
    /// whole, unless what follows the `@` can be nothing but a part.
    ///
    /// # Errors
    /// What would fit, if the text has a part that is wrong.
    pub fn split(text: &str) -> Result<(&str, Self), &'static str> {
        if let Some((disk, name)) = text.split_once("@name:") {
            let fits = (1..=NAME_CHARS_MAX).contains(&name.encode_utf16().count());
            let want = "the name of a partition, of 1 to 36 characters, after @name:";
            return if fits { Ok((disk, Self::Named(name.to_string()))) } else { Err(want) };
        }
        let Some((disk, part)) = text.rsplit_once('@') else { return Ok((text, Self::Whole)) };
        if part == "type" {
            return Ok((disk, Self::Typed(REGION_TYPE)));
        }
        if let Some(guid) = part.strip_prefix("type:") {
            let guid = Guid::try_parse(guid).map_err(|_| "a GUID after @type:")?;
            return Ok((disk, Self::Typed(guid)));
        }
        match Sectors::parse(part) {
            Some(sectors) => Ok((disk, Self::Sectors(sectors))),
            None => Ok((text, Self::Whole)),
        }
    }
}

impl fmt::Display for Part {
    /// Writes the part as it follows the name of a disk, before quoting.
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

/// A part of a disk in sectors of 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sectors {
    /// The first sector.
    pub first: u64,
    /// The number of sectors, at least 1.
    pub count: u64,
}

impl Sectors {
    fn parse(range: &str) -> Option<Self> {
        let (first, count) = range.split_once('+')?;
        let sectors = Self { first: number(first)?, count: number(count)? };
        sectors.bytes().filter(|bytes| !bytes.is_empty()).map(|_| sectors)
    }

    /// Returns the bytes of the sectors, or `None` if they end beyond 64 bits.
    pub fn bytes(&self) -> Option<ByteRange> {
        let sector = Pow2::from_bits(SECTOR_BITS)?;
        ByteRange::sized(sector.times(self.first)?, sector.times(self.count)?)
    }
}
