//! The fields of the format by name, for those who look at a region.
//!
//! Always: a field is where FORMAT.md has it, whatever the bytes around it are.

use super::super::bytes::{u16_at, u32_at, u64_at};
use super::super::geometry::{PAGE_HEADER_BYTES, SlotSize};
use super::super::{IDENTITY_BYTES, blobs, descriptor, page, superblock};
use alloc::vec::Vec;
use core::fmt;

/// One field of a structure on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in FORMAT.md.
    pub name: &'static str,
    /// Its offset in the block that holds the structure, in bytes.
    pub at: usize,
    /// What it says.
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

/// Reads fields of one structure that begins at `base` of `raw`.
struct Reader<'r> {
    raw: &'r [u8],
    base: usize,
    fields: Vec<Field>,
}

impl Reader<'_> {
    fn add(&mut self, name: &'static str, at: usize, value: impl FnOnce(&[u8], usize) -> Value) {
        let at = self.base.saturating_add(at);
        let value = value(self.raw, at);
        self.fields.push(Field { name, at, value });
    }
}

fn n8(raw: &[u8], at: usize) -> Value {
    Value::Number(raw.get(at).copied().unwrap_or(0).into())
}

fn n16(raw: &[u8], at: usize) -> Value {
    Value::Number(u16_at(raw, at).into())
}

fn n32(raw: &[u8], at: usize) -> Value {
    Value::Number(u32_at(raw, at).into())
}

fn n64(raw: &[u8], at: usize) -> Value {
    Value::Number(u64_at(raw, at))
}

fn b32(raw: &[u8], at: usize) -> Value {
    Value::Bits(u32_at(raw, at).into())
}

fn b64(raw: &[u8], at: usize) -> Value {
    Value::Bits(u64_at(raw, at))
}

fn bytes(len: usize) -> impl FnOnce(&[u8], usize) -> Value {
    move |raw, at| {
        let found = raw.get(at..).and_then(|rest| rest.get(..len));
        Value::Bytes(found.unwrap_or_default().to_vec())
    }
}

/// The fields of a superblock's block, valid or not.
pub fn superblock(raw: &[u8]) -> Vec<Field> {
    use superblock::at;
    let mut fields = Reader { raw, base: 0, fields: Vec::new() };
    fields.add("magic", at::MAGIC, bytes(8));
    fields.add("version", at::VERSION, n32);
    fields.add("compat", at::COMPAT, b32);
    fields.add("ro_compat", at::RO_COMPAT, b32);
    fields.add("incompat", at::INCOMPAT, b32);
    fields.add("uuid", at::UUID, bytes(16));
    fields.add("start", at::START, n64);
    fields.add("length", at::LENGTH, n64);
    fields.add("generation", at::GENERATION, n64);
    fields.add("nonce", at::NONCE, b64);
    fields.add("slot shift", at::SLOT_SHIFT, n8);
    fields.add("checksum type", at::SLOT_SHIFT.saturating_add(1), n8);
    fields.add("slots", at::SLOTS, n32);
    fields.add("condemned", at::CONDEMNED, n8);
    fields.add("check", at::CHECK, b64);
    fields.fields
}

/// The fields of a page's header.
pub fn page_header(raw: &[u8]) -> Vec<Field> {
    use page::at;
    let mut fields = Reader { raw, base: 0, fields: Vec::new() };
    fields.add("magic", at::MAGIC, bytes(4));
    fields.add("number", at::NUMBER, n32);
    fields.add("generation", at::GENERATION, n64);
    fields.add("check", at::CHECK, b64);
    fields.fields
}

/// The fields of entry `index` of a page of the blob table.
pub fn blob_entry(raw: &[u8], index: usize) -> Vec<Field> {
    use blobs::at;
    let base = PAGE_HEADER_BYTES.saturating_add(index.saturating_mul(blobs::ENTRY_BYTES));
    let mut fields = Reader { raw, base, fields: Vec::new() };
    fields.add("state", at::STATE, n8);
    fields.add("generation", at::GENERATION, n32);
    fields.add("length", at::BYTES, n64);
    fields.add("identity", at::IDENTITY, bytes(IDENTITY_BYTES));
    fields.fields
}

/// The fields of descriptor `index` of a page; of its checks those whose bits are set.
pub fn descriptor(raw: &[u8], size: SlotSize, index: u32) -> Vec<Field> {
    use descriptor::at;
    let base = descriptor::start(size, index);
    let mut fields = Reader { raw, base, fields: Vec::new() };
    fields.add("blob", at::BLOB, n16);
    fields.add("state", at::STATE, n8);
    fields.add("class", at::CLASS, n8);
    fields.add("slot generation", at::SLOT_GENERATION, n32);
    fields.add("blob generation", at::BLOB_GENERATION, n32);
    fields.add("window", at::WINDOW, n64);
    fields.add("bitmap", at::BITMAP, bytes(size.bitmap_bytes()));
    let checks = at::BITMAP.saturating_add(size.bitmap_bytes());
    for block in 0..size.blocks() {
        if descriptor::resident(raw, size, index, block) {
            let at = checks.saturating_add(block.saturating_mul(8));
            fields.add("check", at, |raw, at| Value::Check(block, u64_at(raw, at)));
        }
    }
    fields.fields
}

/// Whether entry `index` of a page of the blob table was ever used.
pub fn entry_used(raw: &[u8], index: usize) -> bool {
    let base = PAGE_HEADER_BYTES.saturating_add(index.saturating_mul(blobs::ENTRY_BYTES));
    u32_at(raw, base.saturating_add(blobs::at::GENERATION)) != 0
}
