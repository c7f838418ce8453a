//! The device table: which blob a device id names, and which blob a unified block lies in.
//!
//! Always: no two slots hold the same block of the unified address space, so an address means
//! one device or none.

use heapless::Vec;

use super::block::BLOCKS_MAX;
use super::corrupt::{Corrupt, Part};
use super::error::FormatError;
use super::feature::Incompat;
use super::record::Record;
use super::superblock::Superblock;

/// The most device slots that are read. Merged images have one a layer; container images have
/// been limited to 127 layers, and the builders in use stay well below.
pub const DEVICES_MAX: usize = 64;

const SLOT_LEN: usize = 128;
/// Bytes of a slot, also the unit of the table's place.
pub(super) const SLOT_BYTES: u64 = 128;

/// One slot of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSlot {
    tag: [u8; 64],
    /// Length in blocks; 0 where the image does not say (use the device's own length).
    pub blocks: u64,
    /// The first block in the unified address space; 0 means that the slot is not in it.
    pub uniaddr: u64,
}

impl DeviceSlot {
    /// How many bytes a slot has.
    pub const BYTES: usize = SLOT_LEN;

    /// Slot `number` (1 is the first) from its bytes.
    pub fn from_bytes(
        superblock: &Superblock,
        number: u16,
        bytes: &[u8; SLOT_LEN],
    ) -> Result<Self, FormatError> {
        let raw = Record(bytes);
        let (mut blocks, mut uniaddr) = (u64::from(raw.u32::<64>()), u64::from(raw.u32::<68>()));
        if superblock.incompat.has(Incompat::BITS_48) {
            blocks |= u64::from(raw.u32::<72>()) << 32;
            uniaddr |= u64::from(raw.u16::<76>()) << 32;
        }
        if uniaddr.saturating_add(blocks) > BLOCKS_MAX {
            return Err(Corrupt::SlotRange { slot: number, uniaddr, blocks }.into());
        }
        Ok(Self { tag: raw.bytes::<0, 64>(), blocks, uniaddr })
    }

    /// The label, up to the first NUL: a blob id, or the UUID of a merged image's source; empty
    /// where the image does not say.
    pub fn tag(&self) -> &[u8] {
        self.tag.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// Where `block` of the unified address space lies in this slot.
    fn offset_of(&self, block: u64) -> Option<u64> {
        let offset = block.checked_sub(self.uniaddr)?;
        (self.uniaddr != 0 && offset < self.blocks).then_some(offset)
    }
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device slot; 0 is the primary device.
    pub slot: u16,
    /// The block of that device.
    pub block: u64,
    /// How many blocks from there on, this one included, lie on that device; at least 1. `None`
    /// where the image does not say how long the device is. A longer run must not be read on.
    pub blocks_left: Option<u64>,
}

/// The table of device slots.
#[derive(Clone, Debug)]
pub struct Devices {
    slots: Vec<DeviceSlot, DEVICES_MAX>,
    primary_blocks: u64,
}

impl Devices {
    /// From the bytes at [`Superblock::device_table_at`]; from none if there is no table.
    ///
    /// # Errors
    /// Corrupt when a slot overlaps another, or the primary device, in the unified address space.
    /// Slots without a length hold no unified block, so they overlap nothing.
    pub fn from_bytes(superblock: &Superblock, table: &[u8]) -> Result<Self, FormatError> {
        let count = usize::from(superblock.extra_devices);
        let need = count.saturating_mul(SLOT_LEN);
        let short = Corrupt::Short { part: Part::DeviceTable, need, got: table.len() };
        let table = table.get(..need).ok_or(short)?;
        let mut slots: Vec<DeviceSlot, DEVICES_MAX> = Vec::new();
        for (number, bytes) in (1..).zip(table.as_chunks().0) {
            let slot = DeviceSlot::from_bytes(superblock, number, bytes)?;
            // The superblock's constructor has refused a longer table.
            slots.push(slot).map_err(|_| Corrupt::NoSlot { slot: number, slots: number })?;
        }
        let devices = Self { slots, primary_blocks: superblock.blocks };
        devices.check_overlap()?;
        Ok(devices)
    }

    /// How many slots there are besides the primary.
    pub fn len(&self) -> u16 {
        u16::try_from(self.slots.len()).unwrap_or(u16::MAX)
    }

    /// Whether the primary device is the only one.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Slot `number`; 1 is the first, 0 (the primary) has none.
    pub fn slot(&self, number: u16) -> Option<&DeviceSlot> {
        self.slots.get(usize::from(number).checked_sub(1)?)
    }

    /// The slots with their numbers, from 1.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &DeviceSlot)> {
        (1..).zip(&self.slots)
    }

    /// Where block `block` of `device_id` (masked already) lies. Id N is slot N; id 0 is the
    /// unified address space: the primary device, or the slot that the address falls into.
    ///
    /// # Errors
    /// Corrupt when there is no such slot, or the block lies on no device.
    pub fn resolve(&self, device_id: u16, block: u64) -> Result<Place, FormatError> {
        if device_id == 0 {
            return self.resolve_unified(block);
        }
        let missing = Corrupt::NoSlot { slot: device_id, slots: self.len() };
        let slot = self.slot(device_id).ok_or(missing)?;
        self.place(device_id, block, slot.blocks)
    }

    fn resolve_unified(&self, block: u64) -> Result<Place, FormatError> {
        for (number, slot) in self.iter() {
            if let Some(offset) = slot.offset_of(block) {
                return self.place(number, offset, slot.blocks);
            }
        }
        self.place(0, block, self.primary_len())
    }

    /// Blocks of the primary device in the unified address space; 0 if nothing bounds it.
    fn primary_len(&self) -> u64 {
        if self.primary_blocks != 0 {
            return self.primary_blocks;
        }
        let starts = self.slots.iter().filter(|slot| slot.uniaddr != 0 && slot.blocks != 0);
        starts.map(|slot| slot.uniaddr).min().unwrap_or(0)
    }

    fn place(&self, slot: u16, block: u64, blocks: u64) -> Result<Place, FormatError> {
        if blocks == 0 {
            return Ok(Place { slot, block, blocks_left: None });
        }
        match blocks.checked_sub(block) {
            None | Some(0) => Err(Corrupt::BlockBeyondSlot { slot, block, blocks }.into()),
            left => Ok(Place { slot, block, blocks_left: left }),
        }
    }

    /// At most 64 x 64 comparisons.
    fn check_overlap(&self) -> Result<(), Corrupt> {
        for (low, slot) in self.iter() {
            if slot.uniaddr == 0 || slot.blocks == 0 {
                continue;
            }
            if slot.uniaddr < self.primary_blocks {
                return Err(Corrupt::SlotsOverlap { low: 0, high: low, block: slot.uniaddr });
            }
            let after = self.iter().filter(|&(high, _)| high > low);
            for (high, other) in after {
                let first = slot.uniaddr.max(other.uniaddr);
                if slot.offset_of(first).is_some() && other.offset_of(first).is_some() {
                    return Err(Corrupt::SlotsOverlap { low, high, block: first });
                }
            }
        }
        Ok(())
    }
}

const _: () = assert!(SLOT_LEN == 128 && SLOT_BYTES == 128);
