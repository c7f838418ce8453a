//! nbdkit, which has curl fetch ranges of an object of a web server, keeps them while it runs, and serves
//! the object as a network block device.
//!
//! Always: each request names the content (If-Match, or a URL with a digest) and a range, and an answer
//! is taken only if it says that it is this range of an object of this content and length, and has as many
//! bytes: not every server heeds If-Match.
//! nbdkit's own plugin for curl (1.32) takes the first bytes of any answer for those of the range.
//!
//! Source: nbdkit 1.32: nbdkit-eval-plugin(1), nbdkit-cache-filter(1).

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::ticket::{Renewal, Ticket};
use super::{Fetched, Wait, WebArgs, curl};
use crate::boot::child::bound_command;
use crate::boot::daemon::Daemon;
use crate::boot::monitor::pasteable;
use crate::exit;
use crate::programs::find_in_path;
use crate::source::{Node, Ssh};

const CACHE: &str = "--filter=cache";
/// The pause before an ssh server is asked again, in seconds.
const SSH_PAUSE_S: u32 = 1;

/// How nbdkit is started.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
    socket: PathBuf,
    /// What the object is asked for with, and the file that curl finds it in.
    ticket: Option<(Ticket, PathBuf)>,
}

/// An engine that serves.
#[derive(Debug)]
pub struct Engine {
    daemon: Daemon,
    says: PathBuf,
    _renewal: Option<Renewal>,
}

impl Command {
    /// Returns the command that serves an object on `socket`. What is secret goes to a file in `dir`.
    ///
    /// # Errors
    /// Status 3: there is no nbdkit.
    pub fn new(
        fetched: &Fetched,
        args: &WebArgs,
        socket: &Path,
        dir: &Path,
        wait: Wait,
    ) -> Result<Self> {
        let program = program(&fetched.web)?;
        let mut arguments: Vec<OsString> = vec!["--foreground".into(), "--readonly".into()];
        arguments.extend(["--unix".into(), socket.into()]);
        arguments.extend([CACHE, "eval"].map(Into::into));
        arguments.push("thread_model=echo parallel".into());
        arguments.push(format!("get_size=echo {}", fetched.object.bytes).into());
        let attempt = wait.attempt_s.to_string();
        let mut request = curl::arguments(fetched.web.is_plain(), args)?;
        request.extend(["--connect-timeout", &attempt].map(Into::into));
        request.extend(["--speed-limit", "1", "--speed-time", &attempt].map(Into::into));
        let file = || {
            let mut name = socket.file_name().unwrap_or(socket.as_os_str()).to_owned();
            name.push(".curl");
            std::path::absolute(dir.join(name)).context("the folder of secrets")
        };
        let ticket = fetched.ticket.clone().map(|ticket| Ok::<_, anyhow::Error>((ticket, file()?)));
        let ticket = ticket.transpose()?;
        match &ticket {
            Some((_, file)) => request.extend(["--config".into(), file.into()]),
            None => request.extend(["--location", "--url", fetched.web.url()].map(Into::into)),
        }
        if let Some(etag) = &fetched.object.etag {
            request.extend(["--header".into(), format!("If-Match: {etag}").into()]);
        }
        let request = pasteable(&curl::program()?, &request);
        let stale = ticket.as_ref().map(|(_, file)| pasteable(&Renewal::stale(file), &[]));
        let etag = fetched.object.etag.as_deref().map(|etag| pasteable(Path::new(etag), &[]));
        let pread = Script { request, stale, etag, bytes: fetched.object.bytes, wait }.text();
        arguments.push(format!("pread={pread}").into());
        arguments.push("cache-on-read=true".into());
        Ok(Self { program, arguments, socket: socket.into(), ticket })
    }

    /// Returns the command that serves a file of an ssh server on `socket`. QEMU's own driver waits for a
    /// server with all of the machine.
    ///
    /// # Errors
    /// Status 3: there is no nbdkit.
    pub fn ssh(
        ssh: &Ssh,
        named: &Node,
        known_hosts: Option<&Path>,
        socket: &Path,
        wait: Wait,
    ) -> Result<Self> {
        let program = program(named)?;
        let mut arguments: Vec<OsString> = vec!["--foreground".into(), "--readonly".into()];
        arguments.extend(["--unix".into(), socket.into()]);
        arguments.extend([CACHE, "--filter=retry", "ssh"].map(Into::into));
        arguments
            .extend([format!("host={}", ssh.host), format!("port={}", ssh.port)].map(Into::into));
        arguments.push(format!("path={}", ssh.path).into());
        arguments.extend(ssh.user.as_ref().map(|user| format!("user={user}").into()));
        if let Some(file) = known_hosts {
            let mut word = OsString::from("known-hosts=");
            word.push(std::path::absolute(file).context("--known-hosts")?);
            arguments.push(word);
        }
        let Wait { attempt_s, engine_s, .. } = wait;
        // All attempts and the pauses between them take at most the engine's time.
        let retries = engine_s.max(attempt_s) / (attempt_s + SSH_PAUSE_S);
        arguments
            .extend([format!("timeout={attempt_s}"), format!("retries={retries}")].map(Into::into));
        arguments.push(format!("retry-delay={SSH_PAUSE_S}").into());
        arguments.extend(["retry-exponential=no", "cache-on-read=true"].map(Into::into));
        Ok(Self { program, arguments, socket: socket.into(), ticket: None })
    }

