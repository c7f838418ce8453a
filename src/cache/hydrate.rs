//! Hydration: fetched bytes become resident, in groups, behind the readers' backs.
//!
//! Always: a bit enters a descriptor page only after a flush that followed its data (O3); the
//! tombstone of a given-up slot is durable before the slot is used again (O1); nothing here
//! waits, so no reader waits for it. DESIGN.md draws the life of a group.

use super::descriptor;
use super::geometry::{Geometry, SLOT_BLOCKS_MAX};
use super::pages::Newest;
use super::region::{Cache, Condemned, FAULTS_MAX, Mode};
use super::slots::{SlotKey, SlotState};
use super::superblock::Superblock;
use super::{BLOCK_BYTES, BlobIndex, Residence};
use crate::storage::{Background, Buffer, IoErrorKind, Job, JobKind, Storage};
use crate::trace;
use alloc::vec::Vec;

/// A group is closed when this many bytes wait for their flush.
const GROUP_BYTES_MAX: u64 = 16 << 20;
/// A group is closed when it has been open this long.
const GROUP_OPEN_NS_MAX: u64 = 1_000_000_000;
/// Parts of slots that can be under way at once.
const FILLS_MAX: usize = 2048;
/// Descriptor and blob pages that can be written at once.
const PAGE_JOBS_MAX: usize = 32;
/// Slots given up at most in one tick.
const CULLS_PER_TICK_MAX: u32 = 1024;

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Collecting fills.
    Open,
    /// Closed; its data writes are still under way.
    Draining,
    /// Its data is written; the flush is under way.
    Flushing,
    /// Flushed; its descriptor pages are being written.
    Pages,
}

/// Whether this mount has announced itself as the region's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    No,
    /// What an earlier mount wrote is being made durable.
    Settling,
    Writing,
    Flushing,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FillState {
    Writing,
    Written,
    Lost,
}

/// Some adjacent blocks of one slot on their way to residency.
#[derive(Clone, Copy, Debug)]
struct Fill {
    slot: u32,
    first: usize,
    blocks: usize,
    /// The write that carries them, and where they lie in its buffer.
    write: usize,
    offset: usize,
    group: u64,
    state: FillState,
}

/// One write of data to the region.
#[derive(Debug)]
struct DataWrite {
    whole: Buffer,
    bytes: usize,
    at: u64,
    started: bool,
}

/// A transfer of one page.
#[derive(Clone, Copy, Debug)]
enum PageJob {
    /// A write of a descriptor page.
    Descriptors(u32),
    /// A write of a blob table page.
    Blobs(u32),
    /// A read of a descriptor page.
    Load(u32),
}

/// The hydration state of a mount.
#[derive(Debug)]
pub(super) struct Hydrator {
    pool: Vec<Buffer>,
    writes: Vec<Option<DataWrite>>,
    fills: Vec<Fill>,
    page_pool: Vec<Buffer>,
    page_jobs: Vec<Option<PageJob>>,
    phase: Phase,
    armed: Armed,
    /// Number of the open group.
    group: u64,
    group_bytes: u64,
    opened_ns: u64,
    /// A reader asked for everything to be made durable.
    hurry: bool,
    /// A final flush is under way, for `sync`.
    sealing: bool,
    /// Bytes were offered while hardly a slot was free.
    starved: bool,
}

impl DataWrite {
    fn end(&self) -> u64 {
        self.at.saturating_add(offset(self.bytes))
    }
}

/// What a tag of a background job means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Data(usize),
    Page(usize),
    GroupFlush,
    ArmSettle,
    ArmWrite,
    ArmFlush,
    SealFlush,
    Condemn,
}

impl Tag {
    fn to_bits(self) -> u64 {
        let (kind, index) = match self {
            Self::Data(index) => (1, index),
            Self::Page(index) => (2, index),
            Self::GroupFlush => (3, 0),
            Self::ArmWrite => (4, 0),
            Self::ArmFlush => (5, 0),
            Self::SealFlush => (6, 0),
            Self::ArmSettle => (7, 0),
            Self::Condemn => (8, 0),
        };
        (kind << 32) | u64::try_from(index).unwrap_or(0)
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let index = usize::try_from(bits & 0xffff_ffff).ok()?;
        match bits >> 32 {
            1 => Some(Self::Data(index)),
            2 => Some(Self::Page(index)),
            3 => Some(Self::GroupFlush),
            4 => Some(Self::ArmWrite),
            5 => Some(Self::ArmFlush),
            6 => Some(Self::SealFlush),
            7 => Some(Self::ArmSettle),
            8 => Some(Self::Condemn),
            _ => None,
        }
    }
}

