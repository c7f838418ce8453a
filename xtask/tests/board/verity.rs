//! Digests on every board: what is right passes and is counted, and every row of the table of changes
//! fails with its words and its status.
//!
//! Always: what a guest prints is what the host's library prints without digests, less the rows that
//! are refused. The digests are those of fsverity and veritysetup.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use rootlet_sim::Rng;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::boot::{BOARDS, Boot, Outcome, boot, guest, host, on_every_board};

const PACKED: &[u8] = include_bytes!("../../../crates/trust/tests/data/set.tar.xz");

/// The image and the blobs of the slots 1 and 2, by fs-verity's digests.
const DIGESTS: [&str; 3] = [
    "652973f0dd5c64deea65a2eac143858cfc861034f706770c6e08b5643647402d",
    "e6cada278f1cebdaa26c5ee30c6a78d9d9f48c4419697ab840f5595c194abcc2",
    "e198bfc2deb486cdcc04b36191a21013edda9b4c325cd2c1fba3d467872fc60b",
];
/// dm-verity's root of the image with a salt of 32 zero bytes; of the image and the blobs in one file.
const APPENDED: &str = "9191f440480946eb0f9feb1a165cfbffdb409e121ee5bbd1a98133cf3c0e1528";
const FLAT: &str = "6bcfe508bf4b5380ff818d9eec0a1f3670b655b5b35d9dae0bf6b96c0df7d559";
/// The command that reads everything.
const SUM: [&str; 2] = ["sum", "/"];
/// A row's words in the verdict where a read is refused.
const REFUSED: &str = "the bytes have another digest than the pinned one";

/// The set: an image over two blobs, with their trees, in a folder that is a share as well.
struct Set {
    dir: TempDir,
    board: &'static str,
}

impl Set {
    fn new(board: &'static str) -> Self {
        // A boot waits for a build that is under way, but not for longer than its deadline.
        for board in BOARDS {
            guest(board);
        }
        let dir = tempfile::tempdir().unwrap();
        tar::Archive::new(lzma_rust2::XzReader::new(PACKED, false)).unpack(dir.path()).unwrap();
        Self { dir, board }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(name);
        change(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
    }

    fn flip(&self, name: &str, at: usize) {
        self.change(name, |bytes| bytes[at] ^= 1);
    }

    /// Returns the arguments of a boot: the image and the first blob on disks, the second on a share,
    /// and `words` before the command.
    fn args(&self, words: &[&str], command: &[&str]) -> Vec<OsString> {
        let path = |name: &str| self.path(name).display().to_string();
        let (image, one) = (path("image.erofs"), format!("1={}", path("b1.erofs")));
        let share = self.dir.path().display().to_string();
        let sources = ["--image", &image, "--blob", &one, "--share", &share];
        let blob = ["--blob", "2=share:b2.erofs", "--board", self.board];
        let words = [&sources[..], &blob, words, &["--"], command].concat();
        words.into_iter().map(OsString::from).collect()
    }

    /// Boots with the digests.
    fn boot(&self, words: &[&str], command: &[&str]) -> Outcome {
        let digests = digests();
        let digests: Vec<&str> = digests.iter().flat_map(|spec| ["--verity", spec]).collect();
        boot(self.args(&[&digests[..], words].concat(), command))
    }

    /// Returns the rows of `sum /`, unverified.
    fn rows(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let blob = |slot: u32| format!("{slot}={}", path(&format!("b{slot}.erofs")));
        let (image, one, two) = (path("image.erofs"), blob(1), blob(2));
        let words = ["--image", &image, "--blob", &one, "--blob", &two, "--", "sum", "/"];
        String::from_utf8(host(words)).unwrap()
    }
}

/// Returns the values of `--verity`.
fn digests() -> [String; 3] {
    let [image, one, two] = DIGESTS;
    [format!("sha256-12:{image}"), format!("1=sha256-12:{one}"), format!("2=sha256-12:{two}")]
}

/// Returns these rows without those of `paths`.
fn without(rows: &str, paths: &[&str]) -> String {
    let left = rows.lines().filter(|row| !paths.iter().any(|path| row.ends_with(path)));
    left.map(|row| format!("{row}\n")).collect()
}

/// Panics unless a boot passed with all rows, and has counted the bytes that were verified.
#[track_caller]
fn assert_whole(outcome: &Outcome, rows: &str) {
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.verdict().starts_with("PASS  "), "{}", outcome.stderr);
    assert!(String::from_utf8_lossy(&outcome.stdout) == rows, "{}", outcome.stderr);
    let told =
        |line: &str| line.starts_with("digest  verified ") && line.ends_with(", digests wrong 0");
    assert!(outcome.stderr.lines().any(told), "{}", outcome.stderr);
}

