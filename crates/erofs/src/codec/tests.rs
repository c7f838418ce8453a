//! Tests of the decoders: round trips, parts, and streams that are wrong.
//!
//! Always: what is decoded comes from compressors that are not ours.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use alloc::vec;
use alloc::vec::Vec;
use std::io::Write;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use rootlet_base::num::wide;

/// Text that repeats near and far, noise, and a run: `len` bytes of it.
fn data(len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    while data.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let [kind, a, b, c, ..] = seed.to_le_bytes();
        match kind % 8 {
            0 => data.extend_from_slice(&seed.to_be_bytes().repeat(4)),
            1 => data.extend(vec![a; usize::from(b) * usize::from(c % 4 + 1)]),
            2..5 => {
                let word = alloc::format!("word{} of {} ", a % 32, b % 4);
                data.extend_from_slice(word.as_bytes());
            }
            5 => data
                .extend((0..40).map(|i: u8| a.wrapping_mul(i) ^ b.wrapping_add(i.wrapping_mul(c)))),
            _ => {
                let back = data.len().saturating_sub(usize::from(a) * 300 + 1);
                let part = data[back..].iter().take(usize::from(b) + 4).copied();
                let part: Vec<u8> = part.collect();
                data.extend(part);
            }
        }
    }
    data.truncate(len);
    data
}

fn encode(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Lz4 => lz4_flex::block::compress(data),
        Algorithm::Deflate => miniz_oxide::deflate::compress_to_vec(data, 6),
        Algorithm::Zstd => {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Algorithm::MicroLzma => {
            let mut options = lzma_rust2::LzmaOptions::with_preset(6);
            options.dict_size = DICTIONARY;
            let writer = lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, false);
            let mut writer = writer.unwrap();
            let properties = writer.props();
            writer.write_all(data).unwrap();
            let mut stream = writer.finish().unwrap();
            assert_eq!(stream[0], 0);
            stream[0] = !properties;
            stream
        }
    }
}

/// Small, so that the window slides often.
const DICTIONARY: u32 = 64 << 10;

/// More than three windows of all algorithms but Zstandard.
const LEN: usize = 700_000;

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| data(LEN));
static STREAMS: LazyLock<[Vec<u8>; 4]> =
    LazyLock::new(|| Algorithm::ALL.map(|algorithm| encode(algorithm, &SAMPLE)));

fn decoders() -> Decoders {
    let limits = Limits { lzma_dictionary: DICTIONARY, ..Limits::MAX };
    Decoders::new(Algorithms::ALL, &limits)
}

fn open(algorithm: Algorithm, input: &[u8]) -> Encoded<'_> {
    Encoded { algorithm, input, padding_max: 0, end: End::Open }
}

fn exact(algorithm: Algorithm, input: &[u8]) -> Encoded<'_> {
    Encoded { end: End::Exact, ..open(algorithm, input) }
}

#[test]
fn each_algorithm_gives_back_what_was_encoded() {
    let mut decoders = decoders();
    for len in [1, 2, 5, 13, 100, 4095, 4096, 65_536, 70_000, LEN] {
        let data = &SAMPLE[..len];
        for algorithm in Algorithm::ALL {
            let input = encode(algorithm, data);
            let mut out = vec![0; len];
            let done = decoders.decode(&exact(algorithm, &input), 0, &mut out);
            assert_eq!(done, Ok(()), "{algorithm} of {len} bytes");
            assert!(out == data, "{algorithm} of {len} bytes");
        }
    }
}

#[test]
fn padding_before_the_stream_is_skipped_within_its_limit() {
    let mut decoders = decoders();
    for algorithm in Algorithm::ALL {
        let mut input = vec![0; 100];
        input.extend(encode(algorithm, b"padded, padded, padded"));
        let mut out = [0; 22];
        let encoded = |padding_max| Encoded { padding_max, ..exact(algorithm, &input) };
        assert_eq!(decoders.decode(&encoded(4096), 0, &mut out), Ok(()));
        assert_eq!(&out, b"padded, padded, padded");
        assert_eq!(decoders.decode(&encoded(101), 0, &mut out), Ok(()));
        let fault = decoders.decode(&encoded(100), 0, &mut out);
        assert_eq!(fault, Err(Fault::Padding { zeros: 100 }));
    }
}

