//! The places of file data: the data blocks after the image's metadata, and the blobs.
//!
//! Always: what is stored starts on a block and is padded to whole blocks with zeros.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::options::{Options, Spread};
use crate::Rng;
use crate::rng::hash;

/// The bytes of one extra device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Bytes of zeros in front of the data.
    pub lead_bytes: u64,
    /// The data.
    pub data: Vec<u8>,
}

impl Blob {
    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.lead_bytes + self.data.len() as u64
    }

    /// All bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.lead_bytes as usize];
        out.extend_from_slice(&self.data);
        out
    }

    /// Writes the blob as a file of the host; what is in front of the data stays a hole.
    ///
    /// # Errors
    /// Those of the host's file system.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes())?;
        file.write_all_at(&self.data, self.lead_bytes)
    }
}

/// A run of blocks: device 0 is the image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub device: u16,
    pub block: u64,
}

/// Device by device what was stored so far.
pub(super) struct Stores {
    block_bytes: usize,
    firsts: Vec<u64>,
    devices: Vec<Vec<u8>>,
    choice: Vec<u16>,
    spread: Spread,
    turn: usize,
    rng: Rng,
    seen: Option<HashMap<u64, Vec<Place>>>,
}

impl Stores {
    /// `first` is the block of the image where data starts.
    pub fn new(options: &Options, first: u64) -> Self {
        let mut firsts = vec![options.lead_blocks; usize::from(options.blobs) + 1];
        firsts[0] = first;
        let image_too = options.blobs == 0 || options.primary_too;
        let Spread::Seeded(seed) = options.spread else {
            return Self::with(options, firsts, image_too, Rng::new(0));
        };
        Self::with(options, firsts, image_too, Rng::new(seed))
    }

    fn with(options: &Options, firsts: Vec<u64>, image_too: bool, rng: Rng) -> Self {
        Self {
            block_bytes: options.block() as usize,
            devices: vec![Vec::new(); firsts.len()],
            firsts,
            choice: (u16::from(!image_too)..=options.blobs).collect(),
            spread: options.spread,
            turn: 0,
            rng,
            seen: options.dedupe.then(HashMap::new),
        }
    }

    /// Stores a chunk where the spread says, or finds an equal one.
    pub fn store_chunk(&mut self, data: &[u8]) -> Place {
        let key = hash(data);
        let known = self.seen.as_ref().and_then(|seen| seen.get(&key)).into_iter().flatten();
        if let Some(place) = known.copied().find(|place| self.holds(*place, data)) {
            return place;
        }
        let device = self.choose(data);
        let place = self.store(device, data);
        if let Some(seen) = &mut self.seen {
            seen.entry(key).or_default().push(place);
        }
        place
    }

    /// The device that the spread gives to these bytes.
    pub fn choose(&mut self, data: &[u8]) -> u16 {
        let number = match self.spread {
            Spread::RoundRobin | Spread::ByFile => self.turn,
            Spread::Hash => hash(data) as usize % self.choice.len(),
            Spread::Seeded(_) => self.rng.index(self.choice.len()),
        };
        self.turn += usize::from(self.spread != Spread::ByFile);
        self.choice[number % self.choice.len()]
    }

    /// The data of a file is all stored.
    pub fn end_file(&mut self) {
        self.turn += usize::from(self.spread == Spread::ByFile);
    }

    /// Stores bytes on `device`.
    pub fn store(&mut self, device: u16, data: &[u8]) -> Place {
        let block = self.end_block(device);
        let store = &mut self.devices[usize::from(device)];
        store.extend_from_slice(data);
        store.resize(store.len().next_multiple_of(self.block_bytes), 0);
        Place { device, block }
    }

    /// Length of `device` in blocks.
    pub fn end_block(&self, device: u16) -> u64 {
        let device = usize::from(device);
        self.firsts[device] + (self.devices[device].len() / self.block_bytes) as u64
    }

    /// The data after the image's metadata, and the blobs.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Blob>) {
        let block_bytes = self.block_bytes as u64;
        let leads = self.firsts.into_iter();
        let mut stores = self.devices.into_iter().zip(leads);
        let primary = stores.next().map(|(data, _)| data).unwrap_or_default();
        let blobs = stores.map(|(data, lead)| Blob { lead_bytes: lead * block_bytes, data });
        (primary, blobs.collect())
    }

    fn holds(&self, place: Place, data: &[u8]) -> bool {
        let device = usize::from(place.device);
        let start = (place.block - self.firsts[device]) as usize * self.block_bytes;
        let padded = data.len().next_multiple_of(self.block_bytes);
        let Some(stored) = self.devices[device].get(start..start + padded) else { return false };
        stored.starts_with(data) && stored[data.len()..].iter().all(|byte| *byte == 0)
    }
}
