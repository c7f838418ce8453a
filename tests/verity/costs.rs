//! What verified reads cost in reads of devices.

use std::sync::Mutex;

use rootlet::storage::{DeviceId, DeviceInfo, Discover, Storage, Transfer};
use rootlet_base::units::Pow2;
use rootlet_guest::{Mounted, open, open_verified};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, World};
use rootlet_sim::image::Content;
use rootlet_trust::{Algorithm, Builder, Format, Salt, Shape, Software, Spec, Subject};
use rootlet_verity::{Ask, Verified};

use crate::guest::Guest;
use crate::set;
use crate::world::{made, mount};

/// How long a read takes; everything else takes next to no time.
const READ_NS: u64 = 1_000_000_000;

/// Returns how many reads, one after the other, the first byte of a file takes, the mount included.
fn round_trips<S: Discover>(
    world: &World,
    attach: impl FnOnce(SimStorage) -> S,
    open: impl FnOnce(
        &mut S,
        &rootlet_guest::config::Config,
    ) -> Result<Mounted, rootlet_guest::MountError>,
    (line, path): (&str, &str),
) -> u64 {
    world.set_jitter_ns(1);
    world.set_deadline_ns(u64::MAX >> 8);
    world.rule(Rule::new(Fault::Delay(READ_NS)).op(OpKind::Read));
    let guest = Guest::mount_by(open, attach(world.attach()), line, 1).unwrap();
    let mut out = [0; 1];
    assert_eq!(guest.root.open(path.as_bytes()).unwrap().read_at(0, &mut out), Ok(1));
    guest.root.storage().now_ns() / READ_NS
}

#[test]
fn first_byte_takes_two_round_trips_more_however_many_blobs_there_are() {
    let made = made(1, 3_000_000);
    let verified = |storage| Verified::new(storage, &Software, 1 << 20);
    let beside = [(made.world().0, made.world().0, made.line(), made.plain_line(), "/f0")];
    let behind = set::behind();
    for (world, other, line, plain, path) in beside.into_iter().chain(behind) {
        let without = round_trips(&other, |storage| storage, open, (&plain, path));
        let with = round_trips(&world, verified, open_verified, (&line, path));
        println!("{path}: {without} round trips, with digests {with}");
        assert!(with <= without + 2, "{path}: {without} round trips, with digests {with}");
    }
}

#[test]
fn cold_random_read_takes_one_more_read_and_a_warm_one_none() {
    let made = made(1, 3_000_000);
    let (world, data, trees) = made.world();
    let line = format!("{} ram-cache=0", made.line());
    let guest = mount(&world, &line).unwrap();
    let file = guest.root.open(b"/f0").unwrap();
    // The inode, and whatever the map takes.
    let mut out = [0; 4096];
    assert_eq!(file.read_at(0, &mut out), Ok(4096));
    let reads = |devices: &[DeviceId]| -> u64 {
        devices.iter().map(|device| world.counters(*device).reads).sum()
    };
    let (mut cold, mut warm) = (0, 0);
    for at in [1_500_000, 1_504_096, 2_900_000, 2_800_000, 900_000, 904_096] {
        let at = at / 4096 * 4096;
        let (blobs, nodes) = (reads(&data[1..]), reads(&trees));
        assert_eq!(file.read_at(at, &mut out), Ok(4096));
        assert_eq!(reads(&data[1..]) - blobs, 1, "one read of the blob");
        match reads(&trees) - nodes {
            0 => warm += 1,
            1 => cold += 1,
            more => panic!("{more} reads of trees"),
        }
    }
    assert!(cold >= 1 && warm >= 2, "{cold} cold, {warm} warm");
}

/// A storage that notes how many bytes of the device `tree` one batch reads at most.
struct Watched {
    storage: SimStorage,
    tree: DeviceId,
    most: Mutex<usize>,
}

impl Storage for Watched {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.storage.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let nodes = batch.iter().filter(|transfer| transfer.device == self.tree);
        let bytes = nodes.map(Transfer::len).sum::<usize>();
        let most = &mut *self.most.lock().unwrap();
        *most = bytes.max(*most);
        self.storage.run(batch, done);
    }

    fn now_ns(&self) -> u64 {
        self.storage.now_ns()
    }
}

/// As many nodes as blocks of 512 bytes need, which are 16 times as many as usual.
#[test]
fn batch_that_needs_many_nodes_is_run_in_parts_that_hold_few() {
    let data = Content::seeded(40, 2 << 20).to_vec();
    let (block, len) = (Pow2::of(512).unwrap(), data.len() as u64);
    let shape = Shape::new(Algorithm::Sha256, Format::DmVerity, Salt::NONE, [block; 2], len);
    let shape = shape.unwrap();
    let mut tree = vec![0; shape.tree_bytes() as usize];
    let mut put = |at: u64, node: &[u8]| tree[at as usize..][..512].copy_from_slice(node);
    let mut builder = Builder::new(&Software, shape).unwrap();
    data.chunks(512).for_each(|block| builder.push(block, &mut put).unwrap());
    let root = builder.finish(&mut put).unwrap();
    let text = format!(
        "root_hash={},salt=-,data_blocks=4096,data_block_size=512,hash_block_size=512",
        root.digest()
    );
    let world = World::new(1);
    let (device, tree) = (world.blob("data", data.clone()), world.blob("tree", tree));
    let watched = Watched { storage: world.attach(), tree, most: Mutex::default() };
    let mut storage = Verified::new(watched, &Software, 0);
    let spec = Spec::parse(&text).unwrap();
    storage.pin(&Ask { tree: Some(tree), ..Ask::new(Subject::IMAGE, device, &spec) }).unwrap();
    let mut out = vec![0; data.len()];
    let parts = out.chunks_mut(256 << 10).enumerate();
    let reads = parts.map(|(part, out)| Transfer::read(device, (part as u64) << 18, out));
    let mut batch: Vec<_> = reads.collect();
    storage.run(&mut batch, &mut |_, _| {});
    assert!(batch.iter().all(|transfer| transfer.result == Some(Ok(()))));
    assert!(out == data);
    let most = *storage.inner_mut().most.lock().unwrap();
    assert!(most > 16 << 10 && most <= 64 << 10, "{most} bytes of nodes in a batch");
}
