//! The decoders: of any bytes, and of what an encoder that is not ours made.
//!
//! Always: a part is that part of the whole, also right after a fault; our decoder
//! returns the bytes that another one does.

use std::cell::RefCell;
use std::io::Write;

use rootlet::erofs::codec::{Algorithm, Algorithms, Decoders, Encoded, End, Limits};

use crate::input::Input;

/// Small, so that the window slides often.
const DICTIONARY: u32 = 64 << 10;
/// Most decoded bytes.
const OUT_BYTES: usize = 600 << 10;

thread_local! {
    /// Used again and again, as a mount does: nothing of one stream may be left for the next.
    static DECODERS: RefCell<Decoders> = RefCell::new(Decoders::new(
        Algorithms::ALL,
        &Limits::MAX.with_lzma_dictionary(DICTIONARY).with_zstd_window(512 << 10),
    ));
}

pub fn lz4(bytes: &[u8]) {
    run(Algorithm::Lz4, bytes);
}

pub fn micro_lzma(bytes: &[u8]) {
    run(Algorithm::MicroLzma, bytes);
}

pub fn deflate(bytes: &[u8]) {
    run(Algorithm::Deflate, bytes);
}

pub fn zstd(bytes: &[u8]) {
    run(Algorithm::Zstd, bytes);
}

fn decode(encoded: &Encoded<'_>, skip: u64, out: &mut [u8]) -> bool {
    DECODERS.with_borrow_mut(|decoders| decoders.decode(encoded, skip, out)).is_ok()
}

fn run(algorithm: Algorithm, bytes: &[u8]) {
    let input = &mut Input(bytes);
    let (how, padding_max) = (input.byte(), usize::from(input.byte()) << 4);
    let (skip, len) = (input.number(3), input.number(3));
    let len = len as usize % OUT_BYTES;
    let skip = skip % (len as u64 + 1);
    let end = if how & 1 == 0 { End::Open } else { End::Exact };
    if how & 2 != 0 {
        round_trip(algorithm, input.0, skip);
        return;
    }
    let encoded = Encoded::new(algorithm, input.0).with_padding_max(padding_max).with_end(end);
    let mut whole = vec![0xcc; len];
    if !decode(&encoded, 0, &mut whole) {
        // Whatever a part of it gives, it ends.
        let mut part = vec![0; len - skip as usize];
        let _ = decode(&encoded, skip, &mut part);
        return;
    }
    check_part(&encoded, &whole, skip);
    if padding_max == 0 {
        check_other(algorithm, input.0, &whole, end);
    }
}

/// Bytes from `skip` on are those of the whole, to the end and not to the end.
fn check_part(encoded: &Encoded<'_>, whole: &[u8], skip: u64) {
    let rest = &whole[skip as usize..];
    let mut part = vec![0x33; rest.len()];
    assert!(decode(encoded, skip, &mut part), "the end alone does not decode");
    assert!(part == rest, "the end alone is other bytes");
    let open = encoded.with_end(End::Open);
    let middle = &rest[..rest.len() / 2];
    let mut part = vec![0x33; middle.len()];
    assert!(decode(&open, skip, &mut part), "the middle alone does not decode");
    assert!(part == middle, "the middle alone is other bytes");
}

/// What another decoder says of the same stream.
fn check_other(algorithm: Algorithm, input: &[u8], whole: &[u8], end: End) {
    let other = match algorithm {
        Algorithm::Lz4 if end == End::Exact => lz4_flex::block::decompress(input, whole.len()).ok(),
        Algorithm::Deflate => {
            let limit = whole.len() + (64 << 10);
            miniz_oxide::inflate::decompress_to_vec_with_limit(input, limit).ok()
        }
        _ => None,
    };
    if let Some(other) = other {
        let len = other.len().min(whole.len());
        assert!(len == whole.len() || end == End::Open, "{len} bytes of {}", whole.len());
        assert!(other[..len] == whole[..len], "another decoder gives other bytes");
    }
}

/// What was encoded decodes to itself; with a byte less or more asked for it is a fault.
fn round_trip(algorithm: Algorithm, data: &[u8], skip: u64) {
    if data.is_empty() {
        return;
    }
    let stream = encode(algorithm, data);
    let encoded = Encoded::new(algorithm, &stream);
    let mut whole = vec![0xcc; data.len()];
    assert!(decode(&encoded, 0, &mut whole), "what was encoded does not decode");
    assert!(whole == data, "it decodes to other bytes");
    check_part(&encoded, &whole, skip % (data.len() as u64));
    let mut more = vec![0; data.len() + 1];
    let more = decode(&encoded, 0, &mut more);
    let less = decode(&encoded, 0, &mut whole[1..]);
    // MicroLZMA has no end: the last bytes of its coder may well be the code of one more byte,
    // and a likely byte takes nothing of it.
    let has_end = algorithm != Algorithm::MicroLzma;
    assert!(!(more && has_end), "a byte more than there is");
    assert!(!(less && has_end), "a byte more goes unnoticed");
}

fn encode(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Lz4 => lz4_flex::block::compress(data),
        Algorithm::Deflate => miniz_oxide::deflate::compress_to_vec(data, 6),
        Algorithm::Zstd => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(data, level)
        }
        Algorithm::MicroLzma => {
            let mut options = lzma_rust2::LzmaOptions::with_preset(1);
            options.dict_size = DICTIONARY;
            let mut writer =
                lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, false).unwrap();
            let properties = writer.props();
            writer.write_all(data).unwrap();
            let mut stream = writer.finish().unwrap();
            stream[0] = !properties;
            stream
        }
    }
}
