//! What a web server says of an object before a guest reads it, asked by curl.
//!
//! Always: an object is taken only if its server sends ranges of it, and refuses to send any once the
//! content has changed (If-Match: RFC 9110 13.1.1). Without that a read could get bytes of two
//! contents.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use super::WebArgs;
use crate::exit;
use crate::programs::find_in_path;
use crate::source::Web;

/// How long a server may take for one answer, in seconds.
const PATIENCE_S: u32 = 10;
/// A disk's unit in bytes (virtio 1.2 5.2.4).
const SECTOR_BYTES: u64 = 512;
/// The longest ETag, which goes to the guest as the version of the content.
const ETAG_BYTES_MAX: usize = 128;
/// An ETag that no object has.
const OTHER: &str = "\"no-such-content\"";

/// An object of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The strong ETag, with its quotes.
    pub etag: String,
    /// The length, in whole sectors.
    pub bytes: u64,
}

/// The answer to a question about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It can be read.
    There(Object),
    /// The server cannot be asked now, and why.
    Away(String),
    /// It cannot be read, and why.
    Unfit(String),
}

/// Why there is no object.
pub enum Fault {
    Away(String),
    Unfit(String),
}

impl Object {
    /// Asks the server of `web`.
    ///
    /// # Errors
    /// Status 3: there is no curl.
    pub fn ask(web: &Web, args: &WebArgs) -> Result<Asked> {
        let ask = |more: &[&str]| asked(web, args, more);
        let head = match ask(&["--head"])? {
            Ok(head) => head,
            Err(fault) => return Ok(fault.into()),
        };
        let object = match head.object() {
            Ok(object) => object,
            Err(fault) => return Ok(fault.into()),
        };
        let range = ["--range", "0-511", "--header"];
        let range = |etag: &str| {
            let condition = format!("If-Match: {etag}");
            ask(&[&range[..], &[condition.as_str()]].concat())
        };
        let fault = match range(&object.etag)? {
            Err(fault) => Some(fault),
            Ok(part) => part.is_part_of(&object).err(),
        };
        if let Some(fault) = fault {
            return Ok(fault.into());
        }
        Ok(match range(OTHER)? {
            Err(fault) => fault.into(),
            Ok(Answer { status: 412, .. }) => Asked::There(object),
            Ok(Answer { status, .. }) => Asked::Unfit(format!(
                "the server does not heed If-Match (it answers {status} for an ETag that is not the \
                 object's), so that a change of the content could not be noticed: copy the object to \
                 a file"
            )),
        })
    }

    /// The version of the content for the guest.
    pub fn version(&self) -> String {
        let mut version = format!("{}-", self.bytes);
        // Nothing in it may end a word or an option of the guest's line.
        for byte in self.etag.trim_matches('"').bytes() {
            match byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                true => version.push(byte.into()),
                false => version.push_str(&format!("%{byte:02x}")),
            }
        }
        version
    }
}

impl From<Fault> for Asked {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Away(why) => Self::Away(why),
            Fault::Unfit(why) => Self::Unfit(why),
        }
    }
}

/// The last answer to a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Names in small letters, and values.
    headers: Vec<(String, String)>,
}

impl Answer {
    /// Takes the last answer out of what curl writes: those of redirects and of proxies come before.
    fn parse(text: &str) -> Option<Self> {
        let mut answer = None;
        for line in text.lines() {
            match line.strip_prefix("HTTP/") {
                Some(line) => {
                    let status = line.split(' ').nth(1)?.parse().ok()?;
                    answer = Some(Self { status, headers: Vec::new() });
                }
                None => {
                    let Some((name, value)) = line.split_once(':') else { continue };
                    let header = (name.trim().to_ascii_lowercase(), value.trim().to_string());
                    answer.as_mut()?.headers.push(header);
                }
            }
        }
        answer
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().filter(|(other, _)| other == name);
        headers.next().map(|(_, value)| value.as_str())
    }

