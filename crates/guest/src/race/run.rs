//! Running a race over a mounted image.
//!
//! Always: a step that reads a file reads it as [`What`] says, however the image holds it; what is
//! read goes into the step's sum.

use super::step::{BATCH, PIECE_BYTES_MAX, Step, What};
use super::{Pieces, Sum};
use crate::bench::Setup;
use crate::bench::lines::{self, Lines, Outcome};
use crate::command::{Counters, GuestRoot, catch_up};
use crate::mount::{SYNC_TIME, open_region};
use core::fmt;
use embedded_io::{Read, Write};
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::Tree;
use rootlet::storage::{
    Buffer, DeviceId, Discover, IoError, IoErrorKind, Job, JobKind, Spin, Storage, Tag, Transfer,
};
use rootlet::{Error, PathError};
use rootlet_base::num::{OrBug, narrow, wide};
use rootlet_base::units::{ByteRange, Fill, count};

/// What a step did.
#[derive(Clone, Copy, Default)]
struct Done {
    bytes: u64,
    ops: u64,
    sum: Sum,
}

impl Done {
    fn sampled(&mut self, at: u64, piece: &[u8]) {
        count(&mut self.bytes, wide(piece.len()));
        count(&mut self.ops, 1);
        self.sum.sample(at, piece);
    }
}

impl From<Done> for lines::Done {
    fn from(Done { bytes, ops, sum: Sum(sum) }: Done) -> Self {
        Self { bytes, ops, sum: Some(sum) }
    }
}

/// Runs the steps over the image, with a region if the configuration names one, and returns the
/// counters of the last mount.
///
/// # Errors
/// [`BenchError`](crate::bench::BenchError): the first failure ends the race.
pub fn run<S: Discover, W: Write>(
    mut storage: S,
    setup: &Setup<'_>,
    steps: &[Step],
    out: &mut W,
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Outcome<Counters, W> {
    let Setup { config, mounted, memory, entropy } = *setup;
    mounted.describe(config, notice);
    let region = match config.cache {
        Some(_) => open_region(&mut storage, config, mounted, entropy(), memory, notice),
        None => None,
    };
    let mut root = mounted.root(storage, region, memory)?;
    let mut lines = Lines::new(out);
    let mut piece = Buffer::new(PIECE_BYTES_MAX);
    let mut memory_of_steps = StepMemory { buffer: piece.get_mut().or_bug()?, tree: Tree::new() };
    for step in steps {
        match step.what {
            What::First => {
                root.open(step.path.as_bytes())?.read_at(0, &mut [0])?;
                lines.first_read(root.stats().first_byte_ns)?;
            }
            What::Fresh => {
                root.sync(SYNC_TIME);
                let (storage, region) = root.into_parts();
                root = mounted.root(storage, region, memory)?;
            }
            _ => {
                let device = device_of(root.storage_mut(), step);
                if let What::Again(_) = step.what {
                    memory_of_steps.run(&root, step, device)?;
                }
                lines.timed(&root, format_args!("{}", step.name), || {
                    memory_of_steps.run(&root, step, device).map(Into::into)
                })?;
            }
        }
    }
    lines.say(format_args!("DONE"))?;
    root.leave(SYNC_TIME);
    Ok(Counters::of(&root))
}

/// Returns the device that a step reads from its start.
fn device_of<S: Discover>(storage: &mut S, step: &Step) -> Option<DeviceId> {
    match step.what {
        What::Raw(_) => storage.disk(&step.path).ok(),
        What::Share(_) => storage.share_file(None, &step.path).ok(),
        _ => None,
    }
}

/// The memory of all steps.
struct StepMemory<'m> {
    buffer: &'m mut [u8],
    tree: Tree,
}