#[test]
fn an_input_without_bytes_is_a_fault() {
    let mut decoders = decoders();
    for algorithm in Algorithm::ALL {
        for padding_max in [0, 4096] {
            let encoded = Encoded { padding_max, ..open(algorithm, &[]) };
            let fault = decoders.decode(&encoded, 0, &mut [0; 4]);
            assert_eq!(fault, Err(Fault::InputEnds { decoded: 0 }), "{algorithm}");
        }
    }
}

#[test]
fn an_algorithm_that_was_not_asked_for_is_refused() {
    for algorithm in Algorithm::ALL {
        let mut decoders = Decoders::new(Algorithms::default(), &Limits::MAX);
        let fault = decoders.decode(&open(algorithm, &[1, 2, 3]), 0, &mut [0; 4]);
        assert_eq!(fault, Err(Fault::NotReady(algorithm)));
    }
}

#[test]
fn what_follows_the_bytes_asked_for_is_a_fault_only_if_they_are_all() {
    let mut decoders = decoders();
    for algorithm in Algorithm::ALL {
        for len in [0, 1, 20, 99_999] {
            let input = encode(algorithm, &SAMPLE[..100_000]);
            let mut out = vec![0; len];
            assert_eq!(decoders.decode(&open(algorithm, &input), 0, &mut out), Ok(()));
            assert!(out == SAMPLE[..len]);
            let asked = wide(len);
            let fault = decoders.decode(&exact(algorithm, &input), 0, &mut out);
            assert_eq!(fault, Err(Fault::Long { asked }), "{algorithm} to {len}");
        }
    }
}

#[test]
fn more_than_a_stream_holds_is_a_fault() {
    let mut decoders = decoders();
    for (algorithm, expected) in [
        (Algorithm::Lz4, Fault::Short { decoded: 1000, asked: 1001 }),
        // LZMA does not say where it ends: the decoder runs out of input.
        (Algorithm::MicroLzma, Fault::InputEnds { decoded: 0 }),
        (Algorithm::Deflate, Fault::Short { decoded: 1000, asked: 1001 }),
        (Algorithm::Zstd, Fault::Short { decoded: 1000, asked: 1001 }),
    ] {
        let input = encode(algorithm, &SAMPLE[..1000]);
        for skip in [0, 900, 1000] {
            let mut out = vec![0; 1001 - skip];
            let fault = decoders.decode(&exact(algorithm, &input), wide(skip), &mut out);
            let fault = match fault {
                Err(Fault::InputEnds { decoded: 1000.. }) => Fault::InputEnds { decoded: 0 },
                fault => fault.unwrap_err(),
            };
            assert_eq!(fault, expected, "{algorithm} from {skip}");
        }
    }
}

#[test]
fn a_match_before_the_first_byte_is_a_fault_also_behind_other_streams() {
    // LZ4: one literal, then a match at distance 2; DEFLATE with fixed codes: one literal, the
    // same; the window is full of the stream before.
    let mut decoders = decoders();
    let lz4 = &[0x10, b'a', 2, 0, 0x10, b'b'];
    // Bits: 1 01, literal 'a' (0x91), length 3 (0000001), distance 2 (00001), end (0000000).
    let deflate = &[0x4b, 0x04, 0x22, 0x00];
    let lz4_fault = Fault::Distance { decoded: 1, distance: 2, max: 1 };
    for (algorithm, input, fault) in [
        (Algorithm::Lz4, &lz4[..], lz4_fault),
        (Algorithm::Deflate, &deflate[..], Fault::Code { decoded: 1 }),
    ] {
        for skip in [0, 2] {
            let before = encode(algorithm, &SAMPLE);
            let mut out = vec![0; 1000];
            assert_eq!(decoders.decode(&open(algorithm, &before), 600_000, &mut out), Ok(()));
            let done = decoders.decode(&open(algorithm, input), skip, &mut out[..2]);
            assert_eq!(done, Err(fault), "{algorithm} from {skip}");
        }
    }
}

