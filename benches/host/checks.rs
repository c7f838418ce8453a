//! Candidates for the check of a block of 4 KiB, and the region's own.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use rootlet::cache::BlobKey;
use rootlet_sim::image::Content;
use twox_hash::{XxHash3_64, XxHash64};

/// 1 MiB, which no cache of the first level holds, as a read has.
const BYTES: usize = 1 << 20;
const BLOCK: usize = 4096;

static SLICING: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);

/// The checks of all blocks.
pub fn all(criterion: &mut Criterion) {
    let data = Content::seeded(3, BYTES).to_vec();
    let key = BlobKey::new(&[7; 16], b"blob", 1);
    let secrets = RapidSecrets::seed(7);
    let mut group = criterion.benchmark_group("check of 4 KiB");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let mut candidate = |name: &str, check: &dyn Fn(u64, &[u8]) -> u64| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let blocks = (0..).zip(black_box(&data).chunks_exact(BLOCK));
                blocks.fold(0, |sum, (number, block)| sum ^ check(number, block))
            });
        });
    };
    candidate("region", &|number, block| key.checksum(number, block));
    candidate("rapidhash v3", &|_, block| rapidhash_v3_seeded(block, &secrets));
    candidate("XXH3", &|_, block| XxHash3_64::oneshot(block));
    candidate("XXH64", &|seed, block| XxHash64::oneshot(seed, block));
    candidate("CRC-32C by instruction", &|_, block| u64::from(crc32c::crc32c(block)));
    candidate("CRC-32C by 16 tables", &|_, block| u64::from(SLICING.checksum(block)));
    group.finish();
}
