//! Standard output that cannot be written, by every task that prints.
//!
//! Always: the fault is reported and nothing panics; a pipe that its reader closed is not reported.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rootlet_sim::image::{Content, Options, Tree};

use crate::run::World;

/// Lines of the tool's arguments, by what has to be there.
fn lines() -> (World, Vec<Vec<String>>) {
    let mut tree = Tree::new();
    for number in 0..400 {
        tree.file(format!("/{number}"), Content::seeded(number, 50));
    }
    let world = World::new(&tree, &Options { blobs: 1, ..Options::default() });
    assert_eq!(world.run(&["ls", "/"]).status, 0);
    let place = |name: &str| world.path(name).display().to_string();
    let (image, blob) = (place("image"), format!("1={}", place("blob0")));
    let host = |words: &[&str], cache: &str| {
        let mut line = vec![words[0], "--blob", &blob];
        if !cache.is_empty() {
            line.extend(["--region", cache, "--region-size", "4M"]);
        }
        let (options, paths): (Vec<&str>, Vec<&str>) =
            words[1..].iter().partition(|word| word.starts_with('-'));
        line.extend(options);
        line.push(&image);
        line.extend(paths);
        line.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let region = place("region");
    let used = Command::new(env!("CARGO_BIN_EXE_rootlet"))
        .args(host(&["sum", "/"], &region))
        .output()
        .unwrap();
    assert!(used.status.success(), "{used:?}");
    // An image that no check can mount.
    let broken = place("broken");
    std::fs::write(&broken, [1; 8192]).unwrap();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let all = vec![
        host(&["ls", "/"], ""),
        host(&["sum", "/"], ""),
        host(&["manifest", "/"], ""),
        host(&["ls", "-lR", "/"], ""),
        host(&["ls", "--json", "/"], ""),
        host(&["check", "--json"], ""),
        words("completions bash"),
        host(&["stat", "--json", "/1"], ""),
        host(&["stat", "/1"], ""),
        host(&["cat", "/1"], ""),
        words("--help"),
        words("ls --help"),
        words("--version"),
        host(&["check"], ""),
        words(&format!("check {broken}")),
        words(&format!("region {region}")),
        words(&format!("region {region} show --pages")),
        words(&format!("region {region} show --json")),
        words(&format!("region {region} check")),
        words(&format!("region {region} check --json")),
        words(&format!("region {region} drop 0")),
        words(&format!("region {region} format --force")),
    ];
    (world, all)
}

#[test]
fn full_disk_behind_standard_output_is_told() {
    let (_world, lines) = lines();
    for line in lines {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let ended = command.args(&line).stdin(Stdio::null()).stdout(full).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        let fault = "rootlet: standard output: No space left on device (os error 28)";
        assert!(said.lines().any(|line| line == fault), "{line:?}: {said}");
        assert_eq!(ended.status.code(), Some(1), "{line:?}: {said}");
    }
}

/// Words that nobody can read change nothing else.
#[test]
fn full_disk_behind_standard_error_changes_no_status() {
    let (_world, mut lines) = lines();
    lines.push(vec!["lsd".into()]);
    lines.push(vec!["ls".into(), "/no/such/image".into()]);
    for mut line in lines {
        if matches!(line[0].as_str(), "ls" | "sum" | "check") && line.len() > 2 {
            line.push("--verbose".into());
        }
        let run = |full: bool| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
            let stderr = match full {
                true => File::options().write(true).open("/dev/full").unwrap().into(),
                false => Stdio::null(),
            };
            command.args(&line).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
            let output = command.output().unwrap();
            (output.status.code(), output.stdout.len())
        };
        let is_destructive = line.iter().any(|word| word == "drop" || word == "format");
        let (full, plain) = (run(true), if is_destructive { None } else { Some(run(false)) });
        assert!(plain.is_none_or(|plain| plain == full), "{line:?}: {full:?} {plain:?}");
        assert!(full.0.is_some_and(|status| status <= 2), "{line:?}: {full:?}");
    }
}

#[test]
fn pipe_that_nobody_reads_any_more_ends_the_tool_without_a_word() {
    let (_world, lines) = lines();
    for line in lines {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = command.args(&line).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(141), "{line:?}: {said}");
        assert!(!said.contains("rootlet:") && !said.contains("panicked"), "{line:?}: {said}");
    }
}

#[test]
fn first_line_of_a_long_output_is_enough() {
    let (_world, lines) = lines();
    let long = |line: &&Vec<String>| {
        line.iter().any(|word| ["ls", "manifest", "--pages"].contains(&word.as_str()))
    };
    for line in lines.iter().filter(long) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let mut tool = command
            .args(line)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::with_capacity(64, tool.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let ended = tool.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!said.contains("panicked"), "{line:?}: {said}");
    }
}
