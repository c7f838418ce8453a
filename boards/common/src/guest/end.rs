//! The end of a run: the region made durable, the counters, and the verdict.
//!
//! Always: whatever ends a run, the counters so far go out with the verdict.

use core::fmt::{self, Write as _};

use embedded_io::Write;
use rootlet_guest::{Counters, SYNC_TIME, keep_trees};
use rootlet_verity::Stats as VerityStats;

use super::{Root, Storage};
use crate::console::ErrorOutput;
use crate::text::Message;
use crate::verdict::{self, Ending};

/// Makes the region durable, takes leave of the shares, and counts.
pub(crate) fn finish(root: &mut Root, files: u64) -> Counters {
    if let Err(error) = keep_trees(root) {
        tell(&format_args!("region  a node of a tree is not kept: {error:#}"));
    }
    if !root.leave(SYNC_TIME) {
        tell(&"region  not all of it is durable");
    }
    // A daemon that is gone has failed reads already, or was not needed.
    let _ = root.storage_mut().inner_mut().inner_mut().inner_mut().shut_down();
    Counters { files, ..Counters::of(root) }
}

/// Tells what was verified, and returns how many digests of sources were wrong.
pub(crate) fn tell_digests(storage: &Storage) -> u64 {
    let stats = storage.stats();
    for refused in storage.take_refusals() {
        tell(&format_args!("digest  {refused}"));
    }
    let VerityStats { verified_bytes, nodes, wrong, .. } = stats;
    if verified_bytes > 0 {
        tell(&format_args!(
            "digest  verified {verified_bytes} bytes, tree nodes {nodes}, digests wrong {wrong}"
        ));
    }
    wrong
}

/// Ends a run that measured.
pub(crate) fn conclude<E: fmt::Display>(measured: Result<Counters, E>) -> ! {
    match measured {
        Ok(counters) => pass(&counters),
        Err(error) => fail(&error, None),
    }
}

/// Ends a run that passed.
pub(crate) fn pass(counters: &Counters) -> ! {
    let mut text = Message::new();
    // A text that is too long is cut.
    let _ = write!(text, "{counters}");
    verdict::finish(Ending::Passed, text.as_str())
}

/// Ends a run that failed.
pub(crate) fn fail(why: &dyn fmt::Display, counters: Option<&Counters>) -> ! {
    end(why, why, counters)
}

/// Ends a run that failed: `told` is for standard error, and `why` for the verdict.
pub(crate) fn end(
    told: &dyn fmt::Display,
    why: &dyn fmt::Display,
    counters: Option<&Counters>,
) -> ! {
    defmt::info!("{=str} failed, as its verdict says", crate::board::BOARD.name);
    tell(&format_args!("error   {told:#}"));
    let mut text = Message::new();
    let _ = write!(text, "{why:#}");
    if let Some(counters) = counters {
        let _ = write!(text, " {counters}");
    }
    verdict::finish(Ending::Failed, text.as_str())
}

/// Writes a line to standard error; the console does not fail.
pub(crate) fn tell(what: &dyn fmt::Display) {
    let _ = writeln!(ErrorOutput, "{what}");
}
