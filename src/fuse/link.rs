//! Symbolic links of a share: where a path goes on once the daemon has said where a link leads.
//!
//! Always: a path stays below the share's root; it has at most [`PATH_BYTES_MAX`] bytes, and at
//! most [`LINKS_MAX`] times one takes the place of another.

use super::path::{COMPONENTS_MAX, NAME_BYTES_MAX, components};
use crate::storage::LinkFault;

/// The most symbolic links on one path (Linux `MAXSYMLINKS`).
pub const LINKS_MAX: usize = 40;
/// The most bytes of a path with a link on it, once the link's target stands in the link's place.
pub const PATH_BYTES_MAX: usize = 1024;

/// A path from the share's root. A `..` in it comes after a name that was not looked up yet: what
/// it leads to depends on whether that is a link.
#[derive(Debug)]
pub(super) struct Way(heapless::Vec<u8, PATH_BYTES_MAX>);

impl Way {
    /// Returns the path on which `target` has taken the place of component `component` of `path`.
    /// Everything before that is directories.
    pub(super) fn new(path: &[u8], component: usize, target: &[u8]) -> Result<Self, LinkFault> {
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
        // Whether all that is on the way is directories.
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

    /// Returns the path; an empty one is the share's root.
    pub(super) fn path(&self) -> &[u8] {
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

/// Returns how many names there are with one more.
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
