//! The tree that an image is built from; also the oracle that tests compare a reader with.
//!
//! Always: node 0 is the root directory; every node is reachable from it; several names of one
//! node are hard links.

use std::collections::BTreeMap;

use super::content::Content;

/// Owner, permissions, time and extended attributes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky (the low 12 bits of `st_mode`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970; may be negative.
    pub mtime_s: i64,
    /// Nanoseconds below a second.
    pub mtime_ns: u32,
    /// Full names (`user.x`) and values, in the order in which they are stored.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries by name; the values are node numbers.
    Dir(BTreeMap<Vec<u8>, usize>),
    /// A regular file.
    File(Content),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// One inode of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Owner, permissions, time and extended attributes.
    pub meta: Meta,
    /// The kind of the entry, and its contents.
    pub kind: Kind,
}

impl Node {
    /// `st_mode` with the type bits.
    pub fn st_mode(&self) -> u16 {
        let kind = match self.kind {
            Kind::Fifo => 0o010_000,
            Kind::CharDevice(..) => 0o020_000,
            Kind::Dir(_) => 0o040_000,
            Kind::BlockDevice(..) => 0o060_000,
            Kind::File(_) => 0o100_000,
            Kind::Symlink(_) => 0o120_000,
            Kind::Socket => 0o140_000,
        };
        kind | self.meta.mode
    }

    /// The file type of a directory entry (EROFS dirent, the numbers of `DT_*` by `FT_*`).
    pub fn file_type(&self) -> u8 {
        match self.kind {
            Kind::File(_) => 1,
            Kind::Dir(_) => 2,
            Kind::CharDevice(..) => 3,
            Kind::BlockDevice(..) => 4,
            Kind::Fifo => 5,
            Kind::Socket => 6,
            Kind::Symlink(_) => 7,
        }
    }
}

/// A tree of nodes.
///
/// Paths are bytes and start with `/`; directories that a path needs are made on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A root directory, mode 755, owned by root, at time 0.
    pub fn new() -> Self {
        Self { nodes: vec![new_dir()] }
    }

    /// Makes a directory (or finds it), mode 755.
    pub fn dir(&mut self, path: impl AsRef<[u8]>) -> &mut Meta {
        let node = self.dir_node(path.as_ref());
        &mut self.nodes[node].meta
    }

    /// Makes a regular file, mode 644.
    pub fn file(&mut self, path: impl AsRef<[u8]>, content: Content) -> &mut Meta {
        self.add(path, Kind::File(content), 0o644)
    }

    /// Makes a symbolic link, mode 777.
    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Meta {
        self.add(path, Kind::Symlink(target.as_ref().to_vec()), 0o777)
    }

    /// Makes a node of any kind but a directory.
    ///
    /// # Panics
    /// When `path` exists or a file stands in its way: the description is wrong.
    pub fn add(&mut self, path: impl AsRef<[u8]>, kind: Kind, mode: u16) -> &mut Meta {
        let node = self.push(Node { meta: Meta { mode, ..Meta::default() }, kind });
        self.link(path.as_ref(), node);
        &mut self.nodes[node].meta
    }

    /// Gives `existing` a second name.
    ///
    /// # Panics
    /// When `existing` does not exist or `path` does.
    pub fn hard_link(&mut self, path: impl AsRef<[u8]>, existing: impl AsRef<[u8]>) {
        let node = self.find(existing).expect("a hard link needs something to link to");
        self.link(path.as_ref(), node);
    }

    /// The number of the node at `path`; symbolic links are not followed.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<usize> {
        let mut node = 0;
        for name in names(path.as_ref()) {
            match &self.nodes[node].kind {
                Kind::Dir(entries) => node = *entries.get(name)?,
                _ => return None,
            }
        }
        Some(node)
    }

    /// The node at `path`.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Node> {
        self.find(path).map(|node| &self.nodes[node])
    }

    /// The metadata of the node at `path`, to be changed.
    pub fn meta_mut(&mut self, path: impl AsRef<[u8]>) -> Option<&mut Meta> {
        self.find(path).map(|node| &mut self.nodes[node].meta)
    }

    /// The content of the regular file at `path`.
    pub fn content(&self, path: impl AsRef<[u8]>) -> Option<&Content> {
        match &self.get(path)?.kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }

    /// All nodes by number.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Every path with its node number: a directory before its entries, entries by the bytes of
    /// their names; the root is `/`.
    pub fn walk(&self) -> Vec<(Vec<u8>, usize)> {
        let mut rows = Vec::new();
        let mut ahead = vec![(b"/".to_vec(), 0)];
        while let Some((path, node)) = ahead.pop() {
            if let Kind::Dir(entries) = &self.nodes[node].kind {
                for (name, child) in entries.iter().rev() {
                    ahead.push((join(&path, name), *child));
                }
            }
            rows.push((path, node));
        }
        rows
    }

    /// The link count of each node: names of a file, or 2 plus subdirectories of a directory.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        counts[0] = 2;
        for (number, node) in self.nodes.iter().enumerate() {
            let Kind::Dir(entries) = &node.kind else { continue };
            for child in entries.values() {
                if matches!(self.nodes[*child].kind, Kind::Dir(_)) {
                    counts[*child] += 2;
                    counts[number] += 1;
                } else {
                    counts[*child] += 1;
                }
            }
        }
        counts
    }

    pub(super) fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn link(&mut self, path: &[u8], node: usize) {
        let split = path.iter().rposition(|byte| *byte == b'/').expect("a path starts with '/'");
        let parent = self.dir_node(&path[..split]);
        let name = path[split + 1..].to_vec();
        assert!(!name.is_empty() && name.len() <= 255, "a name has 1 to 255 bytes");
        let Kind::Dir(entries) = &mut self.nodes[parent].kind else { unreachable!() };
        let before = entries.insert(name, node);
        assert!(before.is_none(), "{} exists", path.escape_ascii());
    }

    fn dir_node(&mut self, path: &[u8]) -> usize {
        let mut node = 0;
        for name in names(path) {
            let next = match &self.nodes[node].kind {
                Kind::Dir(entries) => entries.get(name).copied(),
                _ => None,
            };
            node = match next {
                Some(next) => next,
                None => {
                    let made = self.push(new_dir());
                    let Kind::Dir(entries) = &mut self.nodes[node].kind else { unreachable!() };
                    entries.insert(name.to_vec(), made);
                    made
                }
            };
            let is_dir = matches!(self.nodes[node].kind, Kind::Dir(_));
            assert!(is_dir, "{} is no directory", path.escape_ascii());
        }
        node
    }
}

/// `name` inside the directory `dir`.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

fn new_dir() -> Node {
    Node { meta: Meta { mode: 0o755, ..Meta::default() }, kind: Kind::Dir(BTreeMap::new()) }
}
