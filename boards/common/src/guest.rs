//! The guest: mounts what the command line says, runs its command, and sends the verdict.
//!
//! Always: what a read may allocate is settled before the command reads its first file; whatever
//! ends the run, the counters so far go out with the verdict.

use core::fmt::{self, Write as _};

use embedded_io::Write;
use rootlet::cache::{Cache, CacheStats};
use rootlet::read::Root;
use rootlet::storage::{Retry, Storage as _};
use rootlet_guest::bench::Setup;
use rootlet_guest::config::{self, Config};
use rootlet_guest::timeline::{Marks, Report, Stage};
use rootlet_guest::{
    self as guest, Ahead, Command, Counters, Digests, Done, Memory, Runner, SYNC_TIME, Scratch,
};
use rootlet_trust::Software;
use rootlet_verity::{Stats as VerityStats, Verified};

use crate::console::ErrorOutput;
use crate::second::{Absent, Second};
use crate::storage::VirtioStorage;
use crate::text::Message;
use crate::verdict::{self, Ending};
use crate::virtio::any::Any;
use crate::{Machine, console, entropy, heap};

type Storage = Verified<Retry<VirtioStorage<Any>>>;

/// What buffers, tables and the least caches of a mount take together, with some to spare.
const HEAP_BYTES_MIN: usize = 1 << 20;

/// Runs the main of a board that is nothing but a guest.
pub fn run(mut machine: Machine) -> ! {
    let mut err = machine.err;
    // Before the first allocation: there may be room for none.
    let heap_bytes = heap::usage().total;
    if heap_bytes < HEAP_BYTES_MIN {
        let (have, need) = (heap_bytes >> 10, HEAP_BYTES_MIN >> 10);
        fail(&format_args!("memory: {have} KiB beside the firmware, mounting needs {need}"), None);
    }
    // All these are matched where they are: moving them would cost more than it says.
    let parsed = Config::parse(machine.cmdline);
    let config = match &parsed {
        Ok(config) => config,
        Err(error) => fail(error, None),
    };
    for word in config::passed_over(machine.cmdline) {
        tell(&mut err, &format_args!("command line: {word:?} is no setting, and passed over"));
    }
    let command = Command::parse(&config.command);
    let command = match &command {
        Ok(command) => command,
        Err(error) => fail(error, None),
    };
    let mut storage = machine.storage(|problem| tell(&mut err, problem));
    let mut marks = Marks::default();
    marks.reach(Stage::Devices, storage.now_ns());
    defmt::debug!("devices up");
    console::progress(format_args!("stage=devices"));
    if let Some(seconds) = config.deadline_s {
        storage.set_timeout_ns(u64::from(seconds) * 1_000_000_000);
    }
    let memory = Memory::of(heap_bytes, config);
    let memory = match &memory {
        Ok(memory) => memory,
        Err(error) => fail(error, None),
    };
    let storage = guest::retrying(storage, config);
    let mut storage = Verified::new(storage, &Software, memory.nodes);
    let opened = guest::open_verified(&mut storage, config);
    let mounted = match &opened {
        Ok(mounted) => mounted,
        Err(error) => fail(error, None),
    };
    marks.reach(Stage::Bound, storage.now_ns());
    defmt::debug!("image and blobs bound");
    console::progress(format_args!("stage=bound"));
    let out = &mut machine.out;
    let notice = &mut |line: fmt::Arguments<'_>| tell(&mut err, &line);
    let setup = Setup { config, mounted, memory, entropy: &entropy::bytes };
    if config.timeline_events > 0 && matches!(command, Command::Bench(_) | Command::Race(_)) {
        notice(format_args!("timeline: bench and race mount several times, and record nothing"));
    }
    match command {
        Command::Bench(paths) => {
            conclude(guest::bench::run(storage, &setup, paths, out, heap::seal, notice))
        }
        Command::Race(steps) => conclude(guest::race::run(storage, &setup, steps, out, notice)),
        _ => {}
    }
    mounted.describe(config, notice);
    let region =
        guest::open_region(&mut storage, config, mounted, entropy::bytes(), memory, notice);
    marks.reach(Stage::Region, storage.now_ns());
    let before = region.as_ref().map_or_else(CacheStats::default, Cache::stats);
    let mut root = match mounted.root(storage, region, memory) {
        Ok(root) => root,
        Err(error) => fail(&error, None),
    };
    // Before the seal: it keeps a list.
    root.prefetch();
    let mut scratch = Scratch::new(command, memory);
    let digests = Digests::default();
    let second = match config.cpus {
        Some(2..) if command.is_list() => {
            Some(Second::prepare().map(|second| (second, Ahead::new(&digests))))
        }
        _ => None,
    };
    // Sums within the heap.
    heap::seal(root.reserve_bytes() + root.storage().reserve_bytes());
    let heap = heap::usage();
    defmt::info!(
        "{=str} mounted; {=u64} of {=u64} bytes of heap in use, sealed",
        machine.board.name,
        heap.used as u64,
        heap.total as u64
    );
    console::progress(format_args!("stage=mounted"));
    marks.reach(Stage::Mounted, root.now_ns());
    let mut progress = |done: Done| {
        console::progress(format_args!("stage=command files={} bytes={}", done.files, done.bytes));
    };
    let runner = Runner::new(&root, machine.out, &mut scratch);
    let mut runner = runner.watched(&mut progress).noticed(notice);
    let mut absent = None;
    let result = match second {
        None => runner.run(command),
        Some(Err(why)) => {
            absent = Some(why);
            runner.run(command)
        }
        Some(Ok((second, mut ahead))) => {
            let help = || digests.help(&root);
            let mut result = Ok(());
            let has_come = second.beside(&help, || {
                result = runner.run_by(command, &mut ahead);
                digests.close();
            });
            absent = (!has_come).then_some(Absent::Late);
            result
        }
    };
    let files = runner.done.files;
    console::progress(format_args!("stage=sync files={files} bytes={}", runner.done.bytes));
    if let Some(why) = absent {
        tell(&mut err, &format_args!("cpus=2: no second processor: {why}"));
    }
    marks.reach(Stage::Read, root.now_ns());
    let counters = finish(&mut root, files);
    marks.reach(Stage::End, root.now_ns());
    let recorder = &root.recorder();
    let names = scratch.names();
    Report { recorder, marks: &marks, names, config, mounted, before }.send(&mut console::timeline);
    let wrong = tell_digests(root.storage());
    match result {
        Ok(()) if wrong > 0 => fail(&format_args!("{wrong} digests are wrong"), Some(&counters)),
        Ok(()) => pass(&counters),
        Err(error) => {
            let why = mounted.blame(config, &error);
            end(&why.ending(), &why, Some(&counters))
        }
    }
}

