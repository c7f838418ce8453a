//! Golden images, changed where it hurts: the bytes are a list of changes, each of a place that
//! means something (superblock, inode, xattrs, index, directory entry, encoded data).
//!
//! Always: the checksum of the superblock is made right after the last change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rootlet::erofs::{FileKind, Inode, Nid, Space};
use rootlet::storage::DeviceId;

use crate::image::Mount;
use crate::input::Input;
use crate::memory::Device;

/// The images, each with its blobs: every form of data and of metadata at least once.
const BASES: [&[&str]; 24] = [
    &["lz4"],
    &["lz4-legacy"],
    &["lz4-b1024"],
    &["lz4hc-64k"],
    &["lzma"],
    &["deflate"],
    &["zstd"],
    &["two-algs"],
    &["ztailpacking"],
    &["fragments"],
    &["all-fragments-zstd"],
    &["fragdedupe"],
    &["dedupe"],
    &["metabox"],
    &["mz-lz4"],
    &["48bit-zstd"],
    &["48bit-lz4hc"],
    &["b512"],
    &["chunk-48bit"],
    &["chunk-map-64k"],
    &["xattr-prefix"],
    &["xattr-prefix-plain"],
    &["merged-tar.erofs", "layer0.tar", "layer1.tar", "layer2.tar"],
    &["blobdev-new-64k.erofs", "blobdev-new-64k.blob"],
];

/// Entries of one directory that may be changed.
const ENTRIES_MAX: usize = 14;
/// Changes of one case.
const CHANGES_MAX: usize = 24;

/// An inode that may be changed.
struct Spot {
    path: Vec<u8>,
    inode: Inode,
    /// Where it lies; `None` in the metabox.
    at: Option<u64>,
}

struct Base {
    devices: Vec<Arc<Vec<u8>>>,
    spots: Vec<Spot>,
}

fn bases() -> &'static [Base] {
    static BASES_READ: OnceLock<Vec<Base>> = OnceLock::new();
    BASES_READ.get_or_init(|| {
        let files = unpack();
        let file = |name: &&str| {
            let full =
                if name.contains('.') { (*name).to_owned() } else { format!("{name}.erofs") };
            files.get(&full).unwrap_or_else(|| panic!("no {full}")).clone()
        };
        BASES.iter().map(|names| Base::new(names.iter().map(file).collect())).collect()
    })
}

/// The files of the golden set that are used.
fn unpack() -> BTreeMap<String, Arc<Vec<u8>>> {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden/images.tar.xz");
    let archive = std::fs::read(&archive).unwrap_or_else(|error| panic!("{archive:?}: {error}"));
    let mut tar = tar::Archive::new(lzma_rust2::XzReader::new(archive.as_slice(), false));
    let mut files = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".erofs").unwrap_or(&name);
        if BASES.iter().any(|names| names.contains(&stem) || names.contains(&&*name)) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(name, Arc::new(bytes));
        }
    }
    files
}

impl Base {
    fn new(devices: Vec<Arc<Vec<u8>>>) -> Self {
        let mount = Mount::new(devices.iter().cloned().map(Device::new).collect()).unwrap();
        let root = &mount.root;
        let superblock = root.superblock();
        let mut spots = Vec::new();
        let mut add = |path: Vec<u8>, nid: Nid| {
            let inode = root.inode(nid).unwrap();
            let at = superblock.inode_at(nid).unwrap();
            let at = (nid.space() == Space::Image).then_some(at);
            spots.push(Spot { path, inode, at });
        };
        for nid in [superblock.packed(), superblock.metabox()].into_iter().flatten() {
            add(Vec::new(), nid);
        }
        let mut ahead = vec![(b"/".to_vec(), superblock.root())];
        while let Some((path, nid)) = ahead.pop() {
            add(path.clone(), nid);
            let inode = root.inode(nid).unwrap();
            if inode.kind() != FileKind::Directory || path.len() > 60 {
                continue;
            }
            let mut cursor = root.read_dir_inode(inode).unwrap();
            for _ in 0..ENTRIES_MAX {
                let Some(entry) = cursor.next(root).unwrap() else { break };
                ahead.push(([&path[..], b"/", &entry.name[..]].concat(), entry.nid));
            }
        }
        Self { devices, spots }
    }
}

/// The target.
pub fn run(bytes: &[u8]) {
    let input = &mut Input(bytes);
    let bases = bases();
    let base = &bases[usize::from(input.byte()) % bases.len()];
    let more = input.number(2);
    let mut devices: Vec<Device> = base.devices.iter().cloned().map(Device::new).collect();
    let mut changed = vec![0];
    // Where the data lies is asked of the sound image.
    let sound = Mount::new(devices.clone()).unwrap();
    for _ in 0..CHANGES_MAX {
        if input.is_empty() {
            break;
        }
        changed.push(change(base, &sound, &mut devices, input));
    }
    devices[0].fix_checksum();
    let Some(mut mount) = Mount::new(devices) else { return };
    changed.push(more as usize % base.spots.len());
    // One look at each.
    let mut seen = BTreeSet::new();
    changed.retain(|number| seen.insert(*number));
    let mut ahead = Vec::new();
    for number in changed.into_iter().take(8) {
        let spot = &base.spots[number];
        if let Ok(inode) = mount.root.inode(spot.inode.nid()) {
            mount.look(&inode, &mut ahead);
        }
        mount.walk(&spot.path);
    }
    for inode in ahead.into_iter().take(4) {
        mount.look(&inode, &mut Vec::new());
    }
    mount.check_work();
}

/// Makes one change; returns the number of the inode that it is about.
fn change(base: &Base, sound: &Mount, devices: &mut [Device], input: &mut Input<'_>) -> usize {
    let (kind, number, offset) = (input.byte(), input.short(), input.short() as u64);
    let number = number % base.spots.len();
    let spot = &base.spots[number];
    let inode_at = spot.at.unwrap_or(1024);
    let behind = inode_at + if spot.inode.extended() { 64 } else { 32 };
    let body = spot.inode.xattrs().map_or(behind, |body| body.at + body.len);
    let (device, at) = match kind % 8 {
        0 => (0, 1024 + offset % 192),
        1 | 2 => (0, inode_at + offset % 64),
        3 => (0, behind + offset % 128),
        4 => (0, body + offset % 256),
        5 => (0, body + offset),
        _ => match sound.root.source_of(&spot.inode, offset % spot.inode.size().max(1)) {
            Ok(Some((DeviceId(device), at))) => (usize::from(device), at + offset % 16),
            _ => (0, inode_at + offset % 32),
        },
    };
    let device = &mut devices[device];
    let (how, value) = (input.byte(), input.number(4));
    let len = 1 << (how % 4);
    let mut bytes = [0; 8];
    device.read(at, &mut bytes);
    let old = u64::from_le_bytes(bytes);
    let new = match how >> 2 & 7 {
        0 => value,
        1 => old ^ 1 << (value % 64),
        2 => old.wrapping_add(value),
        3 => old.wrapping_sub(value),
        4 => [0, u64::MAX, 1 << 63, i64::MAX as u64][value as usize % 4],
        5 => value << 32,
        6 => !value,
        _ => {
            // As it is elsewhere.
            let other = &base.spots[value as usize % base.spots.len()];
            let from = other.at.unwrap_or(1024) + (at.wrapping_sub(inode_at) & 63);
            device.read(from, &mut bytes);
            u64::from_le_bytes(bytes)
        }
    };
    device.patch(at, &new.to_le_bytes()[..len]);
    number
}
