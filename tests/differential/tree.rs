//! Random trees: what is in them, and how they come onto the disk.
//!
//! Always: the same seed gives the same tree on every machine; owners and device nodes are left
//! out where this user may not make them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use rootlet_sim::Rng;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// Bytes of all files of a tree, about.
const TREE_BYTES: usize = 1 << 20;
/// Bytes of all xattrs of a file: most host file systems have a block for them.
const XATTR_BYTES: usize = 3000;

/// Longest name: mkfs.erofs 1.5 cuts one of 255 bytes, and does not find it then.
const NAME_BYTES: usize = 254;

/// One name of a tree.
pub struct Entry {
    /// From the root of the tree, without a slash in front; empty for the root.
    pub path: String,
    pub kind: Kind,
    pub mode: u16,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

pub enum Kind {
    Directory,
    File(Content),
    Symlink(String),
    /// Type bits of the mode, and major and minor.
    Node(FileType, Option<(u32, u32)>),
    /// Another name of the entry with this number.
    Link(usize),
}

/// Bytes of a file.
pub struct Content {
    pub bytes: Vec<u8>,
    /// Where the host's file has holes; the bytes there are zeros.
    pub holes: Vec<(usize, usize)>,
}

struct Generator {
    rng: Rng,
    entries: Vec<Entry>,
    /// Paths of the directories.
    dirs: Vec<String>,
    left: usize,
    is_root: bool,
    /// Xattrs that several files have.
    shared: Vec<(String, Vec<u8>)>,
    next: usize,
}

/// The tree of `seed`.
pub fn generate(mut rng: Rng, is_root: bool) -> Vec<Entry> {
    let shared = (0..4).map(|n| (format!("user.shared{n}"), noise(&mut rng, 300))).collect();
    let mut generator = Generator {
        rng,
        entries: Vec::new(),
        dirs: vec![String::new()],
        left: TREE_BYTES,
        is_root,
        shared,
        next: 0,
    };
    generator.add(String::new(), Kind::Directory);
    generator.grow();
    generator.entries
}

fn noise(rng: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.index(most)];
    rng.fill(&mut bytes);
    bytes
}

impl Generator {
    fn grow(&mut self) {
        let depth = self.rng.index(12);
        for _ in 0..depth {
            // Below the one before: deep.
            let parent = self.dirs.last().unwrap().clone();
            self.directory(&parent);
        }
        for _ in 0..self.rng.index(12) {
            let parent = self.some_dir();
            self.directory(&parent);
        }
        for _ in 0..5 + self.rng.index(60) {
            let parent = self.some_dir();
            let name = self.name();
            let path = join(&parent, &name);
            if path.len() < 3500 {
                let kind = self.kind();
                self.add(path, kind);
            }
        }
        if self.rng.chance(100_000) {
            // Names in more than one block. Rarely: many files take the host's time.
            let parent = self.some_dir();
            for _ in 0..100 + self.rng.index(300) {
                let name = self.name();
                let content = Content { bytes: noise(&mut self.rng, 3), holes: Vec::new() };
                self.add(join(&parent, &name), Kind::File(content));
            }
        }
    }

    fn directory(&mut self, parent: &str) {
        let name = self.name();
        let path = join(parent, &name);
        // A path that the host's calls still take, with names below it.
        if path.len() < 3000 {
            self.dirs.push(path.clone());
            self.add(path, Kind::Directory);
        }
    }

    fn some_dir(&mut self) -> String {
        let index = self.rng.index(self.dirs.len());
        self.dirs[index].clone()
    }

    /// A name that no other entry has.
    fn name(&mut self) -> String {
        self.next += 1;
        let number = self.next;
        match self.rng.below(12) {
            0 => format!("{number}{}", "x".repeat(NAME_BYTES - number.to_string().len())),
            1 => format!("{}{number}", "long-".repeat(self.rng.index(40))),
            2 => format!("{number} \"quoted\" \\ and\nbroken"),
            3 => format!("\u{fc}ml\u{e4}ut-\u{1f980}-{number}"),
            4 => format!(".{number}"),
            // Before the dots of a directory, and after all of ASCII.
            5 => format!("!{number}"),
            6 => format!("~\u{7f}{number}"),
            _ => format!("n{number}"),
        }
    }