impl StepMemory<'_> {
    fn run<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        step: &Step,
        device: Option<DeviceId>,
    ) -> Result<Done, Error> {
        let path = step.path.as_bytes();
        match step.what {
            What::First | What::Fresh => Ok(Done::default()),
            What::Raw(_) | What::Share(_) => self.raw(root, step.what, device),
            What::Sequence(size) if size.get() < wide(PIECE_BYTES_MAX) => {
                self.sequence(root, step.what, path)
            }
            What::Sequence(_) | What::Random(_) | What::Again(_) => {
                self.pieces(root, step.what, path)
            }
            What::Batch(_) => self.batches(root, step.what, path),
            What::Jobs(_) => jobs(root, step.what, path),
            What::Walk => self.walk(root, path),
            What::Files => self.files(root, path),
            What::Sum => {
                let mut done = Done::default();
                content(root, root.metadata(path)?, self.buffer, &mut done)?;
                Ok(done)
            }
        }
    }

    /// Reads a device from its start, past the file system and any cache.
    fn raw<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        what: What,
        device: Option<DeviceId>,
    ) -> Result<Done, Error> {
        let info = device.and_then(|device| Some((device, root.storage().info(device)?.bytes)));
        let (device, bytes) = info.ok_or(PathError::NotFound)?;
        let pieces = of(what, bytes)?;
        let mut done = Done::default();
        for n in 0..pieces.count() {
            let (at, out) = (pieces.at(n)?, Fill::new(self.buffer).next(pieces.bytes())?);
            let mut batch = [Transfer::read(device, at, &mut *out)];
            root.storage().run(&mut batch, &mut |_, _| {});
            batch.iter().try_for_each(Transfer::outcome)?;
            done.sampled(at, out);
        }
        Ok(done)
    }

    /// Reads small pieces of a file in sequence, as a program does that leaves read-ahead to
    /// others.
    fn sequence<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        what: What,
        path: &[u8],
    ) -> Result<Done, Error> {
        let mut file = root.stream(path)?;
        let pieces = of(what, file.inode().size())?;
        let mut done = Done::default();
        for n in 0..pieces.count() {
            let out = Fill::new(self.buffer).next(pieces.bytes())?;
            let mut rest = Fill::new(&mut *out);
            while rest.left() > 0 {
                match file.read(rest.unfilled())? {
                    0 => break,
                    got => rest.next(wide(got))?,
                };
            }
            let got = pieces.bytes().checked_sub(rest.left()).or_bug()?;
            done.sampled(pieces.at(n)?, ByteRange::first(got).of(out)?);
            catch_up(root);
        }
        Ok(done)
    }

    fn pieces<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        what: What,
        path: &[u8],
    ) -> Result<Done, Error> {
        let file = root.open(path)?;
        let pieces = of(what, file.size())?;
        let mut done = Done::default();
        for n in 0..pieces.count() {
            let (at, out) = (pieces.at(n)?, Fill::new(self.buffer).next(pieces.bytes())?);
            let got = file.read_at(at, out)?;
            done.sampled(at, out.get(..got).or_bug()?);
            catch_up(root);
        }
        Ok(done)
    }

    /// Reads pieces in batches: asks where the bytes of each piece are, then sends one request for
    /// each, all at once. A file whose bytes are stored in another form has no such places.
    fn batches<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        what: What,
        path: &[u8],
    ) -> Result<Done, Error> {
        let inode = root.metadata(path)?;
        let pieces = of(what, inode.size())?;
        let size = narrow(pieces.bytes())?;
        let mut done = Done::default();
        let mut numbers = 0..pieces.count();
        while !numbers.is_empty() {
            let first = numbers.clone();
            let mut batch = heapless::Vec::<Transfer<'_>, BATCH>::new();
            // In this order: a number that is taken has a buffer.
            for (out, n) in self.buffer.chunks_exact_mut(size).take(BATCH).zip(&mut numbers) {
                let place = root.source_of(&inode, pieces.at(n)?)?;
                let (device, at) = place.ok_or(PathError::NotFound)?;
                batch.push(Transfer::read(device, at, out)).ok().or_bug()?;
            }
            root.storage().run(&mut batch, &mut |_, _| {});
            batch.iter().try_for_each(Transfer::outcome)?;
            let taken = batch.len();
            drop(batch);
            for (out, n) in self.buffer.chunks_exact(size).take(taken).zip(first) {
                done.sampled(pieces.at(n)?, out);
            }
        }
        Ok(done)
    }

    fn walk<S: Storage>(&mut self, root: &GuestRoot<S>, path: &[u8]) -> Result<Done, Error> {
        self.tree.begin(root, path)?;
        let mut done = Done::default();
        while let Some(inode) = self.tree.next(root)? {
            count(&mut done.ops, 1);
            // Every file system has its own idea of a directory's size.
            let size = if inode.kind() == FileKind::Directory { 0 } else { inode.size() };
            done.sum.word(u64::from(inode.mode()), size);
        }
        Ok(done)
    }

    fn files<S: Storage>(&mut self, root: &GuestRoot<S>, path: &[u8]) -> Result<Done, Error> {
        self.tree.begin(root, path)?;
        let mut done = Done::default();
        while let Some(inode) = self.tree.next(root)? {
            if inode.kind() == FileKind::Regular {
                content(root, inode, self.buffer, &mut done)?;
            }
        }
        Ok(done)
    }
}

