//! Objects in a folder of a share, each found and proved by its fs-verity digest.
//!
//! An object is `xx/rest`, by the hex digits of its digest, as ostree and composefs store it. All
//! objects are one device: each lies at bytes of its own, from its first use on. At the first use
//! all bytes are read once and the digest is computed; the digests of the groups (the data of one
//! node of the tree: 512 KiB with SHA-256) stay in memory. A read reads whole groups, and compares
//! each with its digest.
//!
//! Always: no byte is handed out before its group was compared; what the folder holds decides
//! nothing but whether a read succeeds. Memory for digests and groups is bounded: what goes is read
//! again.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rootlet_base::num::{OrBug, clip, index, narrow, wide};
use rootlet_base::units::{ByteRange, Pow2};
use rootlet_storage::{
    DeviceId, DeviceInfo, DiscoverError, IoErrorKind, Lent, ObjectFault, Storage, Transfer,
    read_exact,
};
use rootlet_trust::{Algorithm, Builder, Digest, Format, Hasher, Node, Root, Salt, Shape, digest};
use spin::mutex::SpinMutex as Mutex;

/// The device whose bytes are those of the objects. No other has this number: a storage with as many
/// devices refuses objects.
pub const OBJECTS: DeviceId = DeviceId(u16::MAX - 1);

/// The unit of digests: composefs knows no other.
const BLOCK: Pow2 = match Pow2::of(4096) {
    Some(block) => block,
    None => panic!("4096 is a power of two"),
};
/// Objects that are open at a time.
const OPEN_MAX: usize = 16;
/// Groups that are kept.
const GROUPS_MAX: usize = 4;
/// The most bytes of a group.
const GROUP_BYTES_MAX: usize = 512 << 10;
/// The memory for digests of groups, in bytes; those of one object may take more.
const LEAVES_BYTES: usize = 1 << 20;
/// The longest object: 64 bits have room for 2^21 of them.
const OBJECT_BYTES_MAX: u64 = 1 << 42;

/// An object that was proved.
#[derive(Debug)]
struct Entry {
    digest: Digest,
    shape: Shape,
    /// The byte of the device at which the object begins.
    base: u64,
}

/// What changes while reads run.
#[derive(Debug, Default)]
struct State {
    /// By digest: the bytes of a digest, and where the object begins.
    known: BTreeMap<Vec<u8>, u64>,
    /// By the first byte.
    entries: BTreeMap<u64, Arc<Entry>>,
    /// The digests of the groups of objects, by the first byte of the object; the newest last.
    leaves: Vec<(u64, Arc<[Digest]>)>,
    /// Groups that were compared, by object and number; the newest last.
    groups: Vec<(u64, u64, Arc<[u8]>)>,
    /// Files that nobody reads just now, by object; the newest last.
    open: Vec<(u64, DeviceId)>,
    /// The first byte of the next object.
    next: u64,
}

/// The objects of a folder.
#[derive(Debug)]
pub struct Objects {
    mount_tag: String,
    /// The path of the folder on the share; empty for the share itself.
    folder: String,
    state: Mutex<State>,
}

/// The most objects that are used in the life of a mount.
const OBJECTS_MAX: usize =
    if cfg!(all(target_pointer_width = "64", not(target_os = "none"))) { 1 << 22 } else { 4096 };
/// What an object takes at most in tables here and in the storage, in bytes.
const TABLE_BYTES: usize = 1024;
/// The sum, computed by the compiler.
const RESERVE_BYTES: usize =
    (GROUPS_MAX + 2) * GROUP_BYTES_MAX + 2 * LEAVES_BYTES + OBJECTS_MAX * TABLE_BYTES;

impl Objects {
    /// Returns the objects of a folder of the share with this mount tag. Reads nothing.
    pub fn new(mount_tag: &str, folder: &str) -> Self {
        let (mount_tag, folder) = (mount_tag.into(), folder.trim_matches('/').into());
        Self { mount_tag, folder, state: Mutex::default() }
    }

    /// Returns the most bytes that reads may allocate: for groups that are kept, one that is read
    /// and one that is new, for digests, and for the tables of all objects.
    pub fn reserve_bytes() -> usize {
        RESERVE_BYTES
    }

    /// Returns the properties of the device.
    pub fn info() -> DeviceInfo {
        DeviceInfo::new(u64::MAX >> 1, 1).with_read_only(true)
    }

