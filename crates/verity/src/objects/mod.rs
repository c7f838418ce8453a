//! Objects: bytes that are found and verified by their fs-verity digest, each like a pinned device.
//!
//! All objects are parts of one device. The nodes of an object's tree come first, the top node before
//! the others, then its data. The digest chooses the place, so that a region knows the bytes again in
//! the next boot; an object whose place is taken gets the next one that is free.
//!
//! An object is proved by the nodes that a region has, or by reading all of it once. Every block that
//! is read later is compared again.
//!
//! Always: no byte is handed out before its check; where the bytes lie, and what is there, decides
//! nothing but whether a read succeeds. Memory is bounded: a node that was forgotten is made again, of
//! the data that it covers.

mod bytes;
mod check;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rootlet_base::num::{OrBug, low32};
use rootlet_base::units::{BLOCK, Pow2};
use rootlet_storage::{
    DeviceId, DeviceInfo, DiscoverError, IoErrorKind, ObjectFault, ObjectPiece, ObjectPlace,
};
use rootlet_trust::{Digest, Hasher, Spec, Subject};
use spin::mutex::SpinMutex as Mutex;

use crate::pin::Pin;

/// The device whose bytes are those of the objects. No other has this number: a storage with as many
/// devices refuses objects.
pub const OBJECTS: DeviceId = DeviceId(u16::MAX - 1);

/// The first number of a tree of an object; pinned devices have those below.
const FIRST_NUMBER: u32 = 1 << 16;
/// The longest object: 64 bits have room for 2^20 of them.
const OBJECT_BYTES_MAX: u64 = 1 << 42;
/// Objects begin within these bytes of the device: a region counts windows by 32 bits.
const PLACES: u64 = 1 << 47;
/// The unit of places: the smallest slot of a region, so that no two objects share one.
const PLACE: Pow2 = match Pow2::of(64 << 10) {
    Some(place) => place,
    None => panic!("64 KiB are a power of two"),
};
/// The most places that are tried for an object.
const TRIES_MAX: usize = 64;
/// Files that are open at a time.
const OPEN_MAX: usize = 16;
/// The most nodes that are noted for a region.
const USED_MAX: usize = 16 << 10;
/// The most objects that are used in the life of a mount.
const OBJECTS_MAX: usize =
    if cfg!(all(target_pointer_width = "64", not(target_os = "none"))) { 1 << 21 } else { 4096 };
/// The most pieces of all objects that are used.
const PIECES_MAX: usize = OBJECTS_MAX * 16;
/// What an object takes at most in tables here and in the storage, in bytes.
const TABLE_BYTES: usize = 2048;
/// What a check takes beside the nodes that are kept, in bytes.
const CHECK_BYTES: usize = 2 << 20;
/// The sum, computed by the compiler.
const RESERVE_BYTES: usize =
    CHECK_BYTES + OBJECTS_MAX * TABLE_BYTES + PIECES_MAX * size_of::<ObjectPiece>();

/// An object.
#[derive(Debug)]
struct Entry {
    /// Its digest and its tree. The pin has no device: its bytes are those of `place`.
    pin: Pin,
    digest: Digest,
    place: Place,
    /// The byte of the device at which the nodes begin.
    nodes: u64,
    /// The byte of the device at which the data begins.
    data: u64,
}

/// Where the bytes of an object lie.
#[derive(Debug)]
enum Place {
    /// In the file that the digest names.
    File,
    /// In these pieces.
    Pieces(Arc<[ObjectPiece]>),
}

/// What changes while reads run.
#[derive(Debug, Default)]
struct State {
    /// By digest: the bytes of a digest, and where the nodes begin.
    known: BTreeMap<Vec<u8>, u64>,
    /// By the byte at which the nodes begin.
    entries: BTreeMap<u64, Arc<Entry>>,
    /// Files that nobody reads just now, by object; the newest last.
    open: Vec<(u64, DeviceId)>,
    /// The pieces of all entries.
    pieces: usize,
    /// The bytes of nodes that were used for data of a source, and that a region should keep.
    used: BTreeSet<u64>,
}

/// The objects of a mount.
#[derive(Debug)]
pub struct Objects {
    /// The mount tag of a share, and the path of a folder there, empty for the share itself; `None`
    /// if all objects come in pieces.
    folder: Option<(String, String)>,
    state: Mutex<State>,
}

impl Objects {
    /// Returns the objects of a folder of the share with this mount tag, or of an image if that is
    /// `None`. Reads nothing.
    pub fn new(folder: Option<(&str, &str)>) -> Self {
        let folder = folder.map(|(tag, path)| (tag.into(), path.trim_matches('/').into()));
        Self { folder, state: Mutex::default() }
    }

    /// Returns the most bytes that reads may allocate, beside nodes that are kept: for a group of
    /// blocks, for nodes that are not proved yet, and for the tables of all objects.
    pub fn reserve_bytes() -> usize {
        RESERVE_BYTES
    }

    /// Returns the properties of the device.
    pub fn info() -> DeviceInfo {
        let bytes = PLACES.wrapping_add(2 * OBJECT_BYTES_MAX);
        DeviceInfo::new(bytes, low32(BLOCK.get())).with_read_only(true).with_pinned(true)
    }

