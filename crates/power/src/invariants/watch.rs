//! The rules of writing (3, 5, 6, 7, 8, 11), checked at every write as it is submitted.
//!
//! Always: what may be durable is judged by the disk's own state (stable, volatile, in flight),
//! with a decoder of its own, and never by what the guest believes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rootlet_sim::disk::{Medium, SECTOR, Sparse, WriteSeen};

use super::Invariant::{
    self, MountIsIdempotent, NothingMixes, O1, O2, O3, WorkEnds, WritesStayInside,
};
use super::{Broken, Verdict};
use crate::decode::{
    BLOCK, Descriptor, Kind, Place, Super, block_sum, first_slot, identities, u64_at, unsealed,
};
use crate::machine::{Machine, Plain, Scale};

/// The most combinations of sector versions of a page that are all tried.
const COMBINATIONS_MAX: usize = 256;

/// Watches a disk; rules O1 to O3 only where the disk is honest and has one guest.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Seen>>);

/// What a watch has seen until some moment.
#[derive(Clone)]
pub struct Seen {
    is_keyed: bool,
    start: u64,
    bytes: u64,
    ordered: bool,
    broken: Option<Broken>,
    /// The write that is checked, as the disk gets it.
    raw: Vec<u8>,
    /// Pages and superblocks in flight, as the disk gets them.
    flying: Vec<(u64, Vec<u8>)>,
    /// Every blob that was ever in the table: by region, index and generation.
    blobs: BTreeMap<([u8; 16], u16, u32), Vec<u8>>,
    announced: BTreeMap<u64, u64>,
    /// The superblock that was written or found last.
    written: Option<Super>,
    /// The generation under which the last head of a hint was written.
    hinted: Option<u64>,
}

impl Watch {
    /// Watches the region of `machine`; `ordered` asks for O1 to O3.
    pub fn new(machine: &Machine, ordered: bool) -> Self {
        let seen = Seen {
            is_keyed: machine.scale == Scale::Keyed,
            start: machine.options.start,
            bytes: machine.options.bytes.unwrap_or(0),
            ordered,
            broken: None,
            raw: Vec::new(),
            flying: Vec::new(),
            blobs: BTreeMap::new(),
            announced: BTreeMap::new(),
            written: superblock_of(machine),
            hinted: None,
        };
        let watch = Self(Arc::new(Mutex::new(seen)));
        let (shared, disk) = (watch.clone(), machine.disk);
        machine.world.on_write(move |write| {
            let mut seen = shared.0.lock().unwrap();
            let verdict = if write.device == disk {
                seen.check(write)
            } else {
                broken(WritesStayInside, format!("a write to {}", write.device))
            };
            if let (Err(broken), None) = (verdict, &seen.broken) {
                let what = format!("at event {}: {}", write.event, broken.what);
                seen.broken = Some(Broken { what, ..broken });
            }
        });
        watch
    }

    /// All that was seen so far.
    pub fn seen(&self) -> Seen {
        self.0.lock().unwrap().clone()
    }

    /// Goes back to that moment: what was seen since is of another history.
    pub fn back_to(&self, seen: &Seen) {
        *self.0.lock().unwrap() = seen.clone();
    }

    /// The first broken rule.
    pub fn verdict(&self) -> Verdict {
        self.0.lock().unwrap().broken.clone().map_or(Ok(()), Err)
    }
}

fn broken(invariant: Invariant, what: impl Into<String>) -> Verdict {
    Err(Broken::new(invariant, what))
}

impl Seen {
    fn check(&mut self, write: &WriteSeen<'_>) -> Verdict {
        let header = [0, self.start / 2];
        if self.is_keyed && header.contains(&write.at) && write.data.len() as u64 == BLOCK {
            return match write.foreground {
                true => Ok(()),
                false => broken(MountIsIdempotent, "only a format writes the header"),
            };
        }
        let data = self.plain(write.medium).of_bytes(write.at, write.data);
        self.raw = write.data.to_vec();
        self.check_plain(&WriteSeen { data: &data, in_flight: write.in_flight.clone(), ..*write })
    }