impl Hydrator {
    pub(super) fn new(buffers: usize, buffer_bytes: usize, pages: usize) -> Self {
        let page_jobs = pages.clamp(1, PAGE_JOBS_MAX);
        Self {
            pool: core::iter::repeat_with(|| Buffer::new(buffer_bytes)).take(buffers).collect(),
            writes: core::iter::repeat_with(|| None).take(buffers).collect(),
            fills: Vec::with_capacity(FILLS_MAX),
            page_pool: core::iter::repeat_with(|| Buffer::new(BLOCK_BYTES))
                .take(page_jobs)
                .collect(),
            page_jobs: core::iter::repeat_with(|| None).take(page_jobs).collect(),
            phase: Phase::Open,
            armed: Armed::No,
            group: 0,
            group_bytes: 0,
            opened_ns: 0,
            hurry: false,
            sealing: false,
            starved: false,
        }
    }

    /// Blocks of `slot` whose data is written but not committed, and those still being written.
    pub(super) fn under_way(&self, slot: u32) -> (BlockSet, BlockSet) {
        let (mut written, mut writing) = (BlockSet::default(), BlockSet::default());
        for fill in self.fills.iter().filter(|fill| fill.slot == slot) {
            for block in fill.first..fill.first.saturating_add(fill.blocks) {
                match fill.state {
                    FillState::Written => written.insert(block),
                    FillState::Writing => writing.insert(block),
                    FillState::Lost => {}
                }
            }
        }
        (written, writing)
    }

    /// The bytes of block `block` of `slot` up to the end of its fill, while they are being
    /// written.
    pub(super) fn staged(&self, slot: u32, block: usize) -> Option<&[u8]> {
        let covers = |fill: &&Fill| {
            fill.slot == slot
                && fill.state == FillState::Writing
                && fill.first <= block
                && block < fill.first.saturating_add(fill.blocks)
        };
        let fill = self.fills.iter().find(covers)?;
        let skip = block.checked_sub(fill.first)?.checked_mul(BLOCK_BYTES)?;
        let bytes = fill.blocks.checked_mul(BLOCK_BYTES)?;
        let write = self.writes.get(fill.write)?.as_ref()?;
        write.whole.get(fill.offset..)?.get(..bytes)?.get(skip..)
    }

    /// Whether more than half of the buffers or of the table of fills are in use.
    pub(super) fn pressed(&self) -> bool {
        self.pool.len().saturating_mul(2) < self.writes.len() || self.fills.len() >= FILLS_MAX / 2
    }

    /// Whether nothing was offered and nothing is under way.
    fn at_rest(&self) -> bool {
        self.idle() && !self.hurry && !self.starved
    }

    fn idle(&self) -> bool {
        self.fills.is_empty() && self.phase == Phase::Open && !self.sealing
    }
}

/// A set of blocks of one slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockSet([u64; SLOT_BLOCKS_MAX / 64]);

impl BlockSet {
    pub(super) fn insert(&mut self, block: usize) {
        if let Some(word) = self.0.get_mut(block >> 6) {
            *word |= 1 << (block & 63);
        }
    }

    pub(super) fn contains(&self, block: usize) -> bool {
        self.0.get(block >> 6).is_some_and(|word| (word >> (block & 63)) & 1 == 1)
    }
}

impl Cache {
    /// Offers fetched bytes of `blob` to the region: `data` begins at block `first` and is whole
    /// blocks, but for the last block of a blob. What finds no buffer or slot is dropped and
    /// counted.
    pub(super) fn take_in(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        if self.mode != Mode::ReadWrite || self.blobs.get(blob).is_none() {
            return;
        }
        self.hydrator.starved |= self.slots.count(SlotState::Free) < self.low_water();
        let mut first = first;
        let mut rest = data;
        while !rest.is_empty() {
            let Some(blocks) = self.fill_run(blob, first, rest) else {
                let dropped = u64::try_from(rest.len()).unwrap_or(0);
                self.stats.dropped_bytes = self.stats.dropped_bytes.saturating_add(dropped);
                return;
            };
            first = first.saturating_add(u64::try_from(blocks).unwrap_or(u64::MAX));
            rest = rest.get(blocks.saturating_mul(BLOCK_BYTES)..).unwrap_or_default();
        }
    }

