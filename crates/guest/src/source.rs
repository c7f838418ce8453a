//! Sources as a command line names them, and what it says of their content.
//!
//! Always: a name is not empty; a text after `,version=` is never taken for a part of the name.
//!
//! `SRC,version=TEXT` says which version of its content SRC has, in place of what the machine knows
//! of it (of a disk nothing, of a shared file its inode, times and length). Whoever says it promises
//! another TEXT for other content: what a region holds of SRC is served as long as TEXT is the same.
//! TEXT is any: a digest, an ETag, a build number. One that is `0x` and 1 to 16 hex digits is the
//! number itself. A name that
//! itself has `,version=` in it is read if another one follows it.
//!
//! `SRC,file=0x...`, which the host tool gives, says which file SRC is, and its version
//! ([`rootlet::storage::FileStamp::version`]): sources with one number are one file.

use alloc::string::{String, ToString};
use core::fmt;

use twox_hash::XxHash3_64;

use rootlet::storage::Version;

/// The longest mount tag in bytes (virtio 1.2 5.11.4).
pub const MOUNT_TAG_BYTES_MAX: usize = 36;

/// What stands between a source and its version.
const VERSION: &str = ",version=";
/// What stands between a source and the version of the file that it is.
const FILE: &str = ",file=";

/// Where the bytes of an image or a blob are.
pub type SourceName = rootlet::blob::SourceName<String>;

/// A source as the command line has it, before quoting. A mount tag with a colon has no such form.
#[derive(Clone, Copy, Debug)]
pub struct SourceWord<'n>(pub &'n SourceName);

impl fmt::Display for SourceWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SourceName::Disk(serial) => f.write_str(serial),
            SourceName::File { mount_tag: Some(tag), name } => write!(f, "share:{tag}:{name}"),
            SourceName::File { mount_tag: None, name } if name.contains(':') => {
                write!(f, "share::{name}")
            }
            SourceName::File { mount_tag: None, name } => write!(f, "share:{name}"),
        }
    }
}

/// Takes a source apart: its name, and its version if one is said.
///
/// # Errors
/// What would fit.
pub(crate) fn parse(value: &str) -> Result<(SourceName, Option<Version>), &'static str> {
    if let Some((source, text)) = value.rsplit_once(FILE)
        && let Some(number) = text.strip_prefix("0x").and_then(hex)
    {
        return Ok((name(source)?, Some(Version::File(number))));
    }
    let Some((source, text)) = value.rsplit_once(VERSION) else {
        return Ok((name(value)?, None));
    };
    let version = version(text).ok_or("a text after ,version=; after 0x, 1 to 16 hex digits")?;
    Ok((name(source)?, Some(version)))
}

/// The version that `text` says.
fn version(text: &str) -> Option<Version> {
    match text.strip_prefix("0x") {
        Some(digits) => hex(digits).map(Version::Said),
        None if text.is_empty() => None,
        None => Some(Version::Said(XxHash3_64::oneshot(text.as_bytes()).max(1))),
    }
}

/// A number of 1 to 16 hex digits that is not 0, which stands for no version.
fn hex(digits: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|number| plain && *number != 0)
}

fn name(value: &str) -> Result<SourceName, &'static str> {
    let Some(file) = value.strip_prefix("share:") else {
        let serial = not_empty(value, "the serial of a disk, share:NAME or share:TAG:NAME")?;
        return Ok(SourceName::Disk(serial));
    };
    let (tag, name) = file.split_once(':').unwrap_or(("", file));
    let mount_tag = if tag.is_empty() { None } else { Some(mount_tag(tag)?) };
    let name = not_empty(name, "the name of a file behind share:")?;
    Ok(SourceName::File { mount_tag, name })
}

/// A mount tag.
///
/// # Errors
/// What would fit.
pub(crate) fn mount_tag(value: &str) -> Result<String, &'static str> {
    let want = "a mount tag of 1 to 36 bytes";
    if value.len() > MOUNT_TAG_BYTES_MAX {
        return Err(want);
    }
    not_empty(value, want)
}

/// A text that is not empty, or `want`.
pub(crate) fn not_empty(value: &str, want: &'static str) -> Result<String, &'static str> {
    if value.is_empty() { Err(want) } else { Ok(value.to_string()) }
}
