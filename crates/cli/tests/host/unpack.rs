//! Container images that become disks: layouts made here, unpacked by the tool, looked into.
//!
//! A test that makes images needs an mkfs.erofs that reads archives, in PATH or named by MKFS_EROFS;
//! without one it says so and passes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rootlet_rows::linux::{Mounted, overlay, unable};
use rootlet_rows::{differences, of_manifest};
use serde_json::{Value, json};

use crate::oci::{EROFS, Layout, MANIFEST, TAR, TINY, has_mkfs, plain, sha256, tar, three, zstd};

/// How a run ended.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Layout {
    /// Runs `rootlet LINE` in the folder above the layout.
    fn run(&self, line: &str) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(line.split(' ')).current_dir(self.0.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome {
            status: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Asserts that a run ends with a message and leaves nothing.
    fn refused(&self, line: &str, status: i32, why: &str) {
        let before = names(self.0.path());
        let outcome = self.run(line);
        assert!(outcome.stderr.contains(why), "{line}: {}", outcome.stderr);
        assert_eq!(outcome.status, status, "{line}: {}", outcome.stderr);
        assert_eq!(names(self.0.path()), before, "{line}");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn layers_of_every_form_become_partitions_with_trees_and_a_seal() {
    if !has_mkfs() {
        return;
    }
    let layout = Layout::of(&three());
    let made = layout.run("unpack oci:l --out app.img");
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert!(made.stderr.contains("boot it: rootlet boot "), "{}", made.stderr);
    assert!(made.stdout.starts_with("root=sha256:"), "{}", made.stdout);
    let files = layout.run("unpack --files oci:l --out files");
    assert_eq!((files.status, &files.stdout), (0, &made.stdout), "{}", files.stderr);
    let seal = fs::read(layout.path("app.img.seal")).unwrap();
    assert_eq!(made.stdout.trim_end(), format!("root={}", sha256(&seal)));
    assert!(seal == fs::read(layout.path("files/seal.txt")).unwrap());
    let seal = String::from_utf8(seal).unwrap();
    let specs: Vec<&str> =
        seal.lines().skip(1).map(|line| line.split_once(' ').unwrap().1).collect();
    let disk = fs::read(layout.path("app.img")).unwrap();
    assert_eq!(disk.len() % (1 << 20), 0);
    let word = |at: usize| u64::from_le_bytes(disk[at..at + 8].try_into().unwrap());
    assert_eq!((&disk[512..520], word(512 + 32)), (&b"EFI PART"[..], 0), "no backup table");
    let rows = ["/opt/long\n", "/etc/motd\n", "/hello\n"];
    for (number, (spec, row)) in specs.iter().zip(rows).enumerate() {
        let entry = 1024 + 128 * number;
        let name: Vec<u16> = format!("erofs-layer-{number}\0").encode_utf16().collect();
        let name: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        assert_eq!(disk[entry + 56..entry + 56 + name.len()], name);
        let (first, last) = (word(entry + 32), word(entry + 40));
        assert_eq!(first % 2048, 0);
        let part = &disk[first as usize * 512..(last as usize + 1) * 512];
        let file = fs::read(layout.path(&format!("files/erofs-layer-{number}"))).unwrap();
        assert!(part == file, "layer {number}");
        // The tree and what the seal says of it are right, and nothing else is.
        let check = format!("check files/erofs-layer-{number} --verity {spec}");
        let checked = layout.run(&check);
        assert_eq!(checked.status, 0, "{}{}", checked.stdout, checked.stderr);
        let listed = layout.run(&format!("sum files/erofs-layer-{number} --verity {spec}"));
        assert!(listed.stdout.contains(row), "{row}: {}{}", listed.stdout, listed.stderr);
    }
    assert!(disk[1024 + 3 * 128..1024 + 128 * 128].iter().all(|byte| *byte == 0));
    // Whiteouts are what overlayfs takes for them.
    let row = layout.run("stat --json files/erofs-layer-1 /etc/passwd").stdout;
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row["mode"].as_u64().unwrap() & 0o170_000, 0o020_000, "{row}");
}

#[test]
fn unpacked_disk_is_what_linux_shows_and_is_kept_in_a_region_with_its_trees() {
    if !has_mkfs() {
        return;
    }
    let layout = Layout::of(&three());
    let made = layout.run("unpack oci:l --out app.img");
    assert_eq!(made.status, 0, "{}", made.stderr);
    let root = made.stdout.trim_end().strip_prefix("root=").unwrap().to_owned();
    let stack = format!("--layers app.img@erofs-layer-* --seal app.img.seal --root {root}");
    let rows = layout.run(&format!("manifest {stack} /"));
    assert_eq!(rows.status, 0, "{}", rows.stderr);
    let ours = of_manifest(rows.stdout.as_bytes());
    assert!(ours.contains_key("etc/motd") && !ours.contains_key("etc/passwd"));
    let files = layout.run("unpack --files oci:l --out files");
    assert_eq!(files.status, 0, "{}", files.stderr);
    let layers: Vec<_> =
        (0..3).map(|number| layout.path(&format!("files/erofs-layer-{number}"))).collect();
    match unable(&layers[2]) {
        Some(why) => println!("skipped in part: not compared with Linux: {why}"),
        None => {
            let mounts: Vec<_> =
                layers.iter().map(|layer| Mounted::new(layer, &[]).unwrap()).collect();
            let theirs = overlay(&mounts).unwrap().rows().unwrap();
            let found = differences("rootlet", &ours, "Linux", &theirs);
            assert!(found.is_empty(), "{}", found.join("\n"));
        }
    }
    let kept = format!("manifest -v {stack} --region region --region-size 16M /");
    let cold = layout.run(&kept);
    assert!(cold.status == 0 && cold.stdout == rows.stdout, "{}", cold.stderr);
    let warm = layout.run(&kept);
    assert!(warm.status == 0 && warm.stdout == rows.stdout, "{}", warm.stderr);
    assert!(warm.stderr.contains("fetched 0 bytes"), "{}", warm.stderr);
    for told in [&cold.stderr, &warm.stderr] {
        assert!(told.contains("digests wrong 0") && !told.contains("not kept"), "{told}");
    }
    let other =
        layout.run(&kept.replace(&root[7..9], if &root[7..9] == "00" { "01" } else { "00" }));
    assert_ne!(other.status, 0);
    assert!(other.stderr.contains("seal"), "{}", other.stderr);
}

#[test]
fn same_image_gives_the_same_bytes_and_force_replaces() {
    if !has_mkfs() {
        return;
    }
    let layout = Layout::of(&three()[..2]);
    let first = layout.run("unpack oci:l --out a.img");
    assert_eq!(first.status, 0, "{}", first.stderr);
    layout.refused("unpack oci:l --out a.img", 2, "a.img.seal: is there already; --force");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(layout.run("unpack oci:l --out b.img").stdout, first.stdout);
    let read = |name: &str| fs::read(layout.path(name)).unwrap();
    assert!(read("a.img") == read("b.img") && read("a.img.seal") == read("b.img.seal"));
    fs::write(layout.path("a.img"), b"other").unwrap();
    assert_eq!(layout.run("unpack --force oci:l --out a.img").status, 0);
    assert!(read("a.img") == read("b.img"));
    assert_eq!(names(layout.0.path()), ["a.img", "a.img.seal", "b.img", "b.img.seal", "l"]);
}

#[test]
fn dry_run_says_what_would_be_made_and_writes_nothing() {
    let native = [(EROFS.to_string(), TINY.to_vec(), TINY.to_vec())];
    let layout = Layout::of(&native);
    layout.refused("unpack -n oci:l --out a.img", 0, "(EROFS, ");
    layout.refused("unpack -n --files oci:l --out a", 0, "nothing is written; --out would be a");
    // Images that are ones already need no mkfs.erofs.
    let made = layout.run("unpack oci:l --out a.img --mkfs /none");
    assert_eq!(made.status, 0, "{}", made.stderr);
}

#[test]
fn image_of_a_platform_is_chosen_from_nested_indexes() {
    let layout = Layout::new();
    let native = [(EROFS.to_string(), TINY.to_vec(), TINY.to_vec())];
    let of = |architecture: &str| {
        let mut image = layout.image(&native, architecture);
        image["platform"] = json!({"os": "linux", "architecture": architecture});
        image
    };
    let mut statement = layout.blob(MANIFEST, b"{}");
    statement["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let nested = layout.index(&[of("arm64"), of("riscv64"), statement]);
    let mut named = nested.clone();
    named["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    layout.index(&[named]);
    for (words, why) in [
        ("oci:l:v1 --platform linux/arm64", "for linux/arm64"),
        ("oci:l --platform linux/riscv64", "for linux/riscv64"),
    ] {
        layout.refused(&format!("unpack -n {words} --out a"), 0, why);
    }
    for (words, why) in [
        ("oci:l --platform linux/s390x", "there are: linux/arm64, linux/riscv64"),
        ("oci:l:v2 --platform linux/arm64", "no image is called v2; there are: v1"),
    ] {
        layout.refused(&format!("unpack {words} --out a"), 1, why);
    }
    let layout = Layout::of(&native);
    let wrong = "the image is for linux/amd64, and --platform wants linux/arm64";
    layout.refused("unpack oci:l --platform linux/arm64 --out a", 1, wrong);
}

#[test]
fn bad_images_are_refused_by_their_text_and_leave_nothing() {
    let native = (EROFS.to_string(), TINY.to_vec(), TINY.to_vec());
    let other = (native.0.clone(), native.1.clone(), b"other".to_vec());
    let none = (EROFS.to_string(), vec![7; 4096], vec![7; 4096]);
    let cut = {
        let (kind, blob, content) = zstd(EROFS, TINY);
        (kind, blob[..blob.len() - 9].to_vec(), content)
    };
    for (layers, why) in [
        (
            vec![other],
            "its diff_id disagrees: sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa is wanted",
        ),
        (vec![none], "its media type says an EROFS image, and it is none"),
        (vec![cut], "layer 0: sha256:"),
        (vec![], "the image has no layer"),
        (vec![native.clone(); 129], "129 layers, and at most 128 are stacked"),
        (vec![("text/plain".into(), vec![1], vec![1])], "unknown media type `text/plain`"),
    ] {
        Layout::of(&layers).refused("unpack oci:l --out a.img", 1, why);
    }
    let layout = Layout::of(std::slice::from_ref(&native));
    let digest = sha256(TINY);
    let mut bytes = TINY.to_vec();
    bytes[2000] ^= 1;
    fs::write(layout.blob_path(&digest), &bytes).unwrap();
    let why = format!("the digest of the layer disagrees: {digest} is wanted, and the ");
    layout.refused("unpack oci:l --out a.img", 1, &why);
    fs::write(layout.blob_path(&digest), &bytes[1..]).unwrap();
    layout.refused("unpack oci:l --out a.img", 1, "and its descriptor says ");
    fs::remove_file(layout.blob_path(&digest)).unwrap();
    layout.refused("unpack oci:l --out a.img", 1, "No such file or directory");
    let mut image = layout.image(&[native], "amd64");
    image["digest"] = json!("sha256:../../x");
    layout.index(&[image]);
    layout.refused("unpack oci:l --out a.img", 1, "`sha256:../../x` is no digest");
    fs::write(layout.path("l/index.json"), "<html>").unwrap();
    layout.refused("unpack oci:l --out a.img", 1, "the manifest index.json: makes no sense");
    layout.refused("unpack oci:none --out a.img", 2, "none: not an OCI layout");
    layout.refused("unpack docker://x --out a.img", 2, "expected oci:DIR[:REF]");
}

#[test]
fn archives_that_leave_or_that_nobody_can_make_are_refused() {
    let upward = || plain(tar(&[("a", Some(b"a")), ("../x", Some(b"x"))]));
    let old = Layout::of(&[plain(tar(&[("a", Some(b"a"))]))]);
    fs::write(old.path("mkfs"), "#!/bin/sh\necho '--aufs --sort --mkfs-time'\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(old.path("mkfs"), mode).unwrap();
    old.refused("unpack oci:l --out a.img --mkfs ./mkfs", 3, "is too old: it has no --tar");
    old.refused("unpack oci:l --out a.img --mkfs /none", 3, "cannot start /none");
    if !has_mkfs() {
        return;
    }
    for (layer, why) in [
        (upward(), "an entry leaves the archive: ../x"),
        (plain(vec![7; 2048]), "its archive is wrong"),
        ((format!("{TAR}+gzip"), vec![b'x'; 64], vec![]), "invalid gzip header"),
    ] {
        Layout::of(&[layer]).refused("unpack oci:l --out a.img", 1, why);
    }
}

#[test]
fn images_of_umoci_and_skopeo_are_unpacked() {
    let tool = |name: &str, words: &str, dir: &Path| {
        let mut command = Command::new(name);
        let output = command.args(words.split(' ')).current_dir(dir).output();
        output.is_ok_and(|output| output.status.success())
    };
    let layout = Layout::new();
    let dir = layout.0.path();
    fs::create_dir_all(dir.join("src/etc")).unwrap();
    fs::write(dir.join("src/etc/motd"), b"hi\n").unwrap();
    if !tool("umoci", "init --layout u", dir) || !has_mkfs() {
        println!("skipped: umoci is not installed");
        return;
    }
    for words in [
        "new --image u:v1",
        "insert --image u:v1 src /app",
        "insert --image u:v1 --whiteout /app/etc/old",
    ] {
        assert!(tool("umoci", words, dir), "{words}");
    }
    let made = layout.run("unpack --files oci:u:v1 --out f --platform linux/amd64");
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert_eq!(layout.run("cat f/erofs-layer-0 /app/etc/motd").stdout, "hi\n");
    let row = layout.run("stat f/erofs-layer-1 /app/etc/old").stdout;
    assert!(row.contains("0, 0") || row.contains("character"), "{row}");
    let copy = "copy --dest-compress --dest-compress-format zstd oci:u:v1 oci:s:v2";
    if !tool("skopeo", copy, dir) {
        println!("skipped in part: skopeo is not installed");
        return;
    }
    let made = layout.run("unpack --files oci:s:v2 --out g --platform linux/amd64");
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert!(made.stderr.contains("(tar, zstd, "), "{}", made.stderr);
    assert_eq!(layout.run("cat g/erofs-layer-0 /app/etc/motd").stdout, "hi\n");
}