/// Makes the region durable, takes leave of the shares, and counts.
fn finish(root: &mut Root<Storage, Option<Cache>>, files: u64) -> Counters {
    let mut err = ErrorOutput;
    if !root.leave(SYNC_TIME) {
        tell(&mut err, &"region  not all of it is durable");
    }
    // A daemon that is gone has failed reads already, or was not needed.
    let _ = root.storage_mut().inner_mut().inner_mut().shut_down();
    Counters { files, ..Counters::of(root) }
}

/// Tells what was verified, and returns how many digests of sources were wrong.
fn tell_digests(storage: &Storage) -> u64 {
    let stats = storage.stats();
    for refused in storage.take_refusals() {
        tell(&mut ErrorOutput, &format_args!("digest  {refused}"));
    }
    let VerityStats { verified_bytes, nodes, wrong, .. } = stats;
    if verified_bytes > 0 {
        tell(
            &mut ErrorOutput,
            &format_args!(
                "digest  verified {verified_bytes} bytes, tree nodes {nodes}, digests wrong {wrong}"
            ),
        );
    }
    wrong
}

/// Ends a run that measured.
fn conclude<E: fmt::Display>(measured: Result<Counters, E>) -> ! {
    match measured {
        Ok(counters) => pass(&counters),
        Err(error) => fail(&error, None),
    }
}

fn pass(counters: &Counters) -> ! {
    let mut text = Message::new();
    // A text that is too long is cut.
    let _ = write!(text, "{counters}");
    verdict::finish(Ending::Passed, text.as_str())
}

fn fail(why: &dyn fmt::Display, counters: Option<&Counters>) -> ! {
    end(why, why, counters)
}

/// Ends a run that failed: `told` is for standard error, and `why` for the verdict.
fn end(told: &dyn fmt::Display, why: &dyn fmt::Display, counters: Option<&Counters>) -> ! {
    defmt::info!("{=str} failed, as its verdict says", crate::board::BOARD.name);
    tell(&mut ErrorOutput, &format_args!("error   {told:#}"));
    let mut text = Message::new();
    let _ = write!(text, "{why:#}");
    if let Some(counters) = counters {
        let _ = write!(text, " {counters}");
    }
    verdict::finish(Ending::Failed, text.as_str())
}

/// Writes a line; the console does not fail.
fn tell(to: &mut ErrorOutput, what: &dyn fmt::Display) {
    let _ = writeln!(to, "{what}");
}
