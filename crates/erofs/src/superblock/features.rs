//! The fields of the superblock that belong to features: compression, metabox, long prefixes of
//! xattr names.
//!
//! Always: a field is ignored if its feature is not set.

use super::super::block::{BlockSize, Nid, Space};
use super::super::compression::Compression;
use super::super::corrupt::Corrupt;
use super::super::error::FormatError;
use super::super::feature::{Compat, Incompat};
use super::super::record::Record;
use super::places::SHARED_XATTR_BITS;
use super::{EXTENSIONS_AT, LEN, XattrPrefixes, extension_bytes};
use rootlet_base::num::OrBug;

/// Returns the compression settings: those after the superblock, or the implied ones.
pub(super) fn compression(
    first: &[u8],
    raw: Record<'_, LEN>,
    incompat: Incompat,
    block_size: BlockSize,
) -> Result<Compression, FormatError> {
    if !incompat.has(Incompat::COMPR_CFGS) {
        return Ok(Compression::implied(raw.u16::<84>()));
    }
    let at = EXTENSIONS_AT.checked_add(extension_bytes(raw)).or_bug()?;
    Compression::from_bytes(raw.u16::<84>(), block_size, first, at)
}

/// Returns the nid of the metabox, from the first extension of the superblock; `None` without the
/// feature.
pub(super) fn metabox(
    first: &[u8],
    raw: Record<'_, LEN>,
    incompat: Incompat,
) -> Result<Option<Nid>, FormatError> {
    if !incompat.has(Incompat::METABOX) {
        return Ok(None);
    }
    let extension = first.get(EXTENSIONS_AT..).and_then(Record::<16>::first_of);
    match extension {
        Some(extension) if raw.u8::<13>() != 0 => {
            let nid = Nid(extension.u64::<0>());
            match nid.space() {
                Space::Image => Ok(Some(nid)),
                Space::Metabox => Err(Corrupt::MetaboxInItself { nid }.into()),
            }
        }
        _ => Err(Corrupt::NoMetabox.into()),
    }
}

/// Returns the table of long prefixes; `None` if it is empty.
pub(super) fn xattr_prefixes(
    raw: Record<'_, LEN>,
    compat: Compat,
    incompat: Incompat,
) -> Option<XattrPrefixes> {
    let count = raw.u8::<91>();
    (incompat.has(Incompat::XATTR_PREFIXES) && count != 0).then(|| XattrPrefixes {
        at: u64::from(raw.u32::<92>()) << SHARED_XATTR_BITS,
        count,
        plain: compat.has(Compat::PLAIN_XATTR_PFX),
        fingerprint: compat.has(Compat::ISHARE_XATTRS).then(|| raw.u8::<105>()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::codec::Algorithm;
    use super::super::super::sample::Sample;
    use super::super::Superblock;
    use super::*;

    fn patched(at: usize, bytes: &[u8]) -> Result<Superblock, FormatError> {
        Sample::new().put(at, bytes).seal()
    }

    #[test]
    fn compression_settings_follow_the_superblock_and_its_extensions() {
        let mut sample = Sample::new();
        sample.put(80, &[2]).put(84, &[8]).put(128, &[6, 0, 0, 5]);
        assert_eq!(sample.superblock().compression.zstd_window_bytes, 32 << 10);
        sample.put(13, &[2]).put(160, &[6, 0, 0, 6]);
        assert_eq!(sample.superblock().compression.zstd_window_bytes, 64 << 10);
        let error = Corrupt::CompressionLimit { algorithm: Algorithm::Zstd, value: 11 };
        assert_eq!(sample.put(163, &[11]).seal(), Err(error.into()));
        let plain = Sample::new().put(84, &[0, 16]).superblock().compression;
        assert_eq!((plain.lz4_distance, plain.algorithms.has(Algorithm::Zstd)), (4096, false));
    }

    #[test]
    fn metabox_without_its_nid_is_corrupt() {
        assert_eq!(patched(80, &[0, 1]), Err(Corrupt::NoMetabox.into()));
    }

    #[test]
    fn metabox_is_named_by_the_first_extension_and_lies_outside_itself() {
        let mut sample = Sample::new();
        sample.put(80, &[0, 1]).put(13, &[1]).put(128, &[101]);
        let superblock = sample.superblock();
        assert_eq!(superblock.metabox, Some(Nid(101)));
        assert_eq!(superblock.inode_at(Nid(1 << 63 | 3)), Ok(96));
        let nid = Nid(1 << 63 | 101);
        let error = sample.put(128, &nid.0.to_le_bytes()).seal();
        assert_eq!(error, Err(Corrupt::MetaboxInItself { nid }.into()));
    }

    #[test]
    fn packed_inode_and_prefixes_count_with_their_features_only() {
        let mut sample = Sample::new();
        sample.put(96, &[7]).put(91, &[2]).put(92, &[5]);
        let superblock = sample.superblock();
        assert_eq!((superblock.packed, superblock.xattr_prefixes), (None, None));
        let superblock = sample.put(80, &[0x60]).put(8, &[0x11]).superblock();
        assert_eq!(superblock.packed, Some(Nid(7)));
        let prefixes = XattrPrefixes { at: 20, count: 2, plain: true, fingerprint: None };
        assert_eq!(superblock.xattr_prefixes, Some(prefixes));
        let superblock = sample.put(8, &[0x31]).put(105, &[1]).superblock();
        let prefixes = XattrPrefixes { fingerprint: Some(1), ..prefixes };
        assert_eq!(superblock.xattr_prefixes, Some(prefixes));
    }
}
