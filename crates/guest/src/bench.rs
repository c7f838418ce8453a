//! Timed reads in one boot: raw devices, EROFS over them, a cold and a warm region.
//!
//! Always: every test reads into one buffer and checks nothing but success; `BEG` and `END`
//! lines go out before and after the clock is read, so that the output is in no measured time.

use crate::config::Config;
use crate::mount::{Memory, Mounted, SYNC_TIME, open_region};
use crate::parse::BenchPaths;
use crate::print::printed;
use crate::run::{GuestRoot, catch_up};
use crate::verdict::Counters;
use alloc::boxed::Box;
use core::fmt;
use embedded_io::{Read, Seek, SeekFrom, Write};
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::Tree;
use rootlet::storage::{Buffer, DeviceId, Discover, Storage, Transfer};
use rootlet::{Error, PathError};

const MIB: u64 = 1 << 20;
const KIB_64: u64 = 64 << 10;
const KIB_4: u64 = 4 << 10;
/// Bytes read at most by the tests with smaller blocks.
const KIB_64_BYTES: u64 = 64 * MIB;
const KIB_4_BYTES: u64 = 8 * MIB;
/// What the first read asks for.
const FIRST_BYTES: usize = 32 << 10;
/// Reads of a random test.
const RANDOM_OPS: u64 = 2048;
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
    /// Random bytes for the region, once there is one to be formatted.
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

/// Why a bench ended early.
#[derive(Debug)]
pub enum BenchError<E> {
    /// A read failed.
    Read(Error),
    /// The output failed.
    Output(E),
    /// The file of the first read, at this path, cannot be read.
    First(Box<str>, Box<Error>),
}

impl<E: fmt::Debug> fmt::Display for BenchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "bench: {error}"),
            Self::Output(error) => write!(f, "bench: output: {error:?}"),
            Self::First(path, error) => write!(f, "bench: {}: {error}", path.escape_debug()),
        }
    }
}

impl<E> From<Error> for BenchError<E> {
    #[cold]
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

/// A series of reads: `ops` of `size` bytes, in some way, from byte `first` of a range of `span`
/// bytes.
#[derive(Clone, Copy)]
struct Series {
    size: u64,
    ops: u64,
    first: u64,
    span: u64,
    way: Way,
}

/// How a series reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `read_at`, one behind the other.
    Sequential,
    /// `read_at`, anywhere.
    Random,
    /// A stream: what it lends from 64 KiB on, and copies of less.
    Stream,
}

impl Series {
    fn sequential(size: u64, first: u64, bytes: u64) -> Self {
        let ops = bytes.checked_div(size).unwrap_or(0);
        Self { size, ops, first, span: bytes, way: Way::Sequential }
    }

    fn stream(size: u64, first: u64, bytes: u64) -> Self {
        Self { way: Way::Stream, ..Self::sequential(size, first, bytes) }
    }

    fn random(size: u64, first: u64, span: u64) -> Self {
        Self { size, ops: RANDOM_OPS, first, span, way: Way::Random }
    }

    /// Whether a device without a file on it can be read so.
    fn is_raw(&self) -> bool {
        self.way != Way::Stream
    }

    /// Where read `n` begins. The same numbers in every run.
    fn at(&self, n: u64) -> u64 {
        let blocks = self.span.checked_div(self.size).unwrap_or(1).max(1);
        let block = if self.way == Way::Random {
            let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 31)).checked_rem(blocks).unwrap_or(0)
        } else {
            n
        };
        self.first.saturating_add(block.saturating_mul(self.size))
    }
}

