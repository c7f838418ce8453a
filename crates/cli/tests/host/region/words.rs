//! The words that a refusal prints, typed as they stand: they do what they say, and nothing else.
//!
//! Always: a command is taken from between its backticks and run by a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use gpt_disk_io::gpt_disk_types::BlockSize;

use super::{BYTES, Scene, region, tool};
use crate::gpt::{PARTS, Part, REGION, disk};
use crate::run::Outcome;

/// The words of the program in backticks that begin with `region`.
#[track_caller]
fn printed(said: &str) -> &str {
    let mut commands = said.split('`').skip(1).step_by(2);
    let found = commands.find_map(|words| words.strip_prefix("rootlet "));
    found.filter(|words| words.starts_with("region ")).unwrap_or_else(|| panic!("{said}"))
}

/// Types a command of the tool in a shell.
fn type_in(words: &str) -> i32 {
    let line = format!("'{}' {words}", env!("CARGO_BIN_EXE_rootlet"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::null());
    shell.status().unwrap().code().unwrap()
}

/// Runs `ls /` with the image of the scene and its region in `place`.
fn host(scene: &Scene, place: &str) -> Outcome {
    let (image, one, two) = (scene.path("image"), scene.path("blob0"), scene.path("blob1"));
    let (one, two) = (format!("1={}", one.display()), format!("2={}", two.display()));
    let words = ["ls", "-v", image.to_str().unwrap(), "--blob", &one, "--blob", &two];
    tool(&[&words[..], &["--region", place, "/"]].concat())
}

/// What `ls` needs beside the region.
fn image(scene: &Scene) {
    let other = scene.path("other");
    fs::File::create(&other).unwrap().set_len(BYTES).unwrap();
    scene.fill(&other, 0, None);
}

#[test]
fn printed_command_overwrites_the_partition_that_was_named_and_nothing_else() {
    let parts: [Part; 2] = [PARTS[0], ("it's a $HOME `region`", REGION, 3, 6)];
    for part in ["name:it's a $HOME `region`", "type", "6144+8192"] {
        let scene = Scene::blank();
        image(&scene);
        let mut bytes = disk(BlockSize::BS_512, &parts);
        bytes[(3 << 20) + 5] = 1;
        scene.write(&bytes);
        let place = format!("{}@{part}", scene.region().display());
        let refusals = [
            region(&place, &["format"]).stderr,
            region(&place, &["show"]).stderr,
            region(&place, &["check"]).stderr,
            host(&scene, &place).stderr,
        ];
        for said in &refusals {
            assert!(said.contains("the area holds unknown data"), "{said}");
            assert!(!said.contains("--guest-option"), "{said}");
        }
        // A backtick in the name ends no command: what is quoted is compared as a whole.
        for said in refusals {
            let from = said.find("`rootlet region ").unwrap() + "`rootlet ".len();
            let words = &said[from..said.find(" --force`").unwrap() + " --force".len()];
            scene.write(&bytes);
            assert_eq!(type_in(words), 0, "{words}");
            let after = scene.bytes();
            assert!(bytes[..3 << 20] == after[..3 << 20], "{words}: the table or a neighbour");
            assert!(bytes[7 << 20..] == after[7 << 20..], "{words}: what is behind");
            assert_eq!(region(&place, &["check"]).status, 0, "{words}");
            assert_eq!(host(&scene, &place).status, 0);
        }
    }
}

#[test]
fn printed_command_formats_a_blank_file_and_one_with_damaged_superblocks() {
    let blank = Scene::blank();
    let damaged = Scene::used();
    let mut bytes = damaged.bytes();
    for at in [60, (16 << 12) + 60] {
        bytes[at] ^= 1;
    }
    damaged.write(&bytes);
    for (scene, found) in [(blank, "the area is blank"), (damaged, "a wrong check")] {
        let said = scene.expect(&["check"], 1).stderr;
        assert!(said.contains(found) && !said.contains("--force"), "{said}");
        assert_eq!(type_in(printed(&said)), 0, "{said}");
        scene.expect(&["check"], 0);
    }
}

#[test]
fn region_that_is_there_is_formatted_anew_by_the_printed_command() {
    let scene = Scene::used();
    let said = scene.expect(&["format"], 1).stderr;
    assert_eq!(type_in(printed(&said)), 0, "{said}");
    assert!(!scene.expect(&[], 0).stdout.join("\n").contains("whole.blob"));
}

#[test]
fn read_only_blank_file_names_the_way_out() {
    let scene = Scene::blank();
    image(&scene);
    let (file, place) = (scene.region(), scene.region().display().to_string());
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o444);
    let outcome = host(&scene, &place);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let lines: Vec<_> = outcome.stderr.lines().filter(|line| line.starts_with("region")).collect();
    let expected = [
        "region  not used: it is not formatted, and its disk is read-only",
        "region  to format it: make its disk writable",
    ];
    assert_eq!(lines, expected);
    mode(0o644);
    let outcome = host(&scene, &place);
    assert!(outcome.stderr.contains("slots of 64 KiB in use"), "{outcome:?}");
}

