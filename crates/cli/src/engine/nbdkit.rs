//! nbdkit, which fetches an object of a web server, keeps the fetched bytes while it runs, and serves
//! the object as a network block device.
//!
//! Always: each request names the content (If-Match), so that a server sends nothing of another one.
//!
//! Source: nbdkit 1.32: nbdkit-curl-plugin(1), nbdkit-cache-filter(1), nbdkit-retry-filter(1).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::curl::protocols;
use super::{Object, WebArgs};
use crate::boot::child::bound_command;
use crate::boot::daemon::Daemon;
use crate::boot::monitor::pasteable;
use crate::exit;
use crate::programs::find_in_path;
use crate::source::Web;

/// How often a request is repeated at most.
const RETRIES_MAX: u32 = 3;
/// How many seconds there have to be for a repetition.
const RETRY_SHARE_S: u32 = 4;
/// The pause before each repetition, in seconds.
const RETRY_PAUSE_S: u32 = 1;

const CACHE: &str = "--filter=cache";

/// How nbdkit is started.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
    socket: PathBuf,
}

/// An engine that serves.
#[derive(Debug)]
pub struct Engine {
    daemon: Daemon,
    says: PathBuf,
}

impl Command {
    /// Returns the command that serves `object` of `web` on `socket`. A request fails after `wait_s`
    /// seconds.
    ///
    /// # Errors
    /// Status 3: there is no nbdkit.
    pub fn new(
        web: &Web,
        object: &Object,
        args: &WebArgs,
        socket: &Path,
        wait_s: u32,
    ) -> Result<Self> {
        let program = find_in_path("nbdkit").ok_or_else(|| {
            let why =
                format!("missing: nbdkit, which reads {web}, is not in PATH (Debian: nbdkit)");
            exit::stop(exit::SETUP, why)
        })?;
        let mut arguments: Vec<OsString> = vec!["--foreground".into(), "--readonly".into()];
        arguments.extend(["--unix".into(), socket.into()]);
        arguments.extend([CACHE, "--filter=retry", "curl"].map(Into::into));
        arguments.push(format!("url={}", web.url()).into());
        arguments.push(format!("protocols={}", protocols(web)).into());
        if let Some(ca) = &args.ca {
            let mut word = OsString::from("cainfo=");
            word.push(std::path::absolute(ca).context("--ca")?);
            arguments.push(word);
        }
        arguments.push(format!("header=If-Match: {}", object.etag).into());
        // All attempts and pauses together take at most the time.
        let retries = (wait_s / RETRY_SHARE_S).min(RETRIES_MAX);
        let attempt_s = (wait_s.max(1) - retries * RETRY_PAUSE_S) / (retries + 1);
        arguments.push(format!("timeout={attempt_s}").into());
        arguments.push(format!("retries={retries}").into());
        arguments.push(format!("retry-delay={RETRY_PAUSE_S}").into());
        arguments.extend(["retry-exponential=no", "cache-on-read=true"].map(Into::into));
        Ok(Self { program, arguments, socket: socket.into() })
    }

    /// Has the engine write into `file`, at its end, how much was read from the origin.
    pub fn keep_statistics(&mut self, file: &Path) -> Result<()> {
        let mut word = OsString::from("statsfile=");
        word.push(std::path::absolute(file).context("--statistics")?);
        // Between what was kept and what is asked again.
        let after = self.arguments.iter().position(|word| word == CACHE).context("no cache")?;
        self.arguments.insert(after + 1, "--filter=stats".into());
        self.arguments.push(word);
        Ok(())
    }

    /// The line for a shell.
    pub fn line(&self) -> String {
        pasteable(&self.program, &self.arguments)
    }

    /// Starts it, and returns when it listens. Its output goes to the file `says`.
    pub fn start(&self, says: &Path) -> Result<Engine> {
        let mut command = bound_command(self.program.as_os_str());
        command.args(&self.arguments);
        let daemon = Daemon::start(command, "nbdkit", &self.socket, says, "")?;
        Ok(Engine { daemon, says: says.into() })
    }
}

impl Engine {
    /// Whether the engine has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        self.daemon.has_ended()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Returns the engine's last words, in this tool's where it has some; `None` if it said nothing.
    pub fn last_words(&self) -> Option<String> {
        let said = fs::read_to_string(&self.says).ok()?;
        let last = said.lines().rfind(|line| line.contains("error:"))?;
        let changed = if last.trim_end().ends_with(" 412") {
            ": its content has changed since it was opened, and the old one is gone"
        } else {
            ""
        };
        Some(format!("{}{changed}", last.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_names_the_content_and_ends_in_time() {
        let web = Web::parse("https://h/a?x=1").unwrap();
        let object = Object { etag: "\"1\"".into(), bytes: 512 };
        let args = WebArgs { ca: Some("/ca.pem".into()), plain_http: false };
        for (wait_s, attempt_s, retries) in
            [(20, 4, 3), (200, 49, 3), (8, 2, 2), (4, 1, 1), (3, 3, 0), (0, 1, 0)]
        {
            let Ok(command) = Command::new(&web, &object, &args, Path::new("/s"), wait_s) else {
                crate::note!("skipped: nbdkit is not installed");
                return;
            };
            let words: Vec<_> =
                command.arguments.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(
                words[..11],
                [
                    "--foreground",
                    "--readonly",
                    "--unix",
                    "/s",
                    "--filter=cache",
                    "--filter=retry",
                    "curl",
                    "url=https://h/a?x=1",
                    "protocols=https",
                    "cainfo=/ca.pem",
                    "header=If-Match: \"1\"",
                ]
            );
            let times = [
                &format!("timeout={attempt_s}"),
                &format!("retries={retries}"),
                "retry-delay=1",
                "retry-exponential=no",
                "cache-on-read=true",
            ];
            assert_eq!(words[11..], times, "{wait_s}");
            assert!((retries + 1) * attempt_s + retries <= wait_s.max(1), "{wait_s}");
        }
    }
}
