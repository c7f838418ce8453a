//! The command `boot`: the machine is handed over to a kernel out of the image.
//!
//! Always: the jump is the last step, after all of kernel, initrd and command line were read, the
//! region is durable, and no device touches memory any more. Whatever goes wrong before it ends the
//! run with FAIL.

use core::convert::Infallible;
use core::fmt::Write as _;

use rootlet_guest::boot::{Ask, BootError, Handover, Plan, Room, Words, choose};
use rootlet_guest::config::{Config, machines_words};
use rootlet_guest::timeline::{Report, Stage};
use rootlet_guest::{Command, Counters, Mounted, Scratch};

use crate::guest::{Ready, Root, end, fail, finish, tell, tell_digests};
use crate::text::Message;
use crate::{arch, console, heap, verdict};

/// Memory of the heap.
struct HeapRoom;

impl Room for HeapRoom {
    fn take(&mut self, ask: &Ask) -> Option<&'static mut [u8]> {
        heap::take(ask)
    }
}

/// Starts what the words of `boot` name; `line` is the machine's own command line.
pub(crate) fn run(ready: Ready, config: &Config, words: &Words, line: &str) -> ! {
    let Ready { mut root, mounted, memory, mut marks, before } = ready;
    let (mounted, memory) = (&mounted, &memory);
    let arch = arch::facts(|facts| facts.arch);
    let mut choice = match choose(&root, words, arch, &mut |line| tell(&line)) {
        Ok(choice) => choice,
        Err(error) => {
            let counters = finish(&mut root, 0);
            tell_digests(root.storage());
            end_by(error, mounted, config, &counters)
        }
    };
    machines_words(line).for_each(|word| choice.append(word));
    let scratch = Scratch::new(&Command::Cache, memory);
    let plan = arch::facts(|facts| Plan::new(&root, &choice, facts, &mut HeapRoom));
    heap::seal(root.reserve_bytes() + root.storage().reserve_bytes());
    console::progress(format_args!("stage=mounted"));
    marks.reach(Stage::Mounted, root.now_ns());
    let mut files = 0;
    let loaded = plan.and_then(|plan| {
        tell(&format_args!("boot    {plan}"));
        files = plan.files();
        plan.load()
    });
    marks.reach(Stage::Read, root.now_ns());
    let counters = finish(&mut root, if loaded.is_ok() { files } else { 0 });
    marks.reach(Stage::End, root.now_ns());
    let (recorder, names) = (&root.recorder(), scratch.names());
    Report { recorder, marks: &marks, names, config, mounted, before }.send(&mut console::timeline);
    let wrong = tell_digests(root.storage());
    match loaded {
        Ok(_) if wrong > 0 => fail(&format_args!("{wrong} digests are wrong"), Some(&counters)),
        Ok(handover) => hand_over(&handover, &mut root, &counters),
        Err(error) => end_by(error, mounted, config, &counters),
    }
}

/// Ends a run that starts nothing.
fn end_by(error: BootError<'_>, mounted: &Mounted, config: &Config, counters: &Counters) -> ! {
    match error.of_read::<Infallible>() {
        Ok(error) => {
            let why = mounted.blame(config, &error);
            end(&why.ending(), &why, Some(counters))
        }
        Err(error) => fail(&format_args!("boot: {error}"), Some(counters)),
    }
}

/// Takes the devices from the machine, sends the verdict, and jumps.
fn hand_over(handover: &Handover, root: &mut Root, counters: &Counters) -> ! {
    if let Err(place) = root.storage_mut().inner_mut().inner_mut().inner_mut().quiesce() {
        let why = "boot: a device does not reset, and may still write to memory: virtio device at";
        fail(&format_args!("{why} {place}"), Some(counters));
    }
    let mut text = Message::new();
    // A text that is too long is cut.
    let _ = write!(text, "handover=linux {counters}");
    verdict::hand_over(text.as_str());
    // SAFETY: the kernel was read whole, with all that was written for it, into memory that was taken
    // for good; the devices are reset.
    unsafe { arch::hand_over(handover) }
}
