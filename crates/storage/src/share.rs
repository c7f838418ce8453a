//! Paths on a share: their names, and the path after a symbolic link.
//!
//! Always: a path stays below the share's root; it has at most [`COMPONENTS_MAX`] names of one to
//! 255 bytes without zero or slash. A path on which a link was followed has at most
//! [`PATH_BYTES_MAX`] bytes, and at most [`LINKS_MAX`] links are followed.

use core::fmt;

/// The longest name in bytes (`NAME_MAX` of Linux; `FUSE_NAME_MAX` is larger).
pub const NAME_BYTES_MAX: usize = 255;
/// The most components in a path.
pub const COMPONENTS_MAX: usize = 32;
/// The most symbolic links on one path (Linux `MAXSYMLINKS`).
pub const LINKS_MAX: usize = 40;
/// The most bytes of a path after a link was replaced by its target.
pub const PATH_BYTES_MAX: usize = 1024;

/// The reason why a path is refused before any lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathFault {
    /// The component is empty: an empty path, or a slash at an end or next to another.
    Empty,
    /// The component is `.` or `..`.
    Dots,
    /// The component contains a zero byte.
    Nul,
    /// The component has more than [`NAME_BYTES_MAX`] bytes; the number counts them.
    Long(usize),
    /// The path has more than [`COMPONENTS_MAX`] components.
    Deep,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::Dots => f.write_str("the name is '.' or '..'"),
            Self::Nul => f.write_str("the name contains a zero byte"),
            Self::Long(got) => write!(f, "the name has {got} bytes, at most {NAME_BYTES_MAX} go"),
            Self::Deep => write!(f, "the path has over {COMPONENTS_MAX} components"),
        }
    }
}

impl core::error::Error for PathFault {}

/// The reason why a symbolic link of a share is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFault {
    /// The link leads out of the share: above its root, or to an absolute path.
    Leaves,
    /// More than [`LINKS_MAX`] links follow each other.
    Many,
    /// With the link's target the path has too many bytes or names.
    Long,
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaves => f.write_str("a symbolic link leads out of the share"),
            Self::Many => write!(f, "more than {LINKS_MAX} symbolic links follow each other"),
            Self::Long => f.write_str("a symbolic link makes the path too long"),
        }
    }
}

impl core::error::Error for LinkFault {}

/// The file type in a mode of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType(u32);

impl FileType {
    /// A directory (`S_IFDIR`).
    pub const DIRECTORY: Self = Self(0o040_000);
    /// A regular file (`S_IFREG`).
    pub const REGULAR: Self = Self(0o100_000);
    /// A symbolic link (`S_IFLNK`).
    pub const LINK: Self = Self(0o120_000);

    /// Returns the type in `mode` (`S_IFMT`).
    pub fn of(mode: u32) -> Self {
        Self(mode & 0o170_000)
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0o010_000 => "pipe",
            0o020_000 => "character device",
            0o040_000 => "directory",
            0o060_000 => "block device",
            0o100_000 => "regular file",
            0o120_000 => "symbolic link",
            0o140_000 => "socket",
            _ => "node of unknown type",
        })
    }
}

/// Returns the names of `path` in order, numbered from 1.
pub fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(path.split(|&byte| byte == b'/'))
}

/// Checks the whole path, so that nothing is looked up for a path that would be refused later.
///
/// # Errors
/// The number of the wrong component, and the reason.
pub fn check(path: &[u8]) -> Result<(), (usize, PathFault)> {
    for (number, name) in components(path) {
        let fault = match name {
            _ if number > COMPONENTS_MAX => PathFault::Deep,
            b"" => PathFault::Empty,
            b"." | b".." => PathFault::Dots,
            _ if name.len() > NAME_BYTES_MAX => PathFault::Long(name.len()),
            // Not `contains`, which takes many bytes at a time: twice the code for one run.
            _ if !name.iter().all(|&byte| byte != 0) => PathFault::Nul,
            _ => continue,
        };
        return Err((number, fault));
    }
    Ok(())
}

/// A path from the share's root after links were replaced. It keeps a `..` after a name that was
/// not looked up yet: if that is a link, `..` is not the directory before it.
#[derive(Debug)]
pub struct Way(heapless::Vec<u8, PATH_BYTES_MAX>);

