//! The paths of the files that a command reads, by their inodes.
//!
//! Always: all memory is allocated when it is made; what finds no room is left out.

use alloc::vec::Vec;
use rootlet::erofs::Nid;

/// Bytes of a path that are kept, from its end.
pub const PATH_BYTES_MAX: usize = 52;

/// Files that there is room for at most.
const FILES_MAX: usize = 1024;

/// The paths.
#[derive(Debug, Default)]
pub struct Names {
    files: Vec<Name>,
}

/// A file, and the end of its path.
#[derive(Clone, Debug)]
pub struct Name {
    /// Its inode.
    pub nid: Nid,
    /// The end of its path.
    pub path: heapless::Vec<u8, PATH_BYTES_MAX>,
    /// Whether the path is longer.
    pub is_cut: bool,
}

impl Names {
    /// Returns room for the files of at most `events` events; for none, nothing.
    pub fn new(events: u32) -> Self {
        let files = usize::try_from(events).map_or(FILES_MAX, |events| events.min(FILES_MAX));
        Self { files: Vec::with_capacity(files) }
    }

    /// Keeps the path of a file, if there is room.
    pub fn note(&mut self, nid: Nid, path: &[u8]) {
        let is_known = || self.files.iter().any(|name| name.nid == nid);
        if self.files.len() == self.files.capacity() || is_known() {
            return;
        }
        let cut = path.len().checked_sub(PATH_BYTES_MAX);
        let end = cut.and_then(|cut| path.get(cut..)).unwrap_or(path);
        let path = end.iter().copied().take(PATH_BYTES_MAX).collect();
        self.files.push(Name { nid, path, is_cut: cut.is_some_and(|cut| cut > 0) });
    }

    /// Returns the files.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.files.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn long_path_keeps_its_end_and_a_file_its_first_path() {
        let mut names = Names::new(2);
        let long = [b"/first", &[b'x'; PATH_BYTES_MAX][..]].concat();
        names.note(Nid(1), &long);
        names.note(Nid(1), b"/other");
        names.note(Nid(2), b"/short");
        names.note(Nid(3), b"/no room");
        let found: Vec<_> =
            names.iter().map(|name| (name.nid.0, name.path.to_vec(), name.is_cut)).collect();
        assert_eq!(found, [(1, vec![b'x'; PATH_BYTES_MAX], true), (2, b"/short".to_vec(), false)]);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_recorded() {
        let mut names = Names::new(0);
        names.note(Nid(1), b"/a");
        assert_eq!(names.iter().count(), 0);
    }
}
