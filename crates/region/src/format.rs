//! The blocks of FORMAT.md as they lie on disk, field by field.
//!
//! Always: any bytes are one of each of these. The reader of a block judges its fields.

use super::geometry::SlotSize;
use super::{BLOCK_BYTES, IDENTITY_BYTES};
use alloc::boxed::Box;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Sectors of a block.
pub const SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;
/// Bytes of a page after its header.
pub const BODY_BYTES: usize = BLOCK_BYTES - 64;

/// A superblock.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Superblock {
    pub fields: SuperblockFields,
    pub check: U64,
    pub rest: [u8; BLOCK_BYTES - SECTOR_BYTES],
}

/// What the check of a superblock covers. All that counts lies in the first sector, which survives
/// a power cut as a whole: a format that was cut short leaves a block with the magic, or a blank
/// one.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SuperblockFields {
    pub magic: [u8; 8],
    pub version: U32,
    pub compat: U32,
    pub ro_compat: U32,
    pub incompat: U32,
    pub uuid: [u8; 16],
    pub start: U64,
    pub length: U64,
    pub generation: U64,
    pub nonce: U64,
    pub slot_shift: u8,
    pub checksum: u8,
    pub unused: [u8; 2],
    pub slots: U32,
    pub condemned: u8,
    pub rest: [u8; 423],
}

/// A page: a header, and a body whose layout depends on the page's kind.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Page {
    pub name: PageName,
    pub check: U64,
    pub rest: PageRest,
}

/// Which page it is. The check covers it first.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PageName {
    pub magic: [u8; 4],
    pub number: U32,
    pub generation: U64,
}

/// What the check covers after the name.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PageRest {
    /// What the stamps of the sectors displace; zeros while the page is open.
    pub displaced: [Stamp; SECTORS],
    pub unused: [u8; 8],
    pub body: Body,
}

/// The mark of one write in each sector.
pub type Stamp = [u8; 4];

/// A sector of a page.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sector {
    pub bytes: [u8; SECTOR_BYTES - size_of::<Stamp>()],
    pub stamp: Stamp,
}

/// The body of a page.
pub type Body = [u8; BODY_BYTES];

impl Page {
    /// Returns a page of zeros.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// Returns the page that these bytes are; `None` if they are not a block.
    pub fn of(raw: &mut [u8]) -> Option<&mut Self> {
        Self::mut_from_bytes(raw).ok()
    }

    /// Returns the sectors of the page.
    pub fn sectors(&mut self) -> &mut [Sector; SECTORS] {
        zerocopy::transmute_mut!(self)
    }
}

/// Entries of the blob table.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BlobPage {
    pub entries: [BlobEntry; BlobPage::ENTRIES],
    pub rest: [u8; 64],
}

impl BlobPage {
    /// Entries of a page.
    pub const ENTRIES: usize = 31;
}

/// One blob.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BlobEntry {
    pub state: u8,
    pub unused: [u8; 3],
    pub generation: U32,
    pub bytes: U64,
    pub identity: [u8; IDENTITY_BYTES],
}

impl BlobEntry {
    /// The state of an entry that names a blob; any other is free.
    pub const USED: u8 = 1;
}

/// The fixed part of a slot's descriptor. The bitmap and the checks of the blocks follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DescriptorHead {
    pub blob: U16,
    pub state: u8,
    pub class: u8,
    pub slot_generation: U32,
    pub blob_generation: U32,
    pub unused: [u8; 4],
    pub window: U64,
}

impl DescriptorHead {
    /// The state of a slot that holds something; any other is free.
    pub const LIVE: u8 = 1;
}

/// The head of the hint, its page 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HintHead {
    /// Slots that hold something.
    pub live: U32,
    pub unused: [u8; 4],
    /// Resident blocks of each blob.
    pub residents: [U64; 124],
    /// The number of entries of each page from 1 on, of as many pages as there is room for.
    pub counts: [U16; 1516],
}

/// Any other page of the hint.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HintPage {
    pub entries: [HintEntry; HintPage::ENTRIES],
}

impl HintPage {
    /// Entries of a page.
    pub const ENTRIES: usize = 336;
}

/// What one slot holds.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HintEntry {
    pub slot: U32,
    pub window: U32,
    pub blob: U16,
    pub unused: [u8; 2],
}

impl HintEntry {
    /// The slot number that ends the entries of a page.
    pub const END: u32 = u32::MAX;
    /// The end of the entries.
    pub const NONE: Self = Self {
        slot: U32::MAX_VALUE,
        window: U32::MAX_VALUE,
        blob: U16::MAX_VALUE,
        unused: [0xff; 2],
    };
}

/// The boot trace.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BootPage {
    pub count: U32,
    pub unused: [u8; 12],
    pub runs: [BootRun; BootPage::RUNS],
}

impl BootPage {
    /// The most runs of a trace.
    pub const RUNS: usize = 251;
}

/// Adjacent blocks of one blob.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BootRun {
    pub blob: U16,
    pub blocks: U16,
    pub blob_generation: U32,
    pub first: U64,
}

/// The mark of the mount that writes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MarkPage {
    pub nonce: U64,
    pub number: U64,
    pub rest: [u8; BODY_BYTES - 16],
}

// Each of these is a whole block, or the whole body of a page.
const _: () = {
    assert!(size_of::<Superblock>() == BLOCK_BYTES && size_of::<SuperblockFields>() == 504);
    assert!(size_of::<Page>() == BLOCK_BYTES && size_of::<[Sector; SECTORS]>() == BLOCK_BYTES);
    assert!(size_of::<BlobPage>() == BODY_BYTES && size_of::<MarkPage>() == BODY_BYTES);
    assert!(size_of::<HintHead>() == BODY_BYTES && size_of::<HintPage>() == BODY_BYTES);
    assert!(size_of::<BootPage>() == BODY_BYTES);
    assert!(SlotSize::K64.descriptors_bytes() <= BODY_BYTES);
    assert!(SlotSize::K256.descriptors_bytes() <= BODY_BYTES);
    assert!(SlotSize::M1.descriptors_bytes() <= BODY_BYTES);
};
