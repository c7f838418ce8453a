//! Races: the same steps in rootlet, in a Linux guest and over the host's files, with the same
//! sums.

use std::collections::BTreeMap;
use std::process::Command;

use crate::boot::{fails, host, passes};
use crate::sample::Sample;

/// Returns name and sum of every step.
fn sums(output: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    assert!(text.ends_with("DONE\n"), "{text}");
    let ends = text.lines().filter_map(|line| line.strip_prefix("END "));
    ends.map(|line| {
        let (name, rest) = line.split_once(' ').unwrap();
        (name.to_string(), rest.rsplit_once("sum=").unwrap().1.to_string())
    })
    .collect()
}

#[test]
fn guest_and_host_read_the_same_bytes_in_every_step() {
    let sample = Sample::new();
    let steps = [
        "--",
        "race",
        "x=first:/d0/03",
        "sequence=seq-4K:/d0/03",
        "random=rand-4K:/d0/03",
        "x=fresh:/",
        "batch=batch-4K:/d0/03",
        "jobs=jobs-4K:/d0/03",
        "again=again-4K:/d0/03",
        "disk=raw-64K:blob1",
        "walk=walk:/",
        "files=files:/d1",
        "sum=sum:/d0/03",
    ];
    let expected = sums(&host(sample.args(&steps)));
    assert_eq!(expected.len(), 9);
    for another_way in ["batch", "jobs"] {
        assert_eq!(expected["random"], expected[another_way], "the same pieces");
    }
    assert_eq!(sums(&passes(sample.args(&steps)).stdout), expected);
    assert_eq!(sums(&passes(sample.cached(&steps)).stdout), expected, "through a region");
    // Other bytes, other sums.
    let other = Sample::of(2);
    let others = sums(&host(other.args(&steps)));
    assert!(expected.iter().all(|(name, sum)| name == "walk" || others[name] != *sum));
}

#[test]
fn step_over_what_is_not_there_fails() {
    let sample = Sample::new();
    fails(sample.args(&["--", "race", "a=seq-4K:/no-such"]), "no such");
    fails(sample.args(&["--", "race", "a=raw-4K:no-such"]), "no such");
}

#[test]
fn linux_reads_what_rootlet_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (json, svg) = (dir.path().join("race.json"), dir.path().join("race.svg"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "--peer", "linux", "--runs", "1", "--only", "packed", "--json"]);
    command.arg(&json).arg("--svg").arg(&svg);
    // What the tool itself refuses (sums that differ, a guest that does not end) fails the run.
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let table = String::from_utf8(output.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("LZ4")).unwrap();
    assert!(!row.contains(" - "), "{table}");
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let (ours, theirs) = (&value["rootlet_races"][0], &value["peer_races"][0]);
    for step in [0, 1] {
        assert_eq!(ours[step]["sum"], theirs[step]["sum"]);
        assert_eq!(ours[step]["bytes"], 128 << 20);
    }
    assert!(std::fs::read_to_string(&svg).unwrap().contains("LZ4, 64 KiB pclusters"));
}