/// The series over a whole file of `bytes`.
fn series(bytes: u64) -> [(&'static str, Series); 6] {
    [
        ("seq-1M", Series::sequential(MIB, 0, bytes)),
        ("stream-1M", Series::stream(MIB, 0, bytes)),
        ("seq-64K", Series::sequential(KIB_64, 0, bytes.min(KIB_64_BYTES))),
        ("seq-4K", Series::sequential(KIB_4, 0, bytes.min(KIB_4_BYTES))),
        ("stream-4K", Series::stream(KIB_4, 0, bytes.min(KIB_64_BYTES))),
        ("rand-4K", Series::random(KIB_4, 0, bytes)),
    ]
}

/// The series over parts of a file that do not overlap, so that each finds its part cold: three
/// eighths for each of those of large blocks, the rest for those of small ones.
fn cold_series(bytes: u64) -> [(&'static str, Series); 6] {
    let large = (bytes / 8).saturating_mul(3) & !MIB.wrapping_sub(1);
    let small = large.saturating_mul(2);
    let fifth = (bytes.saturating_sub(small) / 5) & !KIB_64.wrapping_sub(1);
    let part = |n: u64| small.saturating_add(fifth.saturating_mul(n));
    [
        ("seq-1M", Series::sequential(MIB, 0, large)),
        ("stream-1M", Series::stream(MIB, large, large)),
        ("seq-64K", Series::sequential(KIB_64, part(0), fifth)),
        ("seq-4K", Series::sequential(KIB_4, part(1), fifth.min(KIB_4_BYTES))),
        ("stream-4K", Series::stream(KIB_4, part(2), fifth)),
        ("rand-4K", Series::random(KIB_4, part(3), fifth.saturating_mul(2))),
    ]
}

type Outcome<T, W> = Result<T, BenchError<<W as embedded_io::ErrorType>::Error>>;

/// Runs everything. `seal` is called when all memory is taken but
/// for so many bytes.
pub fn run<S: Discover, W: Write>(
    storage: S,
    setup: &Setup<'_>,
    paths: &BenchPaths,
    out: &mut W,
    seal: fn(usize),
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Outcome<Counters, W> {
    let mounted = setup.mounted;
    let memory = setup.memory;
    let mut root = mounted.root(storage, None, memory)?;
    // The first byte comes before all memory that only the tests need, with a piece of a file: few
    // programs ask for a byte, and a small read keeps blocks for those that follow it.
    let mut piece = alloc::vec![0; FIRST_BYTES];
    let read = |inode| root.open_inode(inode)?.read_at(0, &mut piece);
    root.metadata(paths.disk.as_bytes())
        .and_then(read)
        .map_err(|error| BenchError::First((&*paths.disk).into(), error.into()))?;
    // The mark by itself, and everything else that is said behind it: whoever listens takes the
    // time of its arrival.
    out.write_all(b"FIRSTREAD ").and_then(|()| out.flush()).map_err(BenchError::Output)?;
    let first = root.stats().first_byte_ns;
    Bench { out, buffer: &mut [] }.say(format_args!("{first}"))?;
    mounted.describe(setup.config, notice);
    let mut buffer = Buffer::new(usize::try_from(MIB).unwrap_or(0));
    let mut bench = Bench { out, buffer: buffer.get_mut().unwrap_or_default() };
    let mut tree = Tree::new();

    let files = [("disk", &*paths.disk), ("share", &*paths.share)];
    for (kind, path) in files {
        let Some(inode) = bench.file(&root, path)? else { continue };
        let Some((device, at)) = root.source_of(&inode, 0)? else { continue };
        for (name, series) in series(inode.size).into_iter().filter(|(_, series)| series.is_raw()) {
            bench.raw(&root, ("raw", kind, name), device, at, series)?;
        }
        for (name, series) in series(inode.size) {
            root = forgotten(root, setup)?;
            bench.erofs(&root, ("erofs", kind, name), &inode, series)?;
        }
    }
    bench.walk(&root, &mut tree, "walk-cold", &paths.tree)?;
    bench.walk(&root, &mut tree, "walk-again", &paths.tree)?;
    bench.lookups(&root, &mut tree, &paths.tree)?;

    let (mut storage, _) = root.into_parts();
    let region =
        open_region(&mut storage, setup.config, mounted, (setup.entropy)(), memory, notice);
    let with_region = region.is_some();
    root = mounted.root(storage, region, memory)?;
    seal(root.reserve_bytes());
    if with_region {
        for (kind, path) in files {
            let Some(inode) = bench.file(&root, path)? else { continue };
            for state in ["cold", "warm"] {
                for (name, series) in cold_series(inode.size) {
                    root = forgotten(root, setup)?;
                    bench.erofs(&root, (state, kind, name), &inode, series)?;
                }
                root.sync(SYNC_TIME);
            }
        }
    }
    bench.say(format_args!("DONE"))?;
    root.leave(SYNC_TIME);
    Ok(Counters::of(&root))
}

/// The same mount with nothing in memory, so that what is read comes from devices and region.
fn forgotten<S: Storage>(root: GuestRoot<S>, setup: &Setup<'_>) -> Result<GuestRoot<S>, Error> {
    let (storage, region) = root.into_parts();
    setup.mounted.root(storage, region, setup.memory)
}

struct Bench<'b, W> {
    out: &'b mut W,
    buffer: &'b mut [u8],
}

impl<W: Write> Bench<'_, W> {
    fn say(&mut self, line: fmt::Arguments<'_>) -> Outcome<(), W> {
        printed(writeln!(self.out, "{line}")).map_err(BenchError::Output)?;
        self.out.flush().map_err(BenchError::Output)
    }

    /// The file at `path`, if there is one long enough.
    fn file<S: Storage>(&mut self, root: &GuestRoot<S>, path: &str) -> Outcome<Option<Inode>, W> {
        match root.metadata(path.as_bytes()) {
            Ok(inode) if inode.kind == FileKind::Regular && inode.size >= 8 * MIB => {
                Ok(Some(inode))
            }
            Ok(_) | Err(Error::Path(PathError::NotFound)) => {
                self.say(format_args!("SKIP {path}: missing or shorter than 8 MiB")).map(|()| None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Times `ops` calls of `each`, which says how many bytes it moved.
    fn timed<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: (&str, &str, &str),
        ops: u64,
        mut each: impl FnMut(u64, &mut [u8]) -> Result<u64, Error>,
    ) -> Outcome<(), W> {
        let (a, b, c) = name;
        self.say(format_args!("BEG {a}-{b}-{c}"))?;
        let begin = root.now_ns();
        let mut bytes: u64 = 0;
        for n in 0..ops {
            bytes = bytes.saturating_add(each(n, self.buffer)?);
        }
        let ns = root.now_ns().saturating_sub(begin);
        self.say(format_args!("END {a}-{b}-{c} bytes={bytes} ops={ops} ns={ns}"))
    }

    fn raw<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: (&str, &str, &str),
        device: DeviceId,
        base: u64,
        series: Series,
    ) -> Outcome<(), W> {
        self.timed(root, name, series.ops, |n, buffer| {
            let out =
                buffer.get_mut(..usize::try_from(series.size).unwrap_or(0)).unwrap_or_default();
            let mut batch = [Transfer::read(device, base.saturating_add(series.at(n)), out)];
            root.with_layer(|_, storage| storage.run(&mut batch, &mut |_, _| {}));
            batch.iter().try_for_each(Transfer::outcome)?;
            Ok(series.size)
        })
    }

    fn erofs<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: (&str, &str, &str),
        inode: &Inode,
        series: Series,
    ) -> Outcome<(), W> {
        if series.way == Way::Stream {
            return self.stream(root, name, inode, series);
        }
        let file = root.open_inode(*inode)?;
        self.timed(root, name, series.ops, |n, buffer| {
            let out =
                buffer.get_mut(..usize::try_from(series.size).unwrap_or(0)).unwrap_or_default();
            let got = file.read_at(series.at(n), out)?;
            catch_up(root);
            Ok(u64::try_from(got).unwrap_or(0))
        })
    }

    fn stream<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: (&str, &str, &str),
        inode: &Inode,
        series: Series,
    ) -> Outcome<(), W> {
        let mut file = root.stream_inode(*inode)?;
        file.seek(SeekFrom::Start(series.first))?;
        let size = usize::try_from(series.size).unwrap_or(0);
        self.timed(root, name, series.ops, |_, buffer| {
            let out = buffer.get_mut(..size).unwrap_or_default();
            let mut done: usize = 0;
            while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
                let got = if series.size < KIB_64 {
                    file.read(rest)?
                } else {
                    let got = file.lend()?.len().min(rest.len());
                    file.advance(got);
                    got
                };
                if got == 0 {
                    break;
                }
                done = done.saturating_add(got);
            }
            catch_up(root);
            Ok(u64::try_from(done).unwrap_or(0))
        })
    }

    fn walk<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        tree: &mut Tree,
        name: &str,
        path: &str,
    ) -> Outcome<(), W> {
        if root.metadata(path.as_bytes()).is_err() {
            return self.say(format_args!("SKIP {path}: missing"));
        }
        self.say(format_args!("BEG {name}"))?;
        let begin = root.now_ns();
        tree.begin(root, path.as_bytes())?;
        let mut entries: u64 = 0;
        while tree.next(root)?.is_some() {
            entries = entries.saturating_add(1);
        }
        let ns = root.now_ns().saturating_sub(begin);
        self.say(format_args!("END {name} bytes=0 ops={entries} ns={ns}"))
    }

    /// Looks the paths below `path` up again and again.
    fn lookups<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        tree: &mut Tree,
        path: &str,
    ) -> Outcome<(), W> {
        if root.metadata(path.as_bytes()).is_err() {
            return Ok(());
        }
        self.say(format_args!("BEG lookup"))?;
        let mut ops: u64 = 0;
        let mut ns: u64 = 0;
        // A round that finds nothing would never end.
        for _ in 0..LOOKUPS {
            tree.begin(root, path.as_bytes())?;
            while ops < LOOKUPS && tree.next(root)?.is_some() {
                let begin = root.now_ns();
                root.symlink_metadata(tree.path())?;
                ns = ns.saturating_add(root.now_ns().saturating_sub(begin));
                ops = ops.saturating_add(1);
            }
            if ops >= LOOKUPS {
                break;
            }
        }
        self.say(format_args!("END lookup bytes=0 ops={ops} ns={ns}"))
    }
}
