//! `mount`: an image as a directory of this machine, by FUSE.
//!
//! Always: read-only. What was mounted is unmounted however the command ends, unless it is killed;
//! where mounting fails, nothing is mounted.

mod attr;
mod background;
mod faults;
mod fs;
mod ids;
mod place;
mod served;

use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, OwnedFd};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::boot::verdict::Verdict;
use crate::exit::{SETUP, stop, usage};
use crate::host::{ReadArgs, named};
use crate::interrupt::Interrupt;
use crate::source::Prepared;
use faults::tell;
use fs::Tree;
use place::{Mounted, Place, Unmounted};
use served::Served;

/// Threads that answer the kernel.
const THREADS: u8 = 4;
/// How long the kernel may take to end a mount that it has let go of.
const END_MAX: Duration = Duration::from_secs(2);
/// How often a mount that lies over ours is looked for.
const PAUSE: Duration = Duration::from_millis(200);

const HELP: &str = "\
Examples:
  rootlet mount root.erofs /mnt
  rootlet mount root.erofs /mnt --blob 1=a.blob --region region.img
  rootlet mount root.erofs /mnt --background && ls /mnt && umount /mnt";

/// The image to mount, the directory, and who may look.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct MountArgs {
    /// The EROFS image; not needed where rootlet.toml names one
    pub image: Option<PathBuf>,
    /// The directory to mount on; what is in it is hidden until the image is unmounted
    pub dir: Option<PathBuf>,
    /// Let other users in, as the modes of the files allow; else only the user who mounts
    #[arg(long)]
    pub allow_other: bool,
    /// Stay until the image is unmounted (the default)
    #[arg(short, long)]
    pub foreground: bool,
    /// Return when the image is mounted, and serve it in the background; `umount DIR` ends it
    #[arg(short, long, conflicts_with = "foreground")]
    pub background: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub read: ReadArgs,
}

impl MountArgs {
    /// Takes the image that rootlet.toml names where the command line has one word: the directory.
    pub fn settle(&mut self, known: Option<PathBuf>) {
        // A stack has no image.
        if !self.read.source.layer.is_empty() && self.dir.is_none() {
            self.dir = self.image.take();
            return;
        }
        if self.dir.is_none() && known.is_some() {
            self.dir = mem::replace(&mut self.image, known);
        }
    }
}

/// What ends a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Ctrl-C, or a request to terminate.
    Asked,
    /// The kernel has ended the session: the image was unmounted.
    Ended,
    /// A thread of ours has a bug.
    Panicked,
}

/// Mounts the image, and waits until it is unmounted.
pub fn task(args: &MountArgs, interrupt: &Interrupt) -> Result<()> {
    let MountArgs { read, .. } = args;
    let image = named(args.image.as_ref(), &read.source)?;
    let dir = args.dir.as_ref().ok_or_else(|| usage("no DIR given (see --help)"))?;
    if args.background && !background::is_second() {
        return background::start(interrupt);
    }
    let leave = args.background.then(background::Leave::begin).transpose()?;
    let place = Place::find(dir)?;
    let mut prepared = Prepared::new(image, &read.source, &[], read.verbose)?;
    prepared.set_readers(THREADS);
    let opened = prepared.mount()?;
    let (sender, events) = mpsc::channel();
    watch(&sender)?;
    // A second request must not end the process while something is mounted.
    interrupt.never_ends_the_process();
    // A request to end that came before the watch.
    interrupt.check()?;
    let served = Arc::new(Served::new(opened));
    let tree = Tree::new(Arc::clone(&served), sender.clone());
    let name = image.unwrap_or(Path::new("a stack of images"));
    let config = config(name, args.allow_other);
    let mount = match Mount::new(tree, &place, &config, events) {
        Ok(mount) => mount,
        Err(error) => {
            served.end();
            return Err(not_mounted(&place, &error));
        }
    };
    let (image, at) = (name.display(), place.dir().display());
    let ends = if leave.is_some() { "" } else { "Ctrl-C or " };
    let command = if rustix::process::geteuid().is_root() { "umount" } else { "fusermount3 -u" };
    tell(&format!("{image} is mounted on {at}, read-only; {ends}`{command} {at}` ends it"));
    if leave.is_some_and(|leave| leave.end().is_err()) {
        sender.send(Event::Asked).context("nobody waits for the mount")?;
    }
    let result = mount.wait(&place);
    let counters = served.end().filter(|_| read.verbose);
    if let Some(verdict) = counters.and_then(|of| Verdict::parse(&format!("PASS {of}"))) {
        tell(&verdict.line());
    }
    result
}

/// Sends signals and panics as events.
fn watch(sender: &Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot watch signals")?;
    let asked = sender.clone();
    thread::spawn(move || {
        // Ends with the process, or when nobody listens.
        while signals.forever().next().is_some() && asked.send(Event::Asked).is_ok() {}
    });
    let (panicked, hook) = (sender.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        hook(info);
        let _ = panicked.send(Event::Panicked);
    }));
    Ok(())
}

