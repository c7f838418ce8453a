//! curl, which asks web servers before a guest reads from them, and fetches the guest's bytes.
//!
//! Always: a request ends in the time that it is given; no settings of the user's own change it; an
//! answer is the last one, after those of redirects and proxies.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, Result};

use super::{Target, WebArgs};
use crate::boot::child::bound_command;
use crate::exit;
use crate::programs::find_in_path;

/// How long a server may take for one answer, in seconds.
const PATIENCE_S: u32 = 10;
/// Exit statuses of curl for a server that cannot be reached or does not answer (curl(1)): no name of a
/// proxy or host, no connection, a part of an answer, a timeout, nothing, no sending, no receiving.
const UNREACHED: [i32; 8] = [5, 6, 7, 18, 28, 52, 55, 56];
/// The one for a certificate that is not trusted.
const DISTRUSTED: i32 = 60;
/// The one for a body that is longer than it may be.
const TOO_LONG: i32 = 63;

/// Why there is no answer, or not the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server cannot be reached.
    Away(String),
    /// The server says that it cannot answer now.
    Busy(String),
    /// It will not be otherwise if it is asked again.
    Unfit(String),
}

impl Fault {
    /// Returns the reason.
    pub fn why(&self) -> &str {
        match self {
            Self::Away(why) | Self::Busy(why) | Self::Unfit(why) => why,
        }
    }
}

/// The last answer to a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body, where it was wanted.
    pub body: Vec<u8>,
}

/// A request for a target.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Whether redirects are followed.
    pub follows: bool,
    /// The longest body that is taken; `None` if it is thrown away.
    pub body_bytes_max: Option<u32>,
    /// More arguments of curl's, none of which is secret.
    pub more: &'a [&'a str],
}

impl Request<'_> {
    /// Sends the request.
    ///
    /// # Errors
    /// Status 3: there is no curl.
    pub fn send(&self, target: &Target, args: &WebArgs) -> Result<Result<Answer, Fault>> {
        let mut command = bound_command(program()?.as_os_str());
        command.args(arguments(target.is_plain, args)?).args(["--config", "-"]);
        command.args(["--max-time", &PATIENCE_S.to_string()]);
        if self.follows {
            command.arg("--location");
        }
        let max = self.body_bytes_max;
        let dir = tempfile::TempDir::with_prefix("rootlet-").context("a directory for answers")?;
        let (head, body) = (dir.path().join("head"), dir.path().join("body"));
        command.arg("--dump-header").arg(&head).arg("--output");
        match max {
            Some(max) => command.arg(&body).args(["--max-filesize", &max.to_string()]),
            None => command.args(["/dev/null", "--max-filesize", "1048576"]),
        };
        command.args(self.more);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start curl")?;
        let mut stdin = child.stdin.take().context("curl's input")?;
        // One that ends before it has read all says why.
        let _ = stdin.write_all(target.settings().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().context("curl")?;
        // curl makes neither file where it has nothing to write.
        let read = |file: &Path| match std::fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.with_context(|| file.display().to_string()),
        };
        let answer = Answer::parse(&String::from_utf8_lossy(&read(&head)?), read(&body)?);
        Ok(judged(&output, answer))
    }
}

/// Returns the answer, unless curl has failed before there was one that says more.
fn judged(output: &Output, answer: Option<Answer>) -> Result<Answer, Fault> {
    match (failed(output), answer) {
        // Registries tell the length of a body that they do not send with a refusal; what sends all of an
        // object for a range sends too much.
        (Some(_), Some(answer)) if answer.status >= 400 || is_too_long(output) => Ok(answer),
        (Some(fault), _) => Err(fault),
        (None, Some(answer)) => Ok(answer),
        (None, None) => Err(Fault::Unfit("the server's answer is not HTTP".into())),
    }
}

fn is_too_long(output: &Output) -> bool {
    output.status.code() == Some(TOO_LONG)
}