    /// What reads the region's blocks on the disk.
    fn plain(&self, medium: &Medium) -> Plain {
        Plain::of(self.is_keyed, medium.current())
    }

    fn check_plain(&mut self, write: &WriteSeen<'_>) -> Verdict {
        let end = write.at + write.data.len() as u64;
        if write.at < self.start || end > self.start + self.bytes {
            return broken(
                WritesStayInside,
                format!("bytes {}..{end} lie outside the region", write.at),
            );
        }
        self.flying.retain(|(at, data)| write.in_flight.contains(&(*at..*at + data.len() as u64)));
        let number = (write.at - self.start) / BLOCK;
        if number == 0 || number == 16 {
            return self.check_superblock(write, number);
        }
        let at_the_end =
            |region: &Super| matches!(region.place(number), Place::Hint | Place::BootTrace);
        if write.foreground && !self.written.as_ref().is_some_and(at_the_end) {
            return broken(WorkEnds, format!("a reader waits for the write of block {number}"));
        }
        // A disk that lies may show bytes that never become durable: guests believe these bytes.
        let medium = if self.ordered { write.medium.stable() } else { write.medium.current() };
        let plain = self.plain(write.medium);
        let read = |number| plain.block(medium, self.start + number * BLOCK);
        let found = [0, 16].map(|number| Super::decode(&read(number)));
        let best = found.into_iter().flatten().max_by_key(|found| found.generation);
        // On a disk that loses writes, the guest's last write has to do.
        let best = best.or(self.written.filter(|_| !self.ordered));
        let early = "a write before the superblock is durable";
        let best = best.ok_or_else(|| Broken::new(WritesStayInside, early))?;
        let place = best.place(number);
        // A format leaves the hint that nothing is there, before anybody is announced.
        let of_nothing = |data: &[u8]| {
            let page = unsealed(data);
            page[4..8] == [0; 4] && u64_at(data, 8) == best.generation && page[64..] == [0; 4032]
        };
        let of_format =
            best.nonce == 0 && write.foreground && place == Place::Hint && of_nothing(write.data);
        let announced = of_format || self.announced.get(&write.guest) == Some(&best.nonce);
        if self.ordered && !announced {
            return broken(O1, "a write before this mount was announced durably");
        }
        if self.ordered && place != Place::Hint && self.hinted == Some(best.generation) {
            return broken(O3, format!("a write to {place:?} under the generation of a hint"));
        }
        match place {
            Place::Hint if write.data[..4] != *b"RLh2" => {
                broken(O2, format!("block {number} is no page of a hint"))
            }
            Place::Hint => {
                if write.data[4..8] == [0; 4] {
                    self.hinted = Some(u64_at(write.data, 8));
                }
                Ok(())
            }
            Place::BootTrace if write.data[..4] != *b"RLbt" => {
                broken(O2, format!("block {number} is no boot trace"))
            }
            Place::BootTrace => Ok(()),
            Place::Mark if write.data[..4] != *b"RLmk" => {
                broken(O2, format!("block {number} is no mark"))
            }
            Place::Mark => Ok(()),
            Place::Page { kind, page, twin } => {
                self.check_page(write, &best, (kind, page, twin))?;
                self.flying.push((write.at, std::mem::take(&mut self.raw)));
                Ok(())
            }
            Place::Slot { .. } if self.ordered => self.check_data(write, &best, number),
            Place::Slot { .. } => Ok(()),
            place => broken(WritesStayInside, format!("a write to {place:?}")),
        }
    }

    fn check_superblock(&mut self, write: &WriteSeen<'_>, number: u64) -> Verdict {
        let wrong = "a superblock that does not check out";
        let new = Super::decode(write.data).ok_or_else(|| Broken::new(O2, wrong))?;
        self.written = Some(new);
        if write.foreground != (new.nonce == 0) {
            return broken(MountIsIdempotent, "only a format writes superblocks while it waits");
        }
        // A format writes both at once: there is nothing to lose.
        if new.nonce != 0 {
            self.announced.insert(write.guest, new.nonce);
            if self.ordered {
                self.twin_is_safe(write, 16 - number, "superblocks")?;
            }
        }
        self.flying.push((write.at, std::mem::take(&mut self.raw)));
        Ok(())
    }

