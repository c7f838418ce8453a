//! An enemy that rewrites the region between boots, and guests that verify, or have a key.
//!
//! Always: the enemy writes anything that the region has ever held, in any place, and over a region
//! without a key what a mount without digests writes of other bytes, whose checks are right; while the
//! sources are there every read is right, and none fails.

use std::sync::OnceLock;

use rootlet::Error;
use rootlet::blob::{Image, SourceName, Sources};
use rootlet::cache::{Cache, CacheOptions, FormatPolicy, SlotSize};
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover, Parts, Storage};
use rootlet_base::units::Pow2;
use rootlet_crypt::Key;
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Sparse, Survive, World};
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_trust::{
    Algorithm, Builder, Format, Root as Digest, Salt, Shape, Software, Spec, Subject,
};
use rootlet_verity::{Ask, Verified};

use crate::case::Run;
use crate::guest::{Stop, count_read};
use crate::invariants::{Broken, Invariant, Verdict, bytes_are_right};
use crate::machine::{KEY, START, Scale};

/// The region's length: fewer bytes than the blobs have.
const REGION: usize = (40 + 2 + 6 * 16) * 4096;
const FILE_BYTES: usize = 300_000;
/// How many states of the region the enemy remembers.
const HELD_MAX: usize = 8;
/// How long a sync may take.
const SYNC_NS_MAX: u64 = 120_000_000_000;

/// The image or a blob.
struct Part {
    data: Vec<u8>,
    /// The same with a bit of each block changed.
    forged: Vec<u8>,
    tree: Vec<u8>,
    spec: String,
}

/// An image over two blobs.
struct Set {
    parts: Vec<Part>,
    files: Vec<(String, Vec<u8>)>,
}

impl Part {
    fn new(mut data: Vec<u8>) -> Self {
        data.resize(data.len().next_multiple_of(4096), 0);
        let block = Pow2::of(4096).unwrap();
        let bytes = data.len() as u64;
        let shape =
            Shape::new(Algorithm::Sha256, Format::FsVerity, Salt::NONE, [block; 2], bytes).unwrap();
        let mut tree = vec![0; (shape.tree_bytes() as usize).max(512)];
        let mut put = |at: u64, node: &[u8]| tree[at as usize..][..4096].copy_from_slice(node);
        let mut builder = Builder::new(&Software, shape).unwrap();
        data.chunks(4096).for_each(|block| builder.push(block, &mut put).unwrap());
        let Digest::File(digest) = builder.finish(&mut put).unwrap() else { unreachable!() };
        let mut forged = data.clone();
        forged.iter_mut().skip(100).step_by(4096).for_each(|byte| *byte ^= 8);
        Self { data, forged, tree, spec: format!("sha256-12:{digest}") }
    }
}

/// Two images of one tree of files, and so of the same blobs, and one of other blobs.
fn sets() -> &'static [Set; 3] {
    static SETS: OnceLock<[Set; 3]> = OnceLock::new();
    SETS.get_or_init(|| [(1, 1), (1, 2), (2, 3)].map(|(seed, uuid)| set(seed, uuid)))
}

fn set(seed: u64, uuid: u8) -> Set {
    let mut tree = Tree::new();
    let lens = [FILE_BYTES, FILE_BYTES, 100, 5000];
    let files = lens.into_iter().zip(0_u64..).map(|(len, number)| {
        let content = Content::seeded(seed << 8 | number, len);
        let path = format!("/f{number}");
        let file = (path.clone(), content.to_vec());
        tree.file(path, content);
        file
    });
    let files = files.collect();
    let options = Options { blobs: 2, dedupe: false, uuid: [uuid; 16], ..Options::default() };
    let built = build(&tree, &options).unwrap();
    let mut parts = vec![Part::new(built.image.bytes().to_vec())];
    parts.extend(built.blobs.iter().map(|blob| Part::new(blob.to_vec())));
    Set { parts, files }
}

/// The disks of a boot: those of the parts, of their trees, and of the region.
struct Disks {
    is_keyed: bool,
    world: World,
    data: Vec<DeviceId>,
    trees: Vec<DeviceId>,
    region: DeviceId,
}

impl Disks {
    fn new(set: &Set, is_keyed: bool, is_forged: bool, region: &[u8]) -> Self {
        let world = World::new(1);
        let name = |slot: usize| format!("{slot}");
        let parts = || set.parts.iter().enumerate();
        let data = |(slot, part): (usize, &Part)| {
            let bytes = if is_forged && slot > 0 { &part.forged } else { &part.data };
            world.blob(&name(slot), Sparse::from(&bytes[..]))
        };
        let data = parts().map(data).collect();
        let tree = |(slot, part): (usize, &Part)| {
            world.blob(&format!("{}.v", name(slot)), Sparse::from(&part.tree[..]))
        };
        let trees = parts().map(tree).collect();
        let region = world.disk("region", 512, Sparse::from(region));
        Self { is_keyed, world, data, trees, region }
    }

