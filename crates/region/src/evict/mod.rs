//! Which of the things that a cache keeps goes next: slots of the region, and blocks in memory.
//!
//! Always: a policy decides about numbers, whatever they stand for; it does no I/O and allocates
//! nothing after it was made.

mod lists;
mod s3fifo;

pub use lists::{Links, List};
pub use s3fifo::S3Fifo;

/// Whether a thing that is kept may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It may.
    None,
    /// Not yet: it is in use.
    Busy,
    /// Not at all: it is kept for another reason than its uses.
    Pinned,
}

/// Decides which of the things that are kept goes next.
///
/// Things are numbers below the length that the policy was made for. Each is either kept or not;
/// those that are kept are in lists that the policy threads through `links`, which its owner uses
/// for all others.
pub trait Policy {
    /// Bytes of memory for each thing, beside its links.
    const BYTES: usize;

    /// Returns a policy for things below `len`, none of which is kept.
    fn new(len: u32) -> Self;

    /// Returns how many things are kept.
    fn count(&self) -> u32;

    /// Keeps `id` from now on: the thing whose key has this hash.
    fn admit(&mut self, links: &mut Links, id: u32, hash: u64);

    /// Keeps `id` from now on, in the class that [`Policy::class`] returned for it earlier.
    fn restore(&mut self, links: &mut Links, id: u32, class: u8);

    /// Notes a use of `id`, which is kept.
    fn touch(&mut self, links: &mut Links, id: u32);

    /// Returns what is known of `id`, which is kept, in a byte of five bits: for a later
    /// [`Policy::restore`].
    fn class(&self, id: u32) -> u8;

    /// Returns the thing that goes next, `None` if none may; it is kept until it is
    /// [evicted](Policy::evict). `hold` says which things may go.
    fn victim(&mut self, links: &mut Links, hold: impl Fn(u32) -> Hold) -> Option<u32>;

    /// Keeps `id` no longer, for want of room. `hash` is that of its key.
    fn evict(&mut self, links: &mut Links, id: u32, hash: u64);

    /// Keeps `id` no longer, for a reason that says nothing of its uses.
    fn remove(&mut self, links: &mut Links, id: u32);
}