    /// Puts a run of blocks that lie side by side in the region into one buffer, ready to be
    /// written: behind a write that waits already, if the run adjoins it, else a new one.
    /// Returns how many blocks of `data` are dealt with; `None` if there is no room.
    fn fill_run(&mut self, blob: BlobIndex, first: u64, data: &[u8]) -> Option<usize> {
        let known = self.known_blocks(blob, first, data.len().div_ceil(BLOCK_BYTES));
        if known > 0 {
            return Some(known);
        }
        let (index, mut write) = self.open_write(blob, first)?;
        let mut run = Run { write: index, at: write.at, bytes: write.bytes, blocks: 0 };
        while let Some(part) = self.next_part(blob, first, data, &run, write.whole.len()) {
            self.take_part(blob, first, data, &part, &mut run, &mut write.whole);
        }
        let added = offset(run.bytes.saturating_sub(write.bytes));
        self.hydrator.group_bytes = self.hydrator.group_bytes.saturating_add(added);
        write.bytes = run.bytes;
        match self.hydrator.writes.get_mut(index) {
            Some(place) if write.bytes > 0 => *place = Some(write),
            _ => self.hydrator.pool.push(write.whole),
        }
        (run.blocks > 0).then_some(run.blocks)
    }

    /// The write that block `number` of `blob` goes into, taken from the table: one that waits
    /// and ends where the block will lie, or a new one.
    fn open_write(&mut self, blob: BlobIndex, number: u64) -> Option<(usize, DataWrite)> {
        let (key, block) = self.window(blob, number)?;
        let slot = self.slots.find(key).or_else(|| self.slots.first(SlotState::Free))?;
        let at = self.geometry.block_at(slot, block);
        let open = |write: &DataWrite| {
            !write.started && write.bytes < write.whole.len() && write.end() == at
        };
        let writes = &mut self.hydrator.writes;
        if let Some(index) = writes.iter().position(|write| write.as_ref().is_some_and(open)) {
            return writes.get_mut(index)?.take().map(|write| (index, write));
        }
        let index = writes.iter().position(Option::is_none)?;
        let whole = self.hydrator.pool.pop()?;
        Some((index, DataWrite { whole, bytes: 0, at, started: false }))
    }

    /// How many blocks from `first` on need no fill, being resident or under way.
    fn known_blocks(&self, blob: BlobIndex, first: u64, blocks: usize) -> usize {
        let mut known: usize = 0;
        while known < blocks {
            let at = first.saturating_add(u64::try_from(known).unwrap_or(u64::MAX));
            let (residence, run) = self.find_block(blob, at);
            if residence == Residence::Absent {
                break;
            }
            known = known.saturating_add(run);
        }
        known.min(blocks)
    }

    /// The next blocks that can follow in `run`; `None` ends it.
    fn next_part(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        run: &Run,
        room: usize,
    ) -> Option<Part> {
        let left = data.len().checked_sub(run.blocks.checked_mul(BLOCK_BYTES)?)?;
        let space = room.checked_sub(run.bytes)? / BLOCK_BYTES;
        if left == 0 || space == 0 || self.hydrator.fills.len() >= FILLS_MAX {
            return None;
        }
        let number = first.checked_add(u64::try_from(run.blocks).ok()?)?;
        let (residence, absent) = self.find_block(blob, number);
        if residence != Residence::Absent {
            return None;
        }
        let (key, block) = self.window(blob, number)?;
        let held = self.slots.find(key);
        let slot = held.or_else(|| self.slots.first(SlotState::Free))?;
        let (page, _) = self.geometry.place(slot);
        let at = self.geometry.block_at(slot, block);
        // A run goes on only where the next slot lies behind it.
        let adjoins = run.at.checked_add(offset(run.bytes)) == Some(at);
        if !adjoins || self.pages.get(page).is_none() {
            return None;
        }
        if held.is_none() {
            self.open_slot(key)?;
        }
        let blocks = absent.min(space).min(left.div_ceil(BLOCK_BYTES));
        Some(Part { slot, block, blocks, number })
    }

    /// Takes the first free slot for `key` and writes the head of its descriptor, without any
    /// bit. Its page is in memory.
    fn open_slot(&mut self, key: SlotKey) -> Option<()> {
        let slot = self.slots.take(key)?;
        let head = self.head_of(slot)?;
        let (page, index) = self.geometry.place(slot);
        descriptor::set_head(
            self.pages.get_mut(page)?,
            self.geometry.slot_size,
            index,
            &head,
            true,
        );
        Some(())
    }

    /// The head of a live slot's descriptor, with the next generation of the slot.
    fn head_of(&self, slot: u32) -> Option<descriptor::Head> {
        let key = self.slots.key(slot)?;
        let (page, index) = self.geometry.place(slot);
        let old = descriptor::head(self.pages.get(page)?, self.geometry.slot_size, index);
        Some(descriptor::Head {
            blob: key.blob.0,
            live: true,
            class: self.slots.class(slot),
            slot_generation: old.slot_generation.wrapping_add(1),
            blob_generation: self.blobs.get(key.blob)?.generation,
            window: u64::from(key.window),
        })
    }

