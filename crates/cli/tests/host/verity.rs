//! Digests on the host: what `seal` writes is what fsverity and veritysetup wrote, and nothing is
//! read that they do not cover.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const PACKED: &[u8] = include_bytes!("../../../trust/tests/data/set.tar.xz");
const DIGESTS: [&str; 3] = [
    "652973f0dd5c64deea65a2eac143858cfc861034f706770c6e08b5643647402d",
    "e6cada278f1cebdaa26c5ee30c6a78d9d9f48c4419697ab840f5595c194abcc2",
    "e198bfc2deb486cdcc04b36191a21013edda9b4c325cd2c1fba3d467872fc60b",
];
const NAMES: [&str; 3] = ["image.erofs", "b1.erofs", "b2.erofs"];

/// The set: an image over two blobs, with their trees.
struct Set(TempDir);

/// How a run ended.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Set {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tar::Archive::new(lzma_rust2::XzReader::new(PACKED, false)).unpack(dir.path()).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Changes a byte of a file.
    fn flip(&self, name: &str, at: usize) {
        let mut bytes = self.read(name);
        bytes[at] ^= 1;
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs `rootlet WORDS` in the folder of the set.
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
}

/// Returns `COMMAND IMAGE` with the blobs, each pinned by its digest.
fn pinned(command: &str) -> String {
    let [image, b1, b2] = DIGESTS;
    format!(
        "{command} image.erofs --blob 1=b1.erofs --blob 2=b2.erofs --verity sha256-12:{image} \
         --verity 1=sha256-12:{b1} --verity 2=v1-sha256-12:{b2}"
    )
}

#[test]
fn trees_beside_are_those_of_fsverity_and_the_seal_pins_all() {
    let set = Set::new();
    let sealed = set.run("seal image.erofs --blob 2=b2.erofs --blob 1=b1.erofs --out s");
    assert_eq!(sealed.status, 0, "{}", sealed.stderr);
    for name in NAMES {
        let tree = format!("{name}.verity");
        assert!(set.read(&format!("s/{tree}")) == set.read(&tree), "{tree}");
    }
    let seal = String::from_utf8(set.read("s/seal.txt")).unwrap();
    let [image, b1, b2] = DIGESTS;
    let lines = format!("image sha256-12:{image}\n1 sha256-12:{b1}\n2 sha256-12:{b2}\n");
    assert!(seal.starts_with('#') && seal.ends_with(&lines), "{seal}");
    let root = sealed.stdout.trim_end();
    assert!(root.starts_with("root=sha256:") && root.len() == 12 + 64, "{root}");
    let blobs = "--blob 1=b1.erofs --blob 2=b2.erofs";
    let root = root.trim_start_matches("root=");
    // The trees are found where `seal` wrote them, and need not lie beside the files.
    for name in NAMES {
        fs::remove_file(set.path(&format!("{name}.verity"))).unwrap();
    }
    let checked = set.run(&format!("check image.erofs {blobs} --seal s/seal.txt --root {root}"));
    assert_eq!(checked.status, 0, "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains(" of the sources verified, "), "{}", checked.stdout);
    // The seal is another one.
    let other = root.replace("sha256:", "sha256:0").split_at(7 + 64).0.to_string();
    let refused = set.run(&format!("ls image.erofs {blobs} --seal s/seal.txt --root {other}"));
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains(&format!("root=: the seal is {}", root.replace(':', " "))));
}

#[test]
fn appended_trees_are_those_of_veritysetup_but_for_the_uuid() {
    let set = Set::new();
    let sealed =
        set.run("seal image.erofs --blob 1=b1.erofs --blob 2=b2.erofs --tree append --out s");
    assert_eq!(sealed.status, 0, "{}", sealed.stderr);
    for name in NAMES {
        let stem = name.strip_suffix(".erofs").unwrap();
        let (mut ours, mut theirs) =
            (set.read(&format!("s/{name}")), set.read(&format!("{stem}.appended")));
        let uuid = set.read(name).len() + 16;
        for bytes in [&mut ours, &mut theirs] {
            bytes[uuid..uuid + 16].fill(0);
        }
        assert!(ours == theirs, "{name}");
        let json =
            |path: &str| -> serde_json::Value { serde_json::from_slice(&set.read(path)).unwrap() };
        let (ours, theirs) =
            (json(&format!("s/{name}.dmverity")), json(&format!("{stem}.appended.dmverity")));
        assert_eq!(ours, theirs, "{name}");
    }
    let root = sealed.stdout.trim_end().trim_start_matches("root=").to_string();
    let manifest = set.run(&format!(
        "manifest s/image.erofs --blob 1=s/b1.erofs --blob 2=s/b2.erofs --seal s/seal.txt --root {root} /"
    ));
    assert_eq!(manifest.status, 0, "{}", manifest.stderr);
    let rows = String::from_utf8(set.read("manifest.jsonl")).unwrap();
    assert_eq!(manifest.stdout.lines().count(), rows.lines().count());
}

