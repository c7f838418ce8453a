//! Any bytes give a value or an error, and what a value hands out holds its promises.

use proptest::collection::vec;
use proptest::prelude::*;

use super::sample::{Sample, seal};
use super::{
    ChunkTarget, Devices, DirBlock, FormatError, Inode, Layout, Nid, Span, Superblock, xattr,
};

/// A superblock with arbitrary fields, a valid magic number and a valid checksum.
fn image() -> impl Strategy<Value = std::vec::Vec<u8>> {
    let features =
        prop_oneof![9 => prop::sample::select(std::vec![0_u32, 8, 0x80, 0x8c]), 1 => any::<u32>()];
    let start = (
        vec(any::<u8>(), 116),
        9_u8..=12,
        features,
        0_u16..70,
        prop::bool::weighted(0.9),
        0_u8..70,
    );
    start.prop_map(|(fields, bits, features, devices, calm, blocks)| {
        let mut sample = Sample::new();
        sample.put(12, &fields);
        if calm {
            // Fields that would mostly be refused.
            sample
                .put(13, &[0, 100, 0])
                .put(32, &[0; 4])
                .put(36, &[blocks, 0, 0, 0, 0, 0, 0, 0])
                .put(90, &[0]);
            sample.put(112, &[0; 8]).put(88, &[0, 0]);
        }
        sample.put(8, &[1, 0, 0, 0, bits]).put(80, &features.to_le_bytes());
        sample.put(86, &devices.to_le_bytes());
        sample.0.resize(4096, 0);
        seal(&mut sample.0);
        sample.0
    })
}

/// Arbitrary bytes, mostly with a format, a type and a size that are not refused at once.
fn inode() -> impl Strategy<Value = std::vec::Vec<u8>> {
    let kind = prop_oneof![
        9 => prop::sample::select(std::vec![0o100_000_u16, 0o120_000, 0o040_000]),
        1 => any::<u16>(),
    ];
    let size = prop_oneof![9 => 0_u64..5000, 1 => any::<u64>()];
    let start = prop_oneof![0_u32..70, Just(u32::MAX), any::<u32>()];
    let parts = (vec(any::<u8>(), 31..70), 0_u16..10, any::<bool>(), 0_u16..4, kind, size, start);
    parts.prop_map(|(mut bytes, format, bit_4, xattrs, kind, size, start)| {
        let format = format | if bit_4 { 0x10 } else { 0 };
        let fields = [format, xattrs, kind, 0].map(u16::to_le_bytes);
        let mut put = |at, field: &[u8]| {
            bytes.iter_mut().skip(at).zip(field).for_each(|(to, from)| *to = *from);
        };
        put(0, fields.as_flattened());
        put(8, &size.to_le_bytes());
        put(16, &start.to_le_bytes());
        // No nanoseconds.
        put(40, &[0; 4]);
        bytes
    })
}

/// 64 slots, one after the other with gaps; some without a length, some moved back.
fn table() -> impl Strategy<Value = std::vec::Vec<u8>> {
    let slots = vec((0_u32..40, 0_u32..40, prop_oneof![99 => Just(0_u32), 1 => 0_u32..60]), 64);
    slots.prop_map(|slots| {
        let mut at = 64_u32;
        let mut table = std::vec::Vec::new();
        for (gap, blocks, back) in slots {
            at = at.saturating_add(gap).saturating_sub(back);
            table.extend_from_slice(&[b't'; 64]);
            table.extend_from_slice(&blocks.to_le_bytes());
            table.extend_from_slice(&at.to_le_bytes());
            table.extend_from_slice(&[0; 56]);
            at = at.saturating_add(blocks);
        }
        table
    })
}

fn ends_within(superblock: &Superblock, span: Span) -> bool {
    let end = span.at.checked_add(span.len);
    end.is_some_and(|end| superblock.image_bytes().is_none_or(|image| end <= image))
}

