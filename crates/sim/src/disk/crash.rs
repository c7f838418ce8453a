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

/// How many volatile sectors, of those that change at all, are few enough to try every
/// combination of what they may hold: every subset, and every order of writes to one sector.
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

/// The digests of a disk's pages, to digest disks that differ from it in few of them.
#[derive(Clone, Debug)]
pub struct Digests {
    of: Sparse,
    pages: BTreeMap<u64, u64>,
}

impl Digests {
    /// Looks at every page.
    pub fn new(of: Sparse) -> Self {
        let mut pages = BTreeMap::new();
        of.for_each_page(|at, page| {
            pages.insert(at, page_digest(at, page));
        });
        Self { of, pages }
    }

    /// A digest of the bytes of `image`: the same for the same bytes, whatever they came from.
    /// Looks only at pages that `image` does not share with the first disk.
    pub fn digest(&self, image: &StableImage) -> u64 {
        let mut sum = 0;
        image.0.for_each_page(|at, page| {
            let known = self.of.shares_page(at, &image.0).then(|| self.pages.get(&at).copied());
            sum ^= known.flatten().unwrap_or_else(|| page_digest(at, page));
        });
        sum
    }
}

/// 0 for a page of zeros, which may also be one that was never written.
fn page_digest(at: u64, page: &[u8]) -> u64 {
    if page.iter().all(|byte| *byte == 0) {
        return 0;
    }
    crate::rng::mix(crate::rng::hash(page) ^ crate::rng::mix(at))
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
    /// Every volatile sector with all its versions: each of them may be torn.
    sectors: Vec<(u64, Vec<Arc<SectorBytes>>)>,
    /// Those that may hold something else than they do durably.
    whole: Vec<Whole>,
}

/// The bytes that a sector may hold if it is not torn, beside its durable ones.
#[derive(Clone, Debug)]
struct Whole {
    sector: u64,
    /// Each content once.
    versions: Vec<Arc<SectorBytes>>,
    /// Which of them, counted from 1, was written last; 0 if that is the durable content again.
    newest: usize,
}

impl Whole {
    fn new(base: &Sparse, sector: u64, written: &[Arc<SectorBytes>]) -> Self {
        let mut stable = [0; SECTOR as usize];
        base.read(sector * SECTOR, &mut stable);
        let mut versions: Vec<Arc<SectorBytes>> = Vec::new();
        for version in written {
            if **version != stable && !versions.contains(version) {
                versions.push(Arc::clone(version));
            }
        }
        let last = written.last();
        let newest = versions.iter().position(|version| Some(version) == last);
        Self { sector, versions, newest: newest.map_or(0, |at| at + 1) }
    }
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
        let base = medium.stable().clone();
        let whole = |(sector, versions): (&u64, &Vec<_>)| Whole::new(&base, *sector, versions);
        let whole = sectors.iter().map(whole).filter(|whole| !whole.versions.is_empty()).collect();
        Self { base, sectors: sectors.into_iter().collect(), whole }
    }

    pub fn image(&self, survive: Survive) -> StableImage {
        match survive {
            Survive::Nothing => self.pick(|_| 0),
            Survive::Everything => self.pick(|whole| whole.newest),
            Survive::Seeded(seed) => self.seeded(seed, false),
            Survive::SeededDamage(seed) => self.seeded(seed, true),
        }
    }

    /// `choose` says which version a sector has, 0 for the durable one.
    fn pick(&self, mut choose: impl FnMut(&Whole) -> usize) -> StableImage {
        let mut image = self.base.clone();
        for whole in &self.whole {
            if let Some(version) = choose(whole).checked_sub(1) {
                image.write(whole.sector * SECTOR, whole.versions[version].as_slice());
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
        let each = self.whole.iter().map(|whole| whole.versions.len() as u64 + 1);
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
        let few = choices.whole.len() <= EXHAUSTIVE_SECTORS && all <= EXHAUSTIVE_IMAGES;
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
            return Some(self.choices.pick(|whole| {
                let radix = whole.versions.len() as u64 + 1;
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
