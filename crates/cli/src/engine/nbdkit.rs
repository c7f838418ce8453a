//! nbdkit, which has curl fetch ranges of an object of a web server, keeps them while it runs, and serves
//! the object as a network block device.
//!
//! Always: each request names the content (If-Match) and a range, and an answer is taken only if it says
//! that it is this range of an object of this length, and has as many bytes. nbdkit's own plugin for
//! curl (1.32) takes the first bytes of any answer for those of the range.
//!
//! Source: nbdkit 1.32: nbdkit-eval-plugin(1), nbdkit-cache-filter(1), nbdkit-retry-filter(1).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Object, WebArgs, curl};
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
        arguments.extend([CACHE, "--filter=retry", "eval"].map(Into::into));
        arguments.push("thread_model=echo parallel".into());
        arguments.push(format!("get_size=echo {}", object.bytes).into());
        // All attempts and pauses together take at most the time.
        let retries = (wait_s / RETRY_SHARE_S).min(RETRIES_MAX);
        let attempt_s = (wait_s.max(1) - retries * RETRY_PAUSE_S) / (retries + 1);
        let condition = format!("If-Match: {}", object.etag);
        let mut request = curl::arguments(web, args, attempt_s)?;
        request.extend(["--header".into(), condition.into()]);
        let request = pasteable(&curl::program()?, &request);
        arguments.push(format!("pread={}", script(&request, object.bytes)).into());
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
        explained(&said)
    }
}

/// Returns the script that writes `$3` bytes from byte `$4` on of an object of `bytes` bytes, which
/// `request` asks for. The bytes count only if the script succeeds.
fn script(request: &str, bytes: u64) -> String {
    format!(
        "last=$(($4 + $3 - 1))\n\
         exec 4>&1\n\
         said=$({request} --range \"$4-$last\" --max-filesize \"$3\" --output - \
         --dump-header /dev/stderr --write-out '%{{stderr}}answer=%{{http_code}}/%{{size_download}}' \
         2>&1 >&4)\n\
         case $said in *[Cc]ontent-[Rr]ange:*\"bytes $4-$last/{bytes}\"*\"answer=206/$3\") exit 0 ;; esac\n\
         status=${{said##*answer=}}\n\
         case $said in *'curl: '*) why=\": ${{said##*curl: }}\" ;; *) why= ;; esac\n\
         echo \"EIO answer ${{status%%/*}} for bytes $4 to $last$why\" >&2\n\
         exit 1\n"
    )
}

/// Returns the last error of the origin in the engine's output, with the meaning of a change.
fn explained(said: &str) -> Option<String> {
    let errors = || said.lines().filter(|line| line.contains("error:"));
    // What nbdkit says of a reader that hung up, or of its own pauses, is not the origin's fault.
    let of_origin = errors().rfind(|line| line.contains(": answer "));
    let last = of_origin.or(errors().next_back())?.trim();
    Some(match last.contains(": answer 412 ") {
        true => {
            format!("{last}: its content has changed since it was opened, and the old one is gone")
        }
        false => last.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_fault_of_the_origin_is_explained() {
        let said = "nbdkit: eval[1]: error: /tmp/nbdkit/pread: answer 503 for bytes 0 to 511\n\
                    nbdkit: eval[1]: error: /tmp/nbdkit/pread: answer 412 for bytes 0 to 511\n\
                    nbdkit: eval[2]: error: write error reply: Broken pipe\n\
                    nbdkit: eval[2]: error: aborting sleep because of connection close\n";
        let words = explained(said).unwrap();
        assert!(words.contains("for bytes 0 to 511: its content has changed"), "{words}");
        let before = said.split_inclusive('\n').next().unwrap();
        assert_eq!(explained(before).as_deref(), Some(before.trim_end()));
        assert_eq!(explained("nbdkit: debug\n"), None);
    }

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
            let start =
                ["--foreground", "--readonly", "--unix", "/s", CACHE, "--filter=retry", "eval"];
            assert_eq!(words[..7], start);
            assert_eq!(words[7..9], ["thread_model=echo parallel", "get_size=echo 512"]);
            let script = words[9].strip_prefix("pread=").unwrap();
            for part in [
                "--proto =https --proto-redir =https",
                &format!("--max-time {attempt_s} --cacert /ca.pem --url 'https://h/a?x=1'"),
                "--header 'If-Match: \"1\"' --range \"$4-$last\" --max-filesize \"$3\"",
                "\"bytes $4-$last/512\"*\"answer=206/$3\"",
            ] {
                assert!(script.contains(part), "{part}: {script}");
            }
            let times = [
                &format!("retries={retries}"),
                "retry-delay=1",
                "retry-exponential=no",
                "cache-on-read=true",
            ];
            assert_eq!(words[10..], times, "{wait_s}");
            assert!((retries + 1) * attempt_s + retries <= wait_s.max(1), "{wait_s}");
        }
    }
}
