//! What mounting, looking up, reading, listing and walking may cost: the functions that the
//! documents of `rootlet::read` state, held against the devices' own counters.
//!
//! Always: with the smallest cache of metadata, where nothing else is said.

use std::fs;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::erofs::{FileKind, Inode, Layout, Space};
use rootlet::read::Tree;
use rootlet::read::{Budget, Root, XATTR_BYTES_MAX, XattrName};
use rootlet::storage::{DeviceId, Discover};
use rootlet_sim::Rng;
use rootlet_sim::disk::World;
use rootlet_sim::image::{self, Built, Content, FileLayout, Inodes, Options};

use crate::case::{self, Mounted, cost};
use rootlet_golden::Set;

const PAGE: u64 = 4096;
const SECTOR: u64 = 512;
/// The most encoded bytes of an extent.
const EXTENT: u64 = 1 << 20;

/// Reads and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    reads: u64,
    bytes: u64,
}

impl Cost {
    fn times(self, count: u64) -> Self {
        Self { reads: self.reads * count, bytes: self.bytes * count }
    }

    fn and(self, other: Self) -> Self {
        Self { reads: self.reads + other.reads, bytes: self.bytes + other.bytes }
    }

    #[track_caller]
    fn holds(self, spent: Self, what: &str) {
        let within = spent.reads <= self.reads && spent.bytes <= self.bytes;
        assert!(within, "{what}: {spent:?}, at most {self:?}");
    }
}

/// A mounted image, and its cost so far.
struct Metered {
    root: Mounted,
    world: World,
    devices: Vec<DeviceId>,
    /// The encoded bytes of any extent of this image, at most.
    encoded: u64,
}

impl Metered {
    fn new(world: World, devices: Vec<DeviceId>, budget: &Budget) -> Self {
        let mut storage = world.attach();
        let device = storage.disk("image").unwrap();
        let image = Image::read(&storage, device).unwrap();
        let names: Vec<String> = (1..devices.len()).map(|number| format!("blob{number}")).collect();
        let given: Vec<_> =
            (1..).zip(names.iter().map(|name| SourceName::Disk(name.as_str()))).collect();
        let sources = image.bind(&mut storage, &given).unwrap();
        let root = Root::with_budget(storage, NoRegion, &image, &sources, budget).unwrap();
        let encoded = sources.iter().map(|source| source.bytes).sum::<u64>().min(EXTENT);
        Self { root, world, devices, encoded }
    }

    fn built(built: &Built, budget: &Budget) -> Self {
        let (world, devices) = case::plug(built);
        Self::new(world, devices, budget)
    }

    fn spent(&self) -> Cost {
        let (reads, bytes) = cost(&self.world, &self.devices);
        Cost { reads, bytes }
    }

    /// What `call` cost.
    fn of<'m, T>(&'m self, call: impl FnOnce(&'m Mounted) -> T) -> (T, Cost) {
        let before = self.spent();
        let result = call(&self.root);
        let now = self.spent();
        let cost = Cost { reads: now.reads - before.reads, bytes: now.bytes - before.bytes };
        (result, cost)
    }

    /// A page of metadata of this space.
    fn page(&self, space: Space) -> Cost {
        match space {
            Space::Image => Cost { reads: 1, bytes: PAGE },
            Space::Metabox => {
                let metabox = self.root.superblock().metabox().unwrap();
                // Found in the image, as its own index is.
                let inode = self.root.inode(metabox).unwrap();
                self.image_pages(2).and(self.read(&inode, PAGE))
            }
        }
    }

    fn image_pages(&self, count: u64) -> Cost {
        Cost { reads: 1, bytes: PAGE }.times(count)
    }

    /// Pages of the space that costs more.
    fn pages(&self, count: u64) -> Cost {
        let space = self.root.superblock().metabox().map_or(Space::Image, |_| Space::Metabox);
        self.page(space).times(count)
    }

    /// A block of a directory.
    fn dir_block(&self) -> Cost {
        self.pages(self.root.superblock().block_size().bytes().div_ceil(PAGE))
    }

    /// A name in a directory of *n* bytes.
    fn lookup(&self, bytes: u64) -> Cost {
        let blocks = self.root.superblock().block_size().blocks_of(bytes);
        self.dir_block().times(probes(blocks)).and(self.pages(2))
    }

