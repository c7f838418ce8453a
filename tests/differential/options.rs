//! Random options of mkfs.erofs, and what an image made with them holds of a tree.
//!
//! Always: only combinations that mkfs.erofs 1.5 takes; a failing mkfs fails the test.

use std::collections::BTreeMap;

use rootlet_rows::{Row, Rows, hex, sum, time_ns};
use rootlet_sim::Rng;
use rustix::fs::FileType;

use crate::tree::{Entry, Kind};

/// What becomes of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// Later ones become the image's.
    Clamped,
    /// All of them become the image's.
    Fixed,
    Kept,
}

/// One way to make an image.
#[derive(Debug)]
pub struct Options {
    pub words: Vec<String>,
    /// Value of SOURCE_DATE_EPOCH.
    pub epoch: Option<i64>,
    /// The second file, if there is one.
    pub blobdev: bool,
    /// Whether files are in chunks.
    pub chunked: bool,
    times: Times,
    image_time: i64,
    xattrs: bool,
    root_owns: bool,
}

/// Options for this tree.
pub fn choose(rng: &mut Rng, entries: &[Entry]) -> Options {
    let image_time = rng.below(1 << 32) as i64;
    let mut options = Options {
        words: vec![format!("-U{}", uuid(rng))],
        epoch: None,
        blobdev: false,
        chunked: false,
        times: [Times::Clamped, Times::Fixed, Times::Kept][rng.index(3)],
        image_time,
        xattrs: true,
        root_owns: rng.chance(200_000),
    };
    match options.times {
        Times::Clamped => options.epoch = Some(image_time),
        Times::Fixed => options.words.push(format!("-T{image_time}")),
        Times::Kept => options.words.push("--preserve-mtime".into()),
    }
    if options.root_owns {
        options.words.push("--all-root".into());
    }
    if rng.chance(600_000) {
        let tolerance = rng.below(5) as i64 - 1;
        options.xattrs = tolerance >= 0;
        options.words.push(format!("-x{tolerance}"));
    }
    options.layout(rng);
    let mut extended = options.data(rng);
    if let Some(form) = options.inode_form(rng, entries) {
        extended.push(form);
    }
    if !extended.is_empty() {
        options.words.push(format!("-E{}", extended.join(",")));
    }
    options
}

fn uuid(rng: &mut Rng) -> String {
    let mut raw = [0; 16];
    rng.fill(&mut raw);
    let digits = hex(&raw);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

impl Options {
    fn layout(&mut self, rng: &mut Rng) {
        self.chunked = rng.chance(300_000);
        if self.chunked {
            self.words.push(format!("--chunksize={}", 4096 << rng.below(5)));
            self.blobdev = rng.chance(500_000);
        }
    }

    /// How files are laid out and compressed; words for -E.
    fn data(&mut self, rng: &mut Rng) -> Vec<&'static str> {
        let mut extended = Vec::new();
        if rng.chance(300_000) {
            extended.push("noinline_data");
        }
        if self.chunked {
            if rng.chance(300_000) {
                extended.push("force-chunk-indexes");
            }
            return extended;
        }
        if rng.chance(200_000) {
            return extended;
        }
        let level = rng.below(13);
        self.words.push(match rng.below(3) {
            0 => "-zlz4".into(),
            1 => "-zlz4hc".into(),
            _ => format!("-zlz4hc,{level}"),
        });
        let legacy = rng.chance(200_000);
        if legacy {
            extended.push("legacy-compress");
        } else {
            for word in ["ztailpacking", "fragments", "dedupe"] {
                if rng.chance(400_000) {
                    extended.push(word);
                }
            }
            if extended.contains(&"ztailpacking") {
                // See `exceptions`.
                extended.retain(|word| *word != "noinline_data");
            }
            if rng.chance(600_000) {
                self.words.push(format!("-C{}", 4096 << [1, 2, 4, 5, 8][rng.index(5)]));
            }
        }
        if rng.chance(200_000) {
            self.words.push(format!("--max-extent-bytes={}", 4096 << rng.below(8)));
        }
        extended
    }

    /// Compact inodes hold neither times of their own nor large owners.
    fn inode_form(&self, rng: &mut Rng, entries: &[Entry]) -> Option<&'static str> {
        let small = |(uid, gid): (u32, u32)| uid < 1 << 16 && gid < 1 << 16;
        let fit = self.root_owns || entries.iter().all(|entry| small(entry.owner));
        match rng.below(4) {
            0 => Some("force-inode-extended"),
            1 if fit && self.times == Times::Fixed => Some("force-inode-compact"),
            _ => None,
        }
    }

    /// What an image of `entries` holds.
    pub fn expected(&self, entries: &[Entry], my_owner: Option<(u32, u32)>) -> Rows {
        let mut links: BTreeMap<usize, u32> = BTreeMap::new();
        let numbers: BTreeMap<&str, usize> =
            entries.iter().zip(0..).map(|(entry, number)| (&*entry.path, number)).collect();
        for (number, entry) in entries.iter().enumerate() {
            let number = if let Kind::Link(to) = entry.kind { to } else { number };
            *links.entry(number).or_default() += 1;
            if matches!(entry.kind, Kind::Directory) {
                // By its own dot, and in its parent by its dots; the root is its own parent.
                *links.entry(number).or_default() += 1;
                let parent = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
                if !entry.path.is_empty() {
                    *links.entry(numbers[parent]).or_default() += 1;
                }
            }
        }
        let mut rows = Rows::new();
        for (number, entry) in entries.iter().enumerate() {
            let number = if let Kind::Link(to) = entry.kind { to } else { number };
            let row = self.row(&entries[number], links[&number], my_owner);
            rows.insert(entry.path.clone(), row);
        }
        rows
    }

    fn row(&self, entry: &Entry, links: u32, my_owner: Option<(u32, u32)>) -> Row {
        let mut row = Row { mtime_ns: self.time(entry), nlink: Some(links), ..Row::default() };
        row.owner = if self.root_owns { (0, 0) } else { my_owner.unwrap_or(entry.owner) };
        let (kind, mode) = match &entry.kind {
            Kind::Directory => (FileType::Directory, entry.mode),
            Kind::File(content) => {
                row.size = Some(content.bytes.len() as u64);
                row.sha256 = Some(sum(&content.bytes));
                (FileType::RegularFile, entry.mode)
            }
            Kind::Symlink(target) => {
                row.size = Some(target.len() as u64);
                row.target = Some(target.clone());
                (FileType::Symlink, 0o777)
            }
            Kind::Node(kind, rdev) => {
                (row.size, row.rdev) = (Some(0), *rdev);
                (*kind, entry.mode)
            }
            Kind::Link(_) => unreachable!("links were followed"),
        };
        row.mode = kind.as_raw_mode() | u32::from(mode);
        if self.xattrs {
            let pairs = entry.xattrs.iter();
            row.xattrs = pairs.map(|(name, value)| (name.clone(), hex(value))).collect();
        }
        row
    }

    fn time(&self, entry: &Entry) -> i128 {
        let (seconds, nanoseconds) = entry.mtime;
        let late = seconds >= self.image_time;
        match self.times {
            Times::Kept => time_ns(seconds, nanoseconds),
            Times::Clamped if !late => time_ns(seconds, nanoseconds),
            Times::Clamped | Times::Fixed => time_ns(self.image_time, 0),
        }
    }
}