/// Reads pieces as background jobs, past the mount: a new one is started for each that has ended.
fn jobs<S: Storage>(root: &GuestRoot<S>, what: What, path: &[u8]) -> Result<Done, Error> {
    let inode = root.metadata(path)?;
    let pieces = of(what, inode.size())?;
    let size = narrow(pieces.bytes())?;
    let mut buffers: heapless::Vec<_, BATCH> = (0..BATCH).map(|_| Buffer::new(size)).collect();
    let (storage, mut done) = (root.storage(), Done::default());
    let (mut numbers, mut wait) = (0..pieces.count(), Spin::default());
    while done.ops < pieces.count() {
        while let Some(buffer) = buffers.pop() {
            let Some(n) = numbers.next() else { break };
            let place = root.source_of(&inode, pieces.at(n)?)?;
            let (device, at) = place.ok_or(PathError::NotFound)?;
            let (tag, kind) = (Tag::from(n), JobKind::Read);
            let job = Job { tag, device, at, kind, buffer: Some(buffer) };
            if storage.start(job).is_err() {
                // A device takes this many, unless it takes none.
                return Err(IoError::new(device, at, size, IoErrorKind::Gone).into());
            }
        }
        let Some((Job { tag, device, at, buffer, .. }, result)) = root.poll_job() else {
            if let Some(ns) = wait.round() {
                storage.rest(ns);
            }
            continue;
        };
        result.map_err(|kind| IoError::new(device, at, size, kind))?;
        let (n, buffer) = (tag.number().or_bug()?, buffer.or_bug()?);
        done.sampled(pieces.at(n)?, &buffer);
        buffers.push(buffer).ok().or_bug()?;
        wait = Spin::default();
    }
    Ok(done)
}

/// Returns the pieces of a file of `bytes` that a step reads.
fn of(what: What, bytes: u64) -> Result<Pieces, Error> {
    Ok(what.pieces(bytes).ok_or(PathError::NotFound)?)
}

/// Reads all bytes of a file.
fn content<S: Storage>(
    root: &GuestRoot<S>,
    inode: Inode,
    buffer: &mut [u8],
    done: &mut Done,
) -> Result<(), Error> {
    let file = root.open_inode(inode)?;
    count(&mut done.ops, 1);
    let mut rest = ByteRange::first(inode.size());
    while let Some(here) = rest.non_empty() {
        let got = file.read_at(here.start(), buffer)?;
        if got == 0 {
            break;
        }
        done.sum.all(here.start(), buffer.get(..got).or_bug()?);
        count(&mut done.bytes, wide(got));
        rest = here.skip(wide(got));
        catch_up(root);
    }
    Ok(())
}
