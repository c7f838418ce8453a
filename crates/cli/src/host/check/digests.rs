//! The digests of every byte of an image and its blobs, where the user gave some.
//!
//! Always: each block of a source is read, whether a file has it or not; a wrong one is named.

use rootlet::storage::{DeviceId, IoErrorKind, Storage, Transfer};
use rootlet_guest::Mounted;

use crate::progress::Progress;
use crate::source::HostStorage;

/// What the digests have shown.
#[derive(Debug, Default)]
pub struct Digests {
    /// Bytes that are right.
    pub bytes: u64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

/// Reads every byte of the sources that are pinned; `None` if there are none.
pub fn read_all(storage: &HostStorage, mounted: &Mounted) -> Option<Digests> {
    let mut devices: Vec<DeviceId> =
        mounted.sources().map(|(_, _, source)| source.device).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.retain(|device| storage.is_pinned(*device));
    let infos: Vec<_> = devices.iter().filter_map(|device| storage.info(*device)).collect();
    if infos.is_empty() {
        return None;
    }
    let progress = Progress::of_bytes(Some(infos.iter().map(|info| info.bytes).sum()));
    let mut digests = Digests::default();
    let mut buffer = Vec::new();
    for (device, info) in devices.into_iter().zip(infos) {
        // Faults of the mount were reported.
        storage.take_refusals();
        let (piece, sector) = (u64::from(info.transfer_bytes_max), u64::from(info.sector_bytes));
        let mut at = 0;
        while at < info.bytes {
            let len = piece.min(info.bytes - at);
            match read(storage, device, at, len, &mut buffer) {
                Ok(()) => digests.bytes += len,
                // Block by block, to name each that is wrong.
                Err(_) => {
                    for at in (at..at + len).step_by(sector as usize) {
                        storage.take_refusals();
                        match read(storage, device, at, sector, &mut buffer) {
                            Ok(()) => digests.bytes += sector,
                            Err(kind) => digests.faults.extend(told(storage, device, at, kind)),
                        }
                    }
                }
            }
            at += len;
            progress.reach(digests.bytes);
        }
    }
    // A node that is wrong is wrong for each block below.
    digests.faults.dedup();
    storage.take_refusals();
    Some(digests)
}

/// The faults of a read that failed.
fn told(storage: &HostStorage, device: DeviceId, at: u64, kind: IoErrorKind) -> Vec<String> {
    let refused = storage.take_refusals();
    match refused.is_empty() {
        true => vec![format!("{device}: byte {at}: {kind}")],
        false => refused.iter().map(ToString::to_string).collect(),
    }
}

fn read(
    storage: &HostStorage,
    device: DeviceId,
    at: u64,
    len: u64,
    buffer: &mut Vec<u8>,
) -> Result<(), IoErrorKind> {
    buffer.resize(len as usize, 0);
    let mut batch = [Transfer::read(device, at, buffer)];
    storage.run(&mut batch, &mut |_, _| {});
    batch[0].outcome().map_err(|error| error.kind)
}
