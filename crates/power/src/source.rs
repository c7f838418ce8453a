//! Sources that fail or change.
//!
//! Always: a read may fail while its source does, and is never wrong; bytes of an older version
//! are not served.

use rootlet::read::Root;
use rootlet::storage::{DeviceId, IoErrorKind};
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, Survive};

use crate::case::Run;
use crate::guest::{Guest, Stop};
use crate::invariants::{Broken, Invariant, Verdict, Watch};
use crate::machine::Machine;
use crate::script;

/// Bytes of a chunk of the samples.
const CHUNK: u64 = 64 << 10;

/// What goes wrong with a source.
const SOURCE: [Fault; 9] = [
    Fault::Fail(IoErrorKind::Device(5)),
    Fault::Fail(IoErrorKind::Timeout),
    Fault::Fail(IoErrorKind::Short(1000)),
    Fault::Fail(IoErrorKind::Protocol),
    Fault::Delay(10_000_000_000),
    Fault::Hang,
    Fault::Unplug,
    Fault::Shrink(20_480),
    Fault::EndTwice,
];

fn length(machine: &Machine, device: DeviceId) -> u64 {
    machine.world.with_medium(device, |disk| disk.current().bytes())
}

/// `source:seed`: sources that fail at times. A read may fail, but is never wrong; when they are
/// well again, so is every read.
pub fn failing(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
    let watch = Watch::new(&machine, true);
    let guest = Guest::boot(&mut machine, 0)?;
    let fault = SOURCE[rng.index(SOURCE.len())];
    for device in machine.sources[0].iter().copied() {
        if rng.chance(300_000) {
            continue;
        }
        let rule = Rule::new(fault).device(device).op(OpKind::Read);
        machine.world.rule(rule.per_million([50_000, 200_000, 1_000_000][rng.index(3)]));
    }
    let lengths: Vec<_> =
        machine.sources[0].iter().map(|device| length(&machine, *device)).collect();
    for op in script::random(rng.next_u64(), guest.sample, 40) {
        match guest.run(&machine, &op) {
            Err(Stop::Wrong(broken)) => return Err(broken),
            Ok(_) | Err(Stop::Failed(_)) => {}
        }
    }
    machine.world.heal();
    for (device, bytes) in machine.sources[0].iter().zip(lengths) {
        machine.world.set_gone(*device, false);
        if length(&machine, *device) != bytes {
            // What was cut off is lost for good: nothing is left to compare with.
            return watch.verdict();
        }
    }
    guest.read_all()?;
    guest.sync();
    drop(guest);
    let guest = Guest::boot(&mut machine, 0)?;
    guest.read_all()?;
    watch.verdict()
}

/// `version:seed`: the content of a shared file is replaced, and its version with it.
pub fn replaced(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let seed = numbers[0];
    let mut rng = Rng::new(seed);
    let mut machine = Machine::of(run.scale, seed);
    let device = *machine.sources[0].last().expect("a blob of a share");
    let guest = Guest::boot(&mut machine, 0)?;
    for op in script::random(rng.next_u64(), guest.sample, 10) {
        guest.run(&machine, &op)?;
    }
    if rng.chance(700_000) {
        guest.sync();
    }
    drop(guest);
    for turn in [1, 0, 1] {
        // The other sample has the same places and other bytes.
        machine.world.replace(
            device,
            machine.samples[turn].devices.last().expect("a blob").clone(),
            true,
        );
        if rng.chance(300_000) {
            machine.world.crash(Survive::Seeded(rng.next_u64()));
        }
        let guest = Guest::boot(&mut machine, 0)?;
        for _ in 0..2 {
            mixed_read(&machine, &guest, device, turn)?;
        }
        if rng.chance(500_000) {
            guest.sync();
        }
    }
    Ok(())
}

/// Reads every chunk and expects those of `device` to be of sample `turn`.
fn mixed_read(machine: &Machine, guest: &Guest, device: DeviceId, turn: usize) -> Verdict {
    let failed = |error: rootlet::Error| Broken::new(Invariant::NoReadFails, format!("{error:#}"));
    let root: &Root<_, _> = &guest.root;
    let mut out = vec![0; CHUNK as usize];
    for (file, of) in guest.sample.files.iter().enumerate() {
        let opened = root.open(of.path.as_bytes()).map_err(failed)?;
        for at in (0..of.bytes.len() as u64).step_by(CHUNK as usize) {
            let source = root.source_of(opened.inode(), at).map_err(failed)?;
            let here = source.is_some_and(|(from, _)| from == device);
            let right = &machine.samples[if here { turn } else { 0 }].files[file].bytes;
            let got = opened.read_at(at, &mut out).map_err(failed)?;
            if out[..got] != right[at as usize..][..got] {
                let what = format!("WRONG BYTES in the chunk at {at} of {}", of.path);
                return Err(Broken::new(Invariant::NothingMixes, what));
            }
        }
    }
    Ok(())
}

/// `same-tag:seed`: a disk gets other content under the same tag, which nothing tells a reader; or
/// serves garbage for a while. Each block that is read is of the one or of the other, whole.
pub fn replaced_under_its_tag(run: &mut Run<'_>, numbers: &[u64]) -> Verdict {
    let mut rng = Rng::new(numbers[0]);
    let mut machine = Machine::of(run.scale, numbers[0]);
    let device = machine.sources[0][1];
    let guest = Guest::boot(&mut machine, 0)?;
    for op in script::random(rng.next_u64(), guest.sample, 10) {
        guest.run(&machine, &op)?;
    }
    guest.sync();
    machine.world.replace(device, machine.samples[1].devices[1].clone(), false);
    for _ in 0..2 {
        either_read(&machine, &guest)?;
    }
    drop(guest);
    let guest = Guest::boot(&mut machine, 0)?;
    either_read(&machine, &guest)
}

/// Reads every block of every file, and expects each to be of one of the samples.
fn either_read(machine: &Machine, guest: &Guest) -> Verdict {
    let failed = |error: rootlet::Error| Broken::new(Invariant::NoReadFails, format!("{error:#}"));
    let mut out = vec![0; 8 * 4096];
    for (file, of) in guest.sample.files.iter().enumerate() {
        let opened = guest.root.open(of.path.as_bytes()).map_err(failed)?;
        for at in (0..of.bytes.len() as u64).step_by(CHUNK as usize) {
            let got = opened.read_at(at, &mut out).map_err(failed)?;
            for (number, block) in out[..got].chunks(4096).enumerate() {
                let at = at as usize + number * 4096;
                let same = |sample: &crate::machine::Sample| {
                    sample.files[file].bytes.get(at..at + block.len()) == Some(block)
                };
                if !machine.samples.iter().any(same) {
                    let what =
                        format!("WRONG BYTES: the block at {at} of {} is of neither", of.path);
                    return Err(Broken::new(Invariant::NothingMixes, what));
                }
            }
        }
    }
    Ok(())
}
