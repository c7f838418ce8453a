//! A race: timed steps that another guest runs, too, with a sum of what each of them read.
//!
//! Always: the words of the command say all of what is done, so that any guest can do the same;
//! the lines are `FIRSTREAD ns`, `BEG name`, `END name bytes= ops= ns= sum=`, and `DONE`.

mod step;

pub use step::{BATCH, PIECE_BYTES_MAX, Pieces, Step, StepError, Sum, What};

use crate::bench::{BenchError, Setup};
use crate::mount::{SYNC_TIME, open_region};
use crate::print::printed;
use crate::run::{GuestRoot, catch_up};
use crate::verdict::Counters;
use core::fmt;
use embedded_io::{Read, Write};
use rootlet::Error;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::Tree;
use rootlet::storage::{Buffer, DeviceId, Discover, Storage, Transfer};

type Outcome<T, W> = Result<T, BenchError<<W as embedded_io::ErrorType>::Error>>;

/// What a step did.
#[derive(Clone, Copy, Default)]
struct Done {
    bytes: u64,
    ops: u64,
    sum: Sum,
}

impl Done {
    fn sampled(&mut self, at: u64, piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        self.ops = self.ops.saturating_add(1);
        self.sum.sample(at, piece);
    }
}

/// Runs the steps over the image, with a region if the configuration names one.
pub fn run<S: Discover, W: Write>(
    mut storage: S,
    setup: &Setup<'_>,
    steps: &[Step],
    out: &mut W,
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Outcome<Counters, W> {
    let mounted = setup.mounted;
    mounted.describe(setup.config, notice);
    let region = match setup.config.cache {
        Some(_) => open_region(
            &mut storage,
            setup.config,
            mounted,
            (setup.entropy)(),
            setup.memory,
            notice,
        ),
        None => None,
    };
    let mut root = mounted.root(storage, region, setup.memory)?;
    let mut memory = Buffer::new(PIECE_BYTES_MAX);
    let buffer = memory.get_mut().unwrap_or_default();
    let mut tree = Tree::new();
    for step in steps {
        match step.what {
            What::First => {
                root.open(step.path.as_bytes())?.read_at(0, &mut [0])?;
                say(out, format_args!("FIRSTREAD {}", root.stats().first_byte_ns))?;
            }
            What::Fresh => {
                root.sync(SYNC_TIME);
                let (storage, region) = root.into_parts();
                root = mounted.root(storage, region, setup.memory)?;
            }
            _ => {
                let name = &step.name;
                if let What::Again(_) = step.what {
                    one(&root, step, buffer, &mut tree)?;
                }
                say(out, format_args!("BEG {name}"))?;
                let begin = root.now_ns();
                let Done { bytes, ops, sum: Sum(sum) } = one(&root, step, buffer, &mut tree)?;
                let ns = root.now_ns().saturating_sub(begin);
                say(out, format_args!("END {name} bytes={bytes} ops={ops} ns={ns} sum={sum}"))?;
            }
        }
    }
    say(out, format_args!("DONE"))?;
    root.leave(SYNC_TIME);
    Ok(Counters::of(&root))
}

fn say<W: Write>(out: &mut W, line: fmt::Arguments<'_>) -> Outcome<(), W> {
    printed(writeln!(out, "{line}")).map_err(BenchError::Output)?;
    out.flush().map_err(BenchError::Output)
}

fn one<S: Discover>(
    root: &GuestRoot<S>,
    step: &Step,
    buffer: &mut [u8],
    tree: &mut Tree,
) -> Result<Done, Error> {
    let path = step.path.as_bytes();
    match step.what {
        What::First | What::Fresh => Ok(Done::default()),
        What::Raw(_) => {
            let device = root.with_layer(|_, storage| storage.disk(&step.path));
            raw(root, step.what, device.ok(), buffer)
        }
        What::Share(_) => {
            let file = root.with_layer(|_, storage| storage.share_file(None, &step.path));
            raw(root, step.what, file.ok(), buffer)
        }
        What::Sequence(size) if size < 1 << 20 => sequence(root, step.what, path, buffer),
        What::Sequence(_) | What::Random(_) | What::Again(_) => {
            pieces(root, step.what, path, buffer)
        }
        What::Batch(_) => batches(root, step.what, path, buffer),
        What::Walk => walk(root, path, tree),
        What::Files => files(root, path, buffer, tree),
        What::Sum => {
            let mut done = Done::default();
            content(root, root.metadata(path)?, buffer, &mut done)?;
            Ok(done)
        }
    }
}

fn of(what: What, bytes: u64) -> Result<Pieces, Error> {
    Pieces::of(what, bytes).ok_or(Error::Path(rootlet::PathError::NotFound))
}

fn slice(buffer: &mut [u8], size: u64) -> &mut [u8] {
    buffer.get_mut(..usize::try_from(size).unwrap_or(0)).unwrap_or_default()
}

fn raw<S: Storage>(
    root: &GuestRoot<S>,
    what: What,
    device: Option<DeviceId>,
    buffer: &mut [u8],
) -> Result<Done, Error> {
    let info = root.with_layer(|_, storage| storage.info(device?).map(|info| (device, info.bytes)));
    let Some((Some(device), bytes)) = info else {
        return Err(Error::Path(rootlet::PathError::NotFound));
    };
    let pieces = of(what, bytes)?;
    let mut done = Done::default();
    for n in 0..pieces.count {
        let out = slice(buffer, pieces.size);
        let mut batch = [Transfer::read(device, pieces.at(n), out)];
        root.with_layer(|_, storage| storage.run(&mut batch, &mut |_, _| {}));
        batch.iter().try_for_each(Transfer::outcome)?;
        done.sampled(pieces.at(n), slice(buffer, pieces.size));
    }
    Ok(done)
}

/// Small pieces in sequence: as a program reads that leaves looking ahead to others.
fn sequence<S: Storage>(
    root: &GuestRoot<S>,
    what: What,
    path: &[u8],
    buffer: &mut [u8],
) -> Result<Done, Error> {
    let mut file = root.stream(path)?;
    let pieces = of(what, file.inode().size)?;
    let mut done = Done::default();
    for n in 0..pieces.count {
        let out = slice(buffer, pieces.size);
        let mut filled: usize = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                got => filled = filled.saturating_add(got),
            }
        }
        done.sampled(pieces.at(n), out.get(..filled).unwrap_or_default());
        catch_up(root);
    }
    Ok(done)
}

