//! What a region has promised to keep: synced, and not given up since.
//!
//! Always: a block is in the promise only while the guest itself still holds it in the place
//! where it was at the sync, so that what was given up in between is not asked for.

use rootlet::storage::DeviceId;
use rootlet_sim::disk::{OpKind, Step, TraceEvent};

use crate::guest::{Guest, Residents};

/// The promise of one region, for one image.
#[derive(Clone, Debug, Default)]
pub struct Kept(Residents);

impl Kept {
    /// A sync succeeded.
    pub fn synced(&mut self, guest: &Guest) {
        self.0.extend(guest.residents());
    }

    /// Something else happened: what is no longer where it was is no longer promised.
    pub fn moved_on(&mut self, guest: &Guest) {
        let now = if self.0.is_empty() { Residents::new() } else { guest.residents() };
        self.0.retain(|block, place| now.get(block) == Some(place));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn blocks(&self) -> usize {
        self.0.len()
    }

    /// The first promised block that a freshly booted guest does not have.
    pub fn missing(&self, guest: &Guest) -> Option<String> {
        let lost = self.0.iter().find(|(block, _)| !guest.opened.contains_key(block))?;
        Some(format!("LOST: block {} of blob {} was synced", lost.0.1, lost.0.0))
    }

    /// The first read of a source that touches a promised block.
    pub fn fetched(&self, sources: &[DeviceId], trace: &[TraceEvent]) -> Option<String> {
        let reads =
            trace.iter().filter(|seen| seen.step == Step::Submit && seen.op == OpKind::Read);
        for seen in reads {
            let Some(slot) = sources.iter().position(|device| *device == seen.device) else {
                continue;
            };
            let blocks = seen.at / 4096..(seen.at + seen.len).div_ceil(4096);
            let kept = |number: &u64| self.0.contains_key(&(slot as u16, *number));
            if let Some(number) = blocks.into_iter().find(kept) {
                return Some(format!("LOST: block {number} of blob {slot} was fetched again"));
            }
        }
        None
    }
}