/// Panics unless a boot failed with these words in its verdict and in a line of its own.
#[track_caller]
fn assert_refused(outcome: &Outcome, verdict: &str, line: &str) {
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let said = outcome.verdict();
    assert!(said.starts_with("FAIL ") && said.contains(verdict), "{verdict}: {}", outcome.stderr);
    assert!(outcome.stderr.lines().any(|said| said.contains(line)), "{line}: {}", outcome.stderr);
}

fn right_digests_pass_in_every_notation(board: &'static str) {
    let set = Set::new(board);
    let rows = set.rows();
    assert!(rows.lines().count() > 100);
    assert_whole(&set.boot(&[], &SUM), &rows);
    // A seal on a disk, and one on the share.
    let [image, one, two] = DIGESTS;
    let seal = format!("# all\nimage sha256-12:{image}\n1 sha256-12:{one}\n2 sha256-12:{two}\n");
    let digest = Sha256::digest(&seal);
    let root: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let (padded, root) = (seal.len().next_multiple_of(512), format!("root=sha256:{root}"));
    fs::write(set.path("seal.txt"), &seal).unwrap();
    fs::write(set.path("seal.disk"), [seal.as_bytes(), &vec![0; padded - seal.len()]].concat())
        .unwrap();
    let disk = |serial: &str, name: &str| format!("{serial}={},ro", set.path(name).display());
    let trees = [("image.v", "image.erofs"), ("blob1.v", "b1.erofs"), ("seal", "seal.disk")];
    let disks = trees.map(|(serial, name)| match serial {
        "seal" => disk(serial, name),
        _ => disk(serial, &format!("{name}.verity")),
    });
    let disks: Vec<&str> = disks.iter().flat_map(|disk| ["--disk", disk]).collect();
    for (place, notice) in [("seal=seal", None), ("seal=share:seal.txt", Some("root=sha256:0"))] {
        let words = [&disks[..], &["--guest-option", place, "--guest-option", &root]].concat();
        assert_whole(&boot(set.args(&words, &SUM)), &rows);
        let Some(wrong) = notice else { continue };
        let wrong = format!("{wrong}{}", &root[wrong.len()..]);
        let words = [&disks[..], &["--guest-option", place, "--guest-option", &wrong]].concat();
        let outcome = boot(set.args(&words, &SUM));
        assert_refused(&outcome, "root=: the seal is sha256 ", "root=: the seal is sha256 ");
    }
    // Image and blobs in one file, which dm-verity's root covers whole.
    let all = [set.read("image.erofs"), set.read("b1.erofs"), set.read("b2.erofs")].concat();
    fs::write(set.path("flat"), all).unwrap();
    let zeros = "00".repeat(32);
    let spec = format!(
        "root_hash={FLAT},salt={zeros},data_blocks=310,data_block_size=4096,hash_block_size=4096,\
         tree=tree"
    );
    let (image, tree) = (set.path("flat").display().to_string(), disk("tree", "flat.hash"));
    let words = ["--board", board, "--image", &image, "--disk", &tree, "--verity", &spec];
    assert_whole(&boot([&words[..], &["--"], &SUM].concat()), &rows);
}

/// A change, the words of the verdict and of a line of standard error, and
/// the files that are not read.
type Row<'r> = (&'r dyn Fn(&Set), &'r str, &'r str, &'r [&'r str]);

