//! The device table: finds the device slot of a device id, and of a unified block.
//!
//! Always: no two slots hold the same block of the unified address space, so an address means one
//! device or none.

use core::cmp::Ordering;

use super::block::BLOCKS_MAX;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::feature::Incompat;
#[cfg(not(feature = "alloc"))]
use super::limits::DEVICES_MAX;
use super::limits::SLOT_BITS;
use super::record::Record;
use super::superblock::Superblock;
use rootlet_base::units::ByteRange;

/// The slots: on the heap if there is one, because an image is moved.
#[cfg(feature = "alloc")]
type Slots = alloc::vec::Vec<DeviceSlot>;
#[cfg(not(feature = "alloc"))]
type Slots = heapless::Vec<DeviceSlot, DEVICES_MAX>;

/// The numbers of slots.
#[cfg(feature = "alloc")]
type Numbers = alloc::vec::Vec<u16>;
#[cfg(not(feature = "alloc"))]
type Numbers = heapless::Vec<u16, DEVICES_MAX>;

/// Sorts the numbers of slots by `compare`. All keys share this one sort: another instance of the
/// sort would add 14 KiB of code.
#[cfg(feature = "alloc")]
pub fn sort_numbers(numbers: &mut [u16], compare: &mut dyn FnMut(&u16, &u16) -> Ordering) {
    numbers.sort_unstable_by(compare);
}

/// Sorts the numbers of slots by `compare`: by insertion, because without `alloc` a table has few
/// slots, and the sort of `core` takes 3 KiB of flash.
#[cfg(not(feature = "alloc"))]
pub fn sort_numbers(numbers: &mut [u16], compare: &mut dyn FnMut(&u16, &u16) -> Ordering) {
    insert_sort(numbers, compare);
}

/// Sorts `numbers` by `compare` in at most *n* * *n* / 2 steps.
#[cfg(any(not(feature = "alloc"), test))]
fn insert_sort(numbers: &mut [u16], compare: &mut dyn FnMut(&u16, &u16) -> Ordering) {
    for len in 2..=numbers.len() {
        let mut rest = numbers.get_mut(..len);
        while let Some([.., before, last]) = rest
            && compare(before, last).is_gt()
        {
            core::mem::swap(before, last);
            rest = rest.and_then(|rest| rest.split_last_mut()).map(|(_, rest)| rest);
        }
    }
}

/// The bytes of a slot.
const SLOT_LEN: usize = 1 << SLOT_BITS;

/// A device slot: an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSlot {
    tag: [u8; 64],
    /// The length in blocks; 0 if the image does not state it (use the device's own length).
    blocks: u64,
    /// The first block in the unified address space; 0 if the slot has no place there.
    uniaddr: u64,
    bytes: ByteRange,
}

impl DeviceSlot {
    /// The length of an entry in bytes.
    pub const BYTES: usize = SLOT_LEN;

    /// Parses slot `number`, from 1.
    pub fn from_bytes(
        superblock: &Superblock,
        number: u16,
        bytes: &[u8; SLOT_LEN],
    ) -> Result<Self, FormatError> {
        let raw = Record(bytes);
        let (mut blocks, mut uniaddr) = (u64::from(raw.u32::<64>()), u64::from(raw.u32::<68>()));
        if superblock.incompat().has(Incompat::BITS_48) {
            blocks |= u64::from(raw.u32::<72>()) << 32;
            uniaddr |= u64::from(raw.u16::<76>()) << 32;
        }
        let beyond = Corrupt::SlotRange { slot: number, uniaddr, blocks };
        let end = uniaddr.checked_add(blocks).filter(|end| *end <= BLOCKS_MAX).ok_or(beyond)?;
        let unit = superblock.block_size().pow2();
        let (start, end) = (unit.times(uniaddr), unit.times(end));
        let bytes = start.zip(end).and_then(|(start, end)| ByteRange::new(start, end));
        Ok(Self { tag: raw.bytes::<0, 64>(), blocks, uniaddr, bytes: bytes.ok_or(beyond)? })
    }