    /// Returns the image and its sources.
    fn bind<D: Discover>(&self, storage: &mut D) -> Result<(Image, Sources), Stop> {
        let failed = |what: String| Stop::Failed(format!("the mount failed: {what}"));
        let image = Image::read(storage, self.data[0]);
        let image = image.map_err(|error| failed(format!("{error:#}")))?;
        let names = ["1", "2"].map(SourceName::Disk);
        let names = [(1, names[0]), (2, names[1])];
        let parts = image.bind(storage, &names);
        Ok((image, parts.map_err(|error| failed(format!("{error:#}")))?))
    }

    /// Says what the sources hold.
    fn name(&self, parts: &mut Sources, contents: &[[u8; 32]]) {
        for (slot, (device, content)) in (0..).zip(self.data.iter().zip(contents)) {
            assert!(parts.set_content(slot, *device, *content), "each part has a slot");
        }
    }

    /// Returns the mount of image and sources over the region, whatever that is.
    fn mount<S: Discover>(
        &self,
        mut storage: S,
        (image, parts): (&Image, &Sources),
        rng: &mut Rng,
    ) -> Result<Root<S, Option<Cache>>, Stop> {
        let mut entropy = [0; 16];
        rng.fill(&mut entropy);
        let mut options = CacheOptions::new(self.region, entropy)
            .with_format(FormatPolicy::Auto)
            .with_slot_size(Some(SlotSize::K64));
        options.pool_bytes = 64 << 10;
        let key = self.is_keyed.then(|| Key::new(KEY).unwrap());
        let opened = match key {
            Some(key) => rootlet_crypt::open(&mut storage, &options, &key),
            None => Ok(options),
        };
        let cache = opened.and_then(|options| Cache::open(&storage, &options)).ok();
        let root = Root::new(storage, cache, image, parts);
        root.map_err(|error| Stop::Failed(format!("the mount failed: {error:#}")))
    }

    /// Returns the region as it is durable in the end.
    fn region(&self) -> Vec<u8> {
        self.world.crash_image(self.region, Survive::Everything).0.to_vec()
    }
}

/// A mount that can verify.
type Checked = Root<Verified<Parts<SimStorage>>, Option<Cache>>;

/// Mounts and verifies, unless the region has a key. Returns the mount, and the digests by which the
/// region knows the parts.
fn boot(set: &Set, disks: &Disks, rng: &mut Rng) -> Result<(Checked, Vec<[u8; 32]>), Stop> {
    let mut storage = Verified::new(Parts::new(disks.world.attach()), &Software, 0);
    if disks.is_keyed {
        let (image, parts) = disks.bind(&mut storage)?;
        return Ok((disks.mount(storage, (&image, &parts), rng)?, Vec::new()));
    }
    for (slot, part) in (0..).zip(&set.parts) {
        let spec = Spec::parse(&part.spec).unwrap();
        let ask = Ask::new(Subject::of_slot(slot as u16), disks.data[slot], &spec);
        let pinned = storage.pin(&Ask { tree: Some(disks.trees[slot]), ..ask });
        pinned.map_err(|error| Stop::Failed(format!("{error}")))?;
    }
    let contents: Vec<_> =
        disks.data.iter().map(|device| storage.content(*device).unwrap()).collect();
    let (image, mut parts) = disks.bind(&mut storage)?;
    disks.name(&mut parts, &contents);
    Ok((disks.mount(storage, (&image, &parts), rng)?, contents))
}

/// Reads a part of a file, at once or by a stream, and compares it. Returns what failed.
fn read<S: Storage>(
    root: &Root<S, Option<Cache>>,
    (path, content): &(String, Vec<u8>),
    rng: &mut Rng,
) -> Result<Option<String>, Broken> {
    let at = rng.index(content.len());
    let most = [4096, 20_000, 300_000][rng.index(3)];
    let len = 1 + rng.index((content.len() - at).min(most));
    let mut out = vec![0xcc; len];
    let told = format!("read of {len} at {at} of {path}");
    count_read();
    let result = match rng.chance(300_000) {
        true => stream(root, path, at, &mut out),
        false => root.open(path.as_bytes()).and_then(|file| file.read_at(at as u64, &mut out)),
    };
    match result {
        Ok(got) => bytes_are_right(&out[..got], &content[at..at + len], &[], &told).map(|()| None),
        Err(error) => Ok(Some(format!("{told}: {error:#}"))),
    }
}

/// Fills `out` with the bytes of a file from `at` on, by a stream that begins before them. Returns how
/// many there are.
fn stream<S: Storage>(
    root: &Root<S, Option<Cache>>,
    path: &str,
    at: usize,
    out: &mut [u8],
) -> Result<usize, Error> {
    let mut stream = root.stream(path.as_bytes())?;
    let (mut skip, mut got) = (at, 0);
    loop {
        let bytes = stream.lend()?;
        let skipped = skip.min(bytes.len());
        let len = (bytes.len() - skipped).min(out.len() - got);
        if skipped + len == 0 {
            return Ok(got);
        }
        out[got..got + len].copy_from_slice(&bytes[skipped..skipped + len]);
        stream.advance(skipped + len);
        (skip, got) = (skip - skipped, got + len);
    }
}