    /// O2: the other copy is neither in flight nor volatile.
    fn twin_is_safe(&self, write: &WriteSeen<'_>, twin: u64, what: &str) -> Verdict {
        let at = self.start + twin * BLOCK;
        if write.in_flight.iter().any(|range| range.contains(&at)) {
            return broken(O2, format!("both {what} in flight"));
        }
        if write.medium.is_volatile(at, BLOCK) {
            return broken(O2, format!("both {what} volatile"));
        }
        Ok(())
    }

    fn check_page(
        &mut self,
        write: &WriteSeen<'_>,
        region: &Super,
        (kind, page, twin): (Kind, u64, u64),
    ) -> Verdict {
        let whole = Some(write.data).filter(|data| data.len() as u64 == BLOCK);
        let Some((_, raw)) = whole.and_then(|data| region.page(kind, page, data)) else {
            return broken(O2, format!("{kind:?} page {page} does not check out"));
        };
        if kind == Kind::Blobs {
            for (index, generation, identity) in identities(page, &raw) {
                self.blobs.insert((region.uuid, index, generation), identity);
            }
        }
        if !self.ordered {
            return Ok(());
        }
        self.twin_is_safe(write, twin, &format!("copies of {kind:?} page {page}"))?;
        self.generations_rise(write, region, (kind, page, twin), &raw)?;
        if kind == Kind::Descriptors {
            let slots = first_slot(page)..first_slot(page + 1).min(region.slots);
            for (index, slot) in slots.enumerate() {
                if let Some(found) = Descriptor::decode(&raw, index) {
                    self.bits_are_durable(write, region, slot, &found)?;
                }
            }
        }
        Ok(())
    }

    /// O4: what holds something else than in the newest page before has a higher generation.
    fn generations_rise(
        &self,
        write: &WriteSeen<'_>,
        region: &Super,
        (kind, page, twin): (Kind, u64, u64),
        raw: &[u8],
    ) -> Verdict {
        let plain = self.plain(write.medium);
        let before = [write.at, self.start + twin * BLOCK]
            .map(|at| region.page(kind, page, &plain.block(write.medium.current(), at)));
        let newest = before.into_iter().flatten().max_by_key(|(generation, _)| *generation);
        let Some((_, before)) = newest else { return Ok(()) };
        if kind == Kind::Blobs {
            let old = identities(page, &before);
            for (index, generation, identity) in identities(page, raw) {
                let old = old.iter().find(|old| old.0 == index && old.2 != identity);
                if old.is_some_and(|old| generation <= old.1) {
                    let what =
                        format!("O4: entry {index} has two blobs of generation {generation}");
                    return broken(NothingMixes, what);
                }
            }
            return Ok(());
        }
        let slots = first_slot(page)..first_slot(page + 1).min(region.slots);
        for (index, slot) in slots.enumerate() {
            let (old, held) = Descriptor::holds(&before, index);
            let (new, holds) = Descriptor::holds(raw, index);
            if held != holds && new.wrapping_sub(old) as i32 <= 0 {
                let what =
                    format!("O4: slot {slot} holds something else, generation {old} to {new}");
                return broken(NothingMixes, what);
            }
        }
        Ok(())
    }

    /// O3: the data of every bit is durable, and is what its checksum says.
    fn bits_are_durable(
        &self,
        write: &WriteSeen<'_>,
        region: &Super,
        slot: u64,
        found: &Descriptor,
    ) -> Verdict {
        for block in (0..16).filter(|block| found.has(*block)) {
            let number = region.block_of(slot, block);
            let at = self.start + number * BLOCK;
            let flying = write.in_flight.iter().any(|range| range.contains(&at));
            if flying || write.medium.is_volatile(at, BLOCK) {
                return broken(O3, format!("block {block} of slot {slot} is not durable yet"));
            }
            let key = (region.uuid, found.blob, found.blob_generation);
            let Some(identity) = self.blobs.get(&key) else { continue };
            let data = self.stable(write.medium, number);
            let of_blob = found.window * 16 + block;
            let sum = block_sum(&region.uuid, identity, found.blob_generation, of_blob, &data);
            if sum != found.sums[block as usize] {
                return broken(
                    O3,
                    format!("block {block} of slot {slot} is not what its bit says"),
                );
            }
        }
        Ok(())
    }

