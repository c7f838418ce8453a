//! The start of a read in the background: its bytes, its buffer and its job.
//!
//! Always: a read begins and ends at granules of its source; what was not started leaves nothing.

use super::pool::Target;
use crate::cache::{Layer, Residence, Ticket};
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::guard::Guard;
use crate::read::io::{Source, wanted};
use crate::storage::events::Cause;
use crate::storage::{Job, JobKind, Storage, Tag};
use crate::units::{ByteRange, DeviceSlot};

/// A read under way, for the reader that wants its bytes.
#[derive(Debug)]
pub struct Flying {
    /// The tag of its job.
    pub flight: Tag,
    /// The bytes of its buffer that the reader asked for.
    pub part: ByteRange,
    /// The bytes that it brings.
    pub target: Target,
    /// What its bytes must sum up to, if it reads the region.
    pub ticket: Option<Ticket>,
}

/// What one read can bring: the front of what a reader wants, and the bytes of its transfer.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// The device slot.
    pub slot: DeviceSlot,
    /// The wanted bytes of the slot.
    pub want: ByteRange,
    /// The bytes of the transfer.
    pub cover: ByteRange,
    /// Where they are.
    pub residence: Residence,
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns what one read can bring of the front of `want`, all of which is at `residence`, side
    /// by side; `None` if no buffer is long enough for a granule.
    pub fn reach(
        &self,
        source: &Source,
        slot: DeviceSlot,
        want: ByteRange,
        residence: Residence,
    ) -> Result<Option<Reach>, Bug> {
        let room = wide(self.flights.pool.buffer_bytes()).min(source.transfer_max);
        let room = match residence {
            Residence::Resident(_) => room.min(self.io.layer.transfer_bytes_max()),
            Residence::Absent | Residence::Staged => room,
        };
        let granule = source.granule();
        let room = granule.floor(room).checked_sub(granule.offset(want.start()));
        let Some(want) = room.and_then(|room| want.take(room).non_empty()) else { return Ok(None) };
        let cover = source.cover(want, residence).or_bug()?;
        Ok(Some(Reach { slot, want, cover, residence }))
    }

    /// Starts a read. Returns `None` if there is no buffer, or no room on the device.
    pub fn depart(
        &mut self,
        source: &Source,
        Reach { slot, want, cover, residence }: Reach,
        cause: Cause,
    ) -> Result<Option<Flying>, Bug> {
        let Some(mut buffer) = self.flights.pool.take() else { return Ok(None) };
        let ticket = source.ticket(&self.io.layer, cover, residence)?;
        let (device, at) = match &ticket {
            Some(ticket) => ticket.place(),
            None => source.at(cover.start())?,
        };
        let departure = self.io.recorder.depart(self.storage);
        let target = Target { slot, cover, source: ticket.is_none(), cause, departure };
        let fits = buffer.set_len(narrow(cover.len())?);
        let Some(flight) = fits.then(|| self.flights.pool.depart(target)).flatten() else {
            self.flights.pool.give(buffer);
            return Ok(None);
        };
        let job = Job { tag: flight, device, at, kind: JobKind::Read, buffer: Some(buffer) };
        if let Err(job) = self.storage.start(job) {
            self.flights.pool.cancel(flight, job.buffer);
            return Ok(None);
        }
        Ok(Some(Flying { flight, part: wanted(want, cover)?, target, ticket }))
    }
}
