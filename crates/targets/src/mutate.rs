//! New inputs out of old ones, for `cargo test`: what libFuzzer does, without its feedback.
//!
//! Always: the same seeds and the same number give the same bytes on every machine.

use rootlet_sim::Rng;

/// Case `number` of a target with these seeds, which are at least one.
pub fn case(seeds: &[Vec<u8>], number: u64, bytes_max: usize) -> Vec<u8> {
    let mut rng = Rng::new(number ^ 0x5eed);
    let mut bytes = seeds[rng.index(seeds.len())].clone();
    for _ in 0..1 + rng.below(6) {
        step(&mut bytes, &mut rng, seeds);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn step(bytes: &mut Vec<u8>, rng: &mut Rng, seeds: &[Vec<u8>]) {
    let at = rng.index(bytes.len() + 1);
    let left = bytes.len() - at;
    match rng.below(10) {
        0..4 if left > 0 => {
            bytes[at] = match rng.below(4) {
                0 => bytes[at] ^ 1 << rng.below(8),
                1 => [0, 1, 0x7f, 0x80, 0xff][rng.index(5)],
                2 => bytes[at].wrapping_add(1 + rng.below(3) as u8),
                _ => rng.next_u64() as u8,
            };
        }
        4 | 5 if left >= 4 => {
            let value = [0, 1, u32::MAX, 1 << 31, rng.next_u64() as u32][rng.index(5)];
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        6 => {
            let mut noise = vec![0; 1 + rng.index(16)];
            rng.fill(&mut noise);
            bytes.splice(at..at, noise);
        }
        7 => {
            let end = at + rng.index(left.min(32) + 1);
            bytes.drain(at..end);
        }
        8 => {
            let end = at + rng.index(left.min(64) + 1);
            let copy = bytes[at..end].to_vec();
            let to = rng.index(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        _ => {
            let other = &seeds[rng.index(seeds.len())];
            let from = rng.index(other.len() + 1);
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
    }
}
