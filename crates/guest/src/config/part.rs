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
    /// The partition with this role of the Discoverable Partitions Specification, of whatever
    /// architecture.
    Role(Role),
    /// The partitions whose names begin with this text.
    Matching(String),
}

/// A role of a partition (Discoverable Partitions Specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role(&'static (&'static str, [Guid; 3]));

/// The roles by their names, with their types on x86-64, 64-bit ARM and 64-bit RISC-V. The trees of
/// dm-verity of the first two are the last two.
static ROLES: [(&str, [Guid; 3]); 4] = [
    (
        "root",
        [
            guid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            guid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
            guid!("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
        ],
    ),
    (
        "usr",
        [
            guid!("8484680c-9521-48c6-9c11-b0720656f69e"),
            guid!("b0e01050-ee5f-4390-949a-9101b17104e9"),
            guid!("beaec34b-8442-439b-a40b-984381ed097d"),
        ],
    ),
    (
        "root-verity",
        [
            guid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
            guid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
            guid!("b6ed5582-440b-4209-b8da-5ff7c419ea3d"),
        ],
    ),
    (
        "usr-verity",
        [
            guid!("77ff5f63-e7b6-4633-acf4-1565b864c0e6"),
            guid!("6e11a4e7-fbca-4ded-b9e9-e1a512bb664e"),
            guid!("8f1056be-9b05-47c4-81d6-be53128e5b54"),
        ],
    ),
];

impl Role {
    fn named(name: &str) -> Option<Self> {
        ROLES.iter().find(|(known, _)| *known == name).map(Self)
    }

    /// Returns whether partitions of this type have the role.
    pub fn has(self, kind: &Guid) -> bool {
        self.0.1.contains(kind)
    }

    /// Returns the role of the partition with the tree of this one, and the types of both, pair by
    /// pair; `None` for a role without a tree.
    fn tree(self) -> Option<(Self, impl Iterator<Item = (Guid, Guid)>)> {
        let tree = ROLES.iter().find(|(name, _)| name.strip_suffix("-verity") == Some(self.0.0))?;
        Some((Self(tree), self.0.1.into_iter().zip(tree.1)))
    }
}

impl Part {
    /// Cuts a text as [`Part::split`] does, where several partitions may be meant: `START*` stands for
    /// `name:START*`.
    ///
    /// # Errors
    /// As [`Part::split`].
    pub fn split_several(text: &str) -> Result<(&str, Self), &'static str> {
        let split = Self::split(text)?;
        let pattern = text.rsplit_once('@').filter(|_| split.1 == Self::Whole);
        let start = pattern.and_then(|(disk, part)| Some((disk, part.strip_suffix('*')?)));
        match start.filter(|(_, start)| (1..NAME_CHARS_MAX).contains(&start.encode_utf16().count()))
        {
            Some((disk, start)) => Ok((disk, Self::Matching(start.to_string()))),
            None => Ok(split),
        }
    }

    /// Cuts a text into the name of a disk and a part of it. A name with an `@` of its own is left
    /// whole, unless what follows the `@` can be nothing but a part.
    ///
    /// # Errors
    /// What would fit, if the text has a part that is wrong.
    pub fn split(text: &str) -> Result<(&str, Self), &'static str> {
        if let Some((disk, name)) = text.split_once("@name:") {
            let pattern = name.strip_suffix('*').filter(|start| !start.is_empty());
            if let Some(start) =
                pattern.filter(|start| start.encode_utf16().count() < NAME_CHARS_MAX)
            {
                return Ok((disk, Self::Matching(start.to_string())));
            }
            let fits = (1..=NAME_CHARS_MAX).contains(&name.encode_utf16().count());
            let want = "the name of a partition, of 1 to 36 characters, after @name:";
            return if fits { Ok((disk, Self::Named(name.to_string()))) } else { Err(want) };
        }
        let Some((disk, part)) = text.rsplit_once('@') else { return Ok((text, Self::Whole)) };
        if part == "type" {
            return Ok((disk, Self::Typed(REGION_TYPE)));
        }
        if let Some(kind) = part.strip_prefix("type:") {
            if let Some(role) = Role::named(kind) {
                return Ok((disk, Self::Role(role)));
            }
            let want = "a GUID, root, usr, root-verity or usr-verity after @type:";
            let guid = Guid::try_parse(kind).map_err(|_| want)?;
            return Ok((disk, Self::Typed(guid)));
        }
        match Sectors::parse(part) {
            Some(sectors) => Ok((disk, Self::Sectors(sectors))),
            None => Ok((text, Self::Whole)),
        }
    }
}

impl Part {
    /// Returns where the tree of dm-verity of a partition lies on the same disk: in the partition
    /// with the type of the tree, or with the same name and `-verity`; `None` where nothing says so.
    pub fn tree(&self) -> Option<Self> {
        match self {
            Self::Role(role) => Some(Self::Role(role.tree()?.0)),
            Self::Typed(kind) => {
                let trees = ROLES.iter().filter_map(|role| Some(Role(role).tree()?.1));
                trees.flatten().find(|(data, _)| data == kind).map(|(_, tree)| Self::Typed(tree))
            }
            Self::Named(name) => Some(Self::Named(alloc::format!("{name}-verity"))),
            Self::Whole | Self::Sectors(_) | Self::Matching(_) => None,
        }
    }
}

impl fmt::Display for Part {
    /// Writes the part as it follows the name of a disk, before quoting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "@type:{}", role.0.0),
            Self::Matching(start) => write!(f, "@name:{start}*"),
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