    fn kind(&mut self) -> Kind {
        match self.rng.below(20) {
            0 | 1 => Kind::Symlink(self.target()),
            2 => Kind::Node(FileType::Fifo, None),
            3 if self.is_root => {
                let rdev = (self.rng.below(4096) as u32, self.rng.below(1 << 20) as u32);
                let block = self.rng.chance(500_000);
                let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
                Kind::Node(kind, Some(rdev))
            }
            4 => Kind::Node(FileType::Socket, None),
            5 | 6 => self.link().unwrap_or(Kind::Directory),
            _ => Kind::File(self.content()),
        }
    }

    /// One more name of a file, if there is one.
    fn link(&mut self) -> Option<Kind> {
        let files = self.entries.iter().enumerate();
        let files = files.filter(|(_, entry)| matches!(entry.kind, Kind::File(_)));
        let files: Vec<usize> = files.map(|(number, _)| number).collect();
        (!files.is_empty()).then(|| Kind::Link(files[self.rng.index(files.len())]))
    }

    fn target(&mut self) -> String {
        let len = [1, 2, 59, 60, 255, 4063, 4064, 4095][self.rng.index(8)];
        let words = "../up/dir/";
        words.chars().cycle().skip(self.rng.index(10)).take(len).collect()
    }

    fn size(&mut self) -> usize {
        const SIZES: [usize; 16] = [
            0, 0, 1, 2, 100, 4063, 4064, 4095, 4096, 4097, 8192, 12_289, 65_535, 65_536, 65_537,
            131_072,
        ];
        let size = match self.rng.below(4) {
            0 | 1 => SIZES[self.rng.index(SIZES.len())],
            2 => self.rng.index(20_000),
            _ => self.rng.index(300_000),
        };
        size.min(self.left)
    }

    fn content(&mut self) -> Content {
        let size = self.size();
        self.left -= size;
        let mut bytes = Vec::with_capacity(size);
        let mut holes = Vec::new();
        if self.rng.chance(100_000) {
            // What another file has, from some byte on: what deduplication finds.
            let all = self.entries.iter().filter_map(|entry| match &entry.kind {
                Kind::File(content) => Some(&content.bytes),
                _ => None,
            });
            let longest = all.max_by_key(|bytes| bytes.len()).cloned().unwrap_or_default();
            let from = self.rng.index(longest.len().min(5000) + 1);
            bytes.extend(&longest[from..]);
        }
        while bytes.len() < size {
            let (start, piece) = (bytes.len(), 1 + self.rng.index(size));
            match self.rng.below(10) {
                0 | 1 => {
                    bytes.resize(start + piece, 0);
                    self.rng.fill(&mut bytes[start..]);
                }
                2 => bytes.resize(start + piece, 0),
                3 => {
                    bytes.resize(start.next_multiple_of(4096), 1);
                    holes.push((bytes.len(), bytes.len() + piece));
                    bytes.resize(bytes.len() + piece, 0);
                }
                4 => bytes.resize(start + piece, b'a' + (piece % 20) as u8),
                _ => self.text(&mut bytes, start + piece),
            }
        }
        bytes.truncate(size);
        holes.retain(|(start, _)| *start < size);
        holes.iter_mut().for_each(|(_, end)| *end = size.min(*end));
        Content { bytes, holes }
    }

    fn text(&mut self, bytes: &mut Vec<u8>, end: usize) {
        while bytes.len() < end {
            let rank = self.rng.below(500);
            bytes.extend(format!("{:x} ", self.rng.below(1 + rank) * 0x9e37).bytes());
        }
        bytes.truncate(end);
    }

