//! Faults of maps.
//!
//! Always: the exact fault is asserted, with its numbers.

use super::super::Encoding::Coded;
use super::*;
use crate::codec::Algorithm::Lz4;
use rootlet_base::units::ByteRange;

#[test]
fn inline_pcluster_lies_in_one_block() {
    // From byte 3,296 its block has 288 bytes left.
    let file = |len: u32| File::new(FULL, 900, len << 16, 8, [2, 0]);
    assert!(file(288).open().is_ok());
    let fault = MapFault::InlineCrossesBlock { at: 3296, len: 289, block: 512 };
    assert_eq!(file(289).open(), Err(fault.of(NID)));
}

#[test]
fn records_out_of_order_are_corrupt() {
    let list = [(0, 0, 0), (0, 0, 4000)];
    let file = records(3000, 4, 0, 2, [0, 0]).put(HEADER + 16, &long_records(4, &list));
    let fault = MapFault::Order { extent: 1, offset: 4000, low: 0, high: 3000 };
    assert_eq!(file.fault(5), fault);
    let list = [(0, 0, 500), (0, 0, 400)];
    let file = file.put(HEADER + 16, &long_records(4, &list));
    let fault = MapFault::Order { extent: 1, offset: 400, low: 500, high: 3000 };
    assert_eq!(file.fault(600), fault);
}

#[test]
fn map_beyond_the_image_is_corrupt() {
    let size = (1 << 63) - 1;
    let (part, image) = (Part::CompressedMap(NID), 0x8000);
    let beyond = |at, len| Err(Corrupt::BeyondImage { part, at, len, image }.into());
    assert_eq!(File::new(FULL, size, 0, 0, [0, 0]).open(), beyond(3264 + 16, 1 << 57));
    assert_eq!(File::new(COMPACT, size, 0, 0, [0, 0]).open(), beyond(3264 + 8, 1 << 56));
    let records = records(size, 5, 0, u32::MAX, [0xff, 0x7f]);
    assert_eq!(records.open(), beyond(3264 + 32, ((1 << 47) - 1) * 32));
}

#[test]
fn lcluster_that_leads_to_another_head_than_the_extent_is_corrupt_where_it_is_read() {
    // The second lcluster jumps over the head in the third, which the fourth leads back to.
    let entries = [head(1, 0, 5), behind(1, 2), head(0, 0, 6), behind(1, 1), head(1, 0, 7)];
    let file = File::new(FULL, 2500, 0, 0, [0, 0]).entries(&entries);
    let map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    let found = file.find(600).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((found.offset, found.end()), (0, 2048));
    let mut confirm = |start, end| {
        let range = ByteRange::new(start, end).unwrap_or_default();
        map.confirm(&mut meta, &found, range)
    };
    assert_eq!(confirm(0, 1024), Ok(()));
    let fault = |lcluster| Err(MapFault::OtherHead { lcluster, head: 0 }.of(NID));
    assert_eq!(confirm(0, 1025), fault(2));
    assert_eq!(confirm(1300, 1536), fault(2));
    assert_eq!(confirm(1536, 2048), fault(3));
    // A head at the end of the extent is not within it.
    let entries = [head(1, 0, 5), behind(1, 1), head(0, 100, 6), head(1, 0, 7)];
    let file = File::new(FULL, 2000, 0, 0, [0, 0]).entries(&entries);
    let map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    for found in file.extents() {
        let range = ByteRange::new(found.offset, found.end()).unwrap_or_default();
        assert_eq!(map.confirm(&mut meta, &found, range), Ok(()));
    }
}

#[test]
fn byte_behind_the_file_has_no_extent() {
    let file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, 5)]);
    assert_eq!(file.fault(512), MapFault::BeyondFile { offset: 512, size: 512 });
    assert_eq!(
        File::new(FULL, 0, 0, 0x28, [0, 0]).fault(0),
        MapFault::BeyondFile { offset: 0, size: 0 }
    );
}

