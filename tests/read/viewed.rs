//! Devices of which only some lie in memory, and the notes of reads that fail.

use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::read::{Budget, Root};
use rootlet::storage::events::Kind;
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Storage, Transfer, Version,
};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::mount;

const FILE: usize = 1 << 20;

/// Simulated devices, the bytes of one of which can be viewed.
struct Half {
    inner: SimStorage,
    seen: DeviceId,
    bytes: Vec<u8>,
}

impl Storage for Half {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.inner.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.inner.run(batch, done);
    }

    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        let bytes = self.bytes.get(usize::try_from(at).unwrap()..)?.get(..len)?;
        (device == self.seen).then_some(bytes)
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }
}

impl Discover for Half {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.inner.disk(serial)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.inner.disks(each);
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        self.inner.set_version(device, version);
    }
}

/// Returns a mounted image with a file whose chunks lie on two blobs in turn, of which the first
/// can be viewed if `is_seen` says so; and its world.
fn mounted(is_seen: bool) -> (World, Root<Half, NoRegion>) {
    let mut tree = Tree::new();
    tree.file("/data", Content::seeded(1, FILE));
    let built = build(&tree, &Options { blobs: 2, ..Options::default() }).unwrap();
    let world = World::new(5);
    let devices = mount::plug(&world, &built);
    let bytes = world.with_medium(devices[1], |disk| disk.stable().to_vec());
    let seen = if is_seen { devices[1] } else { DeviceId::NONE };
    let mut storage = Half { inner: world.attach(), seen, bytes };
    let image = Image::read(&storage, devices[0]).unwrap();
    let names = [(1, SourceName::Disk("blob1")), (2, SourceName::Disk("blob2"))];
    let sources = image.bind(&mut storage, &names).unwrap();
    let budget = Budget::default().with_events(4096);
    let root = Root::with_budget(storage, NoRegion, &image, &sources, &budget).unwrap();
    (world, root)
}

#[test]
fn read_that_is_viewed_in_part_is_recorded_once() {
    let (_, root) = mounted(true);
    let mut out = vec![0; FILE];
    assert_eq!(root.open(b"/data").unwrap().read_at(0, &mut out).unwrap(), FILE);
    assert!(out == Content::seeded(1, FILE).to_vec());
    let mut fetched = (0, 0);
    root.recorder().each(|event| {
        if event.kind == Kind::Fetch {
            fetched = (fetched.0 + 1, fetched.1 + event.len);
        }
    });
    let stats = root.stats();
    assert_eq!(fetched, (stats.fetches, stats.fetched_bytes));
}

#[test]
fn first_byte_of_a_stream_is_that_of_a_read_that_succeeds() {
    let (world, root) = mounted(false);
    let mut stream = root.stream(b"/data").unwrap();
    world.advance_ns(1000);
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(5))).op(OpKind::Read));
    assert!(matches!(stream.lend(), Err(rootlet::Error::Io(_))));
    assert_eq!(root.stats().first_byte_ns, 0, "no byte came");
    world.heal();
    assert!(!stream.lend().unwrap().is_empty());
    assert!(root.stats().first_byte_ns > 1000);
}
