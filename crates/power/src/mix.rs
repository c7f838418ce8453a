//! The cases of a run of *n*: the families by their shares.
//!
//! Always: the n-th history of a seed is the same one, however many are run and by how many
//! threads.

use crate::case::CaseName;
use crate::faults::ONCE;
use crate::machine::Scale;

/// What a number modulo their count is: half of all are histories with cuts, which are many cases
/// each. Their count is odd, so that each family has odd and even numbers, which differ.
const SHARES: [(Scale, &str); 43] = [
    (Scale::Small, "life"),
    (Scale::Small, "rates"),
    (Scale::Small, "life"),
    (Scale::Small, "two"),
    (Scale::Wide, "life"),
    (Scale::Small, "flips"),
    (Scale::Small, "life"),
    (Scale::Small, "blobs"),
    (Scale::Small, "life"),
    (Scale::Small, "mutate"),
    (Scale::Small, "life"),
    (Scale::Small, "source"),
    (Scale::Wide, "life"),
    (Scale::Small, "rates"),
    (Scale::Small, "life"),
    (Scale::Small, "version"),
    (Scale::Small, "life"),
    (Scale::Small, "kill"),
    (Scale::Small, "life"),
    (Scale::Small, "pools"),
    (Scale::Wide, "life"),
    (Scale::Small, "script"),
    (Scale::Small, "life"),
    (Scale::Wide, "rates"),
    (Scale::Small, "life"),
    (Scale::Small, "noise"),
    (Scale::Small, "life"),
    (Scale::Small, "same-tag"),
    (Scale::Wide, "life"),
    (Scale::Small, "two"),
    (Scale::Small, "life"),
    (Scale::Small, "flips"),
    (Scale::Small, "foreign"),
    (Scale::Large, "hint"),
    (Scale::Large, "forged"),
    (Scale::Large, "stale"),
    (Scale::Small, "flips"),
    (Scale::Small, "life"),
    (Scale::Small, "flips"),
    (Scale::Small, "torn"),
    (Scale::Small, "synced"),
    (Scale::Wide, "torn"),
    (Scale::Wide, "synced"),
];

const _: () = assert!(SHARES.len() % 2 == 1);

/// The name of a family that has a share in the mix.
pub fn family(name: &str) -> Result<&'static str, String> {
    let mut names: Vec<&'static str> = SHARES.iter().map(|(_, family)| *family).collect();
    names.sort_unstable();
    names.dedup();
    let found = names.iter().find(|known| **known == name).copied();
    found.ok_or_else(|| format!("no family `{name}` in the mix; there are {}", names.join(", ")))
}

/// The family of regions that an enemy rewrites: no part of the mix, because its guests verify.
pub const TRUST: &str = "trust";

/// History `number` of seed `seed`, of those that are of this family.
pub fn history_of(family: &str, seed: u64, number: u64) -> CaseName {
    let places: Vec<u64> =
        (0..).zip(&SHARES).filter(|(_, share)| share.1 == family).map(|(at, _)| at).collect();
    let count = places.len() as u64;
    if count == 0 {
        return CaseName::new(Scale::Small, family, &[seed.wrapping_shl(32).wrapping_add(number)]);
    }
    history(seed, number / count * SHARES.len() as u64 + places[(number % count) as usize])
}

/// History `number` of seed `seed`.
pub fn history(seed: u64, number: u64) -> CaseName {
    let (scale, family) = SHARES[(number % SHARES.len() as u64) as usize];
    let own = seed.wrapping_shl(32).wrapping_add(number);
    let numbers = match family {
        "script" => {
            vec![
                (number / SHARES.len() as u64) % ONCE.len() as u64,
                1 + number / SHARES.len() as u64 / ONCE.len() as u64 % 40,
            ]
        }
        "kill" => vec![own, 6 + number / SHARES.len() as u64 % 40],
        _ => vec![own],
    };
    CaseName::new(scale, family, &numbers)
}

/// The families that change or read the bytes of a region as only its key's owner can.
const PLAIN: [&str; 6] = ["hint", "forged", "stale", "mutate", "noise", "foreign"];

/// The same history in a region with a key; one with cuts in place of what needs the key.
pub fn keyed(name: &CaseName) -> CaseName {
    let family = if PLAIN.contains(&name.family) { "life" } else { name.family };
    CaseName::new(Scale::Keyed, family, &name.numbers)
}