    /// Finds the object with this digest, and proves it unless it was proved before. Returns the
    /// byte at which it begins.
    pub fn find<S: Storage>(
        &self,
        storage: &S,
        hasher: &dyn Hasher,
        wanted: &[u8],
        bytes: u64,
    ) -> Result<u64, ObjectFault> {
        let known = self.state.lock().known.get(wanted).copied();
        if let Some(base) = known {
            let entry = self.state.lock().entries.get(&base).cloned().or_bug().map_err(bug)?;
            return match entry.shape.data_bytes() {
                known if known == bytes => Ok(base),
                other => Err(ObjectFault::Length(other)),
            };
        }
        let algorithm = match wanted.len() {
            32 => Algorithm::Sha256,
            64 => Algorithm::Sha512,
            _ => return Err(ObjectFault::Untrue),
        };
        let digest = Digest::from_bytes(algorithm, wanted).ok_or(ObjectFault::Untrue)?;
        let blocks = [BLOCK, BLOCK];
        let shape = Shape::new(algorithm, Format::FsVerity, Salt::NONE, blocks, bytes);
        let shape = shape.filter(|_| bytes <= OBJECT_BYTES_MAX);
        let shape = shape.ok_or(ObjectFault::Length(bytes))?;
        let base = {
            let mut state = self.state.lock();
            if state.entries.len() >= OBJECTS_MAX {
                return Err(ObjectFault::Search(DiscoverError::TooMany));
            }
            let base = state.next;
            // A block lies between objects, so that no read spans two.
            let end = BLOCK.ceil(bytes).and_then(|bytes| bytes.checked_add(BLOCK.get()));
            let end = end.and_then(|bytes| base.checked_add(bytes));
            state.next = end.filter(|end| *end < Self::info().bytes).ok_or(ObjectFault::Absent)?;
            base
        };
        let entry = Entry { digest, shape, base };
        self.prove(storage, hasher, &entry)?;
        let mut state = self.state.lock();
        // Another thread may have proved it meanwhile: that one's place counts.
        let base = *state.known.entry(wanted.into()).or_insert(base);
        state.entries.entry(base).or_insert_with(|| Arc::new(entry));
        Ok(base)
    }

    /// Reads all of an object, compares its digest, and keeps those of its groups.
    fn prove<S: Storage>(
        &self,
        storage: &S,
        hasher: &dyn Hasher,
        entry: &Entry,
    ) -> Result<Arc<[Digest]>, ObjectFault> {
        self.with_file(storage, entry, |file| {
            let info = storage.info(file).ok_or(ObjectFault::Io(IoErrorKind::Gone))?;
            if info.bytes != entry.shape.data_bytes() {
                return Err(ObjectFault::Length(info.bytes));
            }
            let leaves = self.prove_file(storage, hasher, entry, file)?;
            let mut state = self.state.lock();
            state.leaves.retain(|(base, _)| *base != entry.base);
            let of = |(_, leaves): &(u64, Arc<[Digest]>)| size_of_val::<[Digest]>(leaves);
            let mut sum: usize = state.leaves.iter().map(of).sum();
            while sum > LEAVES_BYTES && !state.leaves.is_empty() {
                let (_, gone) = state.leaves.remove(0);
                sum = sum.checked_sub(size_of_val::<[Digest]>(&gone)).or_bug().map_err(bug)?;
            }
            state.leaves.push((entry.base, Arc::clone(&leaves)));
            Ok(leaves)
        })
    }

    fn prove_file<S: Storage>(
        &self,
        storage: &S,
        hasher: &dyn Hasher,
        entry: &Entry,
        file: DeviceId,
    ) -> Result<Arc<[Digest]>, ObjectFault> {
        let shape = &entry.shape;
        let mut builder = Builder::new(hasher, shape.clone()).map_err(bug)?;
        let nodes_at = match shape.top() {
            Some(_) => Some(shape.place(Node { level: 0, index: 0 }).map_err(bug)?.start()),
            None => None,
        };
        let mut leaves = Vec::new();
        // The nodes of level 0 come last in a tree, and one after the other.
        let mut note = |at: u64, node: &[u8]| {
            if nodes_at.is_some_and(|first| at >= first) {
                leaves.push(digest(hasher, shape.algorithm(), node));
            }
        };
        let mut buffer = Vec::new();
        let groups = group(shape).cover(shape.data_bytes());
        for number in 0..groups {
            let range = bytes_of(shape, number)?;
            buffer.resize(narrow(range.len()).map_err(bug)?, 0);
            read_exact(storage, file, range.start(), &mut buffer)
                .map_err(|error| ObjectFault::Io(error.kind))?;
            for block in buffer.chunks(index(4096)) {
                builder.push(block, &mut note).map_err(bug)?;
            }
            if groups == 1 {
                self.keep(entry.base, number, buffer.as_slice().into());
            }
        }
        let root = builder.finish(&mut note).map_err(bug)?;
        if root != Root::File(entry.digest) {
            self.state.lock().groups.retain(|(base, _, _)| *base != entry.base);
            return Err(ObjectFault::Untrue);
        }
        if nodes_at.is_none() {
            return Ok([leaf(hasher, shape, &buffer)?].into());
        }
        leaves.into_iter().collect::<Result<_, _>>().map_err(bug)
    }