    /// Copies the blocks of `part` into the buffer, notes their checksums, and records the fill.
    fn take_part(
        &mut self,
        blob: BlobIndex,
        first: u64,
        data: &[u8],
        part: &Part,
        run: &mut Run,
        whole: &mut Buffer,
    ) {
        let Some(key) = self.blobs.get(blob).map(|entry| entry.key) else { return };
        let (page, index) = self.geometry.place(part.slot);
        let size = self.geometry.slot_size;
        let offset = run.bytes;
        let from = usize::try_from(part.number.saturating_sub(first)).unwrap_or(usize::MAX);
        let source = data.get(from.saturating_mul(BLOCK_BYTES)..).unwrap_or_default();
        // Nobody else has a handle on a buffer that waits; without the bytes there is no fill.
        let Some(target) = whole.get_mut().and_then(|all| all.get_mut(offset..)) else { return };
        let Some(descriptors) = self.pages.get_mut(page) else { return };
        let numbered = (part.number..).zip(part.block..);
        let copied =
            source.chunks(BLOCK_BYTES).zip(target.chunks_exact_mut(BLOCK_BYTES)).take(part.blocks);
        for ((from, to), (number, block)) in copied.zip(numbered) {
            let (filled, padding) = to.split_at_mut(from.len().min(BLOCK_BYTES));
            filled.copy_from_slice(from);
            padding.fill(0);
            descriptor::set_sum(descriptors, size, index, block, key.checksum(number, to));
        }
        self.slots.hold(part.slot);
        self.pages.pin(page);
        self.hydrator.fills.push(Fill {
            slot: part.slot,
            first: part.block,
            blocks: part.blocks,
            write: run.write,
            offset,
            group: self.hydrator.group,
            state: FillState::Writing,
        });
        run.bytes = run.bytes.saturating_add(part.blocks.saturating_mul(BLOCK_BYTES));
        run.blocks = run.blocks.saturating_add(part.blocks);
    }

    /// Moves hydration on as far as it goes without waiting.
    pub(super) fn move_on<S: Background>(&mut self, storage: &mut S) {
        while let Some((job, result)) = storage.poll() {
            self.ended(storage, job, result);
        }
        if self.condemned == Condemned::Wanted {
            self.condemn(storage);
        }
        if self.mode == Mode::ReadWrite {
            if self.hydrator.at_rest() {
                return;
            }
            if self.hydrator.opened_ns == 0 {
                self.hydrator.opened_ns = storage.now_ns();
            }
            self.start_held(storage);
            self.tick(storage);
        }
    }

    /// Makes everything that was offered durable, as far as the region allows, before
    /// `deadline_ns`. Says whether it is.
    pub fn sync<S: Background>(&mut self, storage: &mut S, deadline_ns: u64) -> bool {
        while matches!(self.condemned, Condemned::Wanted | Condemned::Writing)
            && storage.now_ns() < deadline_ns
        {
            self.move_on(storage);
            core::hint::spin_loop();
        }
        if self.mode != Mode::ReadWrite {
            // Without a write in this mount there is nothing that could have been lost.
            return self.hydrator.fills.is_empty() && self.hydrator.armed == Armed::No;
        }
        self.hydrator.hurry = true;
        while !self.settled() && self.mode == Mode::ReadWrite && storage.now_ns() < deadline_ns {
            self.move_on(storage);
            core::hint::spin_loop();
        }
        self.hydrator.hurry = false;
        if !self.settled() || self.hydrator.armed != Armed::Yes {
            return self.settled();
        }
        // The pages of the last group are written; this makes them durable too.
        self.hydrator.sealing = self.submit_flush(storage, Tag::SealFlush);
        while self.hydrator.sealing && storage.now_ns() < deadline_ns {
            self.move_on(storage);
            core::hint::spin_loop();
        }
        !self.hydrator.sealing && self.mode == Mode::ReadWrite
    }

    fn settled(&self) -> bool {
        self.hydrator.idle()
            && self.pages.dirty() == 0
            && !self.blobs.unsettled()
            && self.slots.count(SlotState::Evicted) == 0
            && self.slots.count(SlotState::Entombing) == 0
    }

