//! A storage that finds a disk by its name, and then does not know it.

use rootlet::blob::{BindError, Image, SourceName};
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Ended, Job, Storage, Transfer, Version,
};
use rootlet_sim::disk::{SimStorage, World};
use rootlet_sim::image::{Content, Options, Tree, build};

/// Simulated devices without the properties of one.
struct Forgetful {
    inner: SimStorage,
    forgotten: DeviceId,
}

impl Storage for Forgetful {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.inner.info(device).filter(|_| device != self.forgotten)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.inner.run(batch, done);
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.inner.start(job)
    }

    fn poll(&self) -> Option<Ended> {
        self.inner.poll()
    }
}

impl Discover for Forgetful {
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

#[test]
fn disk_that_is_found_and_not_known_is_not_found() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(9, 300_000));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let world = World::new(1);
    world.blob("image", &built.image);
    let forgotten = world.blob("blob1", &built.blobs[0]);
    let mut storage = Forgetful { inner: world.attach(), forgotten };
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let error = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap_err();
    let BindError::Source { slot: 1, cause: DiscoverError::NotFound, .. } = error else {
        panic!("{error}")
    };
}
