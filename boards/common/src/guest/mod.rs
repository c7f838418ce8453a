//! The guest: mounts what the command line says, runs its command, and sends the verdict.
//!
//! Always: what a read may allocate is settled before the command reads its first file; whatever
//! ends the run, the counters so far go out with the verdict.

mod end;
mod ready;

use core::fmt;

use rootlet::cache::Cache;
use rootlet::storage::{Parts, Retry};
use rootlet_guest::bench::Setup;
use rootlet_guest::timeline::{Report, Stage};
use rootlet_guest::{self as guest, Ahead, Command, Digests, Done, Runner, Scratch};
use rootlet_verity::Verified;

pub(crate) use end::{conclude, end, fail, finish, pass, tell, tell_digests};
pub(crate) use ready::{Ready, bound, configured, ready};

use crate::second::{Absent, Second};
use crate::storage::VirtioStorage;
use crate::verdict::Ending;
use crate::virtio::any::Any;
use crate::{Machine, console, entropy, heap};

/// The devices of a machine, with retries and digests.
pub type Storage = Verified<Parts<Retry<VirtioStorage<Any>>>>;

/// A mounted root of a machine.
pub type Root = rootlet::read::Root<Storage, Option<Cache>>;

/// A file of a [`Root`].
pub type File<'r> = rootlet::read::File<'r, Storage, Option<Cache>>;

/// Runs the command of the command line: the main of a board that is nothing but a guest.
pub fn run(mut machine: Machine) -> Ending {
    let config = &configured(&machine);
    let command = Command::parse(&config.command);
    // Matched where it is: moving it would cost more than it says.
    let command = match &command {
        Ok(command) => command,
        Err(error) => fail(error, None),
    };
    let found = bound(&mut machine, config);
    let notice = &mut |line: fmt::Arguments<'_>| tell(&line);
    if config.timeline_events > 0 && matches!(command, Command::Bench(_) | Command::Race(_)) {
        notice(format_args!("timeline: bench and race mount several times, and record nothing"));
    }
    let out = &mut machine.out;
    let (mounted, memory) = (&found.mounted, &found.memory);
    let setup = Setup { config, mounted, memory, entropy: &entropy::bytes };
    match command {
        Command::Bench(paths) => {
            conclude(guest::bench::run(found.storage, &setup, paths, out, heap::seal, notice))
        }
        Command::Race(steps) => {
            conclude(guest::race::run(found.storage, &setup, steps, out, notice))
        }
        Command::Boot(words) => {
            crate::boot::run(ready(found, config), config, words, machine.cmdline)
        }
        _ => {}
    }
    let Ready { mut root, mounted, memory, mut marks, before } = ready(found, config);
    let (mounted, memory) = (&mounted, &memory);
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
        tell(&format_args!("cpus=2: no second processor: {why}"));
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