fn changed_sources_fail_by_their_words(board: &'static str) {
    let nothing: &[&str] = &["/"];
    let table: [Row<'_>; 10] = [
        (&|set| set.flip("image.erofs", 1024), "image: block 0: sha256 ", "image: ", nothing),
        (
            &|set| set.flip("image.erofs", 1152),
            "image: block 0: sha256 ",
            ", verity= wants ",
            nothing,
        ),
        (&|set| set.flip("b1.erofs", 20_000), REFUSED, "slot 1: block 4: sha256 ", &["/bin/app"]),
        (&|set| set.flip("b1.erofs", 98_504), REFUSED, "slot 1: block 24: sha256 ", &["/etc/motd"]),
        (
            &|set| set.flip("b1.erofs.verity", 0),
            "slot 1: size and root hash: sha256 ",
            ", verity1= wants ",
            nothing,
        ),
        (
            &|set| set.flip("b1.erofs.verity", 4224),
            REFUSED,
            "slot 1: tree, level 0, node 0: sha256 ",
            &["/bin/app", "/etc/motd"],
        ),
        (
            &|set| {
                let one = set.read("b1.erofs");
                fs::write(set.path("b1.erofs"), set.read("b2.erofs")).unwrap();
                fs::write(set.path("b2.erofs"), one).unwrap();
            },
            "slot 1",
            "slot 1",
            nothing,
        ),
        (
            &|set| set.change("b2.erofs", |bytes| bytes.truncate(bytes.len() - 4096)),
            "slot 2 is too short: 532480 bytes, the slot needs 536576",
            "slot 2",
            nothing,
        ),
        (
            &|set| {
                // An older blob, consistent in itself.
                fs::copy(set.path("b1.erofs"), set.path("b2.erofs")).unwrap();
                fs::copy(set.path("b1.erofs.verity"), set.path("b2.erofs.verity")).unwrap();
            },
            "slot 2: size and root hash: sha256 ",
            ", verity2= wants ",
            nothing,
        ),
        (
            &|set| set.change("b2.erofs.verity", |bytes| bytes.truncate(4096)),
            "slot 2: its tree has 4096 bytes, and needs 12288",
            "slot 2",
            nothing,
        ),
    ];
    let rows = Set::new(board).rows();
    let here = BOARDS.iter().position(|other| *other == board).unwrap();
    let table = table.into_iter().enumerate();
    // The boards share the rows: the code that refuses them is that of all boards.
    let table = table.filter(|(number, _)| on_every_board() || number % BOARDS.len() == here);
    for (number, (change, verdict, line, less)) in table {
        let set = Set::new(board);
        change(&set);
        let outcome = set.boot(&[], &SUM);
        println!("{board}, row {number}: {}", outcome.verdict());
        assert_refused(&outcome, verdict, line);
        let printed = String::from_utf8_lossy(&outcome.stdout);
        // Files of a node share its blocks: those that are named are among the missing.
        assert!(printed.lines().all(|row| rows.lines().any(|right| right == row)), "{printed}");
        let is_named = |row: &str| less.iter().any(|path| row.ends_with(path));
        assert!(less == nothing || !printed.lines().any(is_named), "row {number}: {printed}");
        if line.contains("block ") && less != nothing {
            assert_eq!(printed, without(&rows, less), "row {number}");
        }
    }
    // What lies after a blob is nobody's.
    let set = Set::new(board);
    set.change("b2.erofs", |bytes| bytes.resize(bytes.len() + 4096, 7));
    assert_whole(&set.boot(&[], &SUM), &rows);
}

fn words_and_superblocks_that_pin_nothing_are_refused(board: &'static str) {
    let set = Set::new(board);
    let [image, one, _] = digests();
    let zeros = "00".repeat(32);
    let dm = |blocks: &str, salt: &str| {
        format!(
            "root_hash={APPENDED},salt={salt},{blocks}data_block_size=4096,hash_block_size=4096"
        )
    };
    let long = "00".repeat(257);
    let option = |word: String| vec!["--guest-option".to_string(), word];
    let pinned = |spec: String| option(format!("verity={spec}"));
    let unnamed = [&image, &one].into_iter().flat_map(|spec| ["--verity".into(), spec.clone()]);
    for (words, told) in [
        (
            unnamed.collect(),
            "slot 2: nothing says what it is, and the image is verified: give verity2= or a line of \
             the seal",
        ),
        (
            pinned(dm("", &zeros)),
            "verity=: data_blocks is missing; it cannot be taken from the disk",
        ),
        (pinned(dm("data_blocks=4,", &long)), "verity=: the salt has 257 bytes, and may have 256"),
        (
            pinned(dm("data_blocks=4,hash=md5,", &zeros)),
            "verity=: hash=md5: an unknown hash; known are sha256 and sha512",
        ),
        (pinned("md5-12:00".into()), "verity=: md5-12: a hash and the base 2 logarithm of "),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_refused(&boot(set.args(&words, &SUM)), told, told);
    }
    fs::copy(set.path("image.appended"), set.path("image.erofs")).unwrap();
    fs::remove_file(set.path("image.erofs.verity")).unwrap();
    let [_, one, two] = digests();
    let appended = |blocks: &str| {
        let spec = dm(blocks, &zeros);
        let words = ["--verity", &spec, "--verity", &one, "--verity", &two];
        boot(set.args(&words, &SUM))
    };
    let rows = set.rows();
    assert_whole(&appended("data_blocks=4,"), &rows);
    set.flip("image.erofs", 16_384 + 72);
    let told = "image: its superblock says 5 data blocks, verity= says 4";
    assert_refused(&appended("data_blocks=4,"), told, told);
}

