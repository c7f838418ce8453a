//! What verified reads cost in reads of devices.

use crate::world::{made, mount};

#[test]
fn cold_random_read_takes_one_more_read_and_a_warm_one_none() {
    let made = made(1, 3_000_000);
    let (world, data, trees) = made.world();
    let line = format!("{} ram-cache=0", made.line());
    let guest = mount(&world, &line).unwrap();
    let file = guest.root.open(b"/f0").unwrap();
    // The inode, and whatever the map takes.
    let mut out = [0; 4096];
    assert_eq!(file.read_at(0, &mut out), Ok(4096));
    let reads = |devices: &[rootlet::storage::DeviceId]| -> u64 {
        devices.iter().map(|device| world.counters(*device).reads).sum()
    };
    let (mut cold, mut warm) = (0, 0);
    for at in [1_500_000, 1_504_096, 2_900_000, 2_800_000, 900_000, 904_096] {
        let at = at / 4096 * 4096;
        let (blobs, nodes) = (reads(&data[1..]), reads(&trees));
        assert_eq!(file.read_at(at, &mut out), Ok(4096));
        assert_eq!(reads(&data[1..]) - blobs, 1, "one read of the blob");
        match reads(&trees) - nodes {
            0 => warm += 1,
            1 => cold += 1,
            more => panic!("{more} reads of trees"),
        }
    }
    assert!(cold >= 1 && warm >= 2, "{cold} cold, {warm} warm");
}