    fn tick<S: Background>(&mut self, storage: &mut S) {
        let open = self.hydrator.phase == Phase::Open && !self.hydrator.sealing;
        if open && self.should_close(storage.now_ns()) {
            self.hydrator.group = self.hydrator.group.saturating_add(1);
            self.hydrator.group_bytes = 0;
            self.hydrator.opened_ns = 0;
            self.hydrator.phase = Phase::Draining;
            self.cull();
            self.hydrator.starved = false;
        }
        self.advance(storage);
    }

    fn should_close(&self, now_ns: u64) -> bool {
        let hydrator = &self.hydrator;
        let freeing =
            self.slots.count(SlotState::Evicted) > 0 || self.slots.count(SlotState::Entombed) > 0;
        let live =
            self.slots.count(SlotState::Small).saturating_add(self.slots.count(SlotState::Main));
        // Every busy slot has a fill, so one of the others can be given up.
        let can_free =
            freeing || usize::try_from(live).is_ok_and(|live| live > hydrator.fills.len());
        let work = !hydrator.fills.is_empty()
            || self.pages.dirty() > 0
            || self.blobs.unsettled()
            || freeing;
        let old = hydrator.opened_ns > 0
            && now_ns.saturating_sub(hydrator.opened_ns) >= GROUP_OPEN_NS_MAX;
        hydrator.group_bytes >= GROUP_BYTES_MAX
            || hydrator.fills.len() >= FILLS_MAX / 2
            || (self.pages.scarce() && self.pages.held().saturating_mul(2) >= self.pages.frames())
            || (hydrator.starved && can_free)
            || (work && (hydrator.hurry || old))
    }

    /// Free slots below which slots are given up: 5 % of all, at least two if there are that
    /// many.
    fn low_water(&self) -> u32 {
        (self.slots.len() / 20).max(2).min(self.slots.len().div_ceil(2))
    }

    fn cull(&mut self) {
        let high = (self.slots.len() / 14).max(self.low_water().saturating_add(1));
        let coming = self
            .slots
            .count(SlotState::Free)
            .saturating_add(self.slots.count(SlotState::Evicted))
            .saturating_add(self.slots.count(SlotState::Entombed));
        if self.slots.count(SlotState::Free) >= self.low_water() {
            return;
        }
        for _ in coming..high.min(coming.saturating_add(CULLS_PER_TICK_MAX)) {
            if self.slots.cull().is_none() {
                break;
            }
            self.stats.culled_slots = self.stats.culled_slots.saturating_add(1);
        }
    }

    fn advance<S: Background>(&mut self, storage: &mut S) {
        if self.hydrator.phase == Phase::Draining && self.drained() {
            let armed = self.hydrator.armed;
            if armed == Armed::No {
                // Without any earlier write there is nothing to announce: arming comes first.
                self.arm(storage);
            } else if armed == Armed::Yes && self.blobs.unsettled() {
                // The flush covers new blobs too: a descriptor that names a blob which a power
                // cut took would be taken for that of the next blob in its place.
                self.write_pages(storage);
            } else if armed == Armed::Yes && self.submit_flush(storage, Tag::GroupFlush) {
                self.hydrator.phase = Phase::Flushing;
            }
        }
        if self.hydrator.phase == Phase::Pages {
            self.entomb(storage);
            self.write_pages(storage);
            let in_flight = self.hydrator.page_jobs.iter().any(Option::is_some);
            if !in_flight && self.pages.writable() == 0 {
                self.hydrator.phase = Phase::Open;
            }
        }
    }

    fn drained(&self) -> bool {
        let group = self.hydrator.group;
        !self
            .hydrator
            .fills
            .iter()
            .any(|fill| fill.group < group && fill.state == FillState::Writing)
    }

    /// Writes the tombstones of given-up slots into their pages; fetches pages that are not in
    /// memory.
    fn entomb<S: Background>(&mut self, storage: &mut S) {
        let size = self.geometry.slot_size;
        for _ in 0..self.slots.count(SlotState::Evicted) {
            let Some(slot) = self.slots.first(SlotState::Evicted) else { return };
            let (page, index) = self.geometry.place(slot);
            // A page that is being written must not change its meaning until it is.
            let raw = match self.pages.in_flight(page) {
                true => None,
                false => self.pages.change(page),
            };
            match raw {
                Some(raw) => {
                    let slot_generation =
                        descriptor::head(raw, size, index).slot_generation.wrapping_add(1);
                    let head = descriptor::Head { slot_generation, ..descriptor::Head::default() };
                    descriptor::set_head(raw, size, index, &head, true);
                    self.slots.set_state(slot, SlotState::Entombing);
                }
                None => {
                    self.slots.set_state(slot, SlotState::Evicted);
                    self.request_page(storage, page);
                }
            }
        }
    }

