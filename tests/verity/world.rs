//! An image over two blobs, with trees, in the simulator.

use rootlet_base::units::Pow2;
use rootlet_guest::config::Config;
use rootlet_guest::{Memory, Mounted, open_verified, root_verified};
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_trust::{Algorithm, Builder, Format, Root, Salt, Shape, Software};
use rootlet_verity::Verified;

use crate::guest::Guest;
use rootlet::storage::DeviceId;

/// A guest that verifies.
pub type Checked = Guest<Verified<SimStorage>>;

/// Some data, its tree, and the text that pins it.
#[derive(Clone, Debug)]
pub struct Part {
    pub data: Vec<u8>,
    pub tree: Vec<u8>,
    pub spec: String,
}

impl Part {
    /// Returns data with the tree that fsverity makes.
    pub fn new(data: Vec<u8>) -> Self {
        let block = Pow2::of(4096).unwrap();
        let bytes = data.len() as u64;
        let shape =
            Shape::new(Algorithm::Sha256, Format::FsVerity, Salt::NONE, [block; 2], bytes).unwrap();
        let mut tree = vec![0; shape.tree_bytes() as usize];
        let mut put = |at: u64, node: &[u8]| tree[at as usize..][..4096].copy_from_slice(node);
        let mut builder = Builder::new(&Software, shape).unwrap();
        data.chunks(4096).for_each(|block| builder.push(block, &mut put).unwrap());
        let Root::File(digest) = builder.finish(&mut put).unwrap() else { panic!() };
        Self { data, tree, spec: format!("sha256-12:{digest}") }
    }
}

/// The parts of an image over two blobs, the image first, and the files that it has.
pub struct Made {
    pub parts: Vec<Part>,
    pub files: Vec<(String, Vec<u8>)>,
}

/// Returns an image whose blobs have about `bytes` bytes each.
pub fn made(seed: u64, bytes: usize) -> Made {
    made_as(seed, bytes, Options::default().uuid)
}

/// Returns what [`made`] does, with this UUID.
pub fn made_as(seed: u64, bytes: usize, uuid: [u8; 16]) -> Made {
    let mut tree = Tree::new();
    let mut files = Vec::new();
    for (number, len) in [bytes, bytes / 2, bytes / 2 + 777, 100, 4096].into_iter().enumerate() {
        let (path, content) = (format!("/f{number}"), Content::seeded(seed + number as u64, len));
        files.push((path.clone(), content.to_vec()));
        tree.file(path, content);
    }
    let options = Options { blobs: 2, dedupe: false, uuid, ..Options::default() };
    let built = build(&tree, &options).unwrap();
    let mut parts = vec![Part::new(built.image.bytes().to_vec())];
    parts.extend(built.blobs.iter().map(|blob| Part::new(blob.to_vec())));
    Made { parts, files }
}

impl Made {
    /// Returns the words that pin all parts, in front of others.
    pub fn line(&self) -> String {
        let words = (0..).zip(&self.parts).map(|(slot, part)| match slot {
            0 => format!("image=image verity={}", part.spec),
            slot => format!("blob{slot}=blob{slot} verity{slot}={}", part.spec),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns the words that pin nothing.
    pub fn plain_line(&self) -> String {
        let slots = (1..self.parts.len()).map(|slot| format!(" blob{slot}=blob{slot}"));
        format!("image=image{}", slots.collect::<String>())
    }

    /// Returns the digests that a region knows the parts by.
    pub fn contents(&self) -> Vec<[u8; 32]> {
        let (world, data, _) = self.world();
        let guest = mount(&world, &self.line()).unwrap();
        data.iter().map(|device| guest.root.storage().content(*device).unwrap()).collect()
    }

    /// Mounts these parts as a program that verifies nothing, and tells the region that they are
    /// those of `pinned`.
    pub fn mount_as(pinned: &Self, world: &World, line: &str) -> Result<Guest<SimStorage>, String> {
        let contents = pinned.contents();
        let open = |storage: &mut SimStorage, config: &Config| {
            let mut mounted = rootlet_guest::open(storage, config)?;
            for (slot, content) in (0..).zip(contents) {
                let device = mounted.images[0].sources[usize::from(slot)].device;
                assert!(mounted.images[0].sources.set_content(slot, device, content));
            }
            Ok(mounted)
        };
        Guest::mount_by(open, world.attach(), line, 1)
    }

    /// Returns a world with the devices of all parts and their trees; the devices of the parts, and
    /// those of the trees.
    pub fn world(&self) -> (World, Vec<DeviceId>, Vec<DeviceId>) {
        let world = World::new(1);
        let name = |slot: usize| if slot == 0 { "image".into() } else { format!("blob{slot}") };
        let parts = self.parts.iter().enumerate();
        let data = parts.clone().map(|(slot, part)| world.blob(&name(slot), padded(&part.data)));
        let data = data.collect();
        let trees =
            parts.map(|(slot, part)| world.blob(&format!("{}.v", name(slot)), padded(&part.tree)));
        let trees = trees.collect();
        (world, data, trees)
    }

    /// Returns the content of a file that reads without an error; panics if it is not that of the
    /// file.
    pub fn read(&self, guest: &Checked, number: usize) -> Result<(), String> {
        let (path, content) = &self.files[number];
        let mut out = vec![0xee; content.len()];
        let file = guest.root.open(path.as_bytes()).map_err(|error| format!("{error:#}"))?;
        match file.read_at(0, &mut out) {
            Ok(len) => {
                assert_eq!(len, content.len(), "{path}");
                assert!(out == *content, "{path}: other bytes");
                Ok(())
            }
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Reads all files as [`Made::read`] does.
    pub fn read_all(&self, guest: &Checked) -> Vec<Result<(), String>> {
        (0..self.files.len()).map(|number| self.read(guest, number)).collect()
    }
}

/// Returns each how many bytes one is changed: `usual`, or 1 if `VERITY_EVERY_BYTE` is set.
pub fn stride(usual: usize) -> usize {
    if std::env::var_os("VERITY_EVERY_BYTE").is_some() { 1 } else { usual }
}

/// Returns bytes up to a whole sector.
pub fn padded(bytes: &[u8]) -> Sparse {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(1).next_multiple_of(512), 0);
    Sparse::from(bytes)
}

/// Mounts and verifies.
pub fn mount(world: &World, line: &str) -> Result<Checked, String> {
    let storage = Verified::new(world.attach(), &Software, 1 << 20);
    let root = |mounted: &Mounted, storage, region, memory: &Memory| {
        root_verified(mounted, storage, region, memory, &mut |_| {})
    };
    Guest::mount_with(open_verified, root, storage, line, 1)
}
