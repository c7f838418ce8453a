//! The medium of one disk: what is durable, and what a power cut may take.
//!
//! Always: `current` is what a read sees, the stable sectors with all completed writes over
//! them in the order of their completion.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sparse::Sparse;

/// The unit that survives or not: a sector of 512 bytes.
pub const SECTOR: u64 = 512;

pub(super) type SectorBytes = [u8; SECTOR as usize];

/// One completed but volatile write of one sector.
#[derive(Clone, Debug)]
struct Version {
    order: u64,
    bytes: Arc<SectorBytes>,
}

/// What is durable and what is not.
#[derive(Clone, Debug, Default)]
pub struct Medium {
    stable: Sparse,
    current: Sparse,
    previous: Sparse,
    volatile: BTreeMap<u64, Vec<Version>>,
    order: u64,
}

impl Medium {
    pub(super) fn new(content: Sparse) -> Self {
        Self {
            stable: content.clone(),
            current: content.clone(),
            previous: content,
            volatile: BTreeMap::new(),
            order: 0,
        }
    }

    /// What a power cut cannot take.
    pub fn stable(&self) -> &Sparse {
        &self.stable
    }

    /// What a read sees now.
    pub fn current(&self) -> &Sparse {
        &self.current
    }

    /// How many sectors a power cut may change back (writes in flight not counted).
    pub fn volatile_sectors(&self) -> usize {
        self.volatile.len()
    }

    /// Whether a power cut may change any sector that touches these bytes.
    pub fn is_volatile(&self, at: u64, len: u64) -> bool {
        let sectors = at / SECTOR..(at + len).div_ceil(SECTOR);
        self.volatile.range(sectors).next().is_some()
    }

    /// Every content that the sector at byte `at` may have after a power cut, torn ones and
    /// writes in flight aside: the durable one first, then each volatile write.
    pub fn may_survive(&self, at: u64) -> Vec<Vec<u8>> {
        let mut stable = vec![0; SECTOR as usize];
        self.stable.read(at / SECTOR * SECTOR, &mut stable);
        let volatile = self.volatile.get(&(at / SECTOR)).into_iter().flatten();
        let volatile = volatile.map(|version| version.bytes.to_vec());
        std::iter::once(stable).chain(volatile).collect()
    }

    pub(super) fn previous(&self) -> &Sparse {
        &self.previous
    }

    /// A write completes; `at` and the length are multiples of a sector.
    pub(super) fn complete_write(&mut self, at: u64, data: &[u8]) {
        self.order += 1;
        let room = self.current.bytes().saturating_sub(at).min(data.len() as u64) as usize;
        let data = &data[..room];
        let mut before = vec![0; data.len()];
        self.current.read(at, &mut before);
        self.previous.write(at, &before);
        self.current.write(at, data);
        for (number, piece) in data.chunks_exact(SECTOR as usize).enumerate() {
            let bytes: SectorBytes = piece.try_into().expect("an exact chunk");
            let version = Version { order: self.order, bytes: Arc::new(bytes) };
            self.volatile.entry(at / SECTOR + number as u64).or_default().push(version);
        }
    }

    /// What a flush that is submitted now will cover.
    pub(super) fn flush_mark(&self) -> u64 {
        self.order
    }

    /// A flush completes that was submitted at `mark`.
    pub(super) fn complete_flush(&mut self, mark: u64) {
        let stable = &mut self.stable;
        self.volatile.retain(|sector, versions| {
            let covered = versions.partition_point(|version| version.order <= mark);
            if let Some(newest) = versions[..covered].last() {
                stable.write(sector * SECTOR, newest.bytes.as_slice());
            }
            versions.drain(..covered);
            !versions.is_empty()
        });
    }

    /// Notes that a flush failed that was submitted at `mark`: the writes before it never become durable.
    pub(super) fn lose_volatile(&mut self, mark: u64) {
        self.volatile.retain(|_, versions| {
            versions.retain(|version| version.order > mark);
            !versions.is_empty()
        });
    }

    /// Each volatile sector with its versions, oldest first.
    pub(super) fn volatile(&self) -> BTreeMap<u64, Vec<Arc<SectorBytes>>> {
        let all = self.volatile.iter();
        all.map(|(sector, versions)| {
            (*sector, versions.iter().map(|version| Arc::clone(&version.bytes)).collect())
        })
        .collect()
    }

    /// Overwrites bytes wherever they are kept, volatile versions included.
    pub(super) fn poke(&mut self, at: u64, data: &[u8]) {
        for sparse in [&mut self.stable, &mut self.current, &mut self.previous] {
            sparse.write(at, data);
        }
        let end = at + data.len() as u64;
        for (sector, versions) in self.volatile.range_mut(at / SECTOR..end.div_ceil(SECTOR)) {
            let start = sector * SECTOR;
            let (from, to) = (at.max(start), end.min(start + SECTOR));
            let piece = &data[(from - at) as usize..(to - at) as usize];
            for version in versions {
                let bytes = Arc::make_mut(&mut version.bytes);
                bytes[(from - start) as usize..(to - start) as usize].copy_from_slice(piece);
            }
        }
    }

    /// The device becomes shorter or longer, for good.
    pub(super) fn resize(&mut self, bytes: u64) {
        for sparse in [&mut self.stable, &mut self.current, &mut self.previous] {
            sparse.resize(bytes);
        }
        self.volatile.split_off(&(bytes / SECTOR));
    }
}