    /// The names of all xattrs of an inode, which say whether the image has the file's bytes.
    fn names_of_xattrs(&self, inode: &Inode) -> Cost {
        let Some(span) = inode.xattrs() else { return Cost::default() };
        let mut shared = 0;
        let count = |_: &XattrName<'_>, _: &[u8]| {
            shared += 1;
            Ok(())
        };
        self.root.xattrs(inode, &mut vec![0; XATTR_BYTES_MAX], count).unwrap();
        self.pages(span.len / PAGE + 2 + 2 * shared)
    }

    /// `len` bytes of a file.
    fn read(&self, inode: &Inode, len: u64) -> Cost {
        let straight = |extents: u64| Cost {
            reads: 3 * extents + len / EXTENT,
            bytes: len + 2 * SECTOR * extents,
        };
        let devices = self.devices.len() as u64;
        match inode.layout() {
            Layout::None | Layout::Plain { start: None } => Cost::default(),
            Layout::Object { .. } => panic!("no storage here has objects"),
            Layout::Plain { .. } => straight(devices),
            Layout::Inline { .. } => straight(devices).and(self.page_of_tail(inode)),
            Layout::Chunked(map) => {
                let chunks = (len >> map.chunk_bits()) + 2;
                straight(chunks * devices).and(self.pages(chunks * 8 / PAGE + 2))
            }
            Layout::Compressed(_) => {
                let extents = self.extents(len);
                // A fragment is read as any part of the packed inode.
                let coded = Cost { reads: 3 * extents, bytes: self.encoded * extents };
                coded.times(2).and(self.index(extents))
            }
        }
    }

    /// Extents of `len` bytes: each begins in another lcluster, which has a block at least; in
    /// golden images those of records do so, too.
    fn extents(&self, len: u64) -> u64 {
        len / self.root.superblock().block_size().bytes() + 2
    }

    /// The index of *n* extents: a page or two for each, in the image.
    fn index(&self, extents: u64) -> Cost {
        self.image_pages(4 * extents + 8)
    }

    fn page_of_tail(&self, inode: &Inode) -> Cost {
        match inode.nid().space() {
            Space::Image => self.pages(2),
            // Not of its own: the metabox has no tail there.
            Space::Metabox => self.page(Space::Metabox).times(2),
        }
    }
}

/// The rounds of a binary search over *n* blocks.
fn probes(blocks: u64) -> u64 {
    (blocks + 1).next_power_of_two().trailing_zeros().into()
}

const SMALL: Budget = Budget::LARGE
    .with_metadata_bytes(0)
    .with_decoded_bytes(0)
    .with_decoder_bytes(24 << 20)
    .with_block_bytes(0)
    .with_stream_bytes(0)
    .with_events(0);

/// Calls `each` with every golden image, mounted, and what mounting cost.
fn each_golden(each: impl Fn(&str, &Metered, Cost)) {
    for golden in Set::built_in(env!("CARGO_TARGET_TMPDIR")).images {
        let world = World::new(7);
        let mut devices = vec![world.blob("image", fs::read(&golden.image).unwrap())];
        for (number, blob) in (1..).zip(&golden.devices) {
            devices.push(world.blob(&format!("blob{number}"), fs::read(blob).unwrap()));
        }
        let metered = Metered::new(world, devices, &SMALL);
        let spent = metered.spent();
        each(&golden.name, &metered, spent);
    }
}

/// All inodes with their paths.
fn inodes(root: &Mounted) -> Vec<(Vec<u8>, Inode)> {
    let (mut found, mut tree) = (Vec::new(), Tree::new());
    tree.begin(root, b"/").unwrap();
    while let Some(inode) = tree.next(root).unwrap() {
        found.push((tree.path().to_vec(), inode));
    }
    found
}

#[test]
fn mounting_reads_the_head_of_an_image_and_its_root() {
    each_golden(|name, metered, spent| {
        let block = metered.root.superblock().block_size().bytes();
        // The first 4 KiB; a longer block as a whole; the table in pieces; the root's inode.
        let long = if block > PAGE { block } else { 0 };
        let head = metered.image_pages(1 + long / PAGE + 3);
        head.and(metered.pages(2)).holds(spent, name);
    });
}

#[test]
fn lookup_of_a_path_costs_three_pages_a_name_and_a_round_for_each_doubling() {
    each_golden(|name, metered, _| {
        for (path, _) in inodes(&metered.root) {
            let mut most = Cost::default();
            let mut at = Vec::new();
            for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
                let dir = metered.root.symlink_metadata(&at).unwrap();
                most = most.and(metered.lookup(dir.size()));
                at = [&at[..], b"/", part].concat();
            }
            let (found, spent) = metered.of(|root| root.symlink_metadata(&path));
            assert!(found.is_ok(), "{name}");
            most.holds(spent, &format!("{name} {}", path.escape_ascii()));
        }
    });
}

#[test]
fn read_costs_its_bytes_and_the_edges_of_its_extents_or_its_pclusters() {
    each_golden(|name, metered, _| {
        let mut rng = Rng::new(3);
        for (path, inode) in inodes(&metered.root) {
            if inode.kind() != FileKind::Regular {
                continue;
            }
            let what = format!("{name} {}", path.escape_ascii());
            let (file, spent) = metered.of(|root| root.open_inode(inode).unwrap());
            metered.names_of_xattrs(&inode).holds(spent, &what);
            let size = usize::try_from(inode.size()).unwrap();
            for part in [size, 1, 512, 4096, 70_000] {
                let offset = if part == size { 0 } else { rng.below(inode.size().max(1)) };
                let mut out = vec![0; part];
                let before = metered.root.stats();
                let (got, spent) = metered.of(|_| file.read_at(offset, &mut out).unwrap());
                let len = got as u64;
                metered.read(&inode, len).holds(spent, &what);
                let after = metered.root.stats();
                let extents = 2 * metered.extents(len);
                assert!(after.decodes - before.decodes <= extents, "{what}: decodes");
                let most = extents * (12 << 20);
                assert!(after.decoded_bytes - before.decoded_bytes <= most, "{what}: decoded");
                // The reader's own counters are those of the devices.
                assert_eq!(after.fetches - before.fetches, spent.reads, "{what}");
                assert_eq!(after.fetched_bytes - before.fetched_bytes, spent.bytes, "{what}");
            }
        }
    });
}