    /// Fills `out` with the bytes of the device from `at` on, which are those of one object.
    pub fn read<S: Storage>(
        &self,
        storage: &S,
        hasher: &dyn Hasher,
        at: u64,
        out: &mut [u8],
    ) -> Result<(), IoErrorKind> {
        let entry = {
            let state = self.state.lock();
            let found = state.entries.range(..=at).next_back();
            found.map(|(_, entry)| Arc::clone(entry)).ok_or(IoErrorKind::OutOfRange)?
        };
        let skip = at.checked_sub(entry.base).ok_or(IoErrorKind::OutOfRange)?;
        let all = ByteRange::sized(skip, wide(out.len())).ok_or(IoErrorKind::OutOfRange)?;
        if all.end() > entry.shape.data_bytes() {
            return Err(IoErrorKind::OutOfRange);
        }
        let size = group(&entry.shape);
        let mut out = rootlet_base::units::Fill::new(out);
        let mut rest = all;
        while let Some(here) = rest.non_empty() {
            let number = size.whole(here.start());
            let bytes = self.group(storage, hasher, &entry, number)?;
            let inside = narrow(size.offset(here.start())).map_err(|_| IoErrorKind::OutOfRange)?;
            let have = bytes.get(inside..).ok_or(IoErrorKind::OutOfRange)?;
            let have = have.get(..clip(here.len(), have.len())).ok_or(IoErrorKind::OutOfRange)?;
            let place = out.next(wide(have.len())).map_err(|_| IoErrorKind::OutOfRange)?;
            place.copy_from_slice(have);
            rest = here.skip(wide(have.len()));
        }
        Ok(())
    }

    /// Returns the bytes of a group, which were compared with its digest: once more from the file if
    /// they were wrong.
    fn group<S: Storage>(
        &self,
        storage: &S,
        hasher: &dyn Hasher,
        entry: &Entry,
        number: u64,
    ) -> Result<Arc<[u8]>, IoErrorKind> {
        let kept = {
            let state = self.state.lock();
            let is =
                |(base, group, _): &&(u64, u64, Arc<[u8]>)| (*base, *group) == (entry.base, number);
            state.groups.iter().find(is).map(|(_, _, bytes)| Arc::clone(bytes))
        };
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let leaves = {
            let state = self.state.lock();
            let found = state.leaves.iter().find(|(base, _)| *base == entry.base);
            found.map(|(_, leaves)| Arc::clone(leaves))
        };
        let leaves = match leaves {
            Some(leaves) => leaves,
            None => self.prove(storage, hasher, entry).map_err(as_io)?,
        };
        let wanted = leaves.get(clip(number, usize::MAX)).ok_or(IoErrorKind::OutOfRange)?;
        let range = bytes_of(&entry.shape, number).map_err(as_io)?;
        let mut bytes = vec![0; clip(range.len(), GROUP_BYTES_MAX)];
        for _ in 0..2 {
            let read = self.with_file(storage, entry, |file| {
                read_exact(storage, file, range.start(), &mut bytes)
                    .map_err(|error| ObjectFault::Io(error.kind))
            });
            read.map_err(as_io)?;
            if leaf(hasher, &entry.shape, &bytes).map_err(as_io)? == *wanted {
                let bytes: Arc<[u8]> = bytes.into();
                self.keep(entry.base, number, Arc::clone(&bytes));
                return Ok(bytes);
            }
        }
        Err(IoErrorKind::Untrue)
    }

    /// Keeps a group in memory, in the place of the oldest.
    fn keep(&self, base: u64, number: u64, bytes: Arc<[u8]>) {
        let mut state = self.state.lock();
        if state.groups.len() >= GROUPS_MAX {
            state.groups.remove(0);
        }
        state.groups.push((base, number, bytes));
    }