/// The disk was named as a whole, or the partition where the disk is the region.
#[test]
fn region_at_another_place_of_the_file_is_left_alone_until_it_is_told() {
    for (formatted, named, start) in
        [("@2048+4096", "", "0x100000"), ("", "@2048+4096", "0x0"), ("@8+6000", "", "0x1000")]
    {
        let scene = Scene::blank();
        image(&scene);
        let place = |part: &str| format!("{}{part}", scene.region().display());
        assert_eq!(region(&place(formatted), &["format"]).status, 0);
        let before = scene.bytes();
        let words = format!("a region that starts at byte {start} of the disk");
        for outcome in [
            region(&place(named), &["format"]),
            region(&place(named), &["show"]),
            host(&scene, &place(named)),
        ] {
            assert!(outcome.stderr.contains(&words), "{outcome:?}");
        }
        assert!(before == scene.bytes(), "{formatted} {named}: the file was written");
        let said = region(&place(named), &["format"]).stderr;
        assert_eq!(type_in(printed(&said)), 0, "{said}");
        assert_eq!(region(&place(named), &["check"]).status, 0);
    }
}

#[test]
fn region_on_a_shrunk_disk_says_so_everywhere() {
    let words = |bytes: u64| {
        format!("the region has {BYTES} bytes, of which {bytes} are left: its disk has shrunk")
    };
    // Some slots are gone; all are; not even one would fit anew.
    for (bytes, usable, anew) in
        [(3 << 20, true, true), (51 * 4096, false, false), (102_400, false, false)]
    {
        let scene = Scene::used();
        scene.cut(bytes);
        let words = words(bytes);
        let told = |outcome: &Outcome| {
            let all = format!("{}\n{}", outcome.stdout.join("\n"), outcome.stderr);
            assert!(all.contains(&words), "{words}: {outcome:?}");
        };
        let (shown, checked) = (scene.run(&["show"]), scene.run(&["check"]));
        told(&shown);
        told(&checked);
        assert_eq!((shown.status, checked.status), (i32::from(!usable), 1));
        if usable {
            assert!(checked.stdout.last().unwrap().ends_with(", 1 fault"), "{checked:?}");
            let json = scene.expect(&["check", "--json"], 1).stdout.join("\n");
            assert!(json.contains(&words), "{json}");
        } else {
            told(&scene.run(&["format"]));
        }
        let host = host(&scene, scene.region().to_str().unwrap());
        assert_eq!(host.status, 0, "{host:?}");
        assert!(host.stderr.contains("its disk has shrunk"), "{host:?}");
        assert_eq!(scene.run(&["format", "--force"]).status, i32::from(!anew));
    }
}

#[test]
fn unknown_data_is_told_as_such_by_every_action() {
    let scene = Scene::blank();
    let mut noise = vec![0; BYTES as usize];
    rootlet_sim::Rng::new(9).fill(&mut noise);
    scene.write(&noise);
    for action in ["show", "check", "format"] {
        let said = scene.expect(&[action], 1).stderr;
        assert!(said.contains("the area holds unknown data"), "{action}: {said}");
    }
    let said = scene.expect(&["drop", "1"], 1).stderr;
    assert!(said.contains("the area holds unknown data"), "{said}");
}
