//! What is shown: as text, as JSON, as a picture.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rootlet_power::decode;

use super::Scene;

/// The shown text without what a slow machine changes, how often pages were written, what every
/// version of the format changes, and the versions of files, which have their times.
fn lasting(lines: &[String]) -> Vec<String> {
    let passing = |line: &&String| {
        ["counters", "  version ", "  check "].iter().any(|start| line.starts_with(start))
    };
    let timeless = |line: &String| match line.rsplit_once(", version ") {
        Some((before, version)) => {
            assert_eq!(version.len(), 16, "{line}");
            assert_ne!(u64::from_str_radix(version, 16), Ok(0), "a file has a version: {line}");
            before.to_owned()
        }
        None => line.clone(),
    };
    lines.iter().filter(|line| !passing(line)).map(timeless).collect()
}

#[test]
fn region_is_shown_as_it_was_written_down() {
    let scene = Scene::used();
    let shown = scene.expect(&[], 0);
    assert_eq!(shown.stdout, scene.expect(&["show"], 0).stdout);
    let expected: Vec<String> = include_str!("show.txt").lines().map(Into::into).collect();
    let shown = lasting(&shown.stdout);
    assert_eq!(shown, expected, "shown now:\n{}", shown.join("\n"));
}

#[test]
fn looking_writes_nothing_and_needs_no_right_to_write() {
    let scene = Scene::used();
    let before = (scene.bytes(), fs::metadata(scene.region()).unwrap().modified().unwrap());
    fs::set_permissions(scene.region(), fs::Permissions::from_mode(0o444)).unwrap();
    for words in [&["show"][..], &["show", "--pages"], &["--json", "--pages"], &["check"]] {
        scene.expect(words, 0);
    }
    let after = (scene.bytes(), fs::metadata(scene.region()).unwrap().modified().unwrap());
    assert!(before == after, "the file was touched");
}

#[test]
fn pages_are_shown_with_every_field() {
    let scene = Scene::used();
    let lines = scene.expect(&["--pages"], 0).stdout;
    let bytes = scene.bytes();
    for name in ["identity", "slot generation", "blob generation", "window", "bitmap", "check"] {
        assert!(lines.iter().any(|line| line.contains(name)), "{name}");
    }
    // Checks are shown from where FORMAT.md has them in the copy that counts, without its stamps.
    let header = lines.iter().position(|line| line.starts_with("descriptor page 0: A")).unwrap();
    let counts = lines[header].split("; ").find(|copy| copy.ends_with("counts")).unwrap();
    let at = counts.split("byte 0x").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    let page = usize::from_str_radix(at, 16).unwrap();
    let page = decode::unsealed(&bytes[page..][..4096]);
    let mut compared = 0;
    for line in lines[header..].iter().skip(5).take_while(|line| line.starts_with("  ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [at, "check", _, check] = words[..] {
            let at: usize = at[1..].parse().unwrap();
            let stored = u64::from_le_bytes(page[at..][..8].try_into().unwrap());
            assert_eq!(check, format!("{stored:016x}"), "{line}");
            compared += 1;
        }
    }
    assert!(compared > 90, "{compared} checks of page 0");
}

#[test]
fn json_says_what_the_text_says() {
    let scene = Scene::used();
    let text = scene.expect(&["--json", "--pages"], 0).stdout.join("\n");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["superblocks"]["counts"], "A");
    let copies = json["superblocks"]["copies"].as_array().unwrap();
    assert_eq!(copies[0]["fields"]["uuid"], "07".repeat(16));
    assert_eq!(copies[1]["at"], 65_536);
    assert_eq!(json["layout"]["slot_bytes"], 65_536);
    let blobs = json["blobs"].as_array().unwrap();
    let whole = blobs.iter().find(|blob| blob["named"]["tag"] == "whole.blob").unwrap();
    assert_eq!(whole["resident_bytes"], whole["bytes"]);
    // Descriptors and blobs count the same blocks.
    let blocks = |blob: &serde_json::Value| -> u64 {
        blob["windows"].as_array().unwrap().iter().map(|window| window[1].as_u64().unwrap()).sum()
    };
    let sum: u64 = blobs.iter().map(blocks).sum();
    assert_eq!(json["counters"]["resident_blocks"], sum);
    let pages = json["descriptor_pages"].as_array().unwrap();
    let slots = pages.iter().flat_map(|page| page["descriptors"].as_array().unwrap());
    let checks: usize = slots
        .filter(|slot| slot["means"] == "in use")
        .map(|slot| slot["checks"].as_object().map_or(0, serde_json::Map::len))
        .sum();
    assert_eq!(checks as u64, sum);
}

