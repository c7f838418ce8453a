//! What a tree says that tells a machine from others: a seed, and the generation.

use super::*;

#[test]
fn seed_of_firmware_is_kept_with_all_of_its_bytes() {
    let seeded = |seed: &[u8], look: [u64; 2]| {
        with(vec![node("chosen", vec![bytes("rng-seed", seed)])], |tree| {
            assert_eq!(tree.seed, look)
        });
    };
    seeded(&[], [0, 0]);
    seeded(&[1, 2], [0x201, 0]);
    let mut long = [0; 32];
    (long[0], long[7], long[8], long[31]) = (3, 0x80, 5, 0x40);
    seeded(&long, [0x8000_0000_0000_0003, 0x4000_0000_0000_0005]);
}

#[test]
fn memory_of_the_generation_is_cached_and_the_monitors() {
    let vmgenid = |reg: &[u32]| {
        let kind = bytes("compatible", b"microsoft,vmgenid\0");
        vec![memory(0x4020_0000, 0x10_0000), node("vmgenid", vec![kind, cells("reg", reg)])]
    };
    with(vmgenid(&[0, 0x401f_fff0, 0, 16]), |tree| {
        assert_eq!(tree.generation, Some(0x401f_fff0));
        assert!(tree.ram.overlaps(&(0x4000_0000..0x4020_0000)), "it is memory");
        assert_eq!(tree.ram.free(0, u64::MAX).unwrap(), [0x4020_0000..0x4030_0000]);
    });
    // In the midst of RAM that is there for all.
    with(vmgenid(&[0, 0x4028_0000, 0, 16]), |tree| {
        let free = tree.ram.free(0, u64::MAX).unwrap();
        assert_eq!(free, [0x4020_0000..0x4028_0000, 0x4028_0010..0x4030_0000]);
    });
    // Odd, too short, out of reach.
    for reg in [[0, 0x401f_fff4, 0, 16], [0, 0x401f_fff0, 0, 8], [0x100, 0, 0, 16]] {
        with(vmgenid(&reg), |tree| assert_eq!(tree.generation, None));
    }
}
