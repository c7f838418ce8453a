//! Sources that fail: an error of the read that needed them, no hang, and no wrong byte.

use rootlet::Error;
use rootlet::storage::{DeviceId, IoErrorKind};
use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Fault, OpKind, Rule, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::guest::Guest;
use crate::mount::{self, Mount};

fn tree() -> Tree {
    let mut tree = Tree::new();
    for number in 0..20 {
        tree.file(format!("/{number:02}"), Content::seeded(number, 40_000));
    }
    tree
}

/// Chunks of each file lie on both blobs in turn.
fn two_blobs() -> Built {
    build(&tree(), &Options { blobs: 2, chunk_bits: 12, ..Options::default() }).unwrap()
}

fn read(guest: &Guest<rootlet_sim::disk::SimStorage>, path: &str) -> Result<(), Error> {
    let mut out = vec![0; 40_000];
    let got = guest.root.open(path.as_bytes())?.read_at(0, &mut out)?;
    assert_eq!(got, out.len(), "{path}");
    assert_eq!(out, tree().content(path).unwrap().to_vec(), "{path}");
    Ok(())
}

fn io_error(result: Result<(), Error>) -> (DeviceId, IoErrorKind) {
    match result {
        Err(Error::Io(error)) => (error.device, error.kind),
        other => panic!("{other:?}"),
    }
}

fn mounted() -> Mount {
    mount::built(&two_blobs()).unwrap()
}

#[test]
fn read_error_of_a_source_is_the_reads_and_the_next_read_goes_on() {
    let mount = mounted();
    let blob = mount.devices[2];
    for kind in [IoErrorKind::Device(5), IoErrorKind::Short(512), IoErrorKind::Protocol] {
        mount.world.rule(Rule::new(Fault::Fail(kind)).device(blob).op(OpKind::Read).nth(3));
        assert_eq!(io_error(read(&mount.guest, "/00")), (blob, kind));
        read(&mount.guest, "/00").unwrap();
    }
}

#[test]
fn message_of_a_failed_read_names_path_device_and_byte() {
    let mut mount = mounted();
    let fault = Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(mount.devices[1]);
    mount.world.rule(fault.op(OpKind::Read));
    let error = mount.guest.run(&["cat", "/07"]).unwrap_err();
    assert!(error.starts_with("/07: I/O error: device 1: "), "{error}");
    assert!(error.ends_with(": the device reported error 5"), "{error}");
    // The tenfold chunks before it went to the two blobs in turn.
    let places = (35..40).map(|chunk| format!(": 4096 bytes at byte {:#x}: ", chunk * 4096));
    assert!(places.into_iter().any(|place| error.contains(&place)), "{error}");
    let error = mount.guest.run(&["manifest", "/"]).unwrap_err();
    assert!(error.starts_with("/00: I/O error: device 1: "), "{error}");
}

#[test]
fn device_that_never_answers_times_out_and_is_gone_afterwards() {
    let mount = mounted();
    let blob = mount.devices[1];
    mount.world.rule(Rule::new(Fault::Hang).device(blob).nth(1));
    assert_eq!(io_error(read(&mount.guest, "/00")), (blob, IoErrorKind::Timeout));
    assert_eq!(io_error(read(&mount.guest, "/00")), (blob, IoErrorKind::Gone));
    // What needs none of it is still there.
    assert_eq!(mount.guest.root.metadata(b"/19").unwrap().size(), 40_000);
}

#[test]
fn blob_that_shrinks_or_goes_while_in_use_fails_only_what_it_lost() {
    let mount = mounted();
    let blob = mount.devices[2];
    let bytes = mount.world.with_medium(blob, |medium| medium.current().bytes());
    read(&mount.guest, "/19").unwrap();
    mount.world.resize(blob, bytes / 2);
    read(&mount.guest, "/00").unwrap();
    assert_eq!(io_error(read(&mount.guest, "/19")), (blob, IoErrorKind::OutOfRange));
    mount.world.set_gone(blob, true);
    assert_eq!(io_error(read(&mount.guest, "/00")), (blob, IoErrorKind::Gone));
}