    /// Returns the bytes of the slot in the unified address space; an empty range if the image does
    /// not state the slot's length.
    pub fn bytes(&self) -> ByteRange {
        self.bytes
    }

    /// Returns the tag up to the first NUL: a blob id, or the UUID of a merged image's source;
    /// empty if the image has none.
    pub fn tag(&self) -> &[u8] {
        match self.tag.iter().position(|byte| *byte == 0) {
            Some(len) => self.tag.split_at(len).0,
            None => &self.tag,
        }
    }

    /// Returns the length in blocks; `None` if the image does not state it.
    fn known_blocks(&self) -> Option<u64> {
        (self.blocks != 0).then_some(self.blocks)
    }

    /// Returns the block of this slot that is block `block` of the unified address space; `None` if
    /// the slot does not hold that block.
    fn offset_of(&self, block: u64) -> Option<u64> {
        let offset = block.checked_sub(self.uniaddr)?;
        (self.uniaddr != 0 && offset < self.blocks).then_some(offset)
    }

    /// Returns the length in blocks; 0 if the image does not state it (use the device's own
    /// length).
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the first block in the unified address space; 0 if the slot has no place there.
    pub const fn uniaddr(&self) -> u64 {
        self.uniaddr
    }
}

/// Returns empty vectors with room for `count` slots and their numbers.
///
/// # Errors
/// [`Unsupported::HeadMemory`].
#[cfg(feature = "alloc")]
fn room(count: usize) -> Result<(Slots, Numbers), FormatError> {
    let (mut slots, mut numbers) = (Slots::new(), Numbers::new());
    let full = slots.try_reserve_exact(count).and_then(|()| numbers.try_reserve_exact(count));
    full.map_err(|_| Unsupported::HeadMemory(count << SLOT_BITS))?;
    Ok((slots, numbers))
}

#[cfg(not(feature = "alloc"))]
fn room(_: usize) -> Result<(Slots, Numbers), FormatError> {
    Ok((Slots::new(), Numbers::new()))
}

#[cfg(feature = "alloc")]
fn push<T>(to: &mut alloc::vec::Vec<T>, one: T) -> Result<(), FormatError> {
    to.push(one);
    Ok(())
}

/// Appends an entry. The superblock's parser has refused a table that is too long.
#[cfg(not(feature = "alloc"))]
fn push<T>(to: &mut heapless::Vec<T, DEVICES_MAX>, one: T) -> Result<(), FormatError> {
    to.push(one).map_err(|_| Unsupported::HeadMemory(DEVICES_MAX << SLOT_BITS).into())
}

/// The place of a block: a device slot and a block of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device slot; 0 is the primary device.
    pub slot: u16,
    /// The block of the device slot.
    pub block: u64,
    /// The number of blocks from this one to the end of the device slot, at least 1: the most
    /// blocks of a run. `None` if the image does not state the length of the slot.
    pub blocks_left: Option<u64>,
}

/// The table of device slots.
#[derive(Clone, Debug)]
pub struct Devices {
    slots: Slots,
    /// The slots that hold blocks of the unified address space, sorted by their first block.
    unified: Numbers,
    len: u16,
    primary_blocks: u64,
}