fn garbled_region_costs_fetches_and_no_byte(board: &'static str) {
    let set = Set::new(board);
    let rows = set.rows();
    let region = set.path("region").display().to_string();
    let words = ["--region", &region, "--region-size", "16M"];
    assert_whole(&set.boot(&words, &SUM), &rows);
    let warm = set.boot(&words, &SUM);
    assert_whole(&warm, &rows);
    // The blobs and their trees are away, and the region has both.
    let names = ["--guest-option", "blob1=away", "--guest-option", "blob2=away2"];
    let digests = digests();
    let image = set.path("image.erofs").display().to_string();
    let offline = || {
        let start = ["--board", board, "--image", &image];
        let specs: Vec<&str> = digests.iter().flat_map(|spec| ["--verity", spec]).collect();
        boot([&start[..], &names, &words, &specs, &["--"], &SUM].concat())
    };
    assert_whole(&offline(), &rows);
    let filled = set.read("region");
    // A byte of every block that has some.
    set.change("region", |bytes| {
        for block in bytes.chunks_exact_mut(4096).skip(16).filter(|block| block[100] != 0) {
            block[100] ^= 1;
        }
    });
    assert_whole(&set.boot(&words, &SUM), &rows);
    fs::write(set.path("region"), &filled).unwrap();
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        set.change("region", |bytes| {
            let place = 0x1_0000 * (1 + 4 * seed as usize);
            rng.fill(&mut bytes[place..place + 0x1_0000]);
        });
        assert_whole(&set.boot(&words, &SUM), &rows);
    }
    // A byte of each block is changed, and nobody has the right one.
    set.change("region", |bytes| {
        for block in bytes.chunks_exact_mut(4096).skip(16).filter(|block| block[100] != 0) {
            block[100] ^= 1;
        }
    });
    let outcome = offline();
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let printed = String::from_utf8_lossy(&outcome.stdout);
    assert!(printed.lines().all(|row| rows.lines().any(|right| right == row)), "{printed}");
    // With another blob below it, a region has the bytes of the right one; others are refused.
    fs::write(set.path("region"), &filled).unwrap();
    set.change("b1.erofs", |bytes| bytes.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1));
    assert_whole(&set.boot(&words, &SUM), &rows);
}

/// Tests of each board; those after a bar are for [`on_every_board`].
macro_rules! boards {
    ($($check:ident: $($test:ident $number:literal),* $(| $($more:ident $also:literal),*)?;)*) => {$(
        $(#[test] fn $test() { $check(BOARDS[$number]); })*
        $($(#[test] fn $more() {
            match on_every_board() {
                true => $check(BOARDS[$also]),
                false => println!("skipped: ROOTLET_EVERY_BOARD=1 runs it"),
            }
        })*)?
    )*};
}

boards! {
    right_digests_pass_in_every_notation:
        right_on_microvm 0, right_on_q35 1, right_on_virt_aarch64 2, right_on_virt_riscv64 3;
    changed_sources_fail_by_their_words:
        changed_on_microvm 0, changed_on_q35 1, changed_on_virt_aarch64 2, changed_on_virt_riscv64 3;
    words_and_superblocks_that_pin_nothing_are_refused:
        words_on_q35 1 | words_on_microvm 0, words_on_virt_aarch64 2, words_on_virt_riscv64 3;
    garbled_region_costs_fetches_and_no_byte:
        region_on_virt_aarch64 2 | region_on_microvm 0, region_on_q35 1, region_on_virt_riscv64 3;
}

#[test]
fn source_that_changes_while_it_is_read_is_an_error_from_there_on() {
    let set = Set::new(BOARDS[0]);
    let slow = ["--drive-opt", "blob1=throttling.bps-read=400000"];
    let digests = digests();
    let words: Vec<&str> = digests.iter().flat_map(|spec| ["--verity", spec]).collect();
    let mut boot = Boot::start(set.args(&[&words[..], &slow].concat(), &SUM));
    boot.first_byte();
    set.change("b1.erofs", |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1));
    let outcome = boot.end();
    assert_refused(&outcome, REFUSED, "digest  slot 1: block ");
}