#[test]
fn plain_inode_has_no_map() {
    let file = File::new(0, 512, 0, 0, [0, 0]);
    assert_eq!(file.open(), Err(MapFault::NotCompressed.of(NID)));
}

#[test]
fn head_lies_within_its_lcluster() {
    let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&[head(1, 512, 5), behind(1, 1)]);
    let fault = MapFault::HeadOffset { lcluster: 0, offset: 512, bytes: 512 };
    assert_eq!((file.fault(0), file.fault(600)), (fault, fault));
    let file = File::new(COMPACT, 512, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0xfff), (0, 0)], 5));
    let fault = MapFault::HeadOffset { lcluster: 0, offset: 4095, bytes: 512 };
    assert_eq!(file.fault(0), fault);
}

#[test]
fn look_back_is_neither_nothing_nor_to_before_the_file() {
    for back in [0, 2] {
        let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&[head(1, 0, 5), behind(back, 1)]);
        let fault = MapFault::LookBack { lcluster: 1, distance: u64::from(back) };
        assert_eq!(file.fault(600), fault);
    }
    let file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 9, 5)]);
    assert_eq!(file.fault(8), MapFault::LookBack { lcluster: 0, distance: 1 });
}

#[test]
fn look_back_is_bounded_in_hops() {
    let mut entries = std::vec![head(1, 0, 5)];
    entries.resize(66, behind(1, 1));
    let file = File::new(FULL, 66 * 512, 0, 0, [0, 0]).entries(&entries);
    assert!(file.find(65 * 512 - 1).is_ok());
    assert_eq!(file.fault(65 * 512), MapFault::Hops { lcluster: 65, hops: 64 });
}

#[test]
fn pcluster_that_decodes_to_more_than_12_mib_is_refused() {
    // 2,048 entries are 16 KiB; lclusters of 16 KiB.
    let mut entries = std::vec![head(1, 0, 5), behind(1, 1)];
    entries.resize(800, behind(1, 1));
    let file = |size| File::new(FULL, size, 0, 0, [0, 5]).entries(&entries);
    assert_eq!(file(12 << 20).find(0).map(|extent| extent.len), Ok(12 << 20));
    let fault = MapFault::DecodedLength { offset: 0, len: (12 << 20) + 1 };
    assert_eq!(file((12 << 20) + 1).fault(0), fault);
    let fault = MapFault::DecodedLength { offset: 0, len: (12 << 20) + (16 << 10) };
    assert_eq!(file(13_000_000).fault(0), fault);
}

#[test]
fn pcluster_has_a_mebibyte_at_most() {
    let file = |blocks: u16| {
        let heads = [head(1, 0, 0), behind(0x800 | blocks, 1)];
        let mut file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&heads);
        // An image that does not say how long it is.
        file.superblock = Sample::new().put(80, &[2]).put(36, &[0; 4]).superblock();
        file
    };
    assert_eq!(file(2047).find(0), Ok(encoded(0, 1024, 0, 2047, Coded(Lz4))));
    let heads = [head(1, 0, 0), behind(0x1800 | 1, 1)];
    let file = file(0).entries(&heads);
    assert_eq!(file.fault(0), MapFault::EncodedLength { offset: 0, len: 4097 * 512 });
    let long = ((1 << 28) | ((1 << 20) + 1), 0, 0);
    let file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[long]));
    assert_eq!(file.fault(0), MapFault::EncodedLength { offset: 0, len: (1 << 20) + 1 });
}

#[test]
fn pcluster_ends_with_the_image() {
    let file = |block| File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, block)]);
    assert!(file(63).find(0).is_ok());
    let fault = MapFault::BeyondBlocks { offset: 0, at: 64 * 512, len: 512, blocks: 64 };
    assert_eq!(file(64).fault(0), fault);
}

