//! The fields of the format by name, for those who look at a region.
//!
//! Always: a field is where FORMAT.md has it, whatever the bytes around it are.

use super::super::descriptor;
use super::super::format::{
    BlobEntry, BlobPage, DescriptorHead, Page, PageName, PageRest, Superblock, SuperblockFields,
};
use super::super::geometry::SlotSize;
use alloc::vec::Vec;
use core::fmt;
use core::mem::offset_of;
use zerocopy::FromBytes;

/// One field of a structure on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in FORMAT.md.
    pub name: &'static str,
    /// Its offset in the block that holds the structure, in bytes.
    pub at: usize,
    /// The value on disk.
    pub value: Value,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A quantity.
    Number(u64),
    /// Bits or a check, for which digits mean nothing.
    Bits(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The check of a block of a slot, and which block.
    Check(usize, u64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Bits(bits) => write!(f, "{bits:#x}"),
            Self::Check(block, check) => write!(f, "{block}: {check:016x}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// Fields of one structure that begins at byte `base` of its block.
struct Fields {
    base: usize,
    found: Vec<Field>,
}

impl Fields {
    fn at(base: usize) -> Self {
        Self { base, found: Vec::new() }
    }

    #[expect(clippy::arithmetic_side_effects, reason = "structures lie within a block")]
    fn add(&mut self, name: &'static str, at: usize, value: Value) {
        self.found.push(Field { name, at: self.base + at, value });
    }
}

fn number(n: impl Into<u64>) -> Value {
    Value::Number(n.into())
}

fn bits(n: impl Into<u64>) -> Value {
    Value::Bits(n.into())
}

fn bytes(raw: &[u8]) -> Value {
    Value::Bytes(raw.to_vec())
}

/// Returns the fields of a superblock's block, valid or not; none of anything but a block.
pub fn superblock(raw: &[u8]) -> Vec<Field> {
    type Raw = SuperblockFields;
    let Ok(superblock) = Superblock::ref_from_bytes(raw) else { return Vec::new() };
    let raw = &superblock.fields;
    let mut fields = Fields::at(offset_of!(Superblock, fields));
    fields.add("magic", offset_of!(Raw, magic), bytes(&raw.magic));
    fields.add("version", offset_of!(Raw, version), number(raw.version));
    fields.add("compat", offset_of!(Raw, compat), bits(raw.compat));
    fields.add("ro_compat", offset_of!(Raw, ro_compat), bits(raw.ro_compat));
    fields.add("incompat", offset_of!(Raw, incompat), bits(raw.incompat));
    fields.add("uuid", offset_of!(Raw, uuid), bytes(&raw.uuid));
    fields.add("start", offset_of!(Raw, start), number(raw.start));
    fields.add("length", offset_of!(Raw, length), number(raw.length));
    fields.add("generation", offset_of!(Raw, generation), number(raw.generation));
    fields.add("nonce", offset_of!(Raw, nonce), bits(raw.nonce));
    fields.add("slot shift", offset_of!(Raw, slot_shift), number(raw.slot_shift));
    fields.add("checksum type", offset_of!(Raw, checksum), number(raw.checksum));
    fields.add("slots", offset_of!(Raw, slots), number(raw.slots));
    fields.add("condemned", offset_of!(Raw, condemned), number(raw.condemned));
    fields.add("check", offset_of!(Superblock, check), bits(superblock.check));
    fields.found
}

/// Returns the fields of a page's header; none of anything but a block.
pub fn page_header(raw: &[u8]) -> Vec<Field> {
    let Ok(page) = Page::ref_from_bytes(raw) else { return Vec::new() };
    let mut fields = Fields::at(offset_of!(Page, name));
    fields.add("magic", offset_of!(PageName, magic), bytes(&page.name.magic));
    fields.add("number", offset_of!(PageName, number), number(page.name.number));
    fields.add("generation", offset_of!(PageName, generation), number(page.name.generation));
    fields.add("check", offset_of!(Page, check), bits(page.check));
    fields.found
}

/// Returns entry `index` of a page of the blob table, and where it lies in its block.
#[expect(clippy::arithmetic_side_effects, reason = "entries lie within a block")]
fn entry_of(raw: &[u8], index: usize) -> Option<(usize, &BlobEntry)> {
    let page = Page::ref_from_bytes(raw).ok()?;
    let body: &BlobPage = zerocopy::transmute_ref!(&page.rest.body);
    let entry = body.entries.get(index)?;
    let at = BODY_AT + offset_of!(BlobPage, entries) + index * size_of::<BlobEntry>();
    Some((at, entry))
}

/// Where the body of a page begins in its block.
const BODY_AT: usize = offset_of!(Page, rest) + offset_of!(PageRest, body);

/// Returns the fields of entry `index` of a page of the blob table; none if there is no such entry.
pub fn blob_entry(raw: &[u8], index: usize) -> Vec<Field> {
    type Raw = BlobEntry;
    let Some((at, raw)) = entry_of(raw, index) else { return Vec::new() };
    let mut fields = Fields::at(at);
    fields.add("state", offset_of!(Raw, state), number(raw.state));
    fields.add("generation", offset_of!(Raw, generation), number(raw.generation));
    fields.add("length", offset_of!(Raw, bytes), number(raw.bytes));
    fields.add("identity", offset_of!(Raw, identity), bytes(&raw.identity));
    fields.found
}

/// Returns the fields of descriptor `index` of a page, and of its checks those whose bits are set;
/// none of anything but a block.
#[expect(clippy::arithmetic_side_effects, reason = "descriptors lie within a block")]
pub fn descriptor(raw: &[u8], size: SlotSize, index: u32) -> Vec<Field> {
    type Raw = DescriptorHead;
    let Ok(page) = Page::ref_from_bytes(raw) else { return Vec::new() };
    let descriptor = descriptor::of(page, size, index);
    let (raw, bitmap) = (descriptor.raw_head(), descriptor.bitmap());
    let mut fields = Fields::at(BODY_AT + size.descriptor(index).start);
    fields.add("blob", offset_of!(Raw, blob), number(raw.blob));
    fields.add("state", offset_of!(Raw, state), number(raw.state));
    fields.add("class", offset_of!(Raw, class), number(raw.class));
    fields.add("slot generation", offset_of!(Raw, slot_generation), number(raw.slot_generation));
    fields.add("blob generation", offset_of!(Raw, blob_generation), number(raw.blob_generation));
    fields.add("window", offset_of!(Raw, window), number(raw.window));
    fields.add("bitmap", size_of::<Raw>(), bytes(bitmap));
    let checks = size_of::<Raw>() + bitmap.len();
    for (block, sum) in descriptor.sums().enumerate() {
        if descriptor.is_resident(block) {
            fields.add("check", checks + block * size_of::<u64>(), Value::Check(block, sum));
        }
    }
    fields.found
}

/// Returns whether entry `index` of a page of the blob table was ever used.
pub fn entry_used(raw: &[u8], index: usize) -> bool {
    entry_of(raw, index).is_some_and(|(_, entry)| entry.generation.get() != 0)
}
