//! Extents of records.
//!
//! Always: an extent is found from each of its bytes.

use super::super::Encoding::{Coded, Interlaced, Plain};
use super::*;
use crate::codec::Algorithm::{Deflate, Lz4, MicroLzma, Zstd};

#[test]
fn short_records_lie_behind_each_other() {
    let words = [900, 1 << 28 | 512, 0, 2 << 28 | 1 << 27 | 100];
    let words: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let file = records(3 * 1024 + 5, 2, 0, 0, [0, 1]);
    let file = file.put(HEADER + 8, &2051_u64.to_le_bytes()).put(HEADER + 16, &words);
    let at = |offset, len, at, stored, encoding| {
        let data = Data::Encoded { place: Place::Blocks { at }, len: stored, encoding };
        other(offset, len, data)
    };
    let fault = MapFault::PlainLength { offset: 0, len: 1024, stored: 900 };
    assert_eq!(file.fault(0), fault);
    let file = file.put(HEADER + 16, &1200_u32.to_le_bytes());
    let expected = [
        at(0, 1024, 2051, 1200, Plain),
        at(1024, 1024, 3251, 512, Coded(Lz4)),
        other(2048, 1024, Data::Hole),
        Extent { partial: true, ..at(3072, 5, 3763, 100, Coded(MicroLzma)) },
    ];
    assert_eq!(file.extents(), expected);
    let file = file.put(HEADER + 12, &[0xff; 4]);
    let (at, len) = (0xffff_ffff_0000_0803, 1200);
    let fault = MapFault::BeyondBlocks { offset: 0, at, len, blocks: 64 };
    assert_eq!(file.fault(0), fault);
}

#[test]
fn consecutive_short_records_are_read_once() {
    let count = 2000_usize;
    let file = records(512 * 2000, 2, 0, 0, [0, 0]).put(HEADER + 8, &[0; 8]);
    let file = file.put(HEADER + 16, &[1, 0, 0, 0x10].repeat(count));
    let mut map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    for number in 0..2000 {
        let before = meta.reads;
        let extent = map.find(&mut meta, number * 512 + 3);
        let place = Place::Blocks { at: number };
        let data = Data::Encoded { place, len: 1, encoding: Coded(Lz4) };
        assert_eq!(extent, Ok(other(number * 512, 512, data)));
        assert!(meta.reads - before <= 2);
    }
    let back = map.find(&mut meta, 0);
    assert_eq!(back.map(|extent| extent.offset), Ok(0));
}

#[test]
fn records_of_8_bytes_have_a_place() {
    let mut bytes = Vec::new();
    for (word, at) in [(3_u32 << 28 | 77, 0x2001_u32), (0xfff0, 3)] {
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
    }
    let file = records(1000, 3, 0x20, 0, [0, 0]).put(HEADER + 8, &bytes);
    let place = Place::Blocks { at: 0x2001 };
    let first = other(0, 512, Data::Encoded { place, len: 77, encoding: Coded(Deflate) });
    assert_eq!(file.extents(), [first, other(512, 488, Data::Fragment { at: 3 << 32 | 0xfff0 })]);
}

#[test]
fn long_records_are_found_by_their_offset() {
    for (bits, at) in [(4, HEADER + 16), (5, HEADER + 32)] {
        let list = [
            (4 << 28 | 300, 0x1003, 0),
            (1024, 0x2000, 700),
            (1024, 0x2001, 1500),
            (0, 0, 2000),
            (1 << 27 | 1 << 28 | 9, 0x3000, 2001),
        ];
        let file = records(3000, bits, 0x10, 5, [0, 0]).put(at, &long_records(bits, &list));
        let encoded = |offset, len, at, stored, encoding| {
            let data = Data::Encoded { place: Place::Blocks { at }, len: stored, encoding };
            other(offset, len, data)
        };
        let expected = [
            encoded(0, 700, 0x1003, 300, Coded(Zstd)),
            encoded(700, 800, 0x2000, 1024, Interlaced { first: 512 + 188 }),
            encoded(1500, 500, 0x2001, 1024, Plain),
            other(2000, 1, Data::Hole),
            Extent { partial: true, ..encoded(2001, 999, 0x3000, 9, Coded(Lz4)) },
        ];
        assert_eq!(file.extents(), expected);
    }
}

#[test]
fn records_of_32_bytes_reach_beyond_4_gib() {
    let far = 5 << 32;
    let list = [(0, 0, 0), (1 << 28 | 8, 0x7000, far), (0xffff_ffff, 0x1_0000_0002, far + 100)];
    let file = records(far + 200, 5, 0x20, 3, [0, 0]).put(HEADER + 32, &long_records(5, &list));
    let place = Place::Blocks { at: 0x7000 };
    let data = Data::Encoded { place, len: 8, encoding: Coded(Lz4) };
    assert_eq!(file.find(far - 1), Ok(other(0, far, Data::Hole)));
    assert_eq!(file.find(far + 99), Ok(other(far, 100, data)));
    let at = 2 << 32 | 0xffff_ffff;
    assert_eq!(file.find(far + 100), Ok(other(far + 100, 100, Data::Fragment { at })));
}

#[test]
fn before_the_first_record_is_a_hole() {
    let file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[(0, 0, 9)]));
    assert_eq!(file.extents(), [other(0, 9, Data::Hole), other(9, 2991, Data::Hole)]);
    let file = records(3000, 4, 0, 0, [0, 0]);
    assert_eq!(file.extents(), [other(0, 3000, Data::Hole)]);
}