fn config(image: &Path, allow_other: bool) -> Config {
    let mut config = Config::default();
    // A helper takes options in one word, with commas between them.
    let name = image.display().to_string();
    let name = if name.contains([',', '\\']) { "rootlet".into() } else { name };
    config.mount_options = vec![
        MountOption::RO,
        MountOption::DefaultPermissions,
        MountOption::FSName(name),
        MountOption::CUSTOM("subtype=rootlet".into()),
    ];
    config.acl = if allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS.into());
    config.clone_fd = true;
    config
}

/// Returns why nothing was mounted, in one line.
fn not_mounted(place: &Place, error: &io::Error) -> anyhow::Error {
    if place::helper_program().is_none()
        && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
    {
        // Directory and device were there: what is not is the program that mounts for a user.
        return stop(SETUP, "only root may mount without `fusermount3` (package fuse3)");
    }
    // The parts before the last say with which call and with which options.
    let text = error.to_string();
    let why = text.trim().rsplit_once(": ").map_or(text.trim(), |(_, why)| why);
    anyhow!("{}: cannot be mounted on: {why}", place.dir().display())
}

/// A mount with the threads that serve it.
struct Mount {
    /// Never dropped: fuser 0.17 takes a mount that the kernel has ended for one that is there
    /// (`is_mounted` of src/mnt/mod.rs), and would unmount what came to the directory later.
    _session: ManuallyDrop<BackgroundSession>,
    /// The device on which the kernel asks.
    device: OwnedFd,
    mounted: Mounted,
    events: Receiver<Event>,
}

impl Mount {
    /// Mounts `tree`, and begins to serve it. `events` says what ends the mount.
    fn new(
        tree: Tree,
        place: &Place,
        config: &Config,
        events: Receiver<Event>,
    ) -> io::Result<Self> {
        let session = Session::new(tree, place.dir(), config)?;
        let device = session.as_fd().try_clone_to_owned()?;
        let _session = ManuallyDrop::new(session.spawn()?);
        Ok(Self { _session, device, mounted: place.mounted(), events })
    }

    /// Waits until the mount has to end, and ends it.
    fn wait(self, place: &Place) -> Result<()> {
        let first = self.events.recv().context("nobody says when to end")?;
        self.wait_uncovered(place)?;
        // Where the kernel has ended the mount, the directory is free or another's.
        let unmounted = match self.is_alive() {
            true => self.mounted.unmount(),
            false => Ok(Unmounted::Free),
        };
        if let Ok(Unmounted::Busy) = &unmounted {
            let dir = place.dir().display();
            tell(&format!("{dir} was in use; programs with open files get errors"));
        }
        if first != Event::Ended {
            self.wait_ended();
        }
        unmounted?;
        match first {
            Event::Panicked => bail!("a thread that serves the mount has a bug, see above"),
            _ => Ok(()),
        }
    }

    /// Waits as long as another mount lies over this one, which cannot be unmounted then.
    fn wait_uncovered(&self, place: &Place) -> Result<()> {
        let mut is_told = false;
        while self.is_alive() && self.mounted.is_covered() {
            if !mem::replace(&mut is_told, true) {
                tell(&format!(
                    "{0}: something else is mounted over it; waiting until that is unmounted",
                    place.dir().display()
                ));
            }
            if self.events.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                bail!("nobody says when to end");
            }
        }
        Ok(())
    }

    /// Returns whether the kernel still has the file system: it has not closed its end of the device.
    fn is_alive(&self) -> bool {
        let mut device = [PollFd::new(&self.device, PollFlags::empty())];
        let polled = poll(&mut device, Some(&Timespec::default()));
        polled.is_ok() && !device[0].revents().contains(PollFlags::ERR)
    }

    /// Waits until the kernel has ended the mount, for [`END_MAX`] at most: while somebody is inside,
    /// it asks on until this process ends.
    fn wait_ended(&self) {
        let end = Instant::now() + END_MAX;
        let next = || self.events.recv_timeout(end.saturating_duration_since(Instant::now()));
        while next().is_ok_and(|event| event != Event::Ended) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Cli, Command};
    use clap::Parser;

    fn settled(words: &[&str], known: Option<&str>) -> [Option<PathBuf>; 2] {
        let cli = Cli::parse_from(["rootlet", "mount"].iter().chain(words));
        let Command::Mount(mut args) = cli.command else { panic!("{words:?}") };
        args.settle(known.map(PathBuf::from));
        [args.image, args.dir]
    }

    #[test]
    fn one_word_is_the_directory_where_the_settings_name_the_image() {
        let paths = |image: &str, dir: &str| [Some(image.into()), Some(dir.into())];
        assert_eq!(settled(&["i", "d"], None), paths("i", "d"));
        assert_eq!(settled(&["i", "d"], Some("known")), paths("i", "d"));
        assert_eq!(settled(&["d"], Some("known")), paths("known", "d"));
        assert_eq!(settled(&["i"], None), [Some("i".into()), None]);
    }

    #[test]
    fn reason_is_the_last_part_of_what_the_call_said() {
        let place = Place::find(Path::new("/"));
        let Ok(place) = place else { return };
        let error = io::Error::other("Error calling mount() at \"/\" with \"fd=5\": EBUSY: Busy\n");
        let said = not_mounted(&place, &error).to_string();
        assert_eq!(said, "/: cannot be mounted on: Busy");
    }
}