#[test]
fn list_and_walk_cost_a_step_an_entry_and_three_pages() {
    each_golden(|name, metered, _| {
        let all = inodes(&metered.root);
        let mut walk = metered.pages(4);
        for (path, dir) in all.iter().filter(|(_, inode)| inode.kind() == FileKind::Directory) {
            let blocks = metered.root.superblock().block_size().blocks_of(dir.size());
            let (count, spent) = metered.of(|root| {
                let mut cursor = root.read_dir_inode(*dir).unwrap();
                let mut count = 0;
                while cursor.next(root).unwrap().is_some() {
                    count += 1;
                }
                count
            });
            let list = metered.dir_block().times(2 * blocks);
            list.holds(spent, &format!("{name} {}", path.escape_ascii()));
            assert!(13 * count <= dir.size(), "{name}: {count} entries of {} bytes", dir.size());
            let entry = metered.dir_block().and(metered.pages(2));
            walk = walk.and(list).and(entry.times(count));
        }
        let (again, spent) = metered.of(inodes);
        assert_eq!(again.len(), all.len());
        walk.holds(spent, name);
        let directories = all.iter().filter(|(_, inode)| inode.kind() == FileKind::Directory);
        let bytes: u64 = directories.map(|(_, inode)| inode.size()).sum();
        assert!(bytes <= metered.root.directory_bytes_max(), "{name}: {bytes}");
        assert!(13 * (all.len() as u64 - 1) <= bytes, "{name}: {} entries", all.len());
    });
}

/// A file `depth` directories deep, each with 30 others.
fn deep(depth: usize, inodes: Inodes) -> (Built, Vec<u8>) {
    let mut tree = image::Tree::new();
    let mut dir = String::new();
    for level in 0..depth {
        for number in 0..30 {
            tree.file(format!("{dir}/{number:02}-in-{level}"), Content::seeded(number, 700));
        }
        dir.push_str("/15-directory");
    }
    tree.file(format!("{dir}/file"), Content::bytes(*b"deep"));
    let options = Options { layout: FileLayout::Inline, inodes, ..Options::default() };
    (image::build(&tree, &options).unwrap(), format!("{dir}/file").into_bytes())
}

#[test]
fn deep_path_costs_at_most_three_reads_a_name_when_cold_and_none_when_warm() {
    for inodes in [Inodes::Compact, Inodes::Extended] {
        let (built, path) = deep(DEPTH, inodes);
        let metered = Metered::built(&built, &Budget::default());
        let names = DEPTH as u64 + 1;
        let (found, spent) = metered.of(|root| root.metadata(&path));
        assert_eq!(found.unwrap().size(), 4);
        metered.image_pages(3 * names).holds(spent, "cold");
        assert_eq!(spent.reads, COLD, "{inodes:?}: of {names} names");
        let (_, spent) = metered.of(|root| root.metadata(&path));
        assert_eq!(spent, Cost::default(), "warm");
        let (_, spent) = metered.of(|root| root.metadata(&[&path[..], b"-not"].concat()));
        assert_eq!(spent, Cost::default(), "a name that is not there, warm");
    }
}

const DEPTH: usize = 16;
/// Reads of a cold lookup of 17 names: an inode mostly shares its page with its directory's block.
const COLD: u64 = 19;

#[test]
fn name_in_a_large_directory_costs_a_read_for_each_doubling_of_its_blocks() {
    let mut tree = image::Tree::new();
    for number in 0..20_000 {
        tree.file(format!("/many/a-rather-long-name-{number:05}"), Content::hole(0));
    }
    let options = Options { layout: FileLayout::Inline, ..Options::default() };
    let built = image::build(&tree, &options).unwrap();
    for number in (0..20_000).step_by(1111) {
        let metered = Metered::built(&built, &Budget::default());
        let dir = metered.root.metadata(b"/many").unwrap();
        let blocks = dir.size().div_ceil(PAGE);
        assert!(blocks > 128, "{blocks} blocks");
        let path = format!("/many/a-rather-long-name-{number:05}");
        let (found, spent) = metered.of(|root| root.metadata(path.as_bytes()));
        assert!(found.is_ok());
        metered.image_pages(probes(blocks) + 2).holds(spent, &path);
    }
}
