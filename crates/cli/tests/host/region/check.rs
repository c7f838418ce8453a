//! Checks of damaged regions: the faults that are reported, and the states that are not faults.

use super::Scene;

/// Changes one byte of the region.
fn flip(scene: &Scene, at: usize) {
    let mut bytes = scene.bytes();
    bytes[at] ^= 0x10;
    scene.write(&bytes);
}

/// The lines of a check but the last, which must count them.
#[track_caller]
fn faults(scene: &Scene) -> Vec<String> {
    let outcome = scene.run(&["check"]);
    let (last, faults) = outcome.stdout.split_last().unwrap();
    let count = match faults.len() {
        1 => ", 1 fault".to_string(),
        count => format!(", {count} faults"),
    };
    assert!(last.ends_with(&count), "{last}");
    assert_eq!(outcome.status, i32::from(!faults.is_empty()), "{outcome:?}");
    faults.to_vec()
}

/// The region's facts as JSON.
fn facts(scene: &Scene) -> serde_json::Value {
    let text = scene.expect(&["--json", "--pages"], 0).stdout.join("\n");
    serde_json::from_str(&text).unwrap()
}

/// First byte of the slots, and blocks of copy A and B of descriptor page 0.
fn places(scene: &Scene) -> (usize, [usize; 2]) {
    let json = facts(scene);
    let pages = json["layout"]["descriptor_pages"].as_u64().unwrap() as usize;
    ((40 + 2 * pages) << 12, [40 << 12, (40 + pages) << 12])
}

#[test]
fn sound_region_has_no_fault_and_every_block_was_compared() {
    let scene = Scene::used();
    let blocks = facts(&scene)["counters"]["resident_blocks"].as_u64().unwrap();
    let outcome = scene.expect(&["check"], 0);
    assert_eq!(outcome.stdout.len(), 1, "{outcome:?}");
    assert!(outcome.stdout[0].contains(&format!(" {blocks} resident blocks")), "{outcome:?}");
    assert!(blocks > 70, "{blocks}");
}

