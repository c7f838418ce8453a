//! 4, what a region has promised to keep: synced, and not given up since.
//!
//! Always: a block is in the promise only while the guest itself still holds it in the place
//! where it was at the sync, so that what was given up in between is not asked for.

use rootlet::storage::DeviceId;
use rootlet_sim::disk::{OpKind, Step, TraceEvent};

use super::{Broken, Invariant, Verdict};
use crate::guest::{Guest, Residents};

/// The promise of one region, for one image.
#[derive(Clone, Debug, Default)]
pub struct Kept(Residents);

impl Kept {
    /// A sync succeeded.
    pub fn synced(&mut self, guest: &Guest) {
        self.0.extend(guest.residents());
    }

    /// Something else happened: blocks that have left their places are not promised any more.
    pub fn moved_on(&mut self, guest: &Guest) {
        let now = if self.0.is_empty() { Residents::new() } else { guest.residents() };
        self.0.retain(|block, place| now.get(block) == Some(place));
    }

    /// Whether a freshly booted guest has every promised block.
    pub fn found(&self, guest: &Guest) -> Verdict {
        match self.0.keys().find(|block| !guest.opened.contains_key(block)) {
            None => Ok(()),
            Some((slot, block)) => lost(format!("block {block} of blob {slot} was synced")),
        }
    }

    /// Whether no read of a source touches a promised block.
    pub fn not_fetched(&self, sources: &[DeviceId], trace: &[TraceEvent]) -> Verdict {
        let reads =
            trace.iter().filter(|seen| seen.step == Step::Submit && seen.op == OpKind::Read);
        for seen in reads {
            let Some(slot) = sources.iter().position(|device| *device == seen.device) else {
                continue;
            };
            let blocks = seen.at / 4096..(seen.at + seen.len).div_ceil(4096);
            let kept = |number: &u64| self.0.contains_key(&(slot as u16, *number));
            if let Some(number) = blocks.into_iter().find(kept) {
                return lost(format!("block {number} of blob {slot} was fetched again"));
            }
        }
        Ok(())
    }

    /// The promised blocks: slot of the image, block of the blob.
    pub fn blocks(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.keys().copied()
    }
}

fn lost(what: String) -> Verdict {
    Err(Broken::new(Invariant::SyncedIsKept, format!("LOST: {what}")))
}