/// Has a program that verifies nothing fill the region with forged bytes, which it says are those
/// of the digests.
fn forge(set: &Set, contents: &[[u8; 32]], region: &[u8], rng: &mut Rng) -> Result<Vec<u8>, Stop> {
    let disks = Disks::new(set, false, true, region);
    let mut storage = Parts::new(disks.world.attach());
    let (image, mut parts) = disks.bind(&mut storage)?;
    disks.name(&mut parts, contents);
    let root = disks.mount(storage, (&image, &parts), rng)?;
    for (path, content) in &set.files {
        let mut out = vec![0; content.len()];
        let read = root.open(path.as_bytes()).and_then(|file| file.read_at(0, &mut out));
        read.map_err(|error| Stop::Failed(format!("{path}: {error:#}")))?;
        root.progress();
    }
    sync(&root);
    Ok(disks.region())
}

fn sync<S: Storage>(root: &Root<S, Option<Cache>>) {
    root.with_layer(|cache, storage| {
        let until_ns = storage.now_ns() + SYNC_NS_MAX;
        // A region that could not be opened is nothing to keep.
        cache.as_mut().is_some_and(|cache| cache.sync(storage, until_ns))
    });
}

/// Rewrites the region with anything that the region has held.
fn meddle(rng: &mut Rng, now: &mut [u8], held: &[Vec<u8>]) {
    for _ in 0..rng.below(60) {
        let len = [512, 4096, 4096, 4096, 16_384, 65_536][rng.index(6)];
        let place = |rng: &mut Rng| rng.index((now.len() - len) / 512) * 512;
        let aligned = if rng.chance(800_000) { !4095 } else { !511 };
        let (to, from) = (place(rng) & aligned, place(rng) & aligned);
        let past = &held[rng.index(held.len())];
        match rng.below(16) {
            0..6 => now[to..to + len].copy_from_slice(&past[to..to + len]),
            6..10 => now[to..to + len].copy_from_slice(&past[from..from + len]),
            10..13 => {
                let one = now[to..to + len].to_vec();
                now.copy_within(from..from + len, to);
                now[from..from + len].copy_from_slice(&one);
            }
            // The tables of one time over the blocks of another.
            13 => now[..42 * 4096].copy_from_slice(&past[..42 * 4096]),
            14 => now[42 * 4096..].copy_from_slice(&past[42 * 4096..]),
            _ if rng.chance(200_000) => now.copy_from_slice(past),
            _ => now[to] ^= 1,
        }
    }
}

/// `trust:seed`: boots of images that share blobs and of one that does not, with an enemy between
/// them; sources that are away from some moment on.
pub fn rewritten(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let is_keyed = run.scale == Scale::Keyed;
    let mut rng = Rng::new(numbers[0] ^ 0x7a57);
    let sets = sets();
    let mut region = vec![0; REGION + if is_keyed { START as usize } else { 0 }];
    let mut held = vec![region.clone()];
    let keep = |held: &mut Vec<Vec<u8>>, region: &[u8], rng: &mut Rng| {
        if held.len() == HELD_MAX {
            held.swap_remove(rng.index(HELD_MAX));
        }
        held.push(region.to_vec());
    };
    for _ in 0..3 + rng.below(4) {
        let set = &sets[rng.index(3)];
        let disks = Disks::new(set, is_keyed, false, &region);
        let (root, contents) = boot(set, &disks, &mut rng)?;
        if rng.chance(300_000) {
            root.prefetch();
        }
        let reads = 1 + rng.index(12);
        let away = rng.chance(150_000).then(|| rng.index(reads));
        for number in 0..reads {
            if away == Some(number) {
                disks
                    .data
                    .iter()
                    .chain(&disks.trees)
                    .for_each(|one| disks.world.set_gone(*one, true));
            }
            let file = &set.files[rng.index(set.files.len())];
            let failed = read(&root, file, &mut rng)?;
            if let (Some(what), None) = (failed, away.filter(|from| *from <= number)) {
                return Err(Broken::new(Invariant::NoReadFails, what));
            }
            // Under its readers, too.
            if rng.chance(60_000) {
                let mut now = disks.region();
                meddle(&mut rng, &mut now, &held);
                disks.world.poke(disks.region, 0, &now);
            }
            if rng.chance(200_000) {
                root.progress();
                keep(&mut held, &disks.region(), &mut rng);
            }
        }
        let stats = root.storage().stats();
        if stats.wrong > 0 {
            let what = format!("a digest of a source was wrong: {stats:?}");
            return Err(Broken::new(Invariant::DamageCostsTime, what));
        }
        sync(&root);
        region = disks.region();
        keep(&mut held, &region, &mut rng);
        // Who has no key forges nothing.
        if !is_keyed && rng.chance(300_000) {
            let forged = forge(set, &contents, &region, &mut rng)?;
            keep(&mut held, &forged, &mut rng);
            if rng.chance(500_000) {
                region = forged;
            }
        }
        meddle(&mut rng, &mut region, &held);
    }
    Ok(())
}
