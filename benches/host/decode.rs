//! The decoders, each over a pcluster whole.

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, Throughput};
use rootlet::erofs::codec::{Algorithm, Algorithms, Decoders, Encoded, Limits};

/// What one pcluster decodes to, about as mkfs.erofs makes of 64 KiB of text.
const BYTES: usize = 144 << 10;

/// All of them.
pub fn all(criterion: &mut Criterion) {
    let data = text(BYTES);
    let mut decoders = Decoders::new(Algorithms::ALL, &Limits::MAX);
    let mut out = vec![0; BYTES];
    let mut group = criterion.benchmark_group("decode 144 KiB");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for algorithm in Algorithm::ALL {
        let input = encoded(algorithm, &data);
        let pcluster = Encoded::new(algorithm, &input);
        decoders.decode(&pcluster, 0, &mut out).unwrap();
        assert!(out == data, "{algorithm}");
        group.bench_function(algorithm.to_string(), |bencher| {
            bencher.iter(|| decoders.decode(black_box(&pcluster), 0, &mut out).unwrap());
        });
    }
    group.finish();
}

/// Words out of few, with noise among them.
fn text(bytes: usize) -> Vec<u8> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut number = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let words: Vec<Vec<u8>> = (0..512)
        .map(|_| (0..4 + number() % 12).map(|_| number().to_le_bytes()[3]).collect())
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let number = number();
        match number % 5 {
            0 => text.extend_from_slice(&number.to_le_bytes()),
            _ => text.extend_from_slice(&words[(number >> 8) as usize % words.len()]),
        }
    }
    text.truncate(bytes);
    text
}

fn encoded(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Lz4 => lz4_flex::block::compress(data),
        Algorithm::Deflate => miniz_oxide::deflate::compress_to_vec(data, 6),
        Algorithm::Zstd => {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Algorithm::MicroLzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let writer = lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, false);
            let mut writer = writer.unwrap();
            let properties = writer.props();
            writer.write_all(data).unwrap();
            let mut stream = writer.finish().unwrap();
            stream[0] = !properties;
            stream
        }
    }
}