    /// Starts a read of a page that is not in memory, unless one is under way.
    fn request_page<S: Background>(&mut self, storage: &mut S, page: u32) {
        let loading =
            |job: &Option<PageJob>| matches!(job, Some(PageJob::Load(other)) if *other == page);
        if self.pages.get(page).is_some() || self.hydrator.page_jobs.iter().any(loading) {
            return;
        }
        let copy = match self.pages.newest(page) {
            Newest::In(copy) => copy,
            Newest::Nowhere => {
                self.pages.install(page, None, 0);
                return;
            }
            Newest::Unreadable => return self.lose_page(page),
        };
        let place = self.hydrator.page_jobs.iter().position(Option::is_none);
        let Some(place) = place.filter(|_| self.pages.has_room()) else { return };
        let Some(buffer) = self.hydrator.page_pool.pop() else { return };
        let at = self.geometry.page_at(copy, page);
        match self.submit(storage, Tag::Page(place), JobKind::Read, at, Some(buffer)) {
            Ok(()) => {
                if let Some(job) = self.hydrator.page_jobs.get_mut(place) {
                    *job = Some(PageJob::Load(page));
                }
            }
            Err(buffer) => self.hydrator.page_pool.extend(buffer),
        }
    }

    /// Writes what has changed: of the blob table before the group's flush, of the descriptors
    /// behind it.
    fn write_pages<S: Background>(&mut self, storage: &mut S) {
        let descriptors = self.hydrator.phase == Phase::Pages;
        while let Some(mut buffer) = self.hydrator.page_pool.pop() {
            let place = self.hydrator.page_jobs.iter().position(Option::is_none);
            let raw = buffer.get_mut().unwrap_or_default();
            let next = if descriptors {
                let next = self.pages.take_dirty(&self.geometry, raw);
                next.map(|(page, at)| (PageJob::Descriptors(page), at))
            } else {
                self.blobs.take_dirty(raw).map(|(page, at)| (PageJob::Blobs(page), at))
            };
            let (Some(place), Some((write, at))) = (place, next) else {
                self.hydrator.page_pool.push(buffer);
                return;
            };
            let tag = Tag::Page(place);
            match self.submit(storage, tag, JobKind::Write, at, Some(buffer)) {
                Ok(()) => {
                    if let Some(slot) = self.hydrator.page_jobs.get_mut(place) {
                        *slot = Some(write);
                    }
                }
                Err(buffer) => {
                    self.hydrator.page_pool.extend(buffer);
                    self.page_written(write, None);
                    return;
                }
            }
        }
    }

    /// A page write ended, or was not taken (`None`).
    fn page_written(&mut self, write: PageJob, result: Option<Result<(), IoErrorKind>>) {
        let ok = result == Some(Ok(()));
        match write {
            PageJob::Load(_) => {}
            PageJob::Blobs(page) => self.blobs.written(page, ok),
            PageJob::Descriptors(page) => {
                self.pages.written(page, ok);
                if ok {
                    for slot in self.geometry.slots_of(page) {
                        if self.slots.state(slot) == SlotState::Entombing {
                            self.slots.set_state(slot, SlotState::Entombed);
                        }
                    }
                }
            }
        }
    }

    /// Starts the announcement of this mount as the region's writer. A flush comes first: a
    /// guest that was killed without a power cut may have left the newest superblock, and newest
    /// pages, volatile, and their older copies are overwritten next (O2).
    fn arm<S: Background>(&mut self, storage: &mut S) {
        if self.submit_flush(storage, Tag::ArmSettle) {
            self.hydrator.armed = Armed::Settling;
        }
    }

    fn announce<S: Background>(&mut self, storage: &mut S) {
        self.hydrator.armed = Armed::No;
        let Some(mut buffer) = self.hydrator.page_pool.pop() else { return };
        let next = self.next_superblock();
        next.write_to(buffer.get_mut().unwrap_or_default());
        let at = Geometry::superblock_at(self.superblock_in.twin());
        match self.submit(storage, Tag::ArmWrite, JobKind::Write, at, Some(buffer)) {
            Ok(()) => self.hydrator.armed = Armed::Writing,
            Err(buffer) => self.hydrator.page_pool.extend(buffer),
        }
    }

    /// Writes a superblock that says that everything else in the region is to be forgotten: its
    /// blocks fail their checks, and would again in every mount.
    fn condemn<S: Background>(&mut self, storage: &mut S) {
        let Some(mut buffer) = self.hydrator.page_pool.pop() else { return };
        let next = Superblock { condemned: true, ..self.next_superblock() };
        next.write_to(buffer.get_mut().unwrap_or_default());
        let at = Geometry::superblock_at(self.superblock_in.twin());
        match self.submit(storage, Tag::Condemn, JobKind::Write, at, Some(buffer)) {
            Ok(()) => self.condemned = Condemned::Writing,
            Err(buffer) => self.hydrator.page_pool.extend(buffer),
        }
    }

