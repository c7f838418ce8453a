//! Vectors of the decoders that are ours: one text as the reference encoders wrote it.
//!
//! Always: the text is made by a rule; the streams were made once, by liblz4 1.9.4 (level 9) and by
//! liblzma 5.4.1 (raw LZMA1 with a dictionary of 4 KiB, its first byte replaced by the inverted
//! properties).
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that panics has failed")]

use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// A stream, in hex digits.
struct Vector {
    algorithm: Algorithm,
    stream: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        algorithm: Algorithm::Lz4,
        stream: "f11c736c6f742031206f662033393a20726f6f746c65742072656164732077686174206974206e656564732e\
     202b0011322b001f382b001111332b001f372b001111342b001f362b001111352b001f352b001111362b001f\
     342b001111372b001f332b001111382b001f322b001111392b001f312b00112131302c001f302c001201b001\
     1f32b00108506564732e20",
    },
    // lc = 3, lp = 0, pb = 2.
    Vector {
        algorithm: Algorithm::MicroLzma,
        stream: "a2399b0a43a9cc8ec1263e4b52eb9d89efdbaa7cb2b55006e6f9acf58db8da892f62832b5b8f2eb120402b75\
     1335e99fa7342927c8ceb621f39778c4486a4fe7e18241488f9bc2a58fda0e1308bfd6c8ded192460410b4b1\
     0b00b3883e525478ff9779d580",
    },
    // lc = 0, lp = 2, pb = 0.
    Vector {
        algorithm: Algorithm::MicroLzma,
        stream: "ed399be33905aaec2125fb5e7d30b35ea4c3d2f07168d160eebda4b806c5e8872f3208e3ab1242aee2920a6f\
     1cc5f199733109d317708deb7f5e915fe905e22bd3d09ad7e0fbd69d42a09f690247116de458fa4ec6f75502\
     6ca2e774a8700d12b14bff7da4e100",
    },
];

/// Returns the text of all vectors: 475 bytes.
fn text() -> Vec<u8> {
    let line = |(n, left)| alloc::format!("slot {n} of {left}: rootlet reads what it needs. ");
    (1..12).zip((29..40).rev()).flat_map(|pair: (u32, u32)| line(pair).into_bytes()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn streams_of_the_reference_encoders_decode_to_any_prefix_and_to_all() {
    let text = text();
    assert_eq!(text.len(), 475);
    let limits = Limits { lzma_dictionary: 4096, ..Limits::MAX };
    let mut decoders = Decoders::new(Algorithms::ALL, &limits);
    for Vector { algorithm, stream } in VECTORS {
        let input = bytes(stream);
        for len in 1..=text.len() {
            // Raw LZMA1 has a mark at its end, which MicroLZMA does not have.
            let is_all = len == text.len() && algorithm == Algorithm::Lz4;
            let end = if is_all { End::Exact } else { End::Open };
            let encoded = Encoded { algorithm, input: &input, padding_max: 0, end };
            let mut out = vec![0; len];
            assert_eq!(decoders.decode(&encoded, 0, &mut out), Ok(()), "{algorithm} of {len}");
            assert_eq!(out, text[..len], "{algorithm} of {len}");
        }
    }
}
