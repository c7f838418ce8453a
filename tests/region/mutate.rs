//! Mutated superblocks, blob tables and descriptor pages.
//!
//! Always: what was changed is rejected or a miss, whether its check was put right or not.

use proptest::prelude::*;
use rootlet::cache::{BLOCK_BYTES, Geometry, Refusal, SlotSize, Superblock};
use rootlet_power::case::{runs, sweep};
use rootlet_power::decode::{self, Super};
use rootlet_power::machine::Scale;

#[test]
fn mutated_tables_are_rejected_or_miss() {
    sweep(Scale::Large, "mutate", (1..=runs(400)).map(|seed| [seed]));
}

#[test]
fn sealed_noise_in_the_tables_is_a_miss() {
    sweep(Scale::Large, "noise", (1..=runs(150)).map(|seed| [seed]));
}

fn any_superblock() -> impl Strategy<Value = Superblock> {
    let size = prop::sample::select(&[SlotSize::K64, SlotSize::K256, SlotSize::M1][..]);
    (any::<[u8; 16]>(), 0u64..1 << 40, 1u64 << 21..1 << 44, any::<u64>(), any::<u64>(), size)
        .prop_map(|(uuid, start, bytes, generation, nonce, size)| Superblock {
            uuid,
            start: start & !4095,
            bytes,
            generation,
            nonce,
            geometry: Geometry::for_region(bytes, size).unwrap(),
            condemned: false,
            read_only: false,
        })
}

proptest! {
    #[test]
    fn superblock_parser_is_total(raw in prop::collection::vec(any::<u8>(), 0..5000), start: u64) {
        let mut raw = raw;
        prop_assert!(Superblock::from_bytes(&raw, start).is_err());
        raw.resize(BLOCK_BYTES, 0);
        raw[..8].copy_from_slice(decode::MAGIC);
        prop_assert_eq!(Superblock::from_bytes(&raw, start), Err(Refusal::BadCheck));
        decode::seal_superblock(&mut raw);
        let _ = Superblock::from_bytes(&raw, start);
    }

    #[test]
    fn superblock_reads_back_and_any_changed_byte_is_refused(
        superblock in any_superblock(),
        at in 0usize..512,
        flip in 1u8..=255,
    ) {
        let mut raw = superblock.to_bytes();
        prop_assert_eq!(Superblock::from_bytes(&raw, superblock.start), Ok(superblock));
        let own = Super::decode(&raw).unwrap();
        prop_assert_eq!((own.uuid, own.generation), (superblock.uuid, superblock.generation));
        raw[at] ^= flip;
        prop_assert!(Superblock::from_bytes(&raw, superblock.start).is_err());
    }
}
