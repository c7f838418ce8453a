//! Mutated superblocks, blob tables and descriptor pages.
//!
//! Always: what was changed is rejected or a miss, whether its check was put right or not; every
//! read is right and none fails; opening ends and takes memory in proportion to the area.

use std::sync::OnceLock;

use rootlet_sim::Rng;
use rootlet_sim::disk::{StableImage, Survive};

use crate::case::Run;
use crate::decode::{self, Super};
use crate::guest::{Guest, uncounted};
use crate::invariants::{Mutated, Verdict, Watch, block, slots_are_consistent};
use crate::machine::{Machine, START, Scale};

/// Blocks of the region that hold tables: superblocks, blob table, descriptor pages.
const TABLES: [u64; 6] = [0, 16, 32, 36, 40, 41];
/// Fields of the superblock that say how large things are.
const SIZES: [usize; 6] = [8, 40, 48, 72, 76, 16];

/// A disk whose region holds something, and its superblock.
pub fn filled(scale: Scale) -> &'static (StableImage, Super) {
    static FILLED: [OnceLock<(StableImage, Super)>; 3] = [const { OnceLock::new() }; 3];
    let fill = || {
        let mut machine = Machine::of(scale, 77);
        // Two rounds, so that both copies of every page are there.
        for _ in 0..2 {
            let guest = Guest::boot(&mut machine, 0).unwrap();
            guest.read_all().unwrap();
            assert!(guest.sync());
        }
        let image = machine.world.crash_image(machine.disk, Survive::Everything);
        let superblock = Super::decode(&block(&image.0, START)).unwrap();
        (image, superblock)
    };
    FILLED[scale as usize].get_or_init(|| uncounted(fill))
}

/// Boots on a changed disk and reads everything.
fn survives(scale: Scale, seed: u64, image: StableImage) -> Verdict {
    let mut machine = Machine::of(scale, seed);
    machine.stir(seed);
    machine.world.restore(machine.disk, &image);
    let watch = Watch::new(&machine, false);
    for _ in 0..2 {
        let guest = Guest::boot(&mut machine, 0)?;
        guest.read_all()?;
        guest.sync();
        slots_are_consistent(&guest)?;
    }
    watch.verdict()
}

/// `mutate:seed`: some bytes of the tables are changed, with the check put right or not.
pub fn one(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let (image, superblock) = filled(run.scale);
    let mut image = image.clone();
    for _ in 0..1 + rng.below(3) {
        let number = TABLES[rng.index(TABLES.len())];
        let mut raw = block(&image.0, START + number * 4096);
        if rng.chance(700_000) {
            raw = unsealed(raw, number);
            change(&mut raw, number, &mut rng);
            seal(&mut raw, number, superblock);
        } else {
            change(&mut raw, number, &mut rng);
        }
        image.0.write(START + number * 4096, &raw);
        if number < 32 && rng.chance(700_000) {
            // Both superblocks alike.
            image.0.write(START + (16 - number) * 4096, &raw);
        }
        if rng.chance(200_000) {
            rename(&mut image, superblock, &mut rng);
        }
    }
    Mutated::judge(survives(run.scale, seed, image))
}

/// Gives a slot the window of another one, in both copies of the first descriptor page.
fn rename(image: &mut StableImage, superblock: &Super, rng: &mut Rng) {
    let (slot, window) = (rng.index(6), rng.below(6) as u8);
    for number in [40, 40 + superblock.pages()] {
        let mut raw = unsealed(block(&image.0, START + number * 4096), number);
        raw[64 + 160 * slot + 16] = window;
        seal(&mut raw, number, superblock);
        image.0.write(START + number * 4096, &raw);
    }
}

fn change(raw: &mut [u8], number: u64, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        let front = rng.chance(700_000);
        let mut at = rng.index(if front { 504 } else { 4096 });
        if number < 32 && rng.chance(600_000) {
            at = SIZES[rng.index(SIZES.len())] + rng.index(4);
        }
        raw[at] = match rng.below(4) {
            0 => raw[at] ^ 1 << rng.below(8),
            1 => 0xff,
            2 => raw[at].wrapping_add(1),
            _ => rng.next_u64() as u8,
        };
    }
}

/// A block of the tables as it was before it was sealed.
fn unsealed(raw: Vec<u8>, number: u64) -> Vec<u8> {
    if number < 32 { raw } else { decode::unsealed(&raw) }
}

fn seal(raw: &mut [u8], number: u64, superblock: &Super) {
    if number < 32 {
        decode::seal_superblock(raw);
    } else {
        decode::seal_page(&superblock.uuid, raw);
    }
}

/// `noise:seed`: a page whose body is noise and whose check is right.
pub fn noise(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let (image, superblock) = filled(run.scale);
    let mut image = image.clone();
    for number in [36, 32, 40, 41] {
        if rng.chance(400_000) {
            continue;
        }
        let mut raw = unsealed(block(&image.0, START + number * 4096), number);
        rng.fill(&mut raw[64..]);
        // Half the descriptors live, of few blobs, so that some name what exists.
        for descriptor in raw[64..].chunks_mut(160) {
            if rng.chance(500_000) && descriptor.len() == 160 {
                descriptor[0] &= 3;
                descriptor[1..3].copy_from_slice(&[0, 1]);
                descriptor[8..12].copy_from_slice(&[1, 0, 0, 0]);
                descriptor[16..24].copy_from_slice(&rng.below(8).to_le_bytes());
            }
        }
        seal(&mut raw, number, superblock);
        image.0.write(START + number * 4096, &raw);
    }
    Mutated::judge(survives(run.scale, seed, image))
}