#[test]
fn lz4_distance_of_zero_is_a_fault() {
    let input = [0x10, b'a', 0, 0, 0x50, 1, 2, 3, 4, 5];
    let fault = decoders().decode(&open(Algorithm::Lz4, &input), 0, &mut [0; 9]);
    assert_eq!(fault, Err(Fault::Distance { decoded: 1, distance: 0, max: 1 }));
}

#[test]
fn lz4_stream_may_end_in_a_sequence_of_nothing_but_not_in_a_match() {
    let mut out = [0; 5];
    let match_last = [0x10, b'a', 1, 0];
    let fault = decoders().decode(&exact(Algorithm::Lz4, &match_last), 0, &mut out);
    assert_eq!(fault, Err(Fault::InputEnds { decoded: 5 }));
    let empty_last = [0x10, b'a', 1, 0, 0];
    assert_eq!(decoders().decode(&exact(Algorithm::Lz4, &empty_last), 0, &mut out), Ok(()));
    assert_eq!(&out, b"aaaaa");
}

#[test]
fn lzma_properties_beyond_the_format_or_linux_are_refused() {
    // lc 8, lp 0: the specification allows it, Linux takes lc + lp up to 4.
    for byte in [225, 8, 5, 9 * 4 + 1] {
        let input = [!byte, 0, 0, 0, 0, 0, 0];
        let fault = decoders().decode(&open(Algorithm::MicroLzma, &input), 0, &mut [0; 4]);
        assert_eq!(fault, Err(Fault::Properties(byte)));
    }
}

#[test]
fn lzma_match_beyond_the_dictionary_is_a_fault_from_any_byte() {
    let mut far: Vec<u8> =
        (1_u32..=3000).map(|i| i.wrapping_mul(0x9e37_79b1).to_le_bytes()[3]).collect();
    far.extend(vec![7; 5000]);
    far.extend_from_within(..3000);
    let input = encode(Algorithm::MicroLzma, &far);
    let limits = Limits { lzma_dictionary: 4096, ..Limits::MAX };
    let mut decoders = Decoders::new(Algorithms::ALL, &limits);
    let expected = Fault::Distance { decoded: 8000, distance: 8000, max: 4096 };
    for skip in [0, 9000] {
        let mut out = vec![0; 11_000 - skip];
        let fault = decoders.decode(&exact(Algorithm::MicroLzma, &input), wide(skip), &mut out);
        assert_eq!(fault, Err(expected), "from {skip}");
    }
}

#[test]
fn zstd_head_is_checked_before_memory_is_taken() {
    let mut decoders = Decoders::new(
        Algorithms::from(Algorithm::Zstd),
        &Limits { zstd_window: 65_536, ..Limits::MAX },
    );
    let mut fault = |input: &[u8]| decoders.decode(&open(Algorithm::Zstd, input), 0, &mut [0; 4]);
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let window = |descriptor| [&magic[..], &[0, descriptor, 1, 0, 0]].concat();
    assert_eq!(fault(&[1, 2, 3, 4, 5]), Err(Fault::Magic(0x0403_0201)));
    assert_eq!(fault(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]), Err(Fault::Magic(0x184d_2a50)));
    assert_eq!(fault(&window(7 << 3)), Err(Fault::Window { bytes: 131_072, max: 65_536 }));
    assert_eq!(fault(&window(0xff)).map_err(|f| matches!(f, Fault::Window { .. })), Err(true));
    assert_eq!(fault(&window(6 << 3)), Err(Fault::Short { decoded: 0, asked: 4 }));
    let dictionary = [&magic[..], &[1, 6 << 3, 9, 1, 0, 0]].concat();
    assert_eq!(fault(&dictionary), Err(Fault::Dictionary(9)));
}