#[test]
fn picture_is_the_same_every_time_and_shows_every_blob() {
    let scene = Scene::used();
    let draw = || {
        let file = scene.path("region.svg");
        scene.expect(&["--svg", file.to_str().unwrap()], 0);
        fs::read_to_string(file).unwrap()
    };
    let picture = draw();
    assert_eq!(picture, draw());
    assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("whole.blob") && picture.contains("parts.blob"));
    let elements = |name: &str| picture.matches(&format!("<{name} ")).count();
    assert_eq!(elements("text"), picture.matches("</text>").count());
    assert_eq!(picture.matches("h10v10h-10z").count(), 61, "a cell for every slot");
    assert_eq!(elements("rect"), 1 + 3, "the ground, and a bar for each blob");
    assert!(picture.matches("v12h-").count() > 3, "parts.blob is there in parts");
    assert!(picture.contains("h768v12h-768z"), "whole.blob is there as a whole");
}

#[test]
fn region_that_another_process_writes_is_said_to_be_in_use() {
    let scene = Scene::used();
    let held = fs::File::options().write(true).open(scene.region()).unwrap();
    let pid = format!("(process {})", std::process::id());
    for words in [&["show"][..], &["check"]] {
        let shown = scene.expect(words, 0).stdout.join("\n");
        assert!(shown.contains("in use") && shown.contains(&pid), "{shown}");
    }
    for words in [&["format", "--force"][..], &["drop", "0"]] {
        let refused = scene.expect(words, 1);
        assert!(refused.stderr.contains("is in use") && refused.stderr.contains(&pid));
    }
    drop(held);
    super::let_go(&scene.region());
    assert!(!scene.expect(&[], 0).stdout.join("\n").contains("in use:"));
    scene.expect(&["drop", "0"], 0);
}

#[test]
fn options_that_an_action_does_not_look_at_are_usage_errors() {
    let scene = Scene::used();
    for words in [
        &["check", "--svg", "x"][..],
        &["show", "--force"],
        &["format", "--json"],
        &["show", "0"],
        &["drop"],
        &["format", "--slot", "8K"],
        &["melt"],
    ] {
        assert_eq!(scene.run(words).status, 2, "{words:?}");
    }
    assert_eq!(super::region("/nowhere/at/all", &[]).status, 2);
}

/// Generations go round, so pages that check out may have any.
#[test]
fn pages_of_the_last_generations_are_shown() {
    let scene = Scene::used();
    let mut bytes = scene.bytes();
    let uuid = decode::Super::decode(&bytes[..4096]).unwrap().uuid;
    let blocks: Vec<&mut [u8]> = bytes.chunks_exact_mut(4096).collect();
    let table = blocks.into_iter().skip_while(|block| !block.starts_with(b"RLbl"));
    // Two further pages of the blob table, without entries.
    for (raw, number) in table.skip(1).zip(1_u32..3) {
        assert!(raw.iter().all(|byte| *byte == 0), "no entry needed page {number}");
        raw[..4].copy_from_slice(b"RLbl");
        raw[4..8].copy_from_slice(&number.to_le_bytes());
        raw[8..16].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
        decode::seal_page(&uuid, raw);
    }
    let before = lasting(&scene.expect(&[], 0).stdout);
    scene.write(&bytes);
    assert_eq!(lasting(&scene.expect(&[], 0).stdout), before);
    let counted = scene.expect(&["--json"], 0).stdout.join("\n");
    assert!(counted.contains(&u64::MAX.to_string()), "{counted}");
}