    /// Starts data writes: full ones, and all once a group is closed or buffers run short.
    fn start_held<S: Background>(&mut self, storage: &mut S) {
        match self.hydrator.armed {
            Armed::No if self.hydrator.writes.iter().any(Option::is_some) => {
                return self.arm(storage);
            }
            Armed::Yes => {}
            _ => return,
        }
        // A buffer that is not full waits for what may follow it, unless it is wanted.
        let hydrator = &self.hydrator;
        let all = hydrator.hurry || hydrator.phase != Phase::Open || hydrator.pressed();
        for index in 0..self.hydrator.writes.len() {
            let Some(Some(write)) = self.hydrator.writes.get(index) else { continue };
            if write.started || (!all && write.bytes < write.whole.len()) {
                continue;
            }
            let (at, data) = (write.at, write.whole.slice(0..write.bytes));
            if self.submit(storage, Tag::Data(index), JobKind::Write, at, data).is_err() {
                return;
            }
            if let Some(Some(write)) = self.hydrator.writes.get_mut(index) {
                write.started = true;
            }
        }
    }

    fn submit_flush<S: Background>(&mut self, storage: &mut S, tag: Tag) -> bool {
        self.stats.flushes = self.stats.flushes.saturating_add(1);
        let started = self.submit(storage, tag, JobKind::Flush, 0, None).is_ok();
        if !started {
            self.stats.flushes = self.stats.flushes.saturating_sub(1);
        }
        started
    }

    /// Starts a job on the region's device; `at` counts from the region's start. Gives the
    /// buffer back if the device has no room.
    fn submit<S: Background>(
        &mut self,
        storage: &mut S,
        tag: Tag,
        kind: JobKind,
        at: u64,
        buffer: Option<Buffer>,
    ) -> Result<(), Option<Buffer>> {
        let at = if kind == JobKind::Flush { 0 } else { self.start.saturating_add(at) };
        let len = u64::try_from(buffer.as_deref().map_or(0, <[u8]>::len)).unwrap_or(0);
        let job = Job { tag: tag.to_bits(), device: self.device, at, kind, buffer };
        storage.start(job).map_err(|job| job.buffer)?;
        if kind == JobKind::Write {
            self.stats.written_bytes = self.stats.written_bytes.saturating_add(len);
        }
        Ok(())
    }

    fn ended<S: Background>(&mut self, storage: &mut S, job: Job, result: Result<(), IoErrorKind>) {
        let Some(tag) = Tag::from_bits(job.tag) else { return };
        if let Err(kind) = result
            && job.kind != JobKind::Read
        {
            self.write_fault(job.kind, job.at, kind);
        }
        match tag {
            Tag::Data(index) => {
                drop(job);
                self.data_written(index, result.is_ok());
            }
            Tag::Page(index) => {
                let page_job = self.hydrator.page_jobs.get_mut(index).and_then(Option::take);
                match page_job {
                    Some(PageJob::Load(page)) => {
                        // A reader may have brought the page in meanwhile, and changed it.
                        let raw = job.buffer.as_deref().filter(|_| result.is_ok());
                        if self.pages.get(page).is_none()
                            && self.pages.has_room()
                            && !raw.is_some_and(|raw| self.pages.install_copy(page, raw))
                        {
                            self.lose_page(page);
                        }
                    }
                    Some(write) => self.page_written(write, Some(result)),
                    None => {}
                }
                self.hydrator.page_pool.extend(job.buffer);
            }
            Tag::GroupFlush => {
                self.commit(result.is_ok());
                self.hydrator.phase = Phase::Pages;
            }
            Tag::ArmSettle if result.is_ok() => self.announce(storage),
            Tag::ArmSettle => self.hydrator.armed = Armed::No,
            Tag::ArmWrite => {
                self.hydrator.page_pool.extend(job.buffer);
                self.hydrator.armed = Armed::No;
                if result.is_ok() && self.submit_flush(storage, Tag::ArmFlush) {
                    self.hydrator.armed = Armed::Flushing;
                }
            }
            Tag::ArmFlush => {
                self.hydrator.armed = if result.is_ok() { Armed::Yes } else { Armed::No };
                if result.is_ok() {
                    self.superblock = self.next_superblock();
                    self.superblock_in = self.superblock_in.twin();
                }
            }
            Tag::Condemn => {
                self.hydrator.page_pool.extend(job.buffer);
                // Durable or not: if it is lost, the next mount finds the same and tries again.
                self.condemned = Condemned::Done;
                self.submit_flush(storage, Tag::SealFlush);
            }
            Tag::SealFlush => {
                self.hydrator.sealing = false;
                if result.is_ok() {
                    self.slots.move_all(SlotState::Entombed, SlotState::Free);
                    self.pages.flushed();
                }
            }
        }
    }

