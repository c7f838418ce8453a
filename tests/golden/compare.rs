//! What a golden image's rows have to be: the manifest, by the rules of the set, and the named
//! exceptions of single images.
//!
//! Always: a rule drops what an image cannot hold and nothing else; an exception is checked in
//! place of the rule that it replaces.

use std::fs;

use serde_json::{Map, Value, json};

use rootlet_golden::{Golden, Set};

/// The superblock's time, as the format has it: seconds at byte 24, nanoseconds at byte 32.
struct Epoch {
    seconds: i64,
    nanoseconds: i64,
    bits48: bool,
}

impl Epoch {
    fn of(golden: &Golden) -> Self {
        let image = fs::read(&golden.image).unwrap();
        let superblock = &image[1024..];
        let seconds = i64::from_le_bytes(superblock[24..32].try_into().unwrap());
        let nanoseconds = u32::from_le_bytes(superblock[32..36].try_into().unwrap()).into();
        let incompat = u32::from_le_bytes(superblock[80..84].try_into().unwrap());
        Self { seconds, nanoseconds, bits48: incompat & 0x80 != 0 }
    }
}

/// Compares `rows`, what a reader printed of `golden`, with the manifest. `extended` says of a
/// path whether its inode is an extended one.
pub fn assert_rows(set: &Set, golden: &Golden, rows: &[Value], extended: &dyn Fn(&str) -> bool) {
    let name = &golden.name;
    let wanted = set.manifest.iter().filter(|row| is_in(golden, path(row)));
    let wanted: Vec<&Value> = wanted.collect();
    let rows: Vec<&Value> = rows.iter().filter(|row| !is_garbled(golden, path(row))).collect();
    let differ = rows.iter().zip(&wanted).find(|(row, wanted)| path(row) != path(wanted));
    assert_eq!(differ, None, "{name}: paths differ from here on");
    assert_eq!(rows.len(), wanted.len(), "{name}: one list of paths is longer");
    let epoch = Epoch::of(golden);
    for (row, wanted) in rows.iter().zip(wanted) {
        let mut row = row.as_object().unwrap().clone();
        let mut wanted = wanted.as_object().unwrap().clone();
        with_exceptions(golden, &mut wanted);
        if golden.name == "xattr-digest" {
            check_digest(&mut row);
        }
        let here = path_of(&row).to_owned();
        if golden.is_merged() {
            clip_merged(&here, &mut row, &mut wanted);
        }
        if row.contains_key("mtime_ns") && !extended(&here) {
            clip_compact_time(&epoch, &mut row, &mut wanted);
        }
        assert_eq!(row, wanted, "{name}: {here}");
    }
}

fn path(row: &Value) -> &str {
    row["path"].as_str().unwrap()
}

fn path_of(row: &Map<String, Value>) -> &str {
    row["path"].as_str().unwrap()
}

/// Whether the tool that made the image put `path` in.
fn is_in(golden: &Golden, path: &str) -> bool {
    // mkfs --tar takes no sockets: a tar file has no entries for them.
    let lost = golden.name == "merged-tar" && path == "/dev/sock";
    !lost && !golden.omits(path)
}

/// Whether the tool that made the image spoilt the file at `path`: it is there, but its holes
/// lead to block 0 of a blob.
fn is_garbled(golden: &Golden, path: &str) -> bool {
    golden.name == "merged-blobdev" && ["/data/sparse", "/data/zeros"].contains(&path)
}

/// What single images truly hold in place of what the manifest says.
fn with_exceptions(golden: &Golden, wanted: &mut Map<String, Value>) {
    // The merge makes a root of its own, with all permissions.
    if golden.is_merged() && path_of(wanted) == "/" {
        wanted["mode"] = json!(0o040_777);
    }
    // mkfs 1.9.3 put whole seconds into the layers that were merged here.
    let whole_seconds = ["merged-chunk", "merged-blobdev", "merged-tar"];
    if whole_seconds.contains(&golden.name.as_str()) && path_of(wanted) == "/times/ns" {
        let time = wanted["mtime_ns"].as_i64().unwrap();
        wanted["mtime_ns"] = json!(time - time.rem_euclid(1_000_000_000));
    }
}

/// The digest that every file with bytes of one image carries is that of its bytes; then it goes.
fn check_digest(row: &mut Map<String, Value>) {
    if row.get("size").and_then(Value::as_u64).is_none_or(|size| size == 0) {
        return;
    }
    let Some(sum) = row.get("sha256").and_then(Value::as_str).map(str::to_owned) else { return };
    let xattrs = row.get_mut("xattr").and_then(Value::as_object_mut).unwrap();
    let digest = xattrs.remove("user.digest").unwrap();
    let label: String = "sha256:".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, json!(label + &sum));
    if xattrs.is_empty() {
        row.remove("xattr");
    }
}

/// Merging keeps of a directory what the topmost layer says, and counts links per layer.
fn clip_merged(here: &str, row: &mut Map<String, Value>, wanted: &mut Map<String, Value>) {
    let is_dir = wanted["mode"].as_u64().unwrap() >> 12 == 4;
    for row in [row, wanted] {
        if is_dir {
            row.retain(|key, _| ["path", "mode", "uid", "gid"].contains(&key.as_str()));
        }
        if here.starts_with("/hard") || here == "/etc/three" {
            row.remove("nlink");
        }
    }
}

/// A compact inode has the superblock's time or, with 48BIT, its own to the second.
fn clip_compact_time(epoch: &Epoch, row: &mut Map<String, Value>, wanted: &mut Map<String, Value>) {
    let seconds = |row: &Map<String, Value>| {
        json!(row["mtime_ns"].as_i64().unwrap().div_euclid(1_000_000_000))
    };
    if epoch.bits48 {
        row["mtime_ns"] = seconds(row);
        wanted["mtime_ns"] = seconds(wanted);
    } else {
        wanted["mtime_ns"] = json!(epoch.seconds * 1_000_000_000 + epoch.nanoseconds);
    }
}