fn pieces<S: Storage>(
    root: &GuestRoot<S>,
    what: What,
    path: &[u8],
    buffer: &mut [u8],
) -> Result<Done, Error> {
    let file = root.open(path)?;
    let pieces = of(what, file.size())?;
    let mut done = Done::default();
    for n in 0..pieces.count {
        let out = slice(buffer, pieces.size);
        let got = file.read_at(pieces.at(n), out)?;
        done.sampled(pieces.at(n), out.get(..got).unwrap_or_default());
        catch_up(root);
    }
    Ok(done)
}

/// Batches: where the bytes of all pieces are, then one request for each, all at once. A file
/// whose bytes are stored in another form has no such places.
fn batches<S: Storage>(
    root: &GuestRoot<S>,
    what: What,
    path: &[u8],
    buffer: &mut [u8],
) -> Result<Done, Error> {
    let inode = root.metadata(path)?;
    let pieces = of(what, inode.size)?;
    let size = usize::try_from(pieces.size).unwrap_or(usize::MAX);
    let mut done = Done::default();
    let mut n: u64 = 0;
    while n < pieces.count {
        let first = n;
        let mut batch = heapless::Vec::<Transfer<'_>, BATCH>::new();
        for out in buffer.chunks_exact_mut(size).take(BATCH) {
            let place = root.source_of(&inode, pieces.at(n))?;
            let (device, at) = place.ok_or(Error::Path(rootlet::PathError::NotFound))?;
            // There is room: as many are taken as it holds.
            let _ = batch.push(Transfer::read(device, at, out));
            n = n.saturating_add(1);
        }
        root.with_layer(|_, storage| storage.run(&mut batch, &mut |_, _| {}));
        batch.iter().try_for_each(Transfer::outcome)?;
        drop(batch);
        for (out, n) in buffer.chunks_exact(size).zip(first..n) {
            done.sampled(pieces.at(n), out);
        }
    }
    Ok(done)
}

fn walk<S: Storage>(root: &GuestRoot<S>, path: &[u8], tree: &mut Tree) -> Result<Done, Error> {
    tree.begin(root, path)?;
    let mut done = Done::default();
    while let Some(inode) = tree.next(root)? {
        done.ops = done.ops.saturating_add(1);
        // What a directory's size is, every file system decides for itself.
        let size = if inode.kind == FileKind::Directory { 0 } else { inode.size };
        done.sum.word(u64::from(inode.mode()), size);
    }
    Ok(done)
}

fn files<S: Storage>(
    root: &GuestRoot<S>,
    path: &[u8],
    buffer: &mut [u8],
    tree: &mut Tree,
) -> Result<Done, Error> {
    tree.begin(root, path)?;
    let mut done = Done::default();
    while let Some(inode) = tree.next(root)? {
        if inode.kind == FileKind::Regular {
            content(root, inode, buffer, &mut done)?;
        }
    }
    Ok(done)
}

/// All bytes of a file.
fn content<S: Storage>(
    root: &GuestRoot<S>,
    inode: Inode,
    buffer: &mut [u8],
    done: &mut Done,
) -> Result<(), Error> {
    let file = root.open_inode(inode)?;
    let mut at: u64 = 0;
    done.ops = done.ops.saturating_add(1);
    while at < inode.size {
        let got = file.read_at(at, buffer)?;
        if got == 0 {
            break;
        }
        done.sum.all(at, buffer.get(..got).unwrap_or_default());
        at = at.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
        catch_up(root);
    }
    done.bytes = done.bytes.saturating_add(at);
    Ok(())
}