    /// O1: no descriptor that a power cut may leave in force has a bit for these blocks.
    fn check_data(&self, write: &WriteSeen<'_>, region: &Super, first: u64) -> Verdict {
        let mut of_page = (u64::MAX, Vec::new());
        for number in first..first + write.data.len() as u64 / BLOCK {
            let Place::Slot { slot, block } = region.place(number) else {
                return broken(WritesStayInside, "data beyond the slots");
            };
            let (copies, page, index) = region.descriptor_of(slot);
            if of_page.0 != page {
                of_page = (page, self.in_force(write.medium, region, copies, page));
            }
            let held = of_page.1.iter().filter_map(|raw| Descriptor::decode(raw, index));
            if held.into_iter().any(|found| found.has(block)) {
                return broken(
                    O1,
                    format!("block {block} of slot {slot} may be described durably"),
                );
            }
        }
        Ok(())
    }

    /// Every content of a descriptor page that a mount after a power cut may find in force.
    fn in_force(
        &self,
        medium: &Medium,
        region: &Super,
        copies: [u64; 2],
        page: u64,
    ) -> Vec<Vec<u8>> {
        let found = copies.map(|copy| {
            let all = self.may_survive(medium, copy).into_iter();
            all.map(|raw| region.page(Kind::Descriptors, page, &raw)).collect::<Vec<_>>()
        });
        let mut all = Vec::new();
        for (own, other) in [(0, 1), (1, 0)] {
            // The other copy wins for certain if every state of it is valid and newer.
            let generation =
                |page: &Option<(u64, _)>| page.as_ref().map_or(0, |(newest, _)| *newest);
            let least = found[other].iter().map(generation).min().unwrap_or(0);
            let counts = found[own].iter().flatten().filter(|(newest, _)| *newest >= least);
            all.extend(counts.map(|(_, raw)| raw.clone()));
        }
        all
    }

    /// Every content that a page may have after a power cut, torn sectors aside: first the durable
    /// one, last the newest.
    fn may_survive(&self, medium: &Medium, number: u64) -> Vec<Vec<u8>> {
        let at = self.start + number * BLOCK;
        let mut sectors: Vec<Vec<Vec<u8>>> = Vec::new();
        for sector in 0..BLOCK / SECTOR {
            let mut versions = medium.may_survive(at + sector * SECTOR);
            let from = (sector * SECTOR) as usize;
            let flying = self.flying.iter().filter(|(of, _)| *of == at);
            versions.extend(flying.map(|(_, raw)| raw[from..from + SECTOR as usize].to_vec()));
            versions.dedup();
            sectors.push(versions);
        }
        let total = sectors.iter().map(Vec::len).product::<usize>();
        let plain = self.plain(medium);
        let all = (0..total.min(COMBINATIONS_MAX)).map(|choice| pick(&sectors, choice));
        all.map(|raw| plain.of_bytes(at, &raw)).collect()
    }

    fn stable(&self, medium: &Medium, number: u64) -> Vec<u8> {
        self.plain(medium).block(medium.stable(), self.start + number * BLOCK)
    }
}

fn pick(sectors: &[Vec<Vec<u8>>], mut choice: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    for versions in sectors {
        raw.extend_from_slice(&versions[choice % versions.len()]);
        choice /= versions.len();
    }
    raw
}

/// The superblock that the disk has now.
fn superblock_of(machine: &Machine) -> Option<Super> {
    let raw = |number| {
        let at = machine.options.start + number * BLOCK;
        machine.world.with_medium(machine.disk, |disk| {
            machine.cipher(disk.current()).block(disk.current(), at)
        })
    };
    let found = [0, 16].into_iter().filter_map(|number| Super::decode(&raw(number)));
    found.max_by_key(|found| found.generation)
}

/// A block of a disk.
pub fn block(content: &Sparse, at: u64) -> Vec<u8> {
    let mut raw = vec![0; BLOCK as usize];
    content.read(at, &mut raw);
    raw
}
