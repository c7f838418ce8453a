//! Timed reads in one boot: raw devices, EROFS over them, a cold and a warm region.
//!
//! Always: every test reads into one buffer and checks nothing but success; `BEG` and `END`
//! lines go out before and after the clock is read, so that the output is in no measured time.

mod error;
pub(crate) mod lines;
pub(crate) mod pieces;
mod series;

pub use error::BenchError;

use crate::command::{BenchPaths, Counters, GuestRoot, catch_up};
use crate::config::Config;
use crate::mount::{Memory, Mounted, SYNC_TIME, open_region};
use core::fmt;
use embedded_io::{Read, Seek, SeekFrom, Write};
use lines::{Done, Lines, Outcome};
use pieces::Pieces;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::Tree;
use rootlet::storage::{Buffer, DeviceId, Discover, Storage, Transfer};
use rootlet::{Error, PathError};
use rootlet_base::num::{OrBug, wide};
use rootlet_base::units::{Fill, count};
use series::{KIB_64, Series, Way, cold_series, series};

/// The longest piece in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// The shortest file that is read, in bytes.
const FILE_BYTES_MIN: u64 = 8 << 20;
/// The length of the first read in bytes.
const FIRST_BYTES: usize = 32 << 10;
/// Path lookups.
const LOOKUPS: u64 = 2000;

/// What a bench works with.
pub struct Setup<'s> {
    /// Names the region.
    pub config: &'s Config,
    /// The image.
    pub mounted: &'s Mounted,
    /// Memory for the region.
    pub memory: &'s Memory,
    /// Returns random bytes for the region, which may have to be formatted.
    pub entropy: &'s dyn Fn() -> [u8; 16],
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, mounted, memory, .. } = self;
        let mut f = f.debug_struct("Setup");
        f.field("config", config).field("mounted", mounted).field("memory", memory);
        f.finish_non_exhaustive()
    }
}

/// The name of a test: over what, on which kind of device, how.
type Name<'n> = (&'n str, &'n str, &'n str);

/// Runs all tests, and returns the counters of the last mount. Calls `seal(n)` once all but `n`
/// bytes of memory have been allocated.
///
/// # Errors
/// [`BenchError`]: the first failure ends the bench.
pub fn run<S: Discover, W: Write>(
    storage: S,
    setup: &Setup<'_>,
    paths: &BenchPaths,
    out: &mut W,
    seal: fn(usize),
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Outcome<Counters, W> {
    let Setup { config, mounted, memory, .. } = *setup;
    let mut root = mounted.root(storage, None, memory)?;
    let mut lines = Lines::new(out);
    // The first byte comes before all memory that only the tests need, with a piece of a file: few
    // programs ask for a byte, and a small read keeps blocks for those that follow.
    let mut piece = alloc::vec![0; FIRST_BYTES];
    let read = |inode| root.open_inode(inode)?.read_at(0, &mut piece);
    root.metadata(paths.disk.as_bytes())
        .and_then(read)
        .map_err(|error| BenchError::First((&*paths.disk).into(), error.into()))?;
    lines.first_read(root.stats().first_byte_ns)?;
    mounted.describe(config, notice);
    let mut buffer = Buffer::new(PIECE_BYTES_MAX);
    let mut bench = Bench { lines, buffer: buffer.get_mut().or_bug()? };
    let mut tree = Tree::new();

    let files = [("disk", &*paths.disk), ("share", &*paths.share)];
    for (kind, path) in files {
        let Some(inode) = bench.file(&root, path)? else { continue };
        let Some((device, at)) = root.source_of(&inode, 0)? else { continue };
        let tests = series(inode.size())?;
        for (name, series) in tests.iter().filter(|(_, series)| series.is_raw()) {
            bench.raw(&root, ("raw", kind, name), (device, at), &series.pieces)?;
        }
        for (name, series) in &tests {
            root = forgotten(root, setup)?;
            bench.erofs(&root, ("erofs", kind, name), &inode, series)?;
        }
    }
    bench.walk(&root, &mut tree, "walk-cold", &paths.tree)?;
    bench.walk(&root, &mut tree, "walk-again", &paths.tree)?;
    bench.lookups(&root, &mut tree, &paths.tree)?;

    let (mut storage, _) = root.into_parts();
    let region = open_region(&mut storage, config, mounted, (setup.entropy)(), memory, notice);
    let with_region = region.is_some();
    root = mounted.root(storage, region, memory)?;
    seal(root.reserve_bytes());
    for (kind, path) in files.into_iter().filter(|_| with_region) {
        root = bench.region(root, setup, kind, path)?;
    }
    bench.lines.say(format_args!("DONE"))?;
    root.leave(SYNC_TIME);
    Ok(Counters::of(&root))
}

/// Returns the same mount with nothing in memory, so that reads go to devices and region.
fn forgotten<S: Storage>(root: GuestRoot<S>, setup: &Setup<'_>) -> Result<GuestRoot<S>, Error> {
    let (storage, region) = root.into_parts();
    setup.mounted.root(storage, region, setup.memory)
}

/// The tests, with their output and the buffer that they read into.
struct Bench<'b, W> {
    lines: Lines<'b, W>,
    buffer: &'b mut [u8],
}