impl Devices {
    /// Parses the bytes at [`Superblock::device_table_at`]; no bytes if there is no table.
    ///
    /// # Errors
    /// Corrupt when a slot overlaps another, or the primary device, in the unified address space.
    /// Slots without a length hold no unified block, so they overlap nothing.
    pub fn from_bytes(superblock: &Superblock, table: &[u8]) -> Result<Self, FormatError> {
        let count = usize::from(superblock.extra_devices());
        let need = count << SLOT_BITS;
        let short = Corrupt::Short { part: Part::DeviceTable, need, got: table.len() };
        let table = table.get(..need).ok_or(short)?;
        let (mut slots, mut unified) = room(count)?;
        for (number, bytes) in (1..=u16::MAX).zip(table.as_chunks().0) {
            let slot = DeviceSlot::from_bytes(superblock, number, bytes)?;
            push(&mut slots, slot)?;
            if slot.uniaddr != 0 && slot.blocks != 0 {
                push(&mut unified, number)?;
            }
        }
        let (len, primary_blocks) = (superblock.extra_devices(), superblock.blocks());
        let mut devices = Self { slots, unified: Numbers::new(), len, primary_blocks };
        sort_numbers(&mut unified, &mut |a, b| devices.start(*a).cmp(&devices.start(*b)));
        devices.unified = unified;
        devices.check_overlap()?;
        Ok(devices)
    }

    /// Returns the number of slots, without the primary device.
    pub fn len(&self) -> u16 {
        self.len
    }

    /// Returns whether the primary device is the only device.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns slot `number`, from 1; `None` for 0, the primary device, and after the last slot.
    pub fn slot(&self, number: u16) -> Option<&DeviceSlot> {
        self.slots.get(usize::from(number).checked_sub(1)?)
    }

    /// Returns the slots with their numbers, from 1.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &DeviceSlot)> {
        (1..=u16::MAX).zip(&self.slots)
    }

    /// Returns the first unified block of a slot.
    fn start(&self, number: u16) -> Option<u64> {
        self.slot(number).map(|slot| slot.uniaddr)
    }

    /// Returns the place of block `block` of device id `device_id`, which is masked already. Id *n*
    /// is slot *n*; id 0 is the unified address space: the slot that holds the block, else the
    /// primary device.
    ///
    /// # Errors
    /// Corrupt when there is no such slot, or the block lies on no device.
    pub fn resolve(&self, device_id: u16, block: u64) -> Result<Place, FormatError> {
        if device_id == 0 {
            return self.resolve_unified(block);
        }
        let missing = Corrupt::NoSlot { slot: device_id, slots: self.len() };
        let slot = self.slot(device_id).ok_or(missing)?;
        place(device_id, block, slot.known_blocks())
    }

    fn resolve_unified(&self, block: u64) -> Result<Place, FormatError> {
        let after = self.unified.partition_point(|number| self.start(*number) <= Some(block));
        let number = after.checked_sub(1).and_then(|last| self.unified.get(last)).copied();
        let slot = number.and_then(|number| Some((number, self.slot(number)?)));
        match slot.and_then(|(number, slot)| Some((number, slot, slot.offset_of(block)?))) {
            Some((number, slot, offset)) => place(number, offset, slot.known_blocks()),
            None => place(0, block, self.primary_len()),
        }
    }

    /// Returns the number of blocks of the primary device in the unified address space; `None` if
    /// it has no bound.
    fn primary_len(&self) -> Option<u64> {
        if self.primary_blocks != 0 {
            return Some(self.primary_blocks);
        }
        self.unified.first().and_then(|number| self.start(*number))
    }

    /// Refuses slots that share a block. If any do, two neighbours in the sorted order do.
    fn check_overlap(&self) -> Result<(), Corrupt> {
        if let Some(&high) = self.unified.first()
            && let Some(block) = self.start(high).filter(|start| *start < self.primary_blocks)
        {
            return Err(Corrupt::SlotsOverlap { low: 0, high, block });
        }
        for pair in self.unified.windows(2) {
            if let [one, two] = *pair
                && let (Some(slot), Some(block)) = (self.slot(one), self.start(two))
                && slot.offset_of(block).is_some()
            {
                let (low, high) = (one.min(two), one.max(two));
                return Err(Corrupt::SlotsOverlap { low, high, block });
            }
        }
        Ok(())
    }
}

