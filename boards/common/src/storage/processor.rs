//! What the storage asks of the processor that it runs on.
//!
//! Always: each of these returns, but for [`Processor::give_up`].

use core::fmt;

/// What a processor does for the storage.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// Nanoseconds since some moment.
    pub now_ns: fn() -> u64,
    /// Has the page tables walked anew.
    pub forget_translations: fn(),
    /// Sleeps for at most this many nanoseconds. A processor that an emulator plays is a thread,
    /// and so is a device: while the one waits in a loop, the other may wait for its place, for as
    /// long as the host lets a thread run.
    pub nap: fn(u32),
    /// A number that no other machine gets, were it resumed from the same snapshot of memory.
    pub unique: fn() -> u64,
    /// Reports news of a device to the user of the machine: a line without its end.
    pub tell: fn(fmt::Arguments<'_>),
    /// Ends the run, which failed for this reason. Nothing waits for a device any more.
    pub give_up: fn(fmt::Arguments<'_>) -> !,
}