#[test]
fn metadata_that_cannot_be_read_fails_the_walk_and_is_read_again_later() {
    let built = two_blobs();
    let world = World::new(3);
    let devices = mount::plug(&world, &built);
    let fault = || Rule::new(Fault::Fail(IoErrorKind::Device(7))).device(devices[0]);
    world.rule(fault().nth(1));
    let error = Guest::mount(world.attach(), &mount::line(2), 1).err().unwrap();
    assert_eq!(error, "I/O error: device 0: 4096 bytes at byte 0x0: the device reported error 7");

    world.heal();
    let guest = Guest::mount(world.attach(), &mount::line(2), 1).unwrap();
    let at = built.image.chunk_entry_at("/19", 9);
    world.rule(fault().range(at..at + 8));
    let cold = read(&guest, "/19");
    if cold.is_err() {
        assert_eq!(io_error(cold), (devices[0], IoErrorKind::Device(7)));
    }
    world.heal();
    read(&guest, "/19").unwrap();
}

#[test]
fn faults_at_random_fail_reads_and_never_change_bytes() {
    let built = two_blobs();
    for seed in 0..12 {
        let world = World::new(seed);
        let devices = mount::plug(&world, &built);
        let region = mount::plug_region(&world, 4 << 20);
        let line = mount::line(2) + " cache=cache";
        let sources = Rule::new(Fault::Fail(IoErrorKind::Device(1))).op(OpKind::Read);
        for device in &devices[1..] {
            world.rule(sources.clone().device(*device).per_million(100_000));
        }
        for boot in 1..4 {
            let guest = Guest::mount(world.attach(), &line, boot).unwrap();
            let mut failed = 0;
            for number in 0..20 {
                failed += usize::from(read(&guest, &format!("/{number:02}")).is_err());
                guest.root.progress();
            }
            assert!(failed < 20, "seed {seed}: some reads succeed");
            guest.root.sync(SYNC_TIME);
        }
        world.crash(Survive::Seeded(seed));
        world.heal();
        let guest = Guest::mount(world.attach(), &line, 9).unwrap();
        for number in 0..20 {
            read(&guest, &format!("/{number:02}")).unwrap();
        }
        assert!(world.counters(region).reads > 0);
    }
}

#[test]
fn resident_bytes_need_no_source() {
    let built = two_blobs();
    let world = World::new(8);
    let devices = mount::plug(&world, &built);
    mount::plug_region(&world, 8 << 20);
    let line = mount::line(2) + " cache=cache";
    let mut guest = Guest::mount(world.attach(), &line, 1).unwrap();
    guest.run(&["sum", "/"]).unwrap();
    assert!(guest.root.sync(SYNC_TIME));
    drop(guest);
    let guest = Guest::mount(world.attach(), &line, 2).unwrap();
    for device in devices {
        world.set_gone(device, true);
    }
    for number in 0..20 {
        read(&guest, &format!("/{number:02}")).unwrap();
    }
    assert_eq!(guest.root.stats().fetched_bytes, 0);
}

#[test]
fn read_that_the_region_fails_is_counted_and_its_slot_is_asked_no_more() {
    let built = two_blobs();
    let world = World::new(9);
    mount::plug(&world, &built);
    let region = mount::plug_region(&world, 8 << 20);
    let line = mount::line(2) + " cache=cache";
    let guest = Guest::mount(world.attach(), &line, 1).unwrap();
    read(&guest, "/07").unwrap();
    assert!(guest.root.sync(SYNC_TIME));
    drop(guest);
    let guest = Guest::mount(world.attach(), &line, 2).unwrap();
    // The tables are read; what comes is the file's bytes.
    guest.root.metadata(b"/07").unwrap();
    read(&guest, "/07").unwrap();
    assert!(guest.root.stats().hits > 0);
    let faults = || guest.root.with_layer(|layer, _| layer.as_ref().unwrap().stats().region_faults);
    assert_eq!(faults(), 0);
    world.rule(Rule::new(Fault::Fail(IoErrorKind::Device(5))).device(region).op(OpKind::Read));
    read(&guest, "/07").unwrap();
    let (failed, reads) = (faults(), world.counters(region).reads);
    assert!(failed > 0, "no fault is counted");
    read(&guest, "/07").unwrap();
    assert_eq!((faults(), world.counters(region).reads), (failed, reads), "asked again");
}