    /// Returns the object that the answer to HEAD tells of.
    fn object(&self) -> Result<Object, Fault> {
        has_status(self.status, 200)?;
        let unfit = |why: &str| Fault::Unfit(why.into());
        if self.header("accept-ranges") != Some("bytes") {
            return Err(unfit(
                "the server sends no ranges (no `Accept-Ranges: bytes`): copy the \
                              object to a file, or take another server",
            ));
        }
        let bytes = self.header("content-length").and_then(|bytes| bytes.parse::<u64>().ok());
        let bytes = bytes.filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| unfit("the server does not tell a length"))?;
        if bytes % SECTOR_BYTES != 0 {
            return Err(Fault::Unfit(format!(
                "{bytes} bytes, {} more than whole sectors of {SECTOR_BYTES}: it is cut short, or \
                 lacks its padding",
                bytes % SECTOR_BYTES
            )));
        }
        let etag = self.header("etag").ok_or_else(|| {
            unfit(
                "the server gives no ETag, so that a change of the content could not be noticed: \
                   copy the object to a file",
            )
        })?;
        let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
        let is_plain =
            |inner: &&str| inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        match inner.filter(is_plain) {
            Some(_) if etag.len() <= ETAG_BYTES_MAX => Ok(Object { etag: etag.into(), bytes }),
            _ => Err(Fault::Unfit(format!(
                "its ETag {etag} is weak, or none of this tool's, so that a change of the content \
                 could not be noticed: copy the object to a file"
            ))),
        }
    }

    /// Checks the answer to a range of `object`.
    fn is_part_of(&self, object: &Object) -> Result<(), Fault> {
        if self.status == 200 {
            return Err(Fault::Unfit("the server answers 200 for a range, with everything".into()));
        }
        has_status(self.status, 206)?;
        let whole = self.header("content-range").and_then(|range| range.rsplit('/').next());
        match whole.and_then(|whole| whole.parse().ok()) == Some(object.bytes) {
            true => Ok(()),
            false => Err(Fault::Unfit(format!(
                "the server told {} bytes, and then the range {}",
                object.bytes,
                self.header("content-range").unwrap_or("without a length")
            ))),
        }
    }
}

/// Exit statuses of curl for a server that cannot be reached or does not answer (curl(1)): no name of a
/// proxy or host, no connection, a part of an answer, a timeout, nothing, no sending, no receiving.
const UNREACHED: [i32; 8] = [5, 6, 7, 18, 28, 52, 55, 56];

/// The one for a certificate that is not trusted.
const DISTRUSTED: i32 = 60;

