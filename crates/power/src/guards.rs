//! What is taken out of the library, one at a time, to see that somebody misses it.
//!
//! Always: a guard is taken out by replacing texts that are there exactly once, in a copy of the
//! sources, so that the library itself knows nothing of this and what is tested is the real code.

/// A text of a file and what stands in its place when the guard is out.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    /// The file, from the root of the repository.
    pub file: &'static str,
    /// What is there, exactly once.
    pub from: &'static str,
    /// What is put there.
    pub to: &'static str,
}

/// Something that keeps the region right.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// The guard in a few words.
    pub name: &'static str,
    /// How it is taken out.
    pub patches: &'static [Patch],
}

macro_rules! guard {
    ($name:literal, $($file:literal: $from:literal => $to:literal),+ $(,)?) => {
        Guard {
            name: $name,
            patches: &[$(Patch { file: $file, from: $from, to: $to }),+],
        }
    };
}

/// Those of the region, which the mix of cases misses.
pub const GUARDS: [Guard; 33] = [
    guard!("flush of a group, before its bits",
        "crates/region/src/hydrate/group.rs": "armed == Armed::Yes && self.submit_flush(storage, Purpose::GroupFlush) {\n                self.hydrator.phase = Phase::Flushing;" =>
            "armed == Armed::Yes {\n                self.commit(true);\n                self.hydrator.phase = Phase::Pages;"),
    guard!("flush before an announcement",
        "crates/region/src/hydrate/jobs.rs": "if self.hydrator.page_pool.has_free()\n            && self.submit_flush(storage, Purpose::Arm(Arm::Settle))\n        {\n            self.hydrator.armed = Armed::Settling;\n        }" =>
            "if self.hydrator.page_pool.has_free() {\n            self.announce(storage);\n        }"),
    guard!("flush after an announcement",
        "crates/region/src/hydrate/jobs.rs": "if ok && self.submit_flush(storage, Purpose::Arm(Arm::Flush)) {\n                    self.hydrator.armed = Armed::Flushing;\n                } else {\n                    self.announced(false);\n                }" =>
            "self.announced(ok);"),
    guard!("last flush of a sync",
        "crates/region/src/hydrate/sync.rs": "if self.begin_seal(storage) {\n            Ok(Stage::Sealing(mode))" =>
            "let _ = mode;\n        if true {\n            Err(Round::Over(true))"),
    guard!("flush of a format",
        "crates/region/src/area.rs": "let mut flush = [Transfer::flush(self.device)];\n        storage.run(&mut flush, &mut |_, _| {});" =>
            "let flush: [Transfer<'_>; 0] = [];"),
    guard!("a failed flush ends writing",
        "crates/region/src/hydrate/jobs.rs": "if kind == JobKind::Flush || self.stats" => "if self.stats",
        "crates/region/src/hydrate/jobs.rs": "self.commit(result.is_ok());" => "self.commit(true);"),
    guard!("check of a block",
        "crates/region/src/ticket.rs": "is_whole && sums.fold(" => "is_whole || sums.fold("),
    guard!("check of a descriptor page",
        "crates/region/src/page.rs": "let right = page.check.get() == check(region, page);" =>
            "let right = kind == PageKind::Descriptors || page.check.get() == check(region, page);"),
    guard!("check of a blob table page",
        "crates/region/src/page.rs": "let right = page.check.get() == check(region, page);" =>
            "let right = kind == PageKind::Blobs || page.check.get() == check(region, page);"),
    // The decoder of the tests forgets the same.
    guard!("no sector of two writes of a page is the same",
        "crates/region/src/page.rs": "let [a, b, c, d, ..] = check.to_le_bytes();" => "let [a, b, c, d, ..] = (check & 0).to_le_bytes();",
        "crates/power/src/decode.rs": "check[..4].try_into().unwrap()" => "[check[0] & 0; 4]"),
    guard!("a page whose write failed is written again",
        "crates/region/src/pages.rs": "frame.dirty |= !ok;" => "frame.dirty |= !ok && frame.number.is_none();"),
    guard!("check of a superblock",
        "crates/region/src/superblock.rs": "raw.check.get() != RegionHash::new(&fields.uuid).page_check(fields.as_bytes())" =>
            "fields.version.get() == u32::MAX"),
    // The decoder of the tests forgets the same, so that it is the reads that miss it.
    guard!("key: UUID of the region",
        "crates/region/src/checksum.rs": "let mut state = low.get();" => "let mut state = low.get() & 0;",
        "crates/region/src/checksum.rs": "^ high.get();" => "^ (high.get() & 0);",
        "crates/power/src/decode.rs": "let mut state = u64_at(uuid, 0);" => "let mut state = u64_at(uuid, 0) & 0;",
        "crates/power/src/decode.rs": "^ u64_at(uuid, 8);" => "^ (u64_at(uuid, 8) & 0);"),
    guard!("key: block number",
        "crates/region/src/checksum.rs": "[self.key, number]" => "[self.key, number & 0]",
        "crates/power/src/decode.rs": "[hash(uuid, &key), number]" => "[hash(uuid, &key), number & 0]"),
    guard!("key: blob and its generation",
        "crates/region/src/checksum.rs": "identity: hash.of(identity).into(), generation: generation.into()" =>
            "identity: hash.of(&identity[..0]).into(), generation: (generation & 0).into()",
        "crates/region/src/index/seen.rs": "entry.generation == head.blob_generation);" =>
            "entry.generation == head.blob_generation || entry.generation != 0);",
        "crates/power/src/decode.rs": "key.extend(hash(uuid, identity).to_le_bytes());" =>
            "key.extend(hash(uuid, &identity[..0]).to_le_bytes());",
        "crates/power/src/decode.rs": "key.extend(generation.to_le_bytes());" =>
            "key.extend((generation & 0).to_le_bytes());"),
    guard!("O1: a slot is free when its tombstone is flushed, not when it is written",
        "crates/region/src/index/writes.rs": "self.slots.set_state(slot, SlotState::Entombed);" =>
            "self.slots.set_state(slot, SlotState::Free);"),
    guard!("O1: a slot that is given up gets a tombstone",
        "crates/region/src/slots.rs": "self.leave_boot_set(slot);\n        self.enter_list(slot, SlotState::Evicted);" =>
            "self.leave_boot_set(slot);\n        self.enter_list(slot, SlotState::Free);"),
    guard!("O2: descriptor pages take turns",
        "crates/region/src/pages.rs": "Newest::In(copy) => copy.twin(),\n            Newest::Unknown" =>
            "Newest::In(copy) => copy,\n            Newest::Unknown"),
    guard!("O2: no descriptor page twice between two flushes",
        "crates/region/src/pages.rs": "state.volatile = true;" => "state.volatile = false;"),
    guard!("O2: blob table pages take turns",
        "crates/region/src/blobs.rs": "if state.in_b { Copy2::A } else { Copy2::B }" => "if state.in_b { Copy2::B } else { Copy2::A }"),
    guard!("O2: no blob table page twice between two flushes",
        "crates/region/src/blobs.rs": "state.volatile = true;" => "state.volatile = false;"),
    guard!("O2: superblocks take turns",
        "crates/region/src/claim.rs": "Geometry::superblock_at(self.copy.twin())" =>
            "Geometry::superblock_at(self.copy)"),
    guard!("O3: a group's writes end before its flush begins",
        "crates/region/src/hydrate/group.rs": "all(|fill| fill.group >= group)" => "all(|fill| fill.group <= group)"),
    guard!("O3: no bit for a failed write",
        "crates/region/src/hydrate/group.rs": "if ok {" => "if ok || fill.blocks > 0 {"),
    guard!("O4: another window raises the slot's generation",
        "crates/region/src/index/fills.rs": "slot_generation: old.slot_generation.wrapping_add(1)," =>
            "slot_generation: old.slot_generation,"),
    guard!("O4: a tombstone raises the slot's generation",
        "crates/region/src/index/writes.rs": "slot_generation.wrapping_add(1);" => "slot_generation.wrapping_add(0);"),
    guard!("O4: another blob raises its entry's generation",
        "crates/region/src/blobs.rs": "entry.generation.wrapping_add(1)" => "entry.generation.wrapping_add(0)"),
    guard!("the blob table before a descriptor that names it",
        "crates/region/src/hydrate/group.rs": "armed == Armed::Yes && self.index.blobs_busy()" => "armed == Armed::No && self.index.blobs_busy()",
        "crates/region/src/hydrate/pages_io.rs": "let descriptors = self.hydrator.phase == Phase::Pages;" =>
            "let descriptors = self.hydrator.phase == Phase::Pages && self.index.may_write_pages();"),
    guard!("the newer of two valid copies counts",
        "crates/region/src/pages.rs": "_ if page::b_counts(in_a, in_b) => Newest::In(Copy2::B)," => "_ if in_a.is_none() => Newest::In(Copy2::B),"),
    guard!("no tombstone into a page in flight",
        "crates/region/src/index/writes.rs": "match self.pages.in_flight(page) {" => "match self.pages.in_flight(page) && page > u32::MAX - 1 {"),
    guard!("what follows a hint is announced anew",
        "crates/region/src/hint.rs": "self.hydrator.disarm();" => "let _ = &self.hydrator;"),
    guard!("what a hint says is looked up in the descriptor",
        "crates/region/src/scan.rs": "self.scan_one(storage, page);\n            }\n            Ok(None)" =>
            "self.index.believe(slot, key);\n                let _ = page;\n            }\n            Ok(None)",
        "crates/region/src/index/seen.rs": "    /// Returns whether the blob table is full." =>
            "    /// Believes a hint.\n    pub fn believe(&mut self, slot: RegionSlot, key: SlotKey) {\n        self.slots.admit(slot, Some((key, 0, 1)));\n    }\n\n    /// Returns whether the blob table is full."),
    guard!("start of the region",
        "crates/region/src/superblock.rs": "if own_start != start {\n            return Err(moved);\n        }\n        let bytes" =>
            "let bytes"),
];

/// Those of digests, which the cases with an enemy miss.
pub const TRUST_GUARDS: [Guard; 4] = [
    guard!("what a batch brought out of the region is compared with its leaf",
        "src/read/io/fetch.rs": "vouch => self.state = State::Vouched(vouch)," => "_ => {}"),
    guard!("what a stream brought out of the region is compared with its leaf",
        "src/read/stream/flights.rs": "ticket.is_right(data).then(vouch)" => "ticket.is_right(data).then_some(Vouch::Right)"),
    guard!("what was prefetched out of the region is compared with its leaf",
        "src/read/stream/prefetch.rs": "self.released(|_| shared.vouch(target.slot, target.cover, data))" => "Vouch::Right"),
    guard!("a leaf tells right blocks from others",
        "crates/trust/src/tree.rs": "verdict(What::Block(block), &found, &want)" => "Ok(())"),
];