/// Returns the place of block `block` of a device slot of `blocks` blocks; `None` stands for an
/// unknown length.
fn place(slot: u16, block: u64, blocks: Option<u64>) -> Result<Place, FormatError> {
    let Some(blocks) = blocks else { return Ok(Place { slot, block, blocks_left: None }) };
    match blocks.checked_sub(block) {
        None | Some(0) => Err(Corrupt::BlockBeyondSlot { slot, block, blocks }.into()),
        left => Ok(Place { slot, block, blocks_left: left }),
    }
}

const _: () = assert!(SLOT_LEN == 128);

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use std::vec::Vec as Bytes;

    proptest::proptest! {
        #[test]
        fn sort_without_alloc_is_that_of_core(numbers: Bytes<u16>) {
            let (mut ours, mut sorted) = (numbers.clone(), numbers);
            insert_sort(&mut ours, &mut |a, b| b.cmp(a));
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            proptest::prop_assert_eq!(ours, sorted);
        }
    }

    /// A slot's low block count and unified address.
    fn slot(blocks: u32, uniaddr: u32) -> [u8; 128] {
        let mut bytes = [0; 128];
        let (tag, rest) = bytes.split_at_mut(64);
        tag.fill(b'0');
        let fields = [blocks.to_le_bytes(), uniaddr.to_le_bytes()];
        rest.iter_mut().zip(fields.as_flattened()).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn devices(slots: &[[u8; 128]]) -> Result<Devices, FormatError> {
        let count = u16::try_from(slots.len()).unwrap_or(u16::MAX);
        let superblock = Sample::with_devices(count).superblock();
        Devices::from_bytes(&superblock, &slots.iter().flatten().copied().collect::<Bytes<u8>>())
    }

    fn valid(slots: &[[u8; 128]]) -> Devices {
        devices(slots).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn id_n_is_slot_n_in_its_own_blocks() {
        let devices = valid(&[slot(10, 64), slot(20, 74)]);
        let place = Place { slot: 2, block: 5, blocks_left: Some(15) };
        assert_eq!(devices.resolve(2, 5), Ok(place));
        assert_eq!(devices.slot(2).map(|slot| slot.tag().len()), Some(64));
        assert_eq!(devices.slot(0), None);
    }

    #[test]
    fn id_beyond_the_table_is_corrupt() {
        let error = Corrupt::NoSlot { slot: 3, slots: 2 };
        assert_eq!(valid(&[slot(10, 64), slot(20, 74)]).resolve(3, 0), Err(error.into()));
    }

    #[test]
    fn unified_block_lies_in_the_primary_or_in_the_slot_that_holds_it() {
        let devices = valid(&[slot(10, 64), slot(20, 74)]);
        for (block, slot, offset, left) in [
            (0, 0, 0, 64),
            (63, 0, 63, 1),
            (64, 1, 0, 10),
            (73, 1, 9, 1),
            (74, 2, 0, 20),
            (93, 2, 19, 1),
        ] {
            let place = Place { slot, block: offset, blocks_left: Some(left) };
            assert_eq!(devices.resolve(0, block), Ok(place), "block {block}");
        }
    }

    #[test]
    fn unified_block_on_no_device_is_corrupt() {
        let devices = valid(&[slot(10, 70)]);
        for block in [64, 69, 80, u64::MAX] {
            let error = Corrupt::BlockBeyondSlot { slot: 0, block, blocks: 64 };
            assert_eq!(devices.resolve(0, block), Err(error.into()));
        }
    }

    #[test]
    fn block_beyond_its_slot_is_corrupt() {
        let error = Corrupt::BlockBeyondSlot { slot: 1, block: 10, blocks: 10 };
        assert_eq!(valid(&[slot(10, 64)]).resolve(1, 10), Err(error.into()));
    }

    #[test]
    fn uniaddr_zero_is_no_mapping() {
        let devices = valid(&[slot(10, 0)]);
        assert_eq!(devices.resolve(0, 3).map(|place| place.slot), Ok(0));
    }

    #[test]
    fn slots_that_overlap_are_both_named() {
        let error = Corrupt::SlotsOverlap { low: 1, high: 3, block: 73 };
        assert_eq!(devices(&[slot(10, 64), slot(5, 74), slot(9, 73)]).err(), Some(error.into()));
        let error = Corrupt::SlotsOverlap { low: 1, high: 2, block: 80 };
        assert_eq!(devices(&[slot(10, 80), slot(100, 70)]).err(), Some(error.into()));
    }

    #[test]
    fn slot_that_repeats_is_named() {
        let error = Corrupt::SlotsOverlap { low: 1, high: 2, block: 64 };
        assert_eq!(devices(&[slot(10, 64), slot(10, 64)]).err(), Some(error.into()));
    }

    #[test]
    fn slot_over_the_primary_is_named() {
        let error = Corrupt::SlotsOverlap { low: 0, high: 1, block: 63 };
        assert_eq!(devices(&[slot(10, 63)]).err(), Some(error.into()));
    }

    #[test]
    fn slots_without_a_length_share_an_address_and_hold_no_unified_block() {
        let devices = valid(&[slot(0, 64), slot(0, 64), slot(0, 64)]);
        let place = Place { slot: 2, block: 1 << 40, blocks_left: None };
        assert_eq!(devices.resolve(2, 1 << 40), Ok(place));
        assert!(devices.resolve(0, 64).is_err());
    }

    #[test]
    fn high_halves_count_with_48bit_only() {
        let mut bytes = slot(1, 2);
        let high = bytes.get_mut(72..78).unwrap_or_default();
        high.copy_from_slice(&[1, 0, 0, 0, 2, 0]);
        let mut sample = Sample::with_devices(1);
        let narrow = DeviceSlot::from_bytes(&sample.superblock(), 1, &bytes);
        assert_eq!(narrow.map(|slot| (slot.blocks, slot.uniaddr)), Ok((1, 2)));
        let wide = sample.put(80, &[0x88]).superblock();
        let slot = DeviceSlot::from_bytes(&wide, 1, &bytes);
        assert_eq!(slot.map(|slot| (slot.blocks, slot.uniaddr)), Ok((1 << 32 | 1, 2 << 32 | 2)));
        if let Some(high) = bytes.get_mut(74..76) {
            high.fill(0xff);
        }
        let slot = DeviceSlot::from_bytes(&wide, 1, &bytes);
        let blocks = 0xffff_0001 << 32 | 1;
        let error = Corrupt::SlotRange { slot: 1, uniaddr: 2 << 32 | 2, blocks };
        assert_eq!(slot, Err(error.into()));
    }

    #[test]
    fn slot_that_ends_beyond_64_bits_of_bytes_is_refused() {
        let mut sample = Sample::with_devices(1);
        sample.0.resize(65_536, 0);
        let superblock = sample.put(12, &[16]).put(80, &[0x88]).superblock();
        let mut bytes = slot(1, u32::MAX - 1);
        if let Some(high) = bytes.get_mut(76..78) {
            high.fill(0xff);
        }
        let last = DeviceSlot::from_bytes(&superblock, 1, &bytes).map(|slot| slot.bytes());
        let end = 0xffff_ffff_ffff_0000;
        assert_eq!(last, Ok(ByteRange::new(end - 0x1_0000, end).unwrap_or_default()));
        if let Some(low) = bytes.get_mut(68..72) {
            low.fill(0xff);
        }
        let uniaddr = (1 << 48) - 1;
        let error = Corrupt::SlotRange { slot: 1, uniaddr, blocks: 1 };
        assert_eq!(DeviceSlot::from_bytes(&superblock, 1, &bytes), Err(error.into()));
    }

    #[test]
    fn table_cut_short_is_corrupt() {
        let superblock = Sample::with_devices(2).superblock();
        let error = Corrupt::Short { part: Part::DeviceTable, need: 256, got: 255 };
        assert_eq!(Devices::from_bytes(&superblock, &[0; 255]).err(), Some(error.into()));
    }
}