    /// Calls `with` with the open file of an object, which nobody else reads meanwhile.
    fn with_file<S: Storage, T>(
        &self,
        storage: &S,
        entry: &Entry,
        with: impl FnOnce(DeviceId) -> Result<T, ObjectFault>,
    ) -> Result<T, ObjectFault> {
        let open = {
            let mut state = self.state.lock();
            let at = state.open.iter().position(|(base, _)| *base == entry.base);
            at.map(|at| state.open.remove(at).1)
        };
        let file = match open {
            Some(file) => file,
            None => self.open(storage, &entry.digest)?,
        };
        let result = with(file);
        let gone = {
            let mut state = self.state.lock();
            let full = state.open.len() >= OPEN_MAX;
            let gone = if full { Some(state.open.remove(0).1) } else { None };
            // A file that fails is opened anew.
            if result.is_ok() {
                state.open.push((entry.base, file));
            }
            gone
        };
        let closed = if result.is_ok() { None } else { Some(file) };
        gone.into_iter().chain(closed).for_each(|file| storage.close_file(file));
        result
    }

    fn open<S: Storage>(&self, storage: &S, digest: &Digest) -> Result<DeviceId, ObjectFault> {
        let hex = format!("{digest}");
        let (first, rest) = hex.split_at(2);
        let name = match self.folder.as_str() {
            "" => format!("{first}/{rest}"),
            folder => format!("{folder}/{first}/{rest}"),
        };
        storage.open_file(&self.mount_tag, &name).map_err(|error| match error {
            DiscoverError::NotFound | DiscoverError::Share(2) => ObjectFault::Absent,
            error => ObjectFault::Search(error),
        })
    }
}

/// Returns the data of one node of a tree: as many blocks as a node has digests.
fn group(shape: &Shape) -> Pow2 {
    match shape.algorithm() {
        Algorithm::Sha256 => GROUP_OF_SHA256,
        Algorithm::Sha512 => GROUP_OF_SHA512,
    }
}

const GROUP_OF_SHA256: Pow2 = match Pow2::of(512 << 10) {
    Some(group) => group,
    None => panic!("512 KiB are a power of two"),
};
const GROUP_OF_SHA512: Pow2 = match Pow2::of(256 << 10) {
    Some(group) => group,
    None => panic!("256 KiB are a power of two"),
};

/// Returns the bytes of a group.
fn bytes_of(shape: &Shape, number: u64) -> Result<ByteRange, ObjectFault> {
    let size = group(shape);
    let start = size.times(number).or_bug().map_err(bug)?;
    let all = ByteRange::first(shape.data_bytes());
    all.skip(start).take(size.get()).non_empty().or_bug().map_err(bug)
}

/// Returns the digest of a group: that of its node, or of its only block.
fn leaf(hasher: &dyn Hasher, shape: &Shape, bytes: &[u8]) -> Result<Digest, ObjectFault> {
    let (algorithm, block) = (shape.algorithm(), index(4096));
    let mut node = Vec::with_capacity(block);
    let mut last = [0; 4096];
    for data in bytes.chunks(block) {
        let data = match last.get_mut(..data.len()) {
            Some(front) if data.len() < block => {
                front.copy_from_slice(data);
                &last
            }
            _ => data,
        };
        node.extend_from_slice(digest(hasher, algorithm, data).map_err(bug)?.as_bytes());
    }
    node.resize(block, 0);
    digest(hasher, algorithm, &node).map_err(bug)
}

/// Runs the transfers of a batch that are of the objects.
pub fn run<'b, S: Storage>(
    objects: &Objects,
    storage: &S,
    hasher: &dyn Hasher,
    batch: &mut [Transfer<'b>],
    done: &mut dyn FnMut(usize, &mut Transfer<'b>),
) {
    for (number, transfer) in batch.iter_mut().enumerate() {
        let at = transfer.at;
        let result = match &mut transfer.lent {
            Lent::Read(out) => {
                let read = objects.read(storage, hasher, at, out);
                read.inspect_err(|_| out.fill(0))
            }
            Lent::Write(_) => Err(IoErrorKind::ReadOnly),
            Lent::Flush => Ok(()),
        };
        transfer.result = Some(result);
        done(number, transfer);
    }
}

/// Returns the fault of a read for the fault of an object.
fn as_io(fault: ObjectFault) -> IoErrorKind {
    match fault {
        ObjectFault::Io(kind) | ObjectFault::Search(DiscoverError::Daemon(kind)) => kind,
        ObjectFault::Untrue => IoErrorKind::Untrue,
        ObjectFault::Length(_) => IoErrorKind::Changed,
        _ => IoErrorKind::Gone,
    }
}

/// Returns the fault for a bug: nothing is handed out.
fn bug(_: rootlet_base::Bug) -> ObjectFault {
    ObjectFault::Io(IoErrorKind::Protocol)
}
