//! Sources that fail or change, and two guests on one region.
//!
//! Always: bytes of an older version, of another blob or of another guest are never served.

use rootlet::read::Root;
use rootlet::storage::{DeviceId, IoErrorKind};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, Sparse, Survive};

use crate::case::{Verdict, runs, sweep};
use crate::guest::{Guest, Stop};
use crate::machine::{Machine, samples};
use crate::script::{self, Op};
use crate::watch::Watch;

/// Bytes of a chunk of the samples.
const CHUNK: u64 = 64 << 10;

/// `source:seed`: sources that fail at times. A read may fail, but is never wrong; when they are
/// well again, so is every read.
pub fn failing(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("source:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, true);
    let text = |stop: Stop| stop.text().to_owned();
    let guest = Guest::boot(&mut machine, 0).map_err(text)?;
    let kinds = [IoErrorKind::Device(5), IoErrorKind::Timeout, IoErrorKind::Short(1000)];
    let fault = Fault::Fail(kinds[rng.index(3)]);
    for device in machine.sources[0].iter().copied().filter(|_| rng.chance(700_000)) {
        machine.world.rule(Rule::new(fault).device(device).op(OpKind::Read).per_million(200_000));
    }
    for op in script::random(rng.next_u64(), guest.sample, 40) {
        match guest.run(&machine, &op) {
            Err(Stop::Wrong(what)) => return Err(what),
            Ok(_) | Err(Stop::Failed(_)) => {}
        }
    }
    machine.world.heal();
    guest.read_all().map_err(text)?;
    guest.sync();
    drop(guest);
    Guest::boot(&mut machine, 0).and_then(|guest| guest.read_all()).map_err(text)?;
    watch.verdict()
}

/// `version:seed`: the content of a shared file is replaced, and its version with it.
pub fn replaced(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("version:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = Machine::new(seed);
    let device = machine.sources[0][3];
    let text = |stop: Stop| stop.text().to_owned();
    let guest = Guest::boot(&mut machine, 0).map_err(text)?;
    for op in script::random(rng.next_u64(), guest.sample, 10) {
        guest.run(&machine, &op).map_err(text)?;
    }
    if rng.chance(700_000) {
        guest.sync();
    }
    drop(guest);
    for turn in [1, 0, 1] {
        // The other sample has the same places and other bytes.
        machine.world.replace(device, &samples()[turn].built.blobs[2], true);
        if rng.chance(300_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
        let guest = Guest::boot(&mut machine, 0).map_err(text)?;
        for _ in 0..2 {
            mixed_read(&guest, device, turn)?;
        }
        if rng.chance(500_000) {
            guest.sync();
        }
    }
    Ok(())
}

/// Reads every chunk and expects those of `device` to be of sample `turn`.
fn mixed_read(guest: &Guest, device: DeviceId, turn: usize) -> Verdict {
    let root: &Root<_, _> = &guest.root;
    let mut out = vec![0; CHUNK as usize];
    for (file, of) in guest.sample.files.iter().enumerate() {
        let opened = root.open(of.path.as_bytes()).map_err(|error| error.to_string())?;
        for at in (0..of.bytes.len() as u64).step_by(CHUNK as usize) {
            let source = root.source_of(opened.inode(), at).map_err(|error| error.to_string())?;
            let here = source.is_some_and(|(from, _)| from == device);
            let right = &samples()[if here { turn } else { 0 }].files[file].bytes;
            let got = opened.read_at(at, &mut out).map_err(|error| error.to_string())?;
            if out[..got] != right[at as usize..][..got] {
                return Err(format!("WRONG BYTES in the chunk at {at} of {}", of.path));
            }
        }
    }
    Ok(())
}

/// `two:seed`: two guests on one region at once, and a third after a power cut.
pub fn two_guests(numbers: &[u64]) -> Verdict {
    let [seed] = *numbers else { return Err("two:seed".into()) };
    let mut rng = Rng::new(seed);
    let mut machine = Machine::new(seed);
    let watch = Watch::new(&machine, false);
    let text = |stop: Stop| stop.text().to_owned();
    if rng.chance(500_000) {
        let guest = Guest::boot(&mut machine, 0).map_err(text)?;
        guest.read_all().map_err(text)?;
        guest.sync();
    }
    let numbers = [0, usize::from(rng.chance(500_000))];
    let mut guests = Vec::new();
    for number in numbers {
        guests.push(Guest::boot(&mut machine, number).map_err(text)?);
    }
    let mut scripts: Vec<Vec<Op>> =
        guests.iter().map(|guest| script::random(rng.next_u64(), guest.sample, 30)).collect();
    while scripts.iter().any(|ops| !ops.is_empty()) {
        let turn = rng.index(2);
        if let Some(op) = scripts[turn].pop() {
            guests[turn].run(&machine, &op).map_err(text)?;
        }
    }
    watch.verdict()?;
    machine.world.crash(Survive::Seeded(rng.next_u64()));
    drop(guests);
    for number in numbers {
        Guest::boot(&mut machine, number).and_then(|guest| guest.read_all()).map_err(text)?;
    }
    watch.verdict()
}

#[test]
fn failing_source_gives_errors_and_never_wrong_bytes() {
    sweep("source", (1..=runs(150)).map(|seed| [seed]));
}

#[test]
fn replaced_source_is_never_mixed_with_its_older_version() {
    sweep("version", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn two_guests_on_one_region_read_right() {
    sweep("two", (1..=runs(150)).map(|seed| [seed]));
}

#[test]
fn disk_content_survives_as_it_was_outside_the_region() {
    let mut machine = Machine::new(5);
    let guest = Guest::boot(&mut machine, 0).unwrap();
    guest.read_all().unwrap();
    assert!(guest.sync());
    let now: Sparse = machine.world.crash_image(machine.disk, Survive::Everything).into();
    let (start, bytes) = (crate::machine::START, crate::machine::BYTES);
    let now = now.to_vec();
    let outside = [&now[..start as usize], &now[(start + bytes) as usize..]];
    assert!(outside.concat().iter().all(|byte| *byte == crate::machine::OUTSIDE));
    assert!(now[start as usize..(start + bytes) as usize].iter().any(|byte| *byte != 0));
}
