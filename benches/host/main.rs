//! The host's paths, to be compared with themselves: decoders, block checks, reads over files with
//! and without a region, verified reads, and mounts of a large region.
//!
//! Always: the timed calls are public and the same in every run; their results are looked at.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

mod checks;
mod decode;
mod files;
mod mounts;
mod verify;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = config();
    targets = checks::all, decode::all, files::all, mounts::all, verify::all
}
criterion_main!(benches);