    fn xattrs(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut xattrs = Vec::new();
        if self.rng.chance(700_000) {
            return xattrs;
        }
        for number in 0..self.rng.index(6) {
            let xattr = match self.rng.below(5) {
                0 | 1 => self.shared[self.rng.index(self.shared.len())].clone(),
                2 => (format!("user.{}", "n".repeat(1 + self.rng.index(200))), b"1".to_vec()),
                3 => (format!("user.big{number}"), noise(&mut self.rng, XATTR_BYTES)),
                _ => (format!("user.a{number}"), noise(&mut self.rng, 40)),
            };
            let used: usize = xattrs.iter().map(bytes_of).sum();
            let is_new = xattrs.iter().all(|(name, _)| *name != xattr.0);
            if is_new && used + bytes_of(&xattr) <= XATTR_BYTES {
                xattrs.push(xattr);
            }
        }
        xattrs
    }

    fn add(&mut self, path: String, kind: Kind) {
        // A symlink or a special file may not have user.* ones.
        let may = matches!(kind, Kind::Directory | Kind::File(_));
        let xattrs = if may { self.xattrs() } else { Vec::new() };
        let mode = match self.rng.below(3) {
            0 => self.rng.below(0o10_000) as u16,
            _ => 0o755,
        };
        // Without them its own user could not fill it, nor read it back.
        let mode = if self.is_root { mode } else { mode | 0o700 };
        let seconds = match self.rng.below(3) {
            0 => self.rng.below(1 << 33) as i64,
            1 => self.rng.below(100) as i64,
            _ => 1_600_000_000 + self.rng.below(100_000_000) as i64,
        };
        let nanoseconds = self.rng.below(2) * self.rng.below(1_000_000_000);
        let id = |rng: &mut Rng| (rng.below(3) * rng.below(1 << 20)) as u32;
        let owner = (id(&mut self.rng), id(&mut self.rng));
        let mtime = (seconds, nanoseconds as u32);
        self.entries.push(Entry { path, kind, mode, owner, mtime, xattrs });
    }
}

fn bytes_of((name, value): &(String, Vec<u8>)) -> usize {
    name.len() + value.len() + 32
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.into() } else { format!("{parent}/{name}") }
}

/// Makes the tree at `dir`.
pub fn write(entries: &[Entry], dir: &Path, is_root: bool) {
    let at = |entry: &Entry| dir.join(&entry.path);
    for entry in entries {
        let path = at(entry);
        match &entry.kind {
            Kind::Directory => fs::create_dir(&path).unwrap(),
            Kind::File(content) => write_file(&path, content),
            Kind::Symlink(target) => symlink(target, &path).unwrap(),
            Kind::Node(kind, rdev) => {
                let (major, minor) = rdev.unwrap_or((0, 0));
                let rdev = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(CWD, &path, *kind, Mode::empty(), rdev).unwrap();
            }
            Kind::Link(to) => fs::hard_link(at(&entries[*to]), &path).unwrap(),
        }
    }
    // From the leaves up, so that nothing changes a time that was set.
    for entry in entries.iter().rev().filter(|entry| !matches!(entry.kind, Kind::Link(_))) {
        set_attributes(&at(entry), entry, is_root);
    }
}

fn write_file(path: &Path, content: &Content) {
    let file = File::create(path).unwrap();
    file.set_len(content.bytes.len() as u64).unwrap();
    let mut at = 0;
    let ends = [(content.bytes.len(), content.bytes.len())];
    for (start, end) in content.holes.iter().chain(&ends) {
        if *start > at {
            file.write_all_at(&content.bytes[at..*start], at as u64).unwrap();
        }
        at = at.max(*end);
    }
}

fn set_attributes(path: &Path, entry: &Entry, is_root: bool) {
    if is_root {
        let (uid, gid) = (Uid::from_raw(entry.owner.0), Gid::from_raw(entry.owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, path, Some(uid), Some(gid), flags).unwrap();
    }
    if !matches!(entry.kind, Kind::Symlink(_)) {
        let mode = Mode::from_raw_mode(entry.mode.into());
        for (name, value) in &entry.xattrs {
            let name: &str = name;
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
        }
        rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()).unwrap();
    }
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
