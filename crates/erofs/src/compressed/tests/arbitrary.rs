//! Maps of arbitrary bytes.
//!
//! Always: `find` ends after bounded reads, and its extent lies in the file and in the image.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::Encoding::{Interlaced, Plain};
use super::super::{DECODED_BYTES_MAX, ENCODED_BYTES_MAX};
use super::*;

/// 2,000 bytes, many of them small: types, distances and offsets that are not refused at once.
fn entries(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        // Xorshift, by Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let byte = |[choice, value, ..]: [u8; 8]| match choice & 3 {
        0 => 0,
        1 => value & 3,
        2 => 0x20 | value & 0xf,
        _ => value,
    };
    (0..2000).map(|_| byte(next())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_extents_or_errors_in_bounded_reads(
        format in prop::sample::select(std::vec![FULL, COMPACT]),
        size in prop_oneof![4 => 0_u64..40_000, 1 => any::<u64>().prop_map(|size| size >> 1)],
        word in prop_oneof![0_u32..600, any::<u32>()],
        advise in 0_u16..64,
        last in (any::<u8>(), prop_oneof![9 => 0_u8..7, 1 => any::<u8>()]),
        seed in any::<u64>(),
        offsets in vec(any::<u64>(), 8),
    ) {
        let file = File::new(format, size, word, advise, [last.0, last.1]).put(HEADER + 8, &entries(seed));
        let mut meta = Bytes::new(&file.image);
        let map = CompressedMap::open(&file.superblock, ALL, &file.inode, &mut meta);
        // An index has at most 30 KiB, so the hops back are fewer than 64 + 32.
        prop_assert!(meta.reads <= 1 + 96);
        let Ok(mut map) = map else { return Ok(()) };
        let walk = (0..size).step_by(700).take(20);
        for offset in walk.chain(offsets.iter().map(|offset| offset % size.max(1))) {
            meta.reads = 0;
            let found = map.find(&mut meta, offset);
            // Back, the count, and ahead: all entries at most, 4 bytes each in the shortest runs.
            prop_assert!(meta.reads <= 96 + 2 + 30_000 / 8, "{} reads", meta.reads);
            prop_assert!(meta.end <= 64 * 512);
            let Ok(extent) = found else { continue };
            prop_assert!(extent.offset <= offset && extent.len >= 1);
            let end = extent.offset.checked_add(extent.len);
            prop_assert!(end.is_some_and(|end| end > offset && end <= size));
            if let Data::Encoded { place, len, encoding } = extent.data {
                prop_assert!((1..=ENCODED_BYTES_MAX).contains(&len));
                prop_assert!(extent.len <= DECODED_BYTES_MAX);
                let (Place::Blocks { at } | Place::Inline { at }) = place;
                prop_assert!(at + len <= 64 * 512);
                match encoding {
                    Plain => prop_assert!(extent.len <= len),
                    Interlaced { first } => prop_assert!(first < len && extent.len <= len),
                    _ => {}
                }
            }
            if extent.data != Data::Hole {
                prop_assert_eq!(file.find(offset), Ok(extent));
            }
        }
    }
}