#[test]
fn a_truncated_stream_is_a_fault_at_every_length() {
    let mut decoders = decoders();
    let data = &SAMPLE[..3000];
    for algorithm in Algorithm::ALL {
        let input = encode(algorithm, data);
        for len in 0..input.len() {
            let done = decoders.decode(&exact(algorithm, &input[..len]), 0, &mut [0; 3000]);
            assert!(done.is_err(), "{algorithm} with {len} of {} bytes", input.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_part_is_the_part_of_the_whole(
        which in 0_usize..4, from in 0..LEN, len in 0..200_000_usize,
    ) {
        let len = len.min(LEN - from);
        let mut out = vec![0; len];
        let encoded = open(Algorithm::ALL[which], &STREAMS[which]);
        prop_assert_eq!(decoders().decode(&encoded, wide(from), &mut out), Ok(()));
        prop_assert!(out == SAMPLE[from..from + len]);
    }

    #[test]
    fn lz4_long_overlaps_are_those_of_the_oracle(
        parts in prop::collection::vec((any::<u8>(), 1_usize..40, 1_usize..2000), 1..40),
        skip in 0_usize..5000,
    ) {
        let mut data = Vec::new();
        for (byte, period, len) in parts {
            let start = data.len();
            data.extend((0..period.min(255)).map(|i| byte.wrapping_mul(u8::try_from(i).unwrap())));
            for i in 0..len {
                data.push(data[start + i]);
            }
        }
        let input = encode(Algorithm::Lz4, &data);
        let skip = skip.min(data.len());
        let mut out = vec![0; data.len() - skip];
        prop_assert_eq!(decoders().decode(&exact(Algorithm::Lz4, &input), wide(skip), &mut out), Ok(()));
        prop_assert!(out == data[skip..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_streams_give_bytes_or_a_fault_and_the_same_from_any_byte(
        which in 0_usize..4,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        skip in 0_usize..6000,
    ) {
        static STREAMS: LazyLock<[Vec<u8>; 4]> =
            LazyLock::new(|| Algorithm::ALL.map(|algorithm| encode(algorithm, &SAMPLE[..6000])));
        static LIMITS: Limits = Limits { lzma_dictionary: 4096, ..Limits::MAX };
        let mut input = STREAMS[which].clone();
        for (place, byte) in flips {
            let place = place.index(input.len());
            input[place] = byte;
        }
        if skip % 4 == 0 {
            input.truncate(cut.index(input.len()));
        }
        let mut decoders = Decoders::new(Algorithms::from(Algorithm::ALL[which]), &LIMITS);
        for encoded in [open(Algorithm::ALL[which], &input), exact(Algorithm::ALL[which], &input)] {
            let (mut whole, mut part) = (vec![0; 6000], vec![0; 6000 - skip]);
            let done = decoders.decode(&encoded, 0, &mut whole);
            let part_done = decoders.decode(&encoded, wide(skip), &mut part);
            prop_assert_eq!(done, part_done);
            prop_assert!(!matches!(done, Err(Fault::Bug(_))), "{:?}", done);
            if done.is_ok() {
                prop_assert!(part == whole[skip..]);
            }
        }
    }

    #[test]
    fn garbage_gives_bytes_or_a_fault(
        which in 0_usize..4, mut input in prop::collection::vec(any::<u8>(), 0..300), head in any::<bool>(),
    ) {
        if head && which == 3 {
            input.splice(0..0, [0x28, 0xb5, 0x2f, 0xfd, 0, 0x20, 0x05, 0x04, 0]);
        } else if head && let Some(first) = input.first_mut() {
            *first = !93;
        }
        let mut decoders = Decoders::new(Algorithms::from(Algorithm::ALL[which]), &Limits { lzma_dictionary: 4096, ..Limits::MAX });
        let done = decoders.decode(&open(Algorithm::ALL[which], &input), 0, &mut [0; 5000]);
        prop_assert!(!matches!(done, Err(Fault::Bug(_))), "{:?}", done);
    }
}
