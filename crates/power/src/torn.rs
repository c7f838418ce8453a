//! Two torn writes of one page: a cut tears the write of a page, a later cut tears the next write to
//! the same copy, and leaves of it just the sectors that the first one lacks.
//!
//! Always: the disk is honest. No two torn writes make one whole page, so nothing that was synced is
//! lost and no check fails.

use std::collections::BTreeMap;
use std::ops::Range;

use rootlet_sim::Rng;
use rootlet_sim::disk::{SECTOR, StableImage, Survive};

use crate::case::Run;
use crate::guest::Guest;
use crate::invariants::{Kept, Verdict, block, no_check_fails};
use crate::machine::{Machine, START, Scale, samples};
use crate::power::live;
use crate::script::{self, Op};

/// Lives that end with a cut.
const CUTS: u64 = 3;
const BLOCK: u64 = 4096;

/// `torn:seed`: lives that do nearly the same one after the other, so that the sectors of a page are
/// nearly the same in each, and whose cuts tear every page of the tables, in turns.
pub fn twice(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed ^ 0x7047);
    let mut machine = Machine::of(run.scale, seed);
    let mut tears = Tears { tables: tables(run.scale), sectors: BTreeMap::new() };
    let mut kept = Kept::default();
    for _ in 0..CUTS {
        machine.world.cut_after(4 + rng.below(220));
        let ops = nearly(seed, &mut rng, run.scale);
        let guest = live(&mut machine, 0, &ops, &mut kept)?;
        let image = tears.cut(&machine, &mut rng);
        machine.world.crash(Survive::Nothing);
        drop(guest);
        machine.world.restore(machine.disk, &image);
        machine.stir(rng.next_u64());
        let guest = Guest::boot(&mut machine, 0)?;
        kept.found(&guest)?;
        guest.read_all()?;
        no_check_fails(&guest)?;
        drop(guest);
        machine.world.restore(machine.disk, &image);
    }
    let ops = nearly(seed, &mut rng, run.scale);
    live(&mut machine, 0, &ops, &mut kept).map(drop)
}

/// Where the blob table and the descriptor pages lie on the disk.
fn tables(scale: Scale) -> Range<u64> {
    let pages = if matches!(scale, Scale::Small | Scale::Keyed) { 2 } else { 4 };
    START + 32 * BLOCK..START + (40 + pages) * BLOCK
}

/// The script of this seed, with some of its operations changed.
fn nearly(seed: u64, rng: &mut Rng, scale: Scale) -> Vec<Op> {
    let sample = &samples(scale)[0];
    let rate = [80_000, 200_000, 500_000][rng.index(3)];
    let others = script::random(rng.next_u64(), sample, 12);
    let same = script::random(seed, sample, 12).into_iter();
    same.zip(others).map(|(same, other)| if rng.chance(rate) { other } else { same }).collect()
}

/// Which sectors of each page survive its next write.
struct Tears {
    tables: Range<u64>,
    sectors: BTreeMap<u64, u8>,
}

impl Tears {
    /// What a cut leaves now: most blocks of slots, and of each page of the tables that was written
    /// since the last flush some sectors, and in the next cut the others. What the first cut takes
    /// becomes noise, even where the write did not change it.
    fn cut(&mut self, machine: &Machine, rng: &mut Rng) -> StableImage {
        let [mut image, all] = [Survive::Nothing, Survive::Everything]
            .map(|survive| machine.world.crash_image(machine.disk, survive));
        for at in (START..START + machine.bytes()).step_by(BLOCK as usize) {
            let new = block(&all.0, at);
            if block(&image.0, at) == new {
                continue;
            }
            if !self.tables.contains(&at) {
                if rng.chance(800_000) {
                    image.0.write(at, &new);
                }
                continue;
            }
            let is_first = !self.sectors.contains_key(&at);
            // The header is in the first one: without it there is no page to complete.
            let survive = self.sectors.entry(at).or_insert_with(|| 1 | rng.next_u64() as u8);
            for (number, sector) in new.chunks(SECTOR as usize).enumerate() {
                let at = at + number as u64 * SECTOR;
                if *survive >> number & 1 == 1 {
                    image.0.write(at, sector);
                } else if is_first {
                    let mut noise = [0; SECTOR as usize];
                    rng.fill(&mut noise);
                    image.0.write(at, &noise);
                }
            }
        }
        self.sectors.values_mut().for_each(|survive| *survive = !*survive);
        image
    }
}
