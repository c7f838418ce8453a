//! The guest's commands: standard output carries what they write, and nothing else.

use crate::boot::{boot, fails, host, passes};
use crate::sample::Sample;

#[test]
fn cat_writes_exactly_the_bytes_of_the_file() {
    let sample = Sample::new();
    for path in ["/d0/03", "/d1/01", "/link"] {
        let target = if path == "/link" { "/d0/03" } else { path };
        let bytes = sample.tree.content(target).unwrap().to_vec();
        assert!(passes(sample.args(&["--", "cat", path])).stdout == bytes, "{path}");
    }
}

#[test]
fn commands_write_what_they_write_on_the_host() {
    let sample = Sample::new();
    for command in [["ls", "/"], ["ls", "/d1"], ["stat", "/link"], ["stat", "/d2/02"], ["sum", "/"]]
    {
        let words = sample.args(&["--", command[0], command[1]]);
        let on_host = host(words.clone());
        let on_board = passes(words).stdout;
        let text = String::from_utf8_lossy(&on_board);
        assert_eq!(text, String::from_utf8_lossy(&on_host), "{command:?}");
        assert!(!text.is_empty(), "{command:?}");
    }
}

#[test]
fn sums_are_those_of_the_files() {
    use sha2::{Digest, Sha256};
    let sample = Sample::new();
    let said = String::from_utf8(passes(sample.args(&["--", "sum", "/d0/03"])).stdout).unwrap();
    let sum = Sha256::digest(sample.tree.content("/d0/03").unwrap().to_vec());
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(said, format!("{sum}  /d0/03\n"));
}

#[test]
fn cache_shows_the_region_and_what_is_resident() {
    let sample = Sample::new();
    passes(sample.cached(&["--", "sum", "/"]));
    let shown = String::from_utf8(passes(sample.cached(&["--", "cache"])).stdout).unwrap();
    assert!(shown.contains("mode      read-write\n"), "{shown}");
    for slot in [1, 2] {
        let bytes = sample.built.blobs[slot - 1].bytes();
        let line = format!("slot {slot} of an image, {bytes} of {bytes} bytes resident\n");
        assert!(shown.contains(&line), "{line}: {shown}");
        let behind = shown.split(&line).nth(1).unwrap_or_default();
        let bar = behind.lines().nth(1).unwrap_or_default().trim();
        assert!(!bar.is_empty() && bar.chars().all(|cell| cell == '█'), "{shown}");
    }
    let none = passes(sample.args(&["--", "cache"])).stdout;
    assert_eq!(String::from_utf8_lossy(&none), "no region\n");
}

#[test]
fn what_is_not_there_fails_with_its_name() {
    let sample = Sample::new();
    for (command, path, words) in [
        ("cat", "/gone", "/gone: no such file or directory"),
        ("cat", "/d0", "/d0: is a directory"),
        ("ls", "/d0/03/x", "/d0/03/x: not a directory"),
        ("stat", "/d0/03/", "/d0/03/: not a directory"),
    ] {
        let outcome = fails(sample.args(&["--", command, path]), words);
        assert_eq!(outcome.stdout, b"", "{command} {path}");
    }
}

#[test]
fn command_that_makes_no_sense_is_refused_before_a_boot_and_by_the_guest() {
    let sample = Sample::new();
    for (words, said) in [
        (&["--", "frobnicate"][..], "unknown command \"frobnicate\"; the commands are: ls PATH"),
        (&["--", "ls", "/", "/"], "too many words for ls"),
        (&["--", "bench", "/a"], "bench takes three paths, or none"),
        (
            &["--", "extract", "x"],
            "no guest has the command `extract`: `rootlet extract IMAGE` runs here",
        ),
    ] {
        let outcome = boot(sample.args(words));
        assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
        assert!(outcome.verdict().contains(said), "{}", outcome.stderr);
    }
    let own = ["--guest-option=--", "--guest-option=frobnicate", "--", "ls", "/"];
    fails(sample.args(&own), "unknown command \"frobnicate\"");
}

#[test]
fn longest_path_reaches_the_guest() {
    let sample = Sample::new();
    let path = format!("/{}d0/03", "./".repeat(2040));
    let bytes = sample.tree.content("/d0/03").unwrap().to_vec();
    assert!(passes(sample.args(&["--", "cat", &path])).stdout == bytes);
}