    fn data_written(&mut self, index: usize, ok: bool) {
        let Some(write) = self.hydrator.writes.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.hydrator.pool.push(write.whole);
        let state = if ok { FillState::Written } else { FillState::Lost };
        for fill in self.hydrator.fills.iter_mut().filter(|fill| fill.write == index) {
            if fill.state == FillState::Writing {
                fill.state = state;
            }
        }
    }

    /// The flush of the closed group ended: its bits may enter their pages, and the tombstones
    /// of the group before are durable.
    fn commit(&mut self, flushed: bool) {
        if flushed {
            self.slots.move_all(SlotState::Entombed, SlotState::Free);
            self.pages.flushed();
        }
        let group = self.hydrator.group;
        let size = self.geometry.slot_size;
        for at in (0..self.hydrator.fills.len()).rev() {
            let Some(fill) = self.hydrator.fills.get(at).copied().filter(|fill| fill.group < group)
            else {
                continue;
            };
            let (page, index) = self.geometry.place(fill.slot);
            let head = self.head_of(fill.slot);
            if flushed
                && fill.state == FillState::Written
                && let Some(raw) = self.pages.change(page)
            {
                // A page that left memory after a lost write came back with the old head.
                if !descriptor::head(raw, size, index).live
                    && let Some(head) = head
                {
                    descriptor::set_head(raw, size, index, &head, true);
                }
                for block in fill.first..fill.first.saturating_add(fill.blocks) {
                    descriptor::set_resident(raw, size, index, block);
                }
                descriptor::set_class(raw, size, index, self.slots.class(fill.slot));
                let kept = u64::try_from(fill.blocks).unwrap_or(0) << 12;
                self.stats.kept_bytes = self.stats.kept_bytes.saturating_add(kept);
            }
            self.pages.unpin(page);
            self.slots.release(fill.slot);
            self.hydrator.fills.swap_remove(at);
        }
    }

    fn write_fault(&mut self, kind: JobKind, at: u64, error: IoErrorKind) {
        self.stats.region_faults = self.stats.region_faults.saturating_add(1);
        trace::warn!("region: a write or flush at byte {} failed: {}", at, trace::Shown(&error));
        // A flush that failed may have dropped anything, and says so only once.
        if kind == JobKind::Flush || self.stats.region_faults >= FAULTS_MAX {
            self.stop_writing("a flush failed, or too many writes did");
        }
    }

    pub(super) fn stop_writing(&mut self, why: &'static str) {
        if self.mode == Mode::ReadWrite {
            trace::warn!("region: read-only for this mount: {}", why);
            self.mode = Mode::ReadOnly(why);
        }
    }

    /// Brings a page into memory. Waits for the read if it has to; false if it cannot.
    pub(super) fn load_page<S: Storage>(&mut self, storage: &mut S, page: u32) -> bool {
        if self.pages.touch(page) {
            return true;
        }
        if !self.pages.has_room() {
            return false;
        }
        match self.pages.newest(page) {
            Newest::Nowhere => self.pages.install(page, None, 0),
            Newest::Unreadable => false,
            Newest::In(copy) => {
                let mut raw = [0; BLOCK_BYTES];
                let at = self.geometry.page_at(copy, page);
                if self.read_region(storage, at, &mut raw) && self.pages.install_copy(page, &raw) {
                    return true;
                }
                self.lose_page(page);
                false
            }
        }
    }

    /// What a page described is lost; its slots are not used again in this mount.
    fn lose_page(&mut self, page: u32) {
        self.stats.region_faults = self.stats.region_faults.saturating_add(1);
        self.pages.lose(page);
        for slot in self.geometry.slots_of(page) {
            self.slots.evict(slot);
            self.slots.set_state(slot, SlotState::Dead);
        }
    }
}

fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A write that is being put together.
struct Run {
    write: usize,
    /// Where the write begins.
    at: u64,
    /// Bytes in its buffer.
    bytes: usize,
    /// Blocks of the offered data that are in it.
    blocks: usize,
}

/// Blocks of one slot that go into a run.
struct Part {
    slot: u32,
    block: usize,
    blocks: usize,
    /// Block number of the first in the blob.
    number: u64,
}