    /// Has the engine write into `file`, at its end, how much was read from the origin.
    pub fn keep_statistics(&mut self, file: &Path) -> Result<()> {
        let mut word = OsString::from("statsfile=");
        word.push(std::path::absolute(file).context("--statistics")?);
        let after = self.arguments.iter().position(|word| word == CACHE).context("no cache")?;
        self.arguments.insert(after + 1, "--filter=stats".into());
        self.arguments.push(word);
        Ok(())
    }

    /// Returns the line for a shell; `None` if it needs what nobody may see.
    pub fn line(&self) -> Option<String> {
        self.ticket.is_none().then(|| pasteable(&self.program, &self.arguments))
    }

    /// Starts it, and returns when it listens. Its output goes to the file `says`.
    pub fn start(&self, says: &Path) -> Result<Engine> {
        let renewal = self.ticket.as_ref();
        let renewal = renewal.map(|(ticket, file)| Renewal::start(ticket, file)).transpose()?;
        let mut command = bound_command(self.program.as_os_str());
        command.args(&self.arguments);
        let daemon = Daemon::start(command, "nbdkit", &self.socket, says, "")?;
        Ok(Engine { daemon, says: says.into(), _renewal: renewal })
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

/// Finds nbdkit, which reads what is `named`.
fn program(named: &impl fmt::Display) -> Result<PathBuf> {
    find_in_path("nbdkit").ok_or_else(|| {
        let why = format!("missing: nbdkit, which reads {named}, is not in PATH (Debian: nbdkit)");
        exit::stop(exit::SETUP, why)
    })
}

/// What writes `$3` bytes from byte `$4` on of an object.
struct Script {
    /// The line for a shell that asks for it; the range is missing.
    request: String,
    /// The file, as a word of a shell, that has what is secret asked for anew.
    stale: Option<String>,
    /// The ETag, as a word of a shell, that each answer has to have.
    etag: Option<String>,
    /// The length of the object.
    bytes: u64,
    wait: Wait,
}

impl Script {
    /// Returns the script. The bytes count only if it succeeds. It asks again until the engine's time is
    /// over, or the content has changed; once that was in vain, it asks once until there is an answer.
    fn text(&self) -> String {
        let Wait { attempt_s, engine_s, .. } = self.wait;
        let stale = match &self.stale {
            Some(file) => format!("case $status in 401|403|30?) : >{file} ;; esac\n"),
            None => String::new(),
        };
        let content = match &self.etag {
            Some(etag) => {
                let header = "*\"$nl\"[Ee][Tt][Aa][Gg]:";
                format!("{header}' '{etag}\"$cr$nl\"*|{header}{etag}\"$cr$nl\"*")
            }
            None => "*".into(),
        };
        let Self { request, bytes, .. } = self;
        format!(
            "last=$(($4 + $3 - 1)) part=$tmpdir/$$ away=$tmpdir/away pause=0.1\n\
             nl='\n' cr=$(printf '\\r')\n\
             ulimit -f $(($3 / 512 + 64))\n\
             read -r now _ </proc/uptime; now=${{now%%.*}} until=$((now + {engine_s}))\n\
             [ -e \"$away\" ] && until=$now\n\
             while :; do\n\
             left=$((until - now)); [ $left -ge {attempt_s} ] || left={attempt_s}\n\
             said=$({request} --max-time $left --range \"$4-$last\" --max-filesize \"$3\" \
             --output \"$part\" --dump-header /dev/stderr \
             --write-out '%{{stderr}}answer=%{{http_code}}/%{{size_download}}' 2>&1)\n\
             head=${{said##*\"$nl\"HTTP/}} of=\n\
             case $head in *[Cc]ontent-[Rr]ange:*\"bytes $4-$last/{bytes}\"*\"answer=206/$3\")\n\
             case $head in {content})\n\
             cat \"$part\" && rm -f \"$part\"; good=$?\n\
             [ -e \"$away\" ] && rm -f \"$away\"\n\
             exit $good ;;\n\
             *) of=' of another content' ;; esac ;; esac\n\
             rm -f \"$part\"\n\
             status=${{said##*answer=}} status=${{status%%/*}}\n\
             {stale}\
             [ \"$status\" != 412 ] && [ -z \"$of\" ] && [ -e /proc/$PPID ] || break\n\
             sleep $pause; case $pause in 0.1) pause=0.3 ;; *) pause=1 ;; esac\n\
             read -r now _ </proc/uptime; now=${{now%%.*}}\n\
             [ $now -lt $until ] || break\n\
             done\n\
             : >\"$away\"\n\
             case $said in *'curl: '*) why=\": ${{said##*curl: }}\" ;; *) why= ;; esac\n\
             echo \"EIO answer $status for bytes $4 to $last$of$why\" >&2\n\
             exit 1\n"
        )
    }
}

/// Returns the last error of the origin in the engine's output, with the meaning of a change.
fn explained(said: &str) -> Option<String> {
    let errors = || said.lines().filter(|line| line.contains("error:"));
    // What nbdkit says of a reader that hung up, or of its own pauses, is not the origin's fault.
    let of_origin = errors().rfind(|line| line.contains(": answer "));
    let last = of_origin.or(errors().next_back())?.trim();
    let means = |status: &str| last.contains(&format!(": answer {status} "));
    Some(match last {
        _ if means("412") || last.contains(" of another content") => {
            format!("{last}: its content has changed since it was opened, and the old one is gone")
        }
        _ if means("200") => {
            format!("{last}: the server has sent everything for a range; take another server")
        }
        _ if means("206") => format!(
            "{last}: the answer is another range than was asked for, or has fewer bytes; take another \
             server"
        ),
        _ if means("404") || means("410") => format!("{last}: the object is gone"),
        _ if means("429") => format!("{last}: the server has too much to do; ask it less often"),
        _ if means("401") || means("403") => {
            format!("{last}: the server does not let it be read any more")
        }
        _ if last.contains("host key for server changed") => format!(
            "{last}: another server answers under this name, or it has a new key, which known_hosts \
             has to have (ssh-keygen -R HOST takes the old one out)"
        ),
        _ if last.contains("authentication methods failed") => {
            format!(
                "{last}: ssh-agent has no key that the server takes (ssh-add -l lists its keys)"
            )
        }
        _ => last.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::*;
    use crate::source::Web;

    #[test]
    fn last_fault_of_the_origin_is_explained() {
        let said = "nbdkit: eval[1]: error: /tmp/nbdkit/pread: answer 503 for bytes 0 to 511\n\
                    nbdkit: eval[1]: error: /tmp/nbdkit/pread: answer 412 for bytes 0 to 511\n\
                    nbdkit: eval[2]: error: write error reply: Broken pipe\n";
        let words = explained(said).unwrap();
        assert!(words.contains("for bytes 0 to 511: its content has changed"), "{words}");
        let before = said.split_inclusive('\n').next().unwrap();
        assert_eq!(explained(before).as_deref(), Some(before.trim_end()));
        assert_eq!(explained("nbdkit: debug\n"), None);
        for (status, why) in [
            (200, "has sent everything for a range"),
            (206, "has fewer bytes"),
            (401, "does not let it be read any more"),
            (404, "the object is gone"),
            (429, "too much to do"),
        ] {
            let words = explained(&before.replace("503", &status.to_string())).unwrap();
            assert!(words.contains(why), "{words}");
        }
    }

    #[test]
    fn each_request_names_the_content_and_ends_in_time() {
        let web = Web::parse("https://h/a?x=1").unwrap();
        let object = Object { etag: Some("\"1\"".into()), bytes: 512, digest: None };
        let fetched = Fetched { web, object, ticket: None };
        let args = WebArgs { ca: Some("/ca.pem".into()), ..WebArgs::default() };
        let wait = Wait { attempt_s: 3, engine_s: 17, guest_s: 0 };
        let socket = Path::new("/s");
        let Ok(command) = Command::new(&fetched, &args, socket, Path::new("/"), wait) else {
            crate::note!("skipped: nbdkit is not installed");
            return;
        };
        let words: Vec<_> = command.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words[..6], ["--foreground", "--readonly", "--unix", "/s", CACHE, "eval"]);
        assert_eq!(words[6..8], ["thread_model=echo parallel", "get_size=echo 512"]);
        let script = words[8].strip_prefix("pread=").unwrap();
        for part in [
            "--proto =https --proto-redir =https --cacert /ca.pem --connect-timeout 3",
            "--speed-time 3 --location --url 'https://h/a?x=1' --header 'If-Match: \"1\"'",
            "--max-time $left --range \"$4-$last\" --max-filesize \"$3\"",
            "until=$((now + 17))",
            "\"bytes $4-$last/512\"*\"answer=206/$3\"",
            "case $head in *\"$nl\"[Ee][Tt][Aa][Gg]:' ''\"1\"'\"$cr$nl\"*|*",
        ] {
            assert!(script.contains(part), "{part}: {script}");
        }
        assert_eq!(words[9..], ["cache-on-read=true"]);
        assert!(command.line().is_some());
    }
}
