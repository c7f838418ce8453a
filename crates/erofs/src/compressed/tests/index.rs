//! Extents of indexes with an entry per lcluster.
//!
//! Always: an extent is found from each of its bytes.

use super::super::Encoding::{Coded, Interlaced, Plain};
use super::*;
use crate::codec::Algorithm::{Deflate, Lz4, MicroLzma, Zstd};

#[test]
fn full_index_has_an_entry_for_each_lcluster() {
    let heads = [head(1, 0, 5), behind(1, 1), head(0x8001, 100, 6), head(0, 50, 7)];
    let file = File::new(FULL, 2000, 0, 0, [0, 0]).entries(&heads);
    let partial = Extent { partial: true, ..encoded(1124, 462, 6, 1, Coded(Lz4)) };
    let expected = [encoded(0, 1124, 5, 1, Coded(Lz4)), partial, encoded(1586, 414, 7, 1, Plain)];
    assert_eq!(file.extents(), expected);
}

#[test]
fn first_and_second_head_have_an_algorithm_each() {
    let heads = [head(1, 0, 5), head(3, 9, 6)];
    for (numbers, first, second) in
        [(0x10, Coded(Lz4), Coded(MicroLzma)), (0x32, Coded(Deflate), Coded(Zstd))]
    {
        let file = File::new(FULL, 1024, 0, 0, [numbers, 0]).entries(&heads);
        assert_eq!(file.extents(), [encoded(0, 521, 5, 1, first), encoded(521, 503, 6, 1, second)]);
        let bits = file.open().map(|map| map.algorithms());
        assert_eq!(bits, Ok(if numbers == 0x10 { 0b11 } else { 0b1100 }));
    }
}

#[test]
fn large_pcluster_has_its_blocks_behind_its_head() {
    let heads = [head(1, 0, 5), behind(0x800 | 3, 3), behind(2, 2), behind(3, 1), head(1, 1, 8)];
    let file = File::new(FULL, 2500, 0, 2, [3, 0]).entries(&heads);
    assert_eq!(
        file.extents(),
        [encoded(0, 2049, 5, 3, Coded(Zstd)), encoded(2049, 451, 8, 1, Coded(Zstd))]
    );
}

#[test]
fn heads_side_by_side_have_one_block_even_where_more_are_allowed() {
    let file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&[head(1, 0, 5), head(1, 7, 9)]);
    assert_eq!(
        file.extents(),
        [encoded(0, 519, 5, 1, Coded(Lz4)), encoded(519, 505, 9, 1, Coded(Lz4))]
    );
}

#[test]
fn distance_ahead_of_zero_is_one() {
    let heads = [head(1, 0, 5), behind(1, 0), behind(2, 0), head(1, 4, 6)];
    let file = File::new(FULL, 2048, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(
        file.extents(),
        [encoded(0, 1540, 5, 1, Coded(Lz4)), encoded(1540, 508, 6, 1, Coded(Lz4))]
    );
}

#[test]
fn lclusters_may_be_larger_than_blocks() {
    let file = File::new(FULL, 5000, 0, 0, [0, 3]).entries(&[head(1, 0, 5), head(1, 7, 6)]);
    assert_eq!(
        file.extents(),
        [encoded(0, 4103, 5, 1, Coded(Lz4)), encoded(4103, 897, 6, 1, Coded(Lz4))]
    );
}

#[test]
fn plain_pclusters_are_rotated_if_the_map_says_so() {
    let heads = [head(1, 0, 5), head(0, 50, 7), head(0, 60, 8)];
    let file = File::new(FULL, 1100, 0, 0x10, [0, 0]).entries(&heads);
    let rotated = |first| Interlaced { first };
    let expected = [
        encoded(0, 562, 5, 1, Coded(Lz4)),
        encoded(562, 522 - 12, 7, 1, rotated(50)),
        encoded(1084 - 12, 28, 8, 1, rotated(48)),
    ];
    let heads = [head(1, 0, 5), head(0, 50, 7), head(0, 48, 8)];
    assert_eq!(file.entries(&heads).extents(), expected);
}

#[test]
fn short_packs_count_blocks_of_heads() {
    let packs = [
        pack(&[(1, 0), (2, 1)], 4),
        pack(&[(1, 10), (0, 20)], 5),
        pack(&[(2, 1), (2, 1)], 9),
        pack(&[(1, 30), (0, 0)], 7),
    ];
    let file = File::new(COMPACT, 3300, 0, 0, [0, 0]).put(PACKS, &packs.concat());
    let expected = [
        encoded(0, 1034, 5, 1, Coded(Lz4)),
        encoded(1034, 522, 6, 1, Coded(Lz4)),
        encoded(1556, 512, 7, 1, Plain),
        encoded(2068, 3300 - 2068, 8, 1, Coded(Lz4)),
    ];
    // The plain one ends too late: its second lcluster has a head.
    let fault = MapFault::PlainLength { offset: 1556, len: 1546, stored: 512 };
    assert_eq!(file.fault(1600), fault);
    let file = file.put(PACKS + 16, &pack(&[(1, 20), (2, 1)], 7));
    let all = file.extents();
    assert_eq!(all[..3], expected[..3]);
    assert_eq!(all[3], encoded(2068, 3102 - 2068, 8, 1, Coded(Lz4)));
    assert_eq!(all[4], encoded(3102, 198, 8, 1, Coded(Lz4)));
}

#[test]
fn long_packs_lie_between_short_ones() {
    let mut long = [(2, 1); 16];
    long[0] = (1, 100);
    for back in 1..9 {
        long[usize::try_from(back).unwrap_or(0)] = (2, back);
    }
    long[9] = (1, 200);
    for back in 1..6 {
        long[usize::try_from(back).unwrap_or(0) + 9] = (2, back);
    }
    // The last item looks ahead: to the head in lcluster 23.
    long[15] = (2, 2);
    let mut packs = Vec::new();
    packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], 0));
    packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], 2));
    packs.extend_from_slice(&pack(&[(1, 0), (2, 1)], 4));
    packs.extend_from_slice(&pack(&long, 9));
    packs.extend_from_slice(&pack(&[(2, 7), (1, 3)], 11));
    let size = 24 * 512;
    let file = File::new(COMPACT, size, 0, 1, [0, 0]).put(PACKS, &packs);
    let mut expected: Vec<_> =
        (0..4).map(|n| encoded(n * 512, 512, n + 1, 1, Coded(Lz4))).collect();
    expected.push(encoded(2048, 6 * 512 + 100 - 2048, 5, 1, Coded(Lz4)));
    expected.push(encoded(6 * 512 + 100, 9 * 512 + 100, 10, 1, Coded(Lz4)));
    expected.push(encoded(15 * 512 + 200, 23 * 512 + 3 - (15 * 512 + 200), 11, 1, Coded(Lz4)));
    expected.push(encoded(23 * 512 + 3, 509, 12, 1, Coded(Lz4)));
    assert_eq!(file.extents(), expected);
}

