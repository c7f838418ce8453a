//! What an object that is not open to everybody is asked for with, and its renewal.
//!
//! Always: a ticket is renewed before it ends, and when a server refuses it; the file with it is one
//! user's, and is never seen half written.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Fault, Registry, Target, store};
use crate::source::Store;

/// How often it is looked whether a server has refused a ticket.
const LOOK: Duration = Duration::from_millis(100);
/// The shortest time between two renewals.
const PAUSE: Duration = Duration::from_secs(1);

/// What gives the right to read an object.
#[derive(Clone, Debug)]
pub enum Ticket {
    /// The keys of an object store.
    Store(Store),
    /// A registry gives it for a time, for the blob at this URL.
    Registry(Box<Registry>, String),
}

/// A ticket that was given.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The object.
    pub target: Target,
    /// For how long; `None` for ever.
    pub lasts: Option<Duration>,
}

impl Ticket {
    fn issue(&self) -> Result<Result<Issued, Fault>> {
        match self {
            Self::Store(store) => Ok(store::issue(store)),
            Self::Registry(registry, url) => registry.issue(url),
        }
    }
}

/// The renewal of a ticket, which ends with this.
#[derive(Debug)]
pub struct Renewal {
    _until: Sender<()>,
}

impl Renewal {
    /// Gets a ticket, writes it into `file`, and renews it in time.
    ///
    /// # Errors
    /// There is none any more.
    pub fn start(ticket: &Ticket, file: &Path) -> Result<Self> {
        let issued = match ticket.issue()? {
            Ok(issued) => issued,
            Err(fault) => bail!("{}", fault.why()),
        };
        write(file, &issued.target)?;
        let (until, is_over) = mpsc::channel();
        let (ticket, file) = (ticket.clone(), file.to_path_buf());
        thread::spawn(move || {
            let mut next = due(issued.lasts);
            while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let is_refused = fs::remove_file(Self::stale(&file)).is_ok();
                if !is_refused && next.is_none_or(|next| Instant::now() < next) {
                    continue;
                }
                // A failure shows in what the server answers to the old ticket, until there is another.
                next = match ticket.issue() {
                    Ok(Ok(issued)) if write(&file, &issued.target).is_ok() => due(issued.lasts),
                    _ => Some(Instant::now() + PAUSE),
                };
            }
        });
        Ok(Self { _until: until })
    }

    /// Returns the file that says that the ticket in `file` was refused.
    pub fn stale(file: &Path) -> PathBuf {
        file.with_extension("stale")
    }
}

/// When a ticket is renewed: after two thirds of its time.
fn due(lasts: Option<Duration>) -> Option<Instant> {
    lasts.map(|lasts| Instant::now() + (lasts * 2 / 3).max(PAUSE))
}

fn write(file: &Path, target: &Target) -> Result<()> {
    let name = || file.display().to_string();
    let folder = file.parent().context("a folder of secrets")?;
    // Readable by its owner alone, as all temporary files.
    let mut new = tempfile::NamedTempFile::new_in(folder).with_context(name)?;
    new.write_all(target.settings().as_bytes()).with_context(name)?;
    new.persist(file).with_context(name)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn refused_ticket_is_renewed_in_a_file_of_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.curl");
        let Source::Store(store) = "s3://b/x".parse().unwrap() else { panic!() };
        let renewal = Renewal::start(&Ticket::Store(store), &file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("url = \"https://"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "old").unwrap();
        fs::write(Renewal::stale(&file), "").unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        while fs::read_to_string(&file).unwrap() != text {
            assert!(Instant::now() < until, "not renewed");
            thread::sleep(Duration::from_millis(5));
        }
        drop(renewal);
    }
}