#[test]
fn seal_says_what_it_would_do_and_replaces_nothing_unasked() {
    let set = Set::new();
    let line = "seal image.erofs --blob 1=b1.erofs --blob 2=b2.erofs --out s";
    let tried = set.run(&format!("{line} --dry-run"));
    assert_eq!(tried.status, 0, "{}", tried.stderr);
    assert!(!set.path("s").exists());
    let made = set.run(line);
    assert_eq!(made.stdout, tried.stdout, "the same digest");
    let again = set.run(line);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("is there already; --force replaces it"), "{}", again.stderr);
    assert_eq!(set.run(&format!("{line} --force")).stdout, made.stdout);
    let left: Vec<_> =
        fs::read_dir(set.path("s")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "no files that are not whole: {left:?}");
    let short = set.run("seal image.erofs --blob 1=b1.erofs --out t");
    assert!(short.stderr.contains("slot 2  is in no --blob"), "{}", short.stderr);
}

#[test]
fn seal_refuses_what_makes_no_sense() {
    let set = Set::new();
    for (words, message) in [
        ("b1.erofs.verity --out s", "not an EROFS image"),
        ("image.erofs --blob 1=gone --out s", "gone: No such file"),
        ("image.erofs --blob 1=b1.erofs --blob 1=b2.erofs --out s", "--blob 1 is given twice"),
        ("image.erofs --blob 3=b1.erofs --out s", "--blob 3: the image has 2 device slots"),
        ("image.erofs --blob 1=share:x --out s", "a seal is made of files"),
        ("image.erofs --block 1000 --out s", "--block 1000: a power of two from 1024 on"),
        ("image.erofs --hash md5 --out s", "sha256 or sha512"),
        ("image.erofs --salt 0 --out s", "hex digits of at most 256 bytes"),
        ("image.erofs", "--out"),
    ] {
        let refused = set.run(&format!("seal {words}"));
        assert_eq!(refused.status, 2, "{words}: {}", refused.stderr);
        assert!(refused.stderr.contains(message), "{words}: {}", refused.stderr);
        assert!(!set.path("s").join("seal.txt").exists(), "{words}");
    }
    let long = set.run(&format!("seal image.erofs --salt {} --out s", "00".repeat(33)));
    assert_eq!(long.status, 2);
    assert!(long.stderr.contains("the salt has 33 bytes, and may have 32"), "{}", long.stderr);
}

#[test]
fn every_command_reads_what_is_pinned_and_nothing_else() {
    let set = Set::new();
    let plain = set.run("manifest image.erofs --blob 1=b1.erofs --blob 2=b2.erofs /");
    assert_eq!(plain.status, 0);
    let manifest = set.run(&format!("{} /", pinned("manifest")));
    assert_eq!((manifest.status, &manifest.stdout), (0, &plain.stdout), "{}", manifest.stderr);
    let told = set.run(&format!("{} -v /", pinned("manifest")));
    assert!(told.stderr.contains("digest  verified ") && told.stderr.contains("digests wrong 0"));
    let cat = set.run(&format!("{} /etc/motd", pinned("cat")));
    assert_eq!((cat.status, cat.stdout.len()), (0, 120));
    set.flip("b1.erofs", 98_304);
    let cat = set.run(&format!("{} /etc/motd", pinned("cat")));
    assert_eq!((cat.status, cat.stdout.as_str()), (1, ""), "{}", cat.stderr);
    assert!(cat.stderr.contains("digest  slot 1: block 24: sha256 "), "{}", cat.stderr);
    assert_eq!(set.run(&format!("{} /bin", pinned("ls"))).status, 0);
}

#[test]
fn check_names_every_wrong_block_whether_a_file_has_it_or_not() {
    let set = Set::new();
    assert_eq!(set.run(&pinned("check")).status, 0);
    set.flip("b1.erofs", 20_000);
    set.flip("b1.erofs", 174 * 4096 + 4000);
    set.flip("b2.erofs", 0);
    let checked = set.run(&pinned("check"));
    assert_eq!(checked.status, 1);
    for wrong in ["slot 1: block 4: ", "slot 1: block 174: ", "slot 2: block 0: "] {
        let line = format!("/: {wrong}sha256 ");
        assert_eq!(checked.stdout.matches(&line).count(), 1, "{line}\n{}", checked.stdout);
    }
    set.flip("b1.erofs.verity", 4096);
    let checked = set.run(&format!("{} --json", pinned("check")));
    let json: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    let faults = json["faults"].to_string();
    assert!(faults.contains("slot 1: tree, level 0, node 0: sha256 "), "{faults}");
    assert!(json["verified_bytes"].as_u64().unwrap() < 1_269_760, "{json}");
}

