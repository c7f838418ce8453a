//! Sources as a command line names them, and the version that it gives of their content.
//!
//! Always: a name is not empty; a text after `,version=` is never taken for a part of the name.
//!
//! `SRC,version=TEXT` gives the version of the content of SRC, in place of what the machine knows
//! (nothing of a disk; of a shared file its inode, times and length). The writer promises
//! another TEXT for other content: as long as TEXT is the same, what a region holds of SRC is
//! served. TEXT may be anything: a digest, an ETag, a build number. One that is `0x` and 1 to 16
//! hex digits is the number itself. A name with `,version=` in it needs another `,version=` after
//! it.
//!
//! `SRC,file=0x...`, which the host tool writes, says which file SRC is, and its version
//! ([`rootlet::storage::FileStamp::version`]): sources with the same number are one file.

use alloc::string::{String, ToString};
use core::fmt;

use twox_hash::XxHash3_64;

use rootlet::storage::Version;

/// The longest mount tag in bytes (virtio 1.2 5.11.4).
pub const MOUNT_TAG_BYTES_MAX: usize = 36;

/// Separates a source from its version.
const VERSION: &str = ",version=";
/// Separates a source from the version of the file that it is.
const FILE: &str = ",file=";

/// Where the bytes of an image or a blob are.
pub type SourceName = rootlet::blob::SourceName<String>;

/// A source in the form of the command line, before quoting. A mount tag with a colon has no such
/// form.
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
            // No word of a command line gives another one.
            other => write!(f, "{other:?}"),
        }
    }
}

/// Returns the name of a source, and its version if `value` gives one.
///
/// # Errors
/// What would fit.
pub(super) fn parse(value: &str) -> Result<(SourceName, Option<Version>), &'static str> {
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

/// Cuts a value into the name of its source and what is said of the version.
pub(super) fn cut(value: &str) -> (&str, &str) {
    let at = [FILE, VERSION].into_iter().find_map(|key| value.rfind(key));
    at.and_then(|at| value.split_at_checked(at)).map_or((value, ""), |cut| cut)
}

/// Returns the version that `text` gives.
fn version(text: &str) -> Option<Version> {
    match text.strip_prefix("0x") {
        Some(digits) => hex(digits).map(Version::Said),
        None if text.is_empty() => None,
        None => Some(Version::Said(XxHash3_64::oneshot(text.as_bytes()).max(1))),
    }
}

/// Returns a number of 1 to 16 hex digits, but not 0, which stands for no version.
fn hex(digits: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|number| plain && *number != 0)
}

/// Returns the name of a source.
///
/// # Errors
/// What would fit.
pub fn name(value: &str) -> Result<SourceName, &'static str> {
    let Some(file) = value.strip_prefix("share:") else {
        let serial = not_empty(value, "the serial of a disk, share:NAME or share:TAG:NAME")?;
        return Ok(SourceName::Disk(serial));
    };
    let (mount_tag, name) = match file.split_once(':') {
        None => (None, file),
        Some(("", name)) => (None, name),
        Some((tag, name)) => (Some(mount_tag(tag)?), name),
    };
    let name = not_empty(name, "the name of a file after share:")?;
    Ok(SourceName::File { mount_tag, name })
}

/// Returns a mount tag.
///
/// # Errors
/// What would fit.
pub(super) fn mount_tag(value: &str) -> Result<String, &'static str> {
    let want = "a mount tag of 1 to 36 bytes";
    if value.len() > MOUNT_TAG_BYTES_MAX {
        return Err(want);
    }
    not_empty(value, want)
}

/// Returns `value` if it is not empty.
///
/// # Errors
/// `want`.
pub(super) fn not_empty(value: &str, want: &'static str) -> Result<String, &'static str> {
    if value.is_empty() { Err(want) } else { Ok(value.to_string()) }
}