/// Returns why curl has failed, if it has.
pub fn failed(output: &Output) -> Option<Fault> {
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find_map(|line| line.split_once("curl: ")).map(|(_, said)| said);
    let said = said.unwrap_or("curl failed");
    Some(match output.status.code() {
        Some(code) if UNREACHED.contains(&code) => Fault::Away(said.into()),
        Some(DISTRUSTED) => Fault::Unfit(format!("{said} (--ca FILE names certificates to trust)")),
        _ => Fault::Unfit(said.into()),
    })
}

impl Answer {
    /// Takes the last head out of what curl writes: those of redirects and of proxies come before.
    fn parse(text: &str, body: Vec<u8>) -> Option<Self> {
        let mut answer: Option<Self> = None;
        for line in text.lines() {
            match line.strip_prefix("HTTP/") {
                Some(line) => {
                    let status = line.split(' ').nth(1)?.parse().ok()?;
                    answer = Some(Self { status, ..Self::default() });
                }
                None => {
                    let Some((name, value)) = line.split_once(':') else { continue };
                    let header = (name.trim().to_ascii_lowercase(), value.trim().to_string());
                    answer.as_mut()?.headers.push(header);
                }
            }
        }
        answer.map(|answer| Self { body, ..answer })
    }

    /// Returns the first value of the header `name`, in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns all values of the header `name`.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Checks the status.
    pub fn has_status(&self, wanted: u16) -> Result<(), Fault> {
        let status = self.status;
        let advice = match status {
            status if status == wanted => return Ok(()),
            429 | 500.. => return Err(Fault::Busy(format!("the server answers {status}"))),
            401 | 407 => {
                ": it wants a name and a password, or a token, which a URL here cannot give"
            }
            403 => ": it forbids to read this, or a signed URL has expired",
            404 | 410 => ": there is no such object",
            412 => ": the content changed while it was asked for",
            416 => ": the object is empty",
            _ => "",
        };
        Err(Fault::Unfit(format!("the server answers {status}{advice}")))
    }
}

/// Returns the arguments of curl's that every request has; its time and its URL are missing.
///
/// # Errors
/// The current folder is gone.
pub fn arguments(is_plain: bool, args: &WebArgs) -> Result<Vec<OsString>> {
    let protocols = if is_plain { "=http,https" } else { "=https" };
    // A file of settings of the user's could ask for anything.
    let mut words = vec!["--disable".into()];
    words.extend(["--silent", "--show-error", "--globoff"].map(Into::into));
    words.extend(["--proto", protocols, "--proto-redir", protocols].map(Into::into));
    if let Some(ca) = &args.ca {
        words.extend(["--cacert".into(), std::path::absolute(ca).context("--ca")?.into()]);
    }
    Ok(words)
}

/// Finds curl.
///
/// # Errors
/// Status 3: there is none.
pub fn program() -> Result<PathBuf> {
    find_in_path("curl").ok_or_else(|| {
        exit::stop(exit::SETUP, "missing: curl, which reads from web servers, is not in PATH")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_answer_counts() {
        let text = "HTTP/1.1 302 Found\r\nLocation: /b\r\nETag: \"no\"\r\n\r\n\
                    HTTP/2 200 \r\nETag: \"6b-8\"\r\nVia: a\r\nvia: b\r\n\r\n";
        let answer = Answer::parse(text, vec![7]).unwrap();
        assert_eq!((answer.status, answer.header("etag")), (200, Some("\"6b-8\"")));
        assert_eq!((answer.header("location"), answer.body.as_slice()), (None, &[7][..]));
        assert_eq!(answer.headers("via").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Answer::parse("SSH-2.0", Vec::new()), None);
        assert_eq!(Answer::parse("HTTP/1.1 x", Vec::new()), None);
    }

    #[test]
    fn status_tells_whether_it_is_worth_to_ask_again() {
        let fault = |status| Answer { status, ..Answer::default() }.has_status(206).unwrap_err();
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(fault(status), Fault::Busy(_)), "{status}");
        }
        for (status, why) in [
            (401, "answers 401: it wants a name"),
            (404, "answers 404: there is no such object"),
            (403, "answers 403: it forbids"),
            (416, "the object is empty"),
            (304, "answers 304"),
        ] {
            let Fault::Unfit(said) = fault(status) else { panic!("{status}") };
            assert!(said.contains(why), "{said}");
        }
    }
}
