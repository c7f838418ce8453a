//! Opening an encrypted region: the header, the key, and the device that deciphers.
//!
//! Always: an area is formatted with a key only if it would be formatted without one; a region of
//! another key, and one without encryption, are left as they are.

use alloc::boxed::Box;
use alloc::vec;

use rootlet_base::num::wide;
use rootlet_region::signature::Signature;
use rootlet_region::{
    Cache, CacheOptions, FormatPolicy, Geometry, Refusal, Refused, SlotSize, Vacant,
};
use rootlet_storage::{Discover, DiscoverError, IoErrorKind, Storage, Transfer};
use sha2::{Digest, Sha256};

use crate::cipher::Blocks;
use crate::header::{BLOCK_BYTES, Header, Not};
use crate::key::Key;

/// The bytes before the region proper: two headers, each at the start of a half.
pub const HEADER_BYTES: u64 = 64 << 10;
/// Where the headers lie in the area.
const COPIES: [u64; 2] = [0, wide(Signature::ENCRYPTED_TWIN_AT)];

/// Finds the encrypted region that `options` name, or makes one where that is allowed, and adds the
/// device that deciphers it to `storage`. Returns the options with which
/// [`Cache::open`](rootlet_region::Cache::open) opens the region there.
///
/// # Errors
/// Why there is no region to use with this key.
pub fn open<S: Discover>(
    storage: &mut S,
    options: &CacheOptions,
    key: &Key,
) -> Result<CacheOptions, Refused> {
    let room = Cache::room(storage, options)?;
    let too_small = Refused::TooSmall { bytes: room };
    let inner = room.checked_sub(HEADER_BYTES).ok_or(too_small)?;
    Geometry::for_region(inner, SlotSize::K64).ok_or(too_small)?;
    let found = match options.format {
        FormatPolicy::Force => None,
        _ => find(storage, options, key)?,
    };
    let is_new = found.is_none();
    let header = match found {
        Some(header) => header,
        None => format(storage, options, key, room)?,
    };
    let place = options
        .start
        .checked_add(HEADER_BYTES)
        .zip(header.bytes.min(room).checked_sub(HEADER_BYTES));
    let place = place.ok_or(Refused::Superblock(Refusal::Layout))?;
    let cipher = Box::new(Blocks::new(&header.key.cipher()));
    let device = storage.enciphered(options.device, place, cipher).map_err(unfit)?;
    let format = match options.format {
        _ if is_new => FormatPolicy::Force,
        FormatPolicy::Auto => FormatPolicy::Owned,
        policy => policy,
    };
    let entropy = header.key.identity(&options.entropy);
    let mut inner =
        options.with_start(0).with_bytes(None).with_format(format).with_entropy(entropy);
    inner.device = device;
    Ok(inner)
}

/// Returns the refusal of a region whose storage has no room for another device.
fn unfit(_: DiscoverError) -> Refused {
    Refused::NoDevice
}

/// Returns the header of the region; `None` if there is no region, and one may be made.
fn find<S: Storage>(
    storage: &S,
    options: &CacheOptions,
    key: &Key,
) -> Result<Option<Header>, Refused> {
    let copies = COPIES.map(|at| read(storage, options, at));
    let mut is_damaged = false;
    let mut refused = None;
    for copy in &copies {
        let why = match copy {
            Ok(block) => match Header::parse(block, key, options.start) {
                Ok(header) => return Ok(Some(header)),
                Err(why) => why,
            },
            // What could not be read may be the header.
            Err(kind) => {
                refused.get_or_insert(Refused::Io(*kind));
                continue;
            }
        };
        match why {
            Not::AHeader => {}
            Not::Whole => is_damaged = true,
            Not::Version(version) => refused = Some(Refused::Superblock(Refusal::Version(version))),
            Not::Here(start) => refused = Some(Refused::Superblock(Refusal::Moved { start })),
            Not::Ours => refused = Some(Refused::OtherKey),
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    let vacant = match Cache::vacancy(storage, options) {
        // What a damaged header leaves is named by its magic.
        Err(Refused::Encrypted) if is_damaged => Vacant::Lost,
        Err(refused) => return Err(refused),
        Ok(vacant) => vacant,
    };
    match options.format {
        FormatPolicy::Never => Err(Refused::Unformatted(vacant)),
        _ => Ok(None),
    }
}

/// Writes both headers of a new region.
fn format<S: Storage>(
    storage: &S,
    options: &CacheOptions,
    key: &Key,
    bytes: u64,
) -> Result<Header, Refused> {
    if storage.info(options.device).is_none_or(|info| info.read_only) {
        return Err(Refused::ReadOnly);
    }
    let salt = Sha256::digest(options.entropy).into();
    let (header, block) = Header::new(key, salt, options.start, bytes);
    let at = COPIES.map(|at| options.start.checked_add(at));
    let [Some(a), Some(b)] = at else { return Err(Refused::Range { disk: bytes }) };
    let mut batch =
        [Transfer::write(options.device, a, &block), Transfer::write(options.device, b, &block)];
    storage.run(&mut batch, &mut |_, _| {});
    let mut flush = [Transfer::flush(options.device)];
    storage.run(&mut flush, &mut |_, _| {});
    match batch.iter().chain(&flush).find_map(|transfer| transfer.outcome().err()) {
        Some(error) => Err(Refused::Io(error.kind)),
        None => Ok(header),
    }
}

/// Reads the block at byte `at` of the area.
fn read<S: Storage>(
    storage: &S,
    options: &CacheOptions,
    at: u64,
) -> Result<vec::Vec<u8>, IoErrorKind> {
    let at = options.start.checked_add(at).ok_or(IoErrorKind::OutOfRange)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut batch = [Transfer::read(options.device, at, &mut block)];
    storage.run(&mut batch, &mut |_, _| {});
    let [transfer] = &batch;
    transfer.outcome().map_err(|error| error.kind)?;
    Ok(block)
}
