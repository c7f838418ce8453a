//! `serve`: one engine for many guests of this machine, which fetches each byte of a source once.
//!
//! Always: sockets, the file with the process id and the engines are gone at the end, however that
//! comes, unless the tool is killed; an engine that ends is started again for the same content.

mod args;
mod exports;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use args::ServeArgs;

use crate::boot::daemon::Daemon;
use crate::engine::{self, Command, Engine, Wait};
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::note;
use crate::say;
use crate::size::human;
use crate::source::Source;

/// How often an engine is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// An engine that does not last as long is not started again.
const LEAST: Duration = Duration::from_secs(2);

/// Serves until it is asked to end.
///
/// # Errors
/// Status 2: the source is none that is served, or the socket is in use. Status 3: a program is missing.
pub fn task(args: &ServeArgs, interrupt: &Interrupt) -> Result<()> {
    let source = remote(&args.source)?;
    let fetched = match engine::fetched(&source, &args.web)? {
        Ok(fetched) => fetched,
        Err(fault) => bail!("{source}: {}", fault.why()),
    };
    // The engines make sockets, and remove none.
    let sockets = [args.socket.clone()].into_iter().chain(exports::sockets(args));
    sockets.into_iter().try_for_each(|socket| free(&socket))?;
    let dir = tempfile::TempDir::with_prefix("rootlet-").context("a directory for messages")?;
    let mut command =
        Command::new(&fetched, &args.web, &args.socket, dir.path(), Wait::new(None, None))?;
    if let Some(file) = &args.statistics {
        command.keep_statistics(file)?;
    }
    let mut served = Served::start(&command, args, dir.path())?;
    let _pid_file = args.pid_file.as_deref().map(PidFile::make).transpose()?;
    say!("{source}: {} on {}", human(fetched.object.bytes), args.socket.display());
    say!("for a guest: --blob N=nbd+unix:///?socket={}", args.socket.display());
    for socket in exports::sockets(args) {
        say!("for a guest: --blob N=vhost-user:{}", socket.display());
    }
    while interrupt.check().is_ok() {
        if let Some(who) = served.ended()? {
            note!("{who} ended; {}", served.words());
            if served.since.elapsed() < LEAST {
                bail!("{who} does not stay");
            }
            drop(served);
            served = Served::start(&command, args, dir.path())?;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The engines that run.
struct Served {
    /// Before the engine, which waits for its readers before it ends.
    exports: Option<Daemon>,
    engine: Engine,
    since: Instant,
}

impl Served {
    fn start(command: &Command, args: &ServeArgs, dir: &Path) -> Result<Self> {
        let engine = command.start(&dir.join("nbdkit.txt"))?;
        let exports = exports::start(args, &dir.join("exports.txt"))?;
        Ok(Self { engine, exports, since: Instant::now() })
    }

    /// Returns the name of a program that has ended.
    fn ended(&mut self) -> Result<Option<&'static str>> {
        if self.engine.has_ended()? {
            return Ok(Some("nbdkit"));
        }
        let Some(exports) = &mut self.exports else { return Ok(None) };
        Ok(exports.has_ended()?.then_some(exports::PROGRAM))
    }

    fn words(&self) -> String {
        self.engine.last_words().unwrap_or("it reported no error".into())
    }
}

/// A file with the id of this process, gone with this.
struct PidFile(PathBuf);

impl PidFile {
    fn make(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Nobody finds it empty.
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(name)?;
        writeln!(file, "{}", std::process::id()).with_context(name)?;
        file.persist(path).with_context(name)?;
        Ok(Self(path.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // An error reaches nobody here.
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns what `name` names, if that is served.
fn remote(name: &Path) -> Result<Source> {
    let source = Source::parse(name.as_os_str()).map_err(usage)?;
    match source {
        Source::Web(_) | Source::Oci(_) | Source::Store(_) => Ok(source),
        Source::File(_) => {
            Err(usage(format!("{source}: a guest reads it as it is: --blob N={source}")))
        }
        Source::Node(_) | Source::VhostUser(_) => Err(usage(format!(
            "{source}: it is served already: a guest reads it by --blob N={source}"
        ))),
    }
}

/// Removes the socket of a daemon that is gone.
///
/// # Errors
/// Status 2: somebody listens there, or it is something else.
fn free(socket: &Path) -> Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let name = socket.display();
    match fs::symlink_metadata(socket) {
        Err(_) => Ok(()),
        Ok(stat) if !stat.file_type().is_socket() => Err(usage(format!("{name}: not a socket"))),
        Ok(_) if UnixStream::connect(socket).is_ok() => {
            Err(usage(format!("{name}: somebody serves there already")))
        }
        Ok(_) => fs::remove_file(socket).with_context(|| name.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn source_that_needs_no_engine_is_refused_with_the_way_to_read_it() {
        for (name, why) in [
            ("nbd://h", "served already: a guest reads it by --blob N=nbd://h"),
            ("a.blob", "a guest reads it as it is: --blob N=a.blob"),
            ("ftp://h/x", "unknown scheme"),
        ] {
            let error = remote(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for name in ["https://h/x", "oci://h/x:1"] {
            assert_eq!(remote(Path::new(name)).unwrap().to_string(), name);
        }
    }

    #[test]
    fn socket_that_nobody_serves_is_taken_and_any_other_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        free(&socket).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        assert!(free(&socket).unwrap_err().to_string().contains("serves there already"));
        drop(listener);
        free(&socket).unwrap();
        assert!(!socket.exists());
        fs::write(&socket, "kept").unwrap();
        assert!(free(&socket).unwrap_err().to_string().contains("not a socket"));
        assert_eq!(fs::read(&socket).unwrap(), b"kept");
    }
}
