//! What a web server says of an object before a guest reads it.
//!
//! Always: an object is taken only if its server sends ranges of it, and names the content of each (a
//! strong ETag: RFC 9110 8.8.3), or its digest does. Without that a read could get bytes of two contents.
//! No byte of the object is asked for where the server tells all that without one (HEAD); a signed URL
//! may allow GET alone.

use anyhow::Result;

use super::curl::{Answer, Fault, Request};
use super::{Target, WebArgs};

/// A disk's unit in bytes (virtio 1.2 5.2.4).
const SECTOR_BYTES: u64 = 512;
/// The longest ETag, which goes to the guest as the version of the content.
const ETAG_BYTES_MAX: usize = 128;
/// What is asked of an object: a byte, with which the server tells the length.
const BYTE: [&str; 2] = ["--range", "0-0"];
/// The same without the byte.
const NO_BYTE: [&str; 3] = ["--range", "0-0", "--head"];

/// An object of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The strong ETag, with its quotes, that each request names; `None` if the URL names the content.
    pub etag: Option<String>,
    /// The length, in whole sectors.
    pub bytes: u64,
    /// The digest that names the content, with the name of its algorithm.
    pub digest: Option<String>,
}

impl Object {
    /// Asks for the object of `target`, whose content `digest` names if there is one.
    ///
    /// # Errors
    /// Status 3: there is no curl.
    pub fn ask(
        target: &Target,
        args: &WebArgs,
        digest: Option<&str>,
    ) -> Result<Result<Self, Fault>> {
        Ok(first_byte(target, args, true)?.and_then(|answer| Self::of(&answer, digest)))
    }

    /// Returns the version of the content for the guest.
    pub fn version(&self) -> String {
        let name = match (&self.digest, &self.etag) {
            (Some(digest), _) => digest,
            (None, Some(etag)) => etag,
            (None, None) => unreachable!("an object has one of them"),
        };
        let mut version = format!("{}-", self.bytes);
        // Nothing in it may end a word or an option of the guest's line.
        for byte in name.trim_matches('"').bytes() {
            match byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                true => version.push(byte.into()),
                false => version.push_str(&format!("%{byte:02x}")),
            }
        }
        version
    }

    /// Returns the object that the answer to a range tells of.
    fn of(answer: &Answer, digest: Option<&str>) -> Result<Self, Fault> {
        let bytes = whole(answer)?;
        if bytes % SECTOR_BYTES != 0 {
            return Err(Fault::Unfit(format!(
                "{bytes} bytes, {} more than whole sectors of {SECTOR_BYTES}: it is cut short, or \
                 lacks its padding",
                bytes % SECTOR_BYTES
            )));
        }
        let etag = match (strong_etag(answer), digest) {
            (Ok(etag), _) => Some(etag),
            (Err(_), Some(_)) => None,
            (Err(fault), None) => return Err(fault),
        };
        Ok(Self { etag, bytes, digest: digest.map(Into::into) })
    }
}

/// Returns the answer to a request for the first byte of `target`: to one for its head if that tells as
/// much. `follows` is for redirects.
///
/// # Errors
/// Status 3: there is no curl.
pub fn first_byte(target: &Target, args: &WebArgs, follows: bool) -> Result<Result<Answer, Fault>> {
    let ask = |more: &[&str]| Request { follows, body_bytes_max: None, more }.send(target, args);
    match ask(&NO_BYTE)? {
        Ok(answer) if answer.status != 206 => ask(&BYTE),
        told => Ok(told),
    }
}

/// Returns the length of the object of which `part` is a range.
fn whole(part: &Answer) -> Result<u64, Fault> {
    if part.status == 200 {
        let why = "the server answers 200 for a range, with everything: it sends no ranges; copy the \
                   object to a file, or take another server";
        return Err(Fault::Unfit(why.into()));
    }
    part.has_status(206)?;
    let range = part.header("content-range").unwrap_or("");
    let bytes = range.rsplit_once('/').and_then(|(_, whole)| whole.parse().ok());
    bytes.ok_or_else(|| {
        Fault::Unfit(format!("the server does not tell a length (Content-Range: `{range}`)"))
    })
}

/// Returns the ETag if it stands for these very bytes.
fn strong_etag(answer: &Answer) -> Result<String, Fault> {
    let Some(etag) = answer.header("etag") else {
        let why = "the server gives no ETag, so that a change of the content could not be noticed: \
                   copy the object to a file";
        return Err(Fault::Unfit(why.into()));
    };
    let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
    let is_plain = |inner: &&str| inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    match inner.filter(is_plain) {
        Some(_) if etag.len() <= ETAG_BYTES_MAX => Ok(etag.into()),
        _ => Err(Fault::Unfit(format!(
            "its ETag {etag} is weak, or none of this tool's, so that a change of the content could \
             not be noticed: copy the object to a file"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, range: &str, etag: Option<&str>) -> Answer {
        let mut headers = vec![("content-range".into(), range.into())];
        headers.extend(etag.map(|etag| ("etag".into(), etag.into())));
        Answer { status, headers, ..Answer::default() }
    }

    #[test]
    fn part_tells_the_object() {
        let first = answer(206, "bytes 0-511/8192", Some("\"6b-8\""));
        let object = Object::of(&first, None).unwrap();
        assert_eq!(object.version(), "8192-6b-8");
        let other = Object { etag: Some("\"a,file=0x1 b\"".into()), ..object };
        assert_eq!(other.version(), "8192-a%2cfile%3d0x1%20b");
    }

    #[test]
    fn object_that_could_change_unnoticed_or_has_no_ranges_is_refused() {
        let (range, etag) = ("bytes 0-511/8192", Some("\"1\""));
        for (answer, why) in [
            (answer(206, range, Some("W/\"6b\"")), "its ETag W/\"6b\" is weak"),
            (answer(206, range, Some("\"a\"b\"")), "none of this tool's"),
            (answer(206, range, None), "gives no ETag"),
            (answer(200, "", etag), "200 for a range, with everything"),
            (answer(206, "", etag), "does not tell a length"),
            (answer(206, "bytes 0-511/*", etag), "does not tell a length"),
            (answer(206, "bytes 0-511/8193", etag), "8193 bytes, 1 more than whole sectors"),
            (answer(401, range, etag), "answers 401"),
        ] {
            let Err(Fault::Unfit(said)) = Object::of(&answer, None) else { panic!("{answer:?}") };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn digest_names_a_content_where_there_is_no_etag() {
        for etag in [None, Some("W/\"1\"")] {
            let object = Object::of(&answer(206, "bytes 0-511/512", etag), Some("sha256:0a"));
            let object = object.unwrap();
            assert_eq!(
                (object.etag.as_deref(), object.version().as_str()),
                (None, "512-sha256%3a0a")
            );
        }
    }
}