#[test]
fn algorithm_is_known_and_listed() {
    let mut file = File::new(FULL, 512, 0, 0, [4, 0]).entries(&[head(1, 0, 5)]);
    let error = Unsupported::Algorithm { nid: NID, algorithm: 4 };
    assert_eq!(file.find(0), Err(error.into()));
    file = file.put(HEADER + 6, &[3]);
    file.algorithms = 0b0111;
    let fault = MapFault::Algorithm { offset: 0, algorithm: 3, listed: 7 };
    assert_eq!(file.fault(0), fault);
    let record = (4 << 28 | 9, 0, 0);
    let mut file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[record]));
    file.algorithms = 0b0111;
    assert_eq!(file.fault(0), fault);
    let record = (15 << 28 | 9, 0, 0);
    let file = file.put(HEADER + 16, &long_records(4, &[record]));
    let error = Unsupported::Algorithm { nid: NID, algorithm: 14 };
    assert_eq!(file.find(0), Err(error.into()));
}

#[test]
fn large_pclusters_need_their_feature() {
    for advise in [2, 4] {
        let mut file = File::new(FULL, 512, 0, advise, [0, 0]);
        assert!(file.open().is_ok());
        file.superblock = Sample::new().superblock();
        assert_eq!(file.open(), Err(MapFault::BigPclusters { advise }.of(NID)));
        let file = File::new(COMPACT, 512, 0, advise, [0, 0]);
        assert_eq!(file.open(), Err(MapFault::UnequalHeads { advise }.of(NID)));
    }
}

#[test]
fn block_count_stands_behind_heads_of_large_pclusters_and_nowhere_else() {
    let heads = [head(1, 0, 5), behind(0x802, 1)];
    let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(file.fault(0), MapFault::BlockCount { lcluster: 1 });
    let file = File::new(COMPACT, 1024, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0), (2, 0x802)], 5));
    assert_eq!(file.fault(0), MapFault::BlockCount { lcluster: 1 });
    let file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&[head(1, 0, 5), behind(1, 1)]);
    assert_eq!(file.fault(0), MapFault::NoBlockCount { lcluster: 1 });
}

#[test]
fn pack_of_large_pclusters_has_no_distance_of_one() {
    let mut long = [(1, 0); 16];
    long[3] = (2, 1);
    let mut packs = pack(&[(1, 0), (1, 0)], 0).repeat(3);
    packs.extend_from_slice(&pack(&long, 6));
    let file = File::new(COMPACT, 22 * 512, 0, 7, [0, 0]).put(PACKS, &packs);
    assert!(file.find(7 * 512).is_ok());
    assert_eq!(file.fault(11 * 512), MapFault::PackDistance { lcluster: 9, distance: 1 });
}

#[test]
fn packs_have_room_for_lclusters_of_16_kib_and_long_ones_of_4() {
    let open = |size, advise, bits| File::new(COMPACT, size, 0, advise, [0, bits]).open();
    let refused = |bits| Err(Unsupported::LclusterBits { nid: NID, bits }.into());
    assert!(open(512, 0, 5).is_ok() && open(22 * 512, 1, 3).is_ok());
    assert_eq!(open(512, 0, 6), refused(15));
    assert_eq!(open(22 * 512, 1, 4), refused(13));
    // Too short for a long pack.
    assert!(open(21 * 512, 1, 5).is_ok());
}

#[test]
fn message_leads_to_the_entry() {
    let fault = MapFault::LookBack { lcluster: 7, distance: 9 };
    assert_eq!(
        std::format!("{:#}", fault.of(NID)),
        "corrupt image: compressed map of nid 100: lcluster 7 has its head 9 lclusters before it"
    );
    let fault = MapFault::Algorithm { offset: 512, algorithm: 3, listed: 7 };
    assert_eq!(
        std::format!("{:#}", fault.of(NID)),
        "corrupt image: compressed map of nid 100: the extent at byte 0x200 names algorithm 3, \
         listed are 0b111"
    );
}