#[test]
fn packs_of_large_pclusters_add_up_their_blocks() {
    let mut long = [(0, 0); 16];
    // 5 lclusters of 3 blocks, 1 of 1, 2 of 2, then 8 of 4.
    let items = [(1, 0), (2, 0x803), (2, 2), (2, 3), (2, 4), (1, 7), (1, 8), (2, 0x802), (1, 9)];
    long[..9].copy_from_slice(&items);
    long[9] = (2, 0x804);
    for back in 2..8 {
        long[usize::try_from(back).unwrap_or(0) + 8] = (2, back);
    }
    let mut packs = Vec::new();
    for number in 0..3 {
        packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], number * 2));
    }
    long[15] = (2, 1);
    packs.extend_from_slice(&pack(&long, 6));
    let file = File::new(COMPACT, 22 * 512, 0, 7, [1, 0]).put(PACKS, &packs);
    let extents = file.extents();
    let at = |lcluster: u64, offset| lcluster * 512 + offset;
    let expected = [
        encoded(at(6, 0), 5 * 512 + 7, 6, 3, Coded(MicroLzma)),
        encoded(at(11, 7), 513, 9, 1, Coded(MicroLzma)),
        encoded(at(12, 8), 2 * 512 + 1, 10, 2, Coded(MicroLzma)),
        encoded(at(14, 9), 8 * 512 - 9, 12, 4, Coded(MicroLzma)),
    ];
    assert_eq!(extents[6..], expected);
    assert_eq!(extents[5], encoded(5 * 512, 512, 5, 1, Coded(MicroLzma)));
}

#[test]
fn first_block_of_a_pack_may_wrap() {
    let file = File::new(COMPACT, 512, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0), (0, 0)], u32::MAX));
    assert_eq!(file.extents(), [encoded(0, 512, 0, 1, Coded(Lz4))]);
}

#[test]
fn last_pcluster_may_follow_the_index() {
    let heads = [head(1, 0, 5), head(1, 9, 77)];
    let file = File::new(FULL, 900, 200 << 16, 8, [2, 0]).entries(&heads);
    let place = Place::Inline { at: 3264 + 16 + 16 };
    let inline = |encoding| other(521, 379, Data::Encoded { place, len: 200, encoding });
    assert_eq!(file.extents(), [encoded(0, 521, 5, 1, Coded(Deflate)), inline(Coded(Deflate))]);
    // Plain it would have to hold all.
    let file = file.entries(&[head(1, 0, 5), head(0, 9, 77)]);
    let fault = MapFault::PlainLength { offset: 521, len: 379, stored: 200 };
    assert_eq!(file.fault(600), fault);
    // It is never rotated.
    let heads = [head(1, 0, 5), head(0, 320, 77)];
    let file = File::new(FULL, 900, 200 << 16, 0x18, [2, 0]).entries(&heads);
    let data = Data::Encoded { place, len: 200, encoding: Plain };
    assert_eq!(file.find(899), Ok(other(832, 68, data)));
}

