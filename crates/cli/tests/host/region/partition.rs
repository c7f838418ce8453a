//! A region in a partition of a GPT, found by its name or its type.
//!
//! Always: the table is made by another than the code that looks for the partition.

use gpt_disk_io::gpt_disk_types::BlockSize;

use super::{Scene, region, tool};
use crate::gpt::{PARTS, Part, REGION, disk};

fn scene(size: BlockSize, parts: &[Part]) -> Scene {
    let scene = Scene::blank();
    scene.write(&disk(size, parts));
    scene
}

fn place(scene: &Scene, part: &str) -> String {
    format!("{}@{part}", scene.region().display())
}

#[test]
fn region_in_a_partition_is_found_by_name_and_by_type_and_nothing_else_is_written() {
    for size in [BlockSize::BS_512, BlockSize::BS_4096] {
        let scene = scene(size, &PARTS);
        let before = scene.bytes();
        let outcome = scene.expect(&["format"], 1);
        assert!(outcome.stderr.contains("GPT partition table"), "{outcome:?}");
        let named = place(&scene, "name:rootlet-region");
        let outcome = region(&named, &["format"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        scene.fill(&scene.region(), 3 << 20, Some(4 << 20));
        for part in ["name:rootlet-region", "type", "type:5E4A3680-bb1e-4551-8d14-7538e87347a3"] {
            let shown = region(&place(&scene, part), &[]);
            assert_eq!(shown.status, 0, "{part}: {shown:?}");
            let text = shown.stdout.join("\n");
            assert!(text.contains("4194304 of 4194304 bytes of the area"), "{text}");
            assert!(text.contains("whole.blob"), "{text}");
        }
        assert_eq!(region(&named, &["check"]).status, 0);
        let after = scene.bytes();
        assert!(before[..3 << 20] == after[..3 << 20] && before[7 << 20..] == after[7 << 20..]);
    }
}

#[test]
fn host_commands_keep_what_they_fetch_in_a_partition() {
    let scene = scene(BlockSize::BS_512, &PARTS);
    scene.fill(&scene.region(), 3 << 20, Some(4 << 20));
    let (image, cache) = (scene.path("image"), place(&scene, "type"));
    let run = || {
        let blob =
            |number| format!("{}={}", number + 1, scene.path(&format!("blob{number}")).display());
        let (one, two) = (blob(0), blob(1));
        let words = ["sum", "-v", image.to_str().unwrap(), "--blob", &one, "--blob", &two];
        tool(&[&words[..], &["--region", &cache, "/"]].concat())
    };
    let (first, second) = (run(), run());
    assert!(first.status == 0 && first.stderr.contains("11 of 61 slots"), "{first:?}");
    assert_eq!(first.stdout, second.stdout);
    assert!(second.stderr.contains("fetched 0 bytes"), "{second:?}");
}

#[test]
fn damaged_table_is_read_from_its_backup() {
    for damaged in [512 + 56, 1024 + 40] {
        let scene = scene(BlockSize::BS_512, &PARTS);
        region(&place(&scene, "type"), &["format"]);
        let mut bytes = scene.bytes();
        bytes[damaged] ^= 1;
        scene.write(&bytes);
        assert_eq!(region(&place(&scene, "type"), &[]).status, 0, "byte {damaged}");
        // The backup, too.
        let end = bytes.len() - 512;
        bytes[end + 56] ^= 1;
        scene.write(&bytes);
        let outcome = region(&place(&scene, "type"), &[]);
        assert!(outcome.status == 2 && outcome.stderr.contains("no valid GPT"), "{outcome:?}");
    }
}

#[test]
fn partition_that_is_not_there_or_not_alone_is_refused() {
    let refused = |parts: &[Part], part: &str, words: &str| {
        let outcome = region(&place(&scene(BlockSize::BS_512, parts), part), &["format"]);
        assert!(outcome.status == 2 && outcome.stderr.contains(words), "{part}: {outcome:?}");
    };
    refused(&PARTS, "name:region", "its GPT has no such partition");
    refused(&PARTS[..1], "type", "its GPT has no such partition");
    let twins = [("a", REGION, 1, 2), ("b", REGION, 3, 4)];
    refused(&twins, "type", "its GPT has 2 such partitions");
    refused(
        &[("a", REGION, 3, 20)],
        "type",
        "its GPT has the partition at blocks 6144 to 43007, beyond its end",
    );
    refused(
        &[("a", REGION, 5, 2)],
        "type",
        "its GPT has the partition at blocks 10240 to 6143, beyond its end",
    );
    let blank = Scene::blank();
    let outcome = region(&place(&blank, "type"), &[]);
    assert!(outcome.stderr.contains("it has no valid GPT"), "{outcome:?}");
}

#[test]
fn table_of_noise_ends_in_an_error() {
    let sound = disk(BlockSize::BS_512, &PARTS);
    let scene = Scene::blank();
    let mut rng = rootlet_sim::Rng::new(9);
    for _ in 0..60 {
        let mut bytes = sound.clone();
        // Fields of the header and of the entries, with a check that is right again.
        let at = 512 + rng.index(92);
        let mut noise = [0; 4];
        rng.fill(&mut noise);
        bytes[at..at + 4].copy_from_slice(&noise);
        bytes[512 + 16..512 + 20].fill(0);
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[512..604]);
        bytes[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
        let end = bytes.len() - 512;
        bytes[end..].fill(0);
        scene.write(&bytes);
        let outcome = region(&place(&scene, "type"), &[]);
        assert!([1, 2].contains(&outcome.status), "byte {at} {noise:?}: {outcome:?}");
    }
}
