//! What the machine has: its devices, and how fast they read.
//!
//! `-- rawbench` reads the first disk, `-- sharebench NAME [ROUNDS]` a file of a share;
//! `-- panic`, `-- overflow` and `-- sealed` show how a run ends that goes wrong.

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;

use embedded_io::Write;
use platform::Machine;
use platform::clock::now_ns;
use platform::console::Output;
use platform::storage::VirtioStorage;
use platform::verdict::Ending;
use platform::virtio::mmio::Mmio;
use rootlet::storage::{DeviceId, Discover, Storage, Transfer};

const MIB: usize = 1 << 20;
/// The most that is read of a device.
const BENCH_BYTES_MAX: u64 = 64 << 20;
const DEPTH_MAX: usize = 8;

/// The board's main.
pub fn run(mut machine: Machine) -> Ending {
    let main_ns = now_ns();
    let mut err = machine.err;
    let mut storage = machine.storage(|problem| tell(&mut err, problem));
    match report(&mut machine, &mut storage, main_ns) {
        Ok(()) => Ending::Passed,
        Err(Failed) => Ending::Failed,
    }
}

/// Something failed and was said.
struct Failed;

fn report(
    machine: &mut Machine,
    storage: &mut VirtioStorage<Mmio>,
    main_ns: u64,
) -> Result<(), Failed> {
    let mut err = machine.err;
    let mut failed = |what: &dyn Display| {
        tell(&mut err, &what);
        Failed
    };
    let out = &mut machine.out;
    let devices_ns = now_ns();
    tell(out, &format_args!("main after {main_ns} ns, devices after {devices_ns} ns"));
    storage.disks(&mut |serial, id| {
        let info = storage.info(id);
        tell(out, &format_args!("disk {} {serial:?} {info:?}", id.0));
    });
    for tag in storage.mount_tags() {
        tell(out, &format_args!("share {tag:?}"));
    }
    tell(out, &format_args!("{:?}", platform::heap::usage()));
    let words = rootlet::command::words::words(machine.cmdline).map_err(|error| failed(&error))?;
    let mut command = words.iter().map(|word| word.as_str()).skip_while(|word| *word != "--");
    match (command.nth(1), command.next()) {
        (Some("rawbench"), _) => bench(storage, DeviceId(0), out).map_err(|error| failed(&error)),
        (Some("sharebench"), Some(name)) => {
            let file = storage.share_file(None, name).map_err(|error| failed(&error))?;
            let rounds = command.next().and_then(|word| word.parse().ok()).unwrap_or(1);
            let read = (0..rounds).try_for_each(|_| bench(storage, file, out));
            let read = read.map_err(|error| failed(&error));
            let closed = storage.shut_down().map_err(|error| failed(&error));
            read.and(closed)
        }
        (Some("panic"), _) => panic!("as asked"),
        (Some("overflow"), _) => {
            overflow(1);
            Ok(())
        }
        (Some("sealed"), _) => {
            platform::heap::seal();
            drop(core::hint::black_box(vec![0_u8; 4242]));
            Ok(())
        }
        (None, _) => Ok(()),
        (Some(word), _) => Err(failed(&format_args!("unknown command {word:?}"))),
    }
}

/// Runs out of stack, unless told to stop.
fn overflow(depth: usize) -> usize {
    let frame = core::hint::black_box([depth; 512]);
    if frame[3] == 0 { 0 } else { overflow(frame[7] + 1) + frame[9] }
}

/// A line; the console does not fail.
fn tell(to: &mut impl Write, what: &dyn Display) {
    let _ = writeln!(to, "{what}");
}

/// Reads a device from its start, 1 MiB at a time, at two queue depths.
fn bench(
    storage: &mut VirtioStorage<Mmio>,
    device: DeviceId,
    out: &mut Output,
) -> Result<(), String> {
    let info = storage.info(device).ok_or_else(|| String::from("there is no such device"))?;
    let bytes = info.bytes.min(BENCH_BYTES_MAX) / MIB as u64 * MIB as u64;
    let mut buffer = vec![0; DEPTH_MAX * MIB];
    for depth in [1, DEPTH_MAX] {
        let begin = now_ns();
        for at in (0..bytes).step_by(depth * MIB) {
            let chunks = buffer.chunks_exact_mut(MIB).take(depth).enumerate();
            let mut batch: Vec<_> = chunks
                .map(|(index, chunk)| Transfer::read(device, at + (index * MIB) as u64, chunk))
                .filter(|transfer| transfer.at < bytes)
                .collect();
            storage.run(&mut batch, &mut |_, _| {});
            for transfer in &batch {
                transfer.outcome().map_err(|error| error.to_string())?;
            }
        }
        let ns = now_ns() - begin;
        let rate = bytes * 1000 / ns.max(1);
        tell(out, &format_args!("{} MiB at depth {depth}: {rate} MB/s", bytes / MIB as u64));
    }
    Ok(())
}