impl Way {
    /// Returns `path` with `target` in place of component `component`. All components before that
    /// one are known to be directories.
    pub fn new(path: &[u8], component: usize, target: &[u8]) -> Result<Self, LinkFault> {
        if target.starts_with(b"/") {
            return Err(LinkFault::Leaves);
        }
        let mut way = Self(heapless::Vec::new());
        let mut names = 0_usize;
        let before = components(path).take_while(|(number, _)| *number < component);
        let after = components(path).skip_while(|(number, _)| *number <= component);
        for (_, name) in before {
            way.push(name)?;
            names = number_after(names)?;
        }
        // Whether all names of `way` are known to be directories.
        let mut solid = true;
        for name in target.split(|&byte| byte == b'/').chain(after.map(|(_, name)| name)) {
            match name {
                b"" | b"." => {}
                b".." if solid => {
                    way.pop()?;
                    names = names.checked_sub(1).ok_or(LinkFault::Leaves)?;
                }
                _ => {
                    way.push(name)?;
                    names = number_after(names)?;
                    solid = false;
                }
            }
        }
        Ok(way)
    }

    /// Returns the path; an empty path is the share's root.
    pub fn path(&self) -> &[u8] {
        &self.0
    }

    fn push(&mut self, name: &[u8]) -> Result<(), LinkFault> {
        if name.len() > NAME_BYTES_MAX {
            return Err(LinkFault::Long);
        }
        let slash: &[u8] = if self.0.is_empty() { b"" } else { b"/" };
        let pushed = self.0.extend_from_slice(slash).and_then(|()| self.0.extend_from_slice(name));
        pushed.map_err(|_| LinkFault::Long)
    }

    fn pop(&mut self) -> Result<(), LinkFault> {
        if self.0.is_empty() {
            return Err(LinkFault::Leaves);
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => self.0.truncate(slash),
            None => self.0.clear(),
        }
        Ok(())
    }
}

/// Returns `names` + 1, if a path may have that many names.
fn number_after(names: usize) -> Result<usize, LinkFault> {
    names.checked_add(1).filter(|names| *names <= COMPONENTS_MAX).ok_or(LinkFault::Long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn way(path: &str, component: usize, target: &str) -> Result<String, LinkFault> {
        let way = Way::new(path.as_bytes(), component, target.as_bytes())?;
        Ok(String::from_utf8_lossy(way.path()).into_owned())
    }

    #[test]
    fn target_takes_the_place_of_its_link() {
        assert_eq!(way("link", 1, "file"), Ok("file".into()));
        assert_eq!(way("dir/link/rest/name", 2, "a/b"), Ok("dir/a/b/rest/name".into()));
        assert_eq!(way("dir/sub/link", 3, "../../other/."), Ok("other".into()));
        assert_eq!(way("dir/sub/link/x", 3, "./../y//"), Ok("dir/y/x".into()));
        assert_eq!(way("link", 1, "."), Ok(String::new()));
    }

    #[test]
    fn dots_after_a_name_that_may_be_a_link_stay() {
        assert_eq!(way("link", 1, "a/../b"), Ok("a/../b".into()));
        // Once the name is known to be a directory they are taken back.
        assert_eq!(way("a/../b", 2, ".."), Ok("b".into()));
    }

    #[test]
    fn what_leads_out_of_the_share_or_is_too_long_is_refused() {
        assert_eq!(way("link", 1, "/etc/passwd"), Err(LinkFault::Leaves));
        assert_eq!(way("link", 1, ".."), Err(LinkFault::Leaves));
        assert_eq!(way("dir/link", 2, "../../dir/file"), Err(LinkFault::Leaves));
        assert_eq!(way("link", 1, &"n".repeat(256)), Err(LinkFault::Long));
        assert_eq!(way("link", 1, &"n/".repeat(33)), Err(LinkFault::Long));
        assert!(way("link", 1, &"n/".repeat(32)).is_ok());
        let names = "n".repeat(255) + "/";
        assert_eq!(way("link", 1, &names.repeat(5)), Err(LinkFault::Long));
        assert!(way("link", 1, &names.repeat(4)).is_ok());
    }
}
