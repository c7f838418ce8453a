//! An application over a mounted root: its devices and words, and its end.
//!
//! Always: the application starts once, after its root is mounted; the region is made
//! durable after the application; its result and the counters are the verdict.

mod console;

use alloc::string::String;
use core::time::Duration;

pub use console::Console;

pub use crate::input::InputError;

use crate::guest::{self, Ready, Root};
use crate::heap::{self, HeapUse};
use crate::status::Status;
use crate::text::Message;
use crate::verdict::Ending;
use crate::{Machine, clock, console as output};

/// What an application is given.
pub struct App<'a> {
    /// The root: files by their paths.
    pub root: &'a Root,
    /// The words after ` -- ` on the command line.
    pub arguments: &'a [String],
    /// The serial port: `embedded_io::Read` and `Write`.
    pub console: Console<'a>,
    /// Standard error, sent at the end of each line; on a plain console beside the output.
    pub errors: output::ErrorOutput,
}

impl App<'_> {
    /// Returns the time since the machine was entered.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(clock::now_ns())
    }

    /// Returns how much memory there is, and how much is in use: of the global allocator, which the
    /// application shares with its mount.
    pub fn memory(&self) -> HeapUse {
        heap::usage()
    }
}

/// Mounts what the command line says, runs `app`, and ends the machine.
pub fn run<S: Status>(mut machine: Machine, app: impl FnOnce(&mut App<'_>) -> S) -> Ending {
    let config = &guest::configured(&machine);
    let bound = guest::bound(&mut machine, config);
    if config.timeline_events > 0 {
        guest::tell(&"timeline: an application records nothing");
    }
    let Ready { mut root, .. } = guest::ready(bound, config);
    defmt::info!("{=str} mounted", machine.board.name);
    output::progress(format_args!("stage=mounted"));
    let mut why = Message::new();
    let has_passed = {
        let console = Console::new(&root);
        let (arguments, errors) = (config.command.as_slice(), machine.err);
        let status = app(&mut App { root: &root, arguments, console, errors });
        status.has_passed(&mut why)
    };
    let counters = guest::finish(&mut root, 0);
    let wrong = guest::tell_digests(root.storage());
    match has_passed {
        true if wrong > 0 => {
            guest::fail(&format_args!("{wrong} digests are wrong"), Some(&counters))
        }
        true => guest::pass(&counters),
        false => guest::fail(&why.as_str(), Some(&counters)),
    }
}