impl<W: Write> Bench<'_, W> {
    /// Returns the inode of the file at `path`, or `None` if there is none or it is too short.
    fn file<S: Storage>(&mut self, root: &GuestRoot<S>, path: &str) -> Outcome<Option<Inode>, W> {
        match root.metadata(path.as_bytes()) {
            Ok(inode) if inode.kind() == FileKind::Regular && inode.size() >= FILE_BYTES_MIN => {
                Ok(Some(inode))
            }
            Ok(_) | Err(Error::Path(PathError::NotFound)) => {
                self.lines.say(format_args!("SKIP {path}: missing or shorter than 8 MiB"))?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Times a call of `each` for every one of the pieces, into whose buffer it reads; `each`
    /// returns the number of bytes that it read.
    fn timed<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        (a, b, c): Name<'_>,
        pieces: &Pieces,
        mut each: impl FnMut(u64, &mut [u8]) -> Result<usize, Error>,
    ) -> Outcome<(), W> {
        let buffer = &mut *self.buffer;
        self.lines.timed(root, format_args!("{a}-{b}-{c}"), || {
            let mut done = Done { ops: pieces.count(), ..Done::default() };
            for n in 0..pieces.count() {
                let out = Fill::new(buffer).next(pieces.bytes())?;
                count(&mut done.bytes, wide(each(pieces.at(n)?, out)?));
            }
            Ok(done)
        })
    }

    /// Reads pieces of a device, from byte `base`.
    fn raw<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: Name<'_>,
        (device, base): (DeviceId, u64),
        pieces: &Pieces,
    ) -> Outcome<(), W> {
        self.timed(root, name, pieces, |at, out| {
            let len = out.len();
            let mut batch = [Transfer::read(device, base.checked_add(at).or_bug()?, out)];
            root.with_layer(|_, storage| storage.run(&mut batch, &mut |_, _| {}));
            batch.iter().try_for_each(Transfer::outcome)?;
            Ok(len)
        })
    }

    /// Reads a file into the region, then from there, with nothing in memory before each test.
    /// Returns the same mount.
    fn region<S: Storage>(
        &mut self,
        mut root: GuestRoot<S>,
        setup: &Setup<'_>,
        kind: &str,
        path: &str,
    ) -> Outcome<GuestRoot<S>, W> {
        let Some(inode) = self.file(&root, path)? else { return Ok(root) };
        let tests = cold_series(inode.size())?;
        for state in ["cold", "warm"] {
            for (name, series) in &tests {
                root = forgotten(root, setup)?;
                self.erofs(&root, (state, kind, name), &inode, series)?;
            }
            root.sync(SYNC_TIME);
        }
        Ok(root)
    }

    fn erofs<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: Name<'_>,
        inode: &Inode,
        series: &Series,
    ) -> Outcome<(), W> {
        match series.way {
            Way::Stream => self.stream(root, name, inode, &series.pieces),
            Way::ReadAt => {
                let file = root.open_inode(*inode)?;
                self.timed(root, name, &series.pieces, |at, out| {
                    let got = file.read_at(at, out)?;
                    catch_up(root);
                    Ok(got)
                })
            }
        }
    }

    /// Reads pieces of a file in sequence: what the stream lends from 64 KiB on, copies of less.
    fn stream<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: Name<'_>,
        inode: &Inode,
        pieces: &Pieces,
    ) -> Outcome<(), W> {
        let mut file = root.stream_inode(*inode)?;
        file.seek(SeekFrom::Start(pieces.start()))?;
        let lends = pieces.bytes() >= KIB_64.get();
        self.timed(root, name, pieces, |_, out| {
            let len = out.len();
            let mut rest = Fill::new(out);
            while rest.left() > 0 {
                let got = if lends {
                    let got = file.lend()?.len().min(rest.unfilled().len());
                    file.advance(got);
                    got
                } else {
                    file.read(rest.unfilled())?
                };
                if got == 0 {
                    break;
                }
                rest.next(wide(got))?;
            }
            catch_up(root);
            Ok(len.checked_sub(rest.unfilled().len()).or_bug()?)
        })
    }

    /// Walks through everything below `path`.
    fn walk<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        tree: &mut Tree,
        name: &str,
        path: &str,
    ) -> Outcome<(), W> {
        if root.metadata(path.as_bytes()).is_err() {
            return self.lines.say(format_args!("SKIP {path}: missing"));
        }
        self.lines.timed(root, format_args!("{name}"), || {
            let mut done = Done::default();
            tree.begin(root, path.as_bytes())?;
            while tree.next(root)?.is_some() {
                count(&mut done.ops, 1);
            }
            Ok(done)
        })
    }

    /// Looks up the paths below `path`, again and again. Only the lookups are timed.
    fn lookups<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        tree: &mut Tree,
        path: &str,
    ) -> Outcome<(), W> {
        if root.metadata(path.as_bytes()).is_err() {
            return Ok(());
        }
        self.lines.timed_in_parts(root, format_args!("lookup"), |timed| {
            let mut done = Done::default();
            // A round that finds nothing would never end.
            for _ in 0..LOOKUPS {
                tree.begin(root, path.as_bytes())?;
                while done.ops < LOOKUPS && tree.next(root)?.is_some() {
                    timed(&mut || root.symlink_metadata(tree.path()).map(|_| ()))?;
                    count(&mut done.ops, 1);
                }
                if done.ops >= LOOKUPS {
                    break;
                }
            }
            Ok(done)
        })
    }
}