    /// Returns the byte at which the data of the object with this digest begins.
    pub fn find(
        &self,
        hasher: &dyn Hasher,
        wanted: &[u8],
        bytes: u64,
        place: ObjectPlace<'_>,
    ) -> Result<u64, ObjectFault> {
        let mut state = self.state.lock();
        if let Some(nodes) = state.known.get(wanted) {
            let entry = state.entries.get(nodes).or_bug().map_err(bug)?;
            return match entry.pin.shape().data_bytes() {
                known if known == bytes => Ok(entry.data),
                other => Err(ObjectFault::Length(other)),
            };
        }
        let is_nowhere = match place {
            ObjectPlace::Known => true,
            ObjectPlace::Folder => self.folder.is_none(),
            ObjectPlace::Pieces(_) => false,
        };
        if is_nowhere {
            return Err(ObjectFault::Absent);
        }
        let number = u32::try_from(state.entries.len()).ok();
        let number = number.filter(|_| state.entries.len() < OBJECTS_MAX);
        let number = number.and_then(|number| number.checked_add(FIRST_NUMBER));
        let number = number.ok_or(ObjectFault::Search(DiscoverError::TooMany))?;
        let entry = Entry::new(hasher, number, wanted, bytes, place, &state)?;
        if let Place::Pieces(pieces) = &entry.place {
            let all = state.pieces.checked_add(pieces.len()).filter(|all| *all <= PIECES_MAX);
            state.pieces = all.ok_or(ObjectFault::Search(DiscoverError::TooMany))?;
        }
        let (nodes, data) = (entry.nodes, entry.data);
        state.known.insert(wanted.into(), nodes);
        state.entries.insert(nodes, Arc::new(entry));
        Ok(data)
    }

    /// Returns the object that byte `at` of the device is of.
    fn at(&self, at: u64) -> Result<Arc<Entry>, IoErrorKind> {
        let state = self.state.lock();
        let entry = state.entries.range(..=at).next_back().map(|(_, entry)| Arc::clone(entry));
        entry.ok_or(IoErrorKind::OutOfRange)
    }

    /// Notes that a region should keep the node at this byte.
    fn note_used(&self, at: u64) {
        let mut state = self.state.lock();
        if state.used.len() < USED_MAX {
            state.used.insert(at);
        }
    }

    /// Takes out the byte of a node that a region should keep.
    pub fn take_used(&self) -> Option<u64> {
        self.state.lock().used.pop_first()
    }
}

impl Entry {
    fn new(
        hasher: &dyn Hasher,
        number: u32,
        wanted: &[u8],
        bytes: u64,
        place: ObjectPlace<'_>,
        state: &State,
    ) -> Result<Self, ObjectFault> {
        let (algorithm, name) = match wanted.len() {
            32 => (rootlet_trust::Algorithm::Sha256, "sha256-12:"),
            64 => (rootlet_trust::Algorithm::Sha512, "sha512-12:"),
            _ => return Err(ObjectFault::Untrue),
        };
        if bytes > OBJECT_BYTES_MAX {
            return Err(ObjectFault::Length(bytes));
        }
        let digest = Digest::from_bytes(algorithm, wanted).ok_or(ObjectFault::Untrue)?;
        let text = format!("{name}{digest}");
        let spec = Spec::parse(&text).ok().or_bug().map_err(bug)?;
        let pin = Pin::absent(hasher, (Subject::IMAGE, number), &spec, bytes);
        let pin = pin.ok().or_bug().map_err(bug)?;
        let place = match place {
            ObjectPlace::Known | ObjectPlace::Folder => Place::File,
            ObjectPlace::Pieces(pieces) => Place::Pieces(pieces.into()),
        };
        let tree = pin.shape().tree_bytes();
        let all = BLOCK.ceil(bytes).and_then(|bytes| bytes.checked_add(tree)).or_bug();
        let nodes = free_place(state, wanted, all.map_err(bug)?)?;
        let data = nodes.checked_add(tree).or_bug().map_err(bug)?;
        Ok(Self { pin, digest, place, nodes, data })
    }

    /// Returns the byte after the last of the data's blocks.
    fn end(&self) -> Option<u64> {
        self.data.checked_add(BLOCK.ceil(self.pin.shape().data_bytes())?)
    }
}

/// Returns the first free place for `bytes` bytes of an object, from the one on that its digest
/// chooses.
fn free_place(state: &State, digest: &[u8], bytes: u64) -> Result<u64, ObjectFault> {
    let first = digest.first_chunk().or_bug().map_err(bug)?;
    let mut start = PLACE.floor(u64::from_le_bytes(*first) & (PLACES - 1));
    for _ in 0..TRIES_MAX {
        let end = start.checked_add(bytes).or_bug().map_err(bug)?;
        // The last one that begins before the end is the only one that may overlap.
        let last = state.entries.range(..=end).next_back().and_then(|(_, entry)| entry.end());
        match last.filter(|last| *last >= start) {
            None => return Ok(start),
            // An object begins in the first half of the device, wherever another ends.
            Some(last) => {
                let next = last.checked_add(1).and_then(|next| PLACE.ceil(next)).or_bug();
                start = next.map_err(bug)? & (PLACES - 1);
            }
        }
    }
    Err(ObjectFault::Search(DiscoverError::TooMany))
}

/// Returns the fault for a bug: nothing is handed out.
fn bug(_: rootlet_base::Bug) -> ObjectFault {
    ObjectFault::Io(IoErrorKind::Protocol)
}
