//! Areas that are not ours to write: foreign data, a region that was moved, a disk that may not be
//! written.
//!
//! Always: not one write reaches such a disk, and every read is served all the same.

use rootlet::cache::FormatPolicy;
use rootlet_sim::Rng;
use rootlet_sim::disk::Sparse;

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Broken, Invariant, Verdict};
use crate::machine::{Machine, START, blank_disk};
use crate::mutate::filled;

/// What others begin with, and where.
const SIGNATURES: [(u64, &[u8]); 8] = [
    (510, &[0x55, 0xaa]),
    (512, b"EFI PART"),
    (1080, &[0x53, 0xef]),
    (0, b"LUKS\xba\xbe"),
    (0, b"XFSB"),
    (65_600, b"_BHRfS_M"),
    (4086, b"SWAPSPACE2"),
    (100_000, &[1]),
];

/// `foreign:seed`: one such area.
pub fn untouched(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = Machine::of(run.scale, numbers[0]);
    let content = area(&mut machine, &mut rng);
    machine.world.replace(machine.disk, content, false);
    for _ in 0..2 {
        let guest = Guest::boot(&mut machine, 0)?;
        guest.read_all()?;
        guest.sync();
    }
    if machine.world.counters(machine.disk).writes == 0 {
        return Ok(());
    }
    Err(Broken::new(Invariant::WritesStayInside, "an area that is not ours was written"))
}

fn area(machine: &mut Machine, rng: &mut Rng) -> Sparse {
    let (bytes, used) = (machine.bytes(), filled(machine.scale).0.0.clone());
    let mut blank = blank_disk(bytes);
    match rng.below(6) {
        0 => {
            let (at, data) = SIGNATURES[rng.index(SIGNATURES.len())];
            blank.write(START + at, data);
            blank
        }
        1 => {
            let mut noise = vec![0; 128 << 10];
            rng.fill(&mut noise);
            blank.write(START, &noise);
            blank
        }
        2 => {
            // The start is off by one to eight sectors, of 512 bytes or of 4096.
            let mut used = used;
            used.write(0, &vec![0; START as usize]);
            machine.options.start += (1 + rng.below(8)) * [512, 4096][rng.index(2)];
            machine.options.bytes = None;
            used
        }
        3 => {
            // The region was copied to another place of the disk.
            let mut whole = vec![0; bytes as usize];
            used.read(START, &mut whole);
            let to = START + (1 + rng.below(8)) * 4096;
            let mut moved = Sparse::zeros(to + bytes + START);
            moved.write(to, &whole);
            machine.options.start = to;
            moved
        }
        4 => {
            machine.world.set_read_only(machine.disk, true);
            if rng.chance(500_000) { blank } else { used }
        }
        _ => {
            machine.options.format = FormatPolicy::Never;
            blank
        }
    }
}
