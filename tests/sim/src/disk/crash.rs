//! What a disk may hold after a power cut.
//!
//! Always: a sector that is not volatile keeps its durable bytes (unless damage of neighbours
//! is asked for, which no promise of the traits covers but which 4K drives are known for).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::medium::{Medium, SECTOR, SectorBytes};
use super::sparse::Sparse;
use crate::Rng;

/// How many volatile sectors are few enough to try every combination.
const EXHAUSTIVE_SECTORS: usize = 10;
/// And how many combinations, when sectors have several versions.
const EXHAUSTIVE_IMAGES: u64 = 4096;
/// In how many of a million sectors a survivor is torn: 2 %, and in one cut of four far more, so
/// that a cut with few volatile sectors meets it too.
const TORN_PER_MILLION: [u32; 4] = [20_000, 20_000, 20_000, 400_000];

/// Which volatile sectors survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survive {
    /// None.
    Nothing,
    /// All, in their newest version.
    Everything,
    /// A choice that this seed makes: each sector for itself, at least 2 % torn.
    Seeded(u64),
    /// The same, and where a sector is torn, others of its 4 KiB are damaged too.
    SeededDamage(u64),
}

/// A disk at rest: nothing of it is volatile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StableImage(pub Sparse);

impl StableImage {
    /// Copies what lies at byte `at`.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        self.0.read(at, out);
    }

    /// All bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<StableImage> for Sparse {
    fn from(image: StableImage) -> Self {
        image.0
    }
}

/// The choices that a power cut has.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    base: Sparse,
    sectors: Vec<(u64, Vec<Arc<SectorBytes>>)>,
}

impl Choices {
    /// `unfinished` are the writes in flight, in the order of their submission.
    pub fn new(medium: &Medium, unfinished: &[(u64, Arc<[u8]>)]) -> Self {
        let mut sectors: BTreeMap<u64, Vec<Arc<SectorBytes>>> = medium.volatile();
        for (at, data) in unfinished {
            for (number, piece) in data.chunks_exact(SECTOR as usize).enumerate() {
                let bytes: SectorBytes = piece.try_into().expect("an exact chunk");
                let sector = at / SECTOR + number as u64;
                sectors.entry(sector).or_default().push(Arc::new(bytes));
            }
        }
        Self { base: medium.stable().clone(), sectors: sectors.into_iter().collect() }
    }

    pub fn image(&self, survive: Survive) -> StableImage {
        match survive {
            Survive::Nothing => self.pick(|_| 0),
            Survive::Everything => self.pick(|versions| versions),
            Survive::Seeded(seed) => self.seeded(seed, false),
            Survive::SeededDamage(seed) => self.seeded(seed, true),
        }
    }

    /// `choose` is given how many versions a sector has, and answers 0 for the durable one.
    fn pick(&self, mut choose: impl FnMut(usize) -> usize) -> StableImage {
        let mut image = self.base.clone();
        for (sector, versions) in &self.sectors {
            if let Some(version) = choose(versions.len()).checked_sub(1) {
                image.write(sector * SECTOR, versions[version].as_slice());
            }
        }
        StableImage(image)
    }

    fn seeded(&self, seed: u64, damage: bool) -> StableImage {
        let mut rng = Rng::new(seed);
        // Cuts that lose nearly nothing and nearly everything find other bugs than even ones.
        let survival = [50_000, 500_000, 950_000][rng.index(3)];
        let tearing = TORN_PER_MILLION[rng.index(4)];
        let mut image = self.base.clone();
        for (sector, versions) in &self.sectors {
            let at = sector * SECTOR;
            let torn = rng.chance(tearing);
            if !torn && !rng.chance(survival) {
                continue;
            }
            let mut bytes = *versions[rng.index(versions.len())];
            if torn {
                tear(&mut bytes, &image, at, &mut rng);
            }
            image.write(at, &bytes);
            if torn && damage {
                damage_neighbours(&mut image, *sector, &mut rng);
            }
        }
        StableImage(image)
    }

    fn combinations(&self) -> u64 {
        let each = self.sectors.iter().map(|(_, versions)| versions.len() as u64 + 1);
        each.fold(1, u64::saturating_mul)
    }
}

/// A prefix of the new bytes, then the old ones or noise.
fn tear(bytes: &mut SectorBytes, image: &Sparse, at: u64, rng: &mut Rng) {
    let kept = 1 + rng.index(SECTOR as usize - 1);
    if rng.chance(500_000) {
        rng.fill(&mut bytes[kept..]);
    } else {
        image.read(at + kept as u64, &mut bytes[kept..]);
    }
}

fn damage_neighbours(image: &mut Sparse, sector: u64, rng: &mut Rng) {
    let first = sector / 8 * 8;
    for neighbour in (first..first + 8).filter(|neighbour| *neighbour != sector) {
        if rng.chance(500_000) {
            let mut noise = [0; SECTOR as usize];
            rng.fill(&mut noise);
            image.write(neighbour * SECTOR, &noise);
        }
    }
}

/// The images that a power cut may leave: every combination when the choices are few, then (or
/// else) nothing, everything and seeded ones.
#[derive(Clone, Debug)]
pub struct CrashImages {
    choices: Choices,
    combinations: Range<u64>,
    samples: Range<u64>,
    seed: u64,
}

impl CrashImages {
    pub(super) fn new(choices: Choices, samples: u64, seed: u64) -> Self {
        let all = choices.combinations();
        let few = choices.sectors.len() <= EXHAUSTIVE_SECTORS && all <= EXHAUSTIVE_IMAGES;
        Self { choices, combinations: 0..if few { all } else { 0 }, samples: 0..samples, seed }
    }

    /// Whether every combination of whole sectors is among the images.
    pub fn is_exhaustive(&self) -> bool {
        self.combinations.end > 0
    }
}

impl Iterator for CrashImages {
    type Item = StableImage;

    fn next(&mut self) -> Option<StableImage> {
        if let Some(mut number) = self.combinations.next() {
            return Some(self.choices.pick(|versions| {
                let radix = versions as u64 + 1;
                let choice = number % radix;
                number /= radix;
                choice as usize
            }));
        }
        let survive = match self.samples.next()? {
            0 => Survive::Nothing,
            1 => Survive::Everything,
            number => Survive::Seeded(crate::rng::mix(self.seed.wrapping_add(number))),
        };
        Some(self.choices.image(survive))
    }
}
