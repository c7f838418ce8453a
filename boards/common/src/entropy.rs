//! Numbers that no two boots share, nor two machines that were resumed from one snapshot of memory.
//!
//! Always: good for identities, not for secrets; whatever a machine lacks of the sources is left out,
//! and the processor's counter is always there.

use spin::Mutex;

use crate::acpi::GENERATION_BYTES;
use crate::arch;
use crate::registers::Registers;

/// The monitor's number of the machine's generation.
static GENERATION: Mutex<Option<Registers>> = Mutex::new(None);

/// Keeps where the monitor has its number: mapped memory, aligned to 8 bytes, that is not ours.
pub(crate) fn by_monitor(at: usize) {
    // SAFETY: the caller that found the place looked that it is mapped and aligned, and took it from the RAM
    // that is ours; nobody but this module reads it, and nobody but the monitor writes it.
    *GENERATION.lock() = unsafe { Registers::new(at, GENERATION_BYTES as usize) };
}

/// Returns the monitor's number, which it changes when it resumes a machine, in four parts.
fn generation() -> impl Iterator<Item = u64> {
    let words = GENERATION.lock().as_ref().map(|number| [0, 4, 8, 12].map(|at| number.read32(at)));
    words.into_iter().flatten().map(u64::from)
}

fn mixed(number: u64, with: u64) -> u64 {
    (number ^ with).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// Returns a number that no other machine gets, were it resumed from the same snapshot of memory:
/// out of the monitor's number, a random one of the processor, and the counter.
pub fn unique() -> u64 {
    generation().chain(arch::random()).chain([arch::ticks()]).fold(0, mixed)
}

/// Returns bytes that no two boots share: random numbers of the processor and of the device tree
/// where they have any, the monitor's number, and the counter's value at many moments, whose low
/// bits depend on what else the processor does.
pub fn bytes() -> [u8; 16] {
    let mut halves = [0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344];
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(tree) = crate::device_tree::get() {
        halves.iter_mut().zip(tree.seed).for_each(|(half, seed)| *half ^= seed);
    }
    for round in 0..64_u32 {
        for half in &mut halves {
            // A few are enough, and each takes a processor long.
            *half = mixed(*half, if round < 2 { unique() } else { arch::ticks() });
        }
    }
    let mut bytes = [0; 16];
    let (low, high) = bytes.split_at_mut(8);
    low.copy_from_slice(&halves[0].to_le_bytes());
    high.copy_from_slice(&halves[1].to_le_bytes());
    bytes
}
