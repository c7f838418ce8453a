//! Random numbers of the processor.
//!
//! Always: none is as good an answer as one; a processor may run dry.

use ::x86_64::instructions::random::RdRand;

/// Tries that one number is worth (Intel SDM, volume 1, 7.3.17.1).
const TRIES: u32 = 10;

/// Returns a random number, if the processor makes any.
pub(crate) fn random() -> Option<u64> {
    let source = RdRand::new()?;
    (0..TRIES).find_map(|_| source.get_u64())
}