/// Sends one request, with `more` arguments of curl's.
fn asked(web: &Web, args: &WebArgs, more: &[&str]) -> Result<Result<Answer, Fault>> {
    let mut command = Command::new(program()?);
    command.args(arguments(web, args, PATIENCE_S)?);
    command.args(["--dump-header", "-", "--output", "/dev/null"]).args(more).stdin(Stdio::null());
    let output = command.output().context("cannot start curl")?;
    let answer = Answer::parse(&String::from_utf8_lossy(&output.stdout));
    Ok(match (failed(&output), answer) {
        // Registries tell the length of a body that they do not send with a refusal.
        (Some(_), Some(answer)) if answer.status >= 400 => Ok(answer),
        (Some(fault), _) => Err(fault),
        (None, Some(answer)) => Ok(answer),
        (None, None) => Err(Fault::Unfit("the server's answer is not HTTP".into())),
    })
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

/// Checks the status of an answer.
pub fn has_status(status: u16, wanted: u16) -> Result<(), Fault> {
    let advice = match status {
        status if status == wanted => return Ok(()),
        429 | 500.. => return Err(Fault::Away(format!("the server answers {status}"))),
        401 | 407 => ": it wants a name and a password, or a token, which a URL here cannot give",
        403 => ": it forbids HEAD or GET to everybody (a presigned URL allows one of them alone)",
        404 | 410 => ": there is no such object",
        412 => ": the content changed while it was asked for",
        _ => "",
    };
    Err(Fault::Unfit(format!("the server answers {status}{advice}")))
}

/// Returns curl's arguments for a request for the object of `web` that takes at most `seconds`.
///
/// # Errors
/// The current folder is gone.
pub fn arguments(web: &Web, args: &WebArgs, seconds: u32) -> Result<Vec<OsString>> {
    let protocols = if web.is_plain() { "=http,https" } else { "=https" };
    // A file of settings of the user's could ask for anything.
    let mut words = vec!["--disable".into()];
    words.extend(["--silent", "--show-error", "--globoff", "--location"].map(Into::into));
    words.extend(["--proto", protocols, "--proto-redir", protocols].map(Into::into));
    words.extend(["--max-time".into(), seconds.to_string().into()]);
    if let Some(ca) = &args.ca {
        words.extend(["--cacert".into(), std::path::absolute(ca).context("--ca")?.into()]);
    }
    words.extend(["--url", web.url()].map(Into::into));
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

    const HEAD: &str = "HTTP/1.1 302 Found\r\nLocation: /b\r\nETag: \"no\"\r\n\r\n\
                        HTTP/2 200 \r\nETag: \"6b-8\"\r\nAccept-Ranges: bytes\r\n\
                        content-length: 8192\r\n\r\n";

    fn unfit(text: &str) -> String {
        match Answer::parse(text).unwrap().object() {
            Err(Fault::Unfit(why)) => why,
            Err(Fault::Away(why)) => panic!("away: {why}"),
            Ok(object) => panic!("{object:?}"),
        }
    }

    #[test]
    fn last_answer_tells_the_object() {
        let object = Answer::parse(HEAD).unwrap().object().ok().unwrap();
        assert_eq!(object, Object { etag: "\"6b-8\"".into(), bytes: 8192 });
        assert_eq!(object.version(), "8192-6b-8");
        let object = Object { etag: "\"a,file=0x1 b\"".into(), ..object };
        assert_eq!(object.version(), "8192-a%2cfile%3d0x1%20b");
        assert_eq!(Answer::parse("SSH-2.0"), None);
        assert_eq!(Answer::parse("HTTP/1.1 x"), None);
    }

    #[test]
    fn object_that_could_change_unnoticed_or_has_no_ranges_is_refused() {
        for (old, new, why) in [
            ("\"6b-8\"", "W/\"6b\"", "its ETag W/\"6b\" is weak"),
            ("\"6b-8\"", "\"a\"b\"", "none of this tool's"),
            ("ETag: \"6b-8\"\r\n", "", "gives no ETag"),
            ("Accept-Ranges: bytes\r\n", "", "sends no ranges"),
            ("Accept-Ranges: bytes", "Accept-Ranges: none", "sends no ranges"),
            ("content-length: 8192\r\n", "", "does not tell a length"),
            ("8192", "8193", "8193 bytes, 1 more than whole sectors"),
            ("8192", "0", "does not tell a length"),
            ("200", "401", "answers 401: it wants a name"),
            ("200", "404", "answers 404: there is no such object"),
            ("200", "403", "answers 403: it forbids"),
            ("200", "304", "answers 304"),
        ] {
            let last = HEAD.split_once("\r\n\r\n").unwrap().1;
            let said = unfit(&last.replace(old, new));
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn server_that_has_too_much_to_do_is_away() {
        for status in [429, 500, 502, 503, 504] {
            let answer = Answer { status, headers: Vec::new() };
            assert!(matches!(answer.object(), Err(Fault::Away(_))), "{status}");
        }
    }

    #[test]
    fn part_belongs_to_the_object_by_its_length() {
        let object = Object { etag: "\"1\"".into(), bytes: 8192 };
        let part = |status, range: &str| {
            let headers = vec![("content-range".into(), range.into())];
            Answer { status, headers }.is_part_of(&object).is_ok()
        };
        assert!(part(206, "bytes 0-511/8192"));
        assert!(!part(206, "bytes 0-511/8193") && !part(206, "bytes 0-511/*"));
        assert!(!part(200, "bytes 0-511/8192") && !part(412, ""));
    }
}