#[test]
fn a_changed_byte_of_any_resident_block_is_found_at_its_place() {
    let scene = Scene::used();
    let (slots, _) = places(&scene);
    let json = facts(&scene);
    let mut tried = 0;
    let pages = json["descriptor_pages"].as_array().unwrap().clone();
    for slot in pages.iter().flat_map(|page| page["descriptors"].as_array().unwrap()) {
        for block in slot["checks"].as_object().unwrap().keys().step_by(5) {
            let (number, block) = (slot["slot"].as_u64().unwrap(), block.parse::<u64>().unwrap());
            let at = slots + (number * 16 + block) as usize * 4096;
            flip(&scene, at + 1234);
            let found = faults(&scene);
            assert_eq!(found.len(), 1, "{found:?}");
            let place = format!("slot {number} block {block} (block ");
            assert!(found[0].starts_with(&place), "{found:?}");
            assert!(found[0].contains(&format!("byte {at:#x}): its bytes give ")), "{found:?}");
            flip(&scene, at + 1234);
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
    assert!(faults(&scene).is_empty());
}

#[test]
fn blocks_that_are_not_resident_may_hold_anything() {
    let scene = Scene::used();
    let mut bytes = scene.bytes();
    // The last slot was never used.
    let end = bytes.len() - 70_000;
    bytes[end..].fill(0xee);
    scene.write(&bytes);
    assert!(faults(&scene).is_empty());
}

#[test]
fn damaged_superblocks_are_told_and_the_other_counts() {
    for (copy, at) in [("A", 0), ("B", 16 << 12)] {
        let scene = Scene::used();
        flip(&scene, at + 60);
        let line = format!("superblock {copy} (byte {at:#x}): superblock with a wrong check");
        assert_eq!(faults(&scene)[0], line);
        let shown = scene.expect(&["show"], 0).stdout.join("\n");
        assert!(shown.contains("superblock with a wrong check"), "{shown}");
    }
    let scene = Scene::used();
    flip(&scene, 60);
    flip(&scene, (16 << 12) + 60);
    let outcome = scene.expect(&["check"], 1);
    assert!(outcome.stderr.contains("superblock with a wrong check"), "{outcome:?}");
    assert!(outcome.stdout.iter().any(|line| line.contains("uuid")), "its fields are shown");
    assert_eq!(scene.run(&["show", "--json"]).status, 1);
}

#[test]
fn damaged_pages_are_told_and_the_other_copy_counts() {
    let scene = Scene::used();
    // A second round of writes, so that both copies of every page that changes have been written.
    scene.expect(&["drop", "parts.blob"], 0);
    scene.fill(&scene.region(), 0, None);
    assert!(faults(&scene).is_empty());
    let (_, copies) = places(&scene);
    for at in [copies[0], copies[1], 32 << 12, 36 << 12] {
        flip(&scene, at + 70);
        let found = faults(&scene);
        let kind = if at < 40 << 12 { "blob table page 0" } else { "descriptor page 0" };
        assert!(found[0].starts_with(kind), "{found:?}");
        assert!(found[0].contains(&format!("(byte {at:#x}): not what was written there")));
        assert!(found[0].ends_with("the other copy counts"), "{found:?}");
        flip(&scene, at + 70);
    }
    let sound = scene.bytes();
    let mut zeroed = sound.clone();
    zeroed[copies[1]..copies[1] + 4096].fill(0);
    scene.write(&zeroed);
    assert!(faults(&scene)[0].starts_with("descriptor page 0 copy B"));
}

#[test]
fn leftovers_of_an_earlier_format_are_no_faults() {
    let scene = Scene::used();
    scene.expect(&["format", "--force"], 0);
    assert!(faults(&scene).is_empty());
    scene.fill(&scene.region(), 0, None);
    assert!(faults(&scene).is_empty());
}

#[test]
fn hint_of_a_large_region_is_shown_and_checked() {
    let scene = Scene::blank();
    scene.cut(128 << 20);
    scene.fill(&scene.region(), 0, None);
    let hint = || {
        let shown = scene.expect(&[], 0).stdout;
        shown.iter().find(|line| line.starts_with("hint")).unwrap().clone()
    };
    assert!(hint().ends_with(" counts"), "{}", hint());
    assert!(faults(&scene).is_empty());
    let pages = facts(&scene)["layout"]["descriptor_pages"].as_u64().unwrap() as usize;
    let head = (40 + 2 * pages) << 12;
    let bytes = scene.bytes();
    let mut told = 0;
    for page in 1..=8 {
        let at = head + (page << 12);
        flip(&scene, at + 100);
        // A page that the head calls empty is not looked at.
        let fault = format!("hint page {page} (byte {at:#x}): not what was written there");
        let empty = bytes[at + 64..at + 68] == [0xff; 4];
        assert_eq!(faults(&scene), if empty { vec![] } else { vec![fault] });
        flip(&scene, at + 100);
        told += u32::from(!empty);
    }
    assert!(told > 0, "no page of the hint says anything");
    // A head that does not check out is as good as none.
    flip(&scene, head + 100);
    assert!(hint().contains("none that counts"), "{}", hint());
    assert!(faults(&scene).is_empty());
    // What takes a blob out leaves another.
    scene.expect(&["drop", "whole.blob"], 0);
    assert!(hint().ends_with(" counts"), "{}", hint());
    assert!(faults(&scene).is_empty());
}

#[test]
fn check_as_json_has_the_same_faults() {
    let scene = Scene::used();
    let (slots, _) = places(&scene);
    flip(&scene, slots + 65_536);
    let outcome = scene.expect(&["check", "--json"], 1);
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout.join("\n")).unwrap();
    let found = faults(&scene);
    assert_eq!(json["faults"], serde_json::json!(found));
}

#[test]
fn dropped_blob_is_gone_from_what_is_shown_and_from_the_next_mount() {
    let scene = Scene::used();
    for (name, tag) in [("1", "parts.blob"), ("whole.blob", "whole.blob")] {
        let before = scene.expect(&[], 0).stdout.join("\n");
        assert!(before.contains(tag), "{before}");
        let dropped = scene.expect(&["drop", name], 0).stdout.join("\n");
        assert!(dropped.starts_with("dropped blob "), "{dropped}");
        let after = scene.expect(&[], 0).stdout.join("\n");
        assert!(!after.contains(tag), "{after}");
        assert!(faults(&scene).is_empty());
    }
    let none = scene.expect(&["drop", "whole.blob"], 1);
    assert!(none.stderr.contains("the region has no blob whole.blob"), "{none:?}");
    scene.fill(&scene.region(), 0, None);
    assert!(faults(&scene).is_empty());
    assert!(scene.expect(&[], 0).stdout.join("\n").contains("whole.blob"));
}