#[test]
fn what_cannot_be_verified_is_not_mounted() {
    let set = Set::new();
    let refuse = |line: &str, message: &str| {
        let refused = set.run(line);
        assert_eq!(refused.status, if message.starts_with("error") { 2 } else { 1 }, "{line}");
        let message = message.trim_start_matches("error ");
        assert!(refused.stderr.contains(message), "{line}: {}", refused.stderr);
    };
    let line = pinned("ls");
    let without = line.rsplit_once(" --verity").unwrap().0;
    refuse(without, "slot 2: nothing says what it is, and the image is verified: give verity2=");
    refuse(&line.replace("2=v1-sha256", "2=v1-sha1"), "error v1-sha1-12: a hash and");
    refuse(&format!("{line} --seal x"), "error ");
    refuse("ls image.erofs --seal x", "error --root");
    fs::remove_file(set.path("b2.erofs.verity")).unwrap();
    refuse(&line, "slot 2: no tree is found, and one of 12288 bytes is needed");
}

/// Each cause by which a design refuses, its words, its only text, and the status.
#[test]
fn each_fault_of_a_digest_has_one_text_and_fails() {
    let set = Set::new();
    let zeros = "00".repeat(32);
    let dm = |changed: &str, to: &str| {
        let words = format!(
            "root_hash=9191f440480946eb0f9feb1a165cfbffdb409e121ee5bbd1a98133cf3c0e1528,salt={zeros},\
             data_blocks=4,data_block_size=4096,hash_block_size=4096"
        );
        assert!(words.contains(changed));
        let words = words.replace(changed, to);
        let [_, b1, b2] = DIGESTS;
        format!(
            "ls image.appended --blob 1=b1.erofs --blob 2=b2.erofs --verity {words} --verity \
             1=sha256-12:{b1} --verity 2=sha256-12:{b2}"
        )
    };
    assert_eq!(set.run(&dm(",", ",")).status, 0);
    let long = "00".repeat(257);
    fs::write(set.path("seal"), format!("image sha256-12:{}\n", DIGESTS[0])).unwrap();
    let sealed = format!(
        "ls image.erofs --blob 1=b1.erofs --blob 2=b2.erofs --seal seal --root sha256:{}",
        "0".repeat(64)
    );
    let cut = set.read("b2.erofs")[..8192].to_vec();
    fs::write(set.path("cut"), cut).unwrap();
    for (line, status, text) in [
        (dm("data_blocks=4,", ""), 2, "data_blocks is missing; it cannot be taken from the disk"),
        (
            dm("data_blocks=4", "data_blocks=3,at=16384"),
            1,
            "image: its superblock says 4 data blocks, verity= says 3",
        ),
        (
            dm("salt=00", "salt=01"),
            1,
            "image: its superblock says salt 00000000000000000000000000000000.., verity= says 0100",
        ),
        (dm(&zeros, &long), 2, "the salt has 257 bytes, and may have 256"),
        (
            dm("data_blocks=4", "data_blocks=4,hash=md5"),
            2,
            "hash=md5: an unknown hash; known are sha256 and sha512",
        ),
        (
            dm("=4,data_block_size=4096", "=2,data_block_size=8192"),
            1,
            "image: not supported: data blocks of 8192 bytes; at most 4096",
        ),
        (
            dm("root_hash=91", "root_hash=92"),
            1,
            "image: tree, level 0, node 0: sha256 9191f440480946eb0f9feb1a165cfbff.., verity= wants 9291f4",
        ),
        (
            dm("data_blocks=4", "data_blocks=4,tree=gone"),
            1,
            "image: its tree (disk gone): not found",
        ),
        (
            pinned("ls").replace("sha256-12:e6", "sha1-12:e6"),
            2,
            "sha1-12: a hash and the base 2 logarithm",
        ),
        (
            pinned("ls").replace("sha256-12:e6", "sha256-16:e6"),
            1,
            "slot 1: not supported: data blocks of 65536 bytes; at most 4096",
        ),
        (
            pinned("ls").replace("sha256-12:e6", "sha256-12:e7"),
            1,
            "slot 1: size and root hash: sha256 e6cada278f1cebdaa26c5ee30c6a78d9.., verity1= wants e7cada",
        ),
        (pinned("ls").replace("2=b2.erofs", "2=cut"), 1, "slot 2"),
        (sealed, 2, "root=: the seal is sha256 "),
    ] {
        let refused = set.run(&line);
        assert_eq!(refused.status, status, "{line}: {}", refused.stderr);
        assert_eq!(refused.stderr.matches(text).count(), 1, "{text}\n{line}\n{}", refused.stderr);
    }
}