fn check_inode(superblock: &Superblock, inode: &Inode, entry: &[u8]) -> Result<(), FormatError> {
    assert!(i64::try_from(inode.size()).is_ok());
    assert!(inode.xattrs().is_none_or(|span| ends_within(superblock, span)));
    match inode.layout() {
        Layout::Inline { tail, .. } => {
            assert!(tail.len <= superblock.block_size().bytes() && ends_within(superblock, tail));
            let end = superblock.block_size().offset_in(tail.at).checked_add(tail.len);
            assert!(end.is_some_and(|end| end <= superblock.block_size().bytes()));
        }
        Layout::Chunked(map) => {
            assert!(ends_within(superblock, map.span()));
            let last = map.count().saturating_sub(1);
            assert!(map.chunk_of(inode.size().saturating_sub(1)) <= last);
            if map.count() != 0 {
                assert!(ends_within(superblock, map.entry_at(last)?));
            }
            if let ChunkTarget::At { device_id, .. } = map.parse(last, entry)? {
                assert!(device_id <= superblock.extra_devices());
            }
        }
        Layout::None | Layout::Object { .. } | Layout::Plain { .. } | Layout::Compressed(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_superblock_or_an_error(bytes in vec(any::<u8>(), 0..1600)) {
        let _ = Superblock::peek(&bytes);
        prop_assert!(Superblock::from_bytes(&bytes).is_err());
    }

    #[test]
    fn any_fields_keep_the_promises_of_what_is_built_on_them(
        image in image(),
        inode in inode(),
        nid in prop_oneof![9 => 0_u64..1000, 1 => any::<u64>()],
        block in prop_oneof![0_u64..2000, any::<u64>()],
        table in table(),
        entry in any::<[u8; 8]>(),
    ) {
        let Ok(superblock) = Superblock::from_bytes(&image) else { return Ok(()) };
        if let Ok(inode) = Inode::from_bytes(&superblock, Nid(nid), &inode) {
            let _ = check_inode(&superblock, &inode, &entry);
        }
        let _ = superblock.shared_xattr_at(u32::try_from(block).unwrap_or(u32::MAX));
        if let Ok(devices) = Devices::from_bytes(&superblock, &table) {
            for id in 0..=devices.len() {
                if let Ok(place) = devices.resolve(id, block) {
                    prop_assert!(place.slot <= devices.len() && place.blocks_left != Some(0));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_directory_block_or_an_error(
        mut bytes in vec(prop_oneof![Just(0_u8), Just(b'/'), 0_u8..64, any::<u8>()], 0..260),
        first in prop_oneof![(1_u8..12).prop_map(|count| count.saturating_mul(12)), any::<u8>()],
        name in vec(any::<u8>(), 0..4),
    ) {
        if let Some(low) = bytes.get_mut(8..10) {
            low.copy_from_slice(&[first, 0]);
        }
        let Ok(block) = DirBlock::from_bytes(&bytes, Nid(1), 0) else { return Ok(()) };
        let mut seen = 0_u16;
        for entry in block.entries() {
            seen = seen.saturating_add(1);
            let Ok(entry) = entry else { break };
            prop_assert!((1..=255).contains(&entry.name.len()));
            prop_assert!(!entry.name.contains(&0) && !entry.name.contains(&b'/'));
        }
        prop_assert!(seen <= block.len());
        if let Ok(Some(found)) = block.find(&name) {
            prop_assert_eq!(found.name, name.as_slice());
        }
    }

    #[test]
    fn any_bytes_are_xattrs_or_an_error(bytes in vec(prop_oneof![0_u8..8, any::<u8>()], 0..120)) {
        let _ = xattr::Entry::from_shared(0, &bytes);
        let Ok(body) = xattr::Body::from_bytes(Nid(1), &bytes) else { return Ok(()) };
        prop_assert!(body.shared().count() <= bytes.len());
        let lens = body.entries().flatten().flat_map(|entry| [entry.name.len(), entry.value.len()]);
        let used: usize = lens.sum();
        prop_assert!(used <= bytes.len());
        for entry in body.entries().flatten() {
            let _ = entry.prefix();
        }
    }
}