#[test]
fn inline_pcluster_follows_the_last_pack() {
    let file = File::new(COMPACT, 500, 1 << 16, 8, [0, 0]).put(PACKS, &pack(&[(1, 0), (0, 0)], 0));
    let place = Place::Inline { at: 3264 + 8 + 8 };
    let data = Data::Encoded { place, len: 1, encoding: Coded(Lz4) };
    assert_eq!(file.extents(), [other(0, 500, data)]);
}

#[test]
fn tail_in_the_packed_inode_has_64_bits_in_a_full_index() {
    let heads = [head(1, 0, 5), head(1, 100, 3), behind(1, 1)];
    let file = File::new(FULL, 1500, 0xffff_fff0, 0x20, [0, 0]).entries(&heads);
    let tail = |at| other(612, 888, Data::Fragment { at });
    assert_eq!(file.extents(), [encoded(0, 612, 5, 1, Coded(Lz4)), tail(3 << 32 | 0xffff_fff0)]);
    let packs = [pack(&[(1, 0), (1, 100)], 4), pack(&[(2, 1), (0, 0)], 0)];
    let file = File::new(COMPACT, 1500, 0xffff_fff0, 0x20, [0, 0]).put(PACKS, &packs.concat());
    assert_eq!(file.extents(), [encoded(0, 612, 5, 1, Coded(Lz4)), tail(0xffff_fff0)]);
}

#[test]
fn tail_in_the_packed_inode_costs_no_read_once_open() {
    let heads = [head(1, 0, 5), head(1, 100, 3), behind(1, 1)];
    let file = File::new(FULL, 1500, 0, 0x20, [0, 0]).entries(&heads);
    let mut map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    assert!(map.find(&mut meta, 1499).is_ok() && meta.reads == 0);
}

#[test]
fn whole_file_may_lie_in_the_packed_inode() {
    let file = File::new(FULL, 1 << 50, 7, 0, [0, 0x80]);
    assert_eq!(file.find(1 << 49), Ok(other(0, 1 << 50, Data::Fragment { at: 7 })));
    assert_eq!(file.open().map(|map| map.algorithms()), Ok(0));
    let file = File::new(FULL, 1 << 50, u32::MAX, 0xffff, [0xff, 0xff]);
    let at = (1 << 63) - 1;
    assert_eq!(file.fault(0), MapFault::Fragment { offset: 0, at, len: 1 << 50 });
}

#[test]
fn head_of_a_hole_has_no_pcluster() {
    let heads = [head(0x4001, 0, 5), behind(1, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1536, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 6, 1, Coded(Lz4))]);
}

#[test]
fn no_blocks_are_a_hole() {
    let heads = [head(1, 0, 5), behind(0x800, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1536, 0, 2, [0, 0]).entries(&heads);
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 6, 1, Coded(Lz4))]);
    let packs = [pack(&[(1, 0), (2, 0x800)], 5), pack(&[(1, 9), (0, 0)], 5)];
    let file = File::new(COMPACT, 1536, 0, 6, [0, 0]).put(PACKS, &packs.concat());
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 5, 1, Coded(Lz4))]);
}

#[test]
fn hole_longer_than_any_pcluster_is_cut_behind_the_byte_asked_for() {
    // Lclusters of 16 MiB: the first two are a hole, none is too far to be seen from another.
    let heads = [head(0x4001, 0, 5), behind(1, 1), behind(2, 1), head(1, 0, 5)];
    let file = File::new(FULL, (3 << 24) + 1, 0, 0, [0, 15]).entries(&heads);
    assert_eq!(file.find(0), Ok(other(0, 1 << 24, Data::Hole)));
    assert_eq!(file.find(1 << 24), Ok(other(0, 2 << 24, Data::Hole)));
    assert_eq!(file.find((3 << 24) - 1), Ok(other(0, 3 << 24, Data::Hole)));
}

#[test]
fn pcluster_may_lie_on_another_device() {
    let mut file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, 70)]);
    file.superblock = Sample::with_devices(1).superblock();
    assert_eq!(file.extents(), [encoded(0, 512, 70, 1, Coded(Lz4))]);
}

#[test]
fn nothing_is_read_behind_the_index() {
    let heads = [head(1, 0, 5), behind(1, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1300, 0, 0, [0, 0]).entries(&heads);
    let mut meta = Bytes::new(&file.image);
    let map = CompressedMap::open(&file.superblock, ALL, &file.inode, &mut meta);
    assert_eq!((meta.reads, meta.end), (1, 3272));
    let extent = map.and_then(|mut map| map.find(&mut meta, 0));
    assert_eq!(extent, Ok(encoded(0, 1033, 5, 1, Coded(Lz4))));
    assert_eq!((meta.reads, meta.end), (2, 3264 + 16 + 24));
}
