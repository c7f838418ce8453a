//! The set of an image over two blobs with trees by veritysetup and fsverity, and with Linux's own
//! manifest: every notation, and every row of the table of changes.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::LazyLock;

use rootlet_sim::disk::World;

use crate::guest::Guest;
use crate::world::{Checked, mount, padded};

const PACKED: &[u8] = include_bytes!("../../crates/trust/tests/data/set.tar.xz");

const IMAGE: &str = "652973f0dd5c64deea65a2eac143858cfc861034f706770c6e08b5643647402d";
const B1: &str = "e6cada278f1cebdaa26c5ee30c6a78d9d9f48c4419697ab840f5595c194abcc2";
const B2: &str = "e198bfc2deb486cdcc04b36191a21013edda9b4c325cd2c1fba3d467872fc60b";
/// dm-verity's roots with a salt of 32 zero bytes, and the data blocks.
const APPENDED: [(&str, u32); 3] = [
    ("9191f440480946eb0f9feb1a165cfbffdb409e121ee5bbd1a98133cf3c0e1528", 4),
    ("b8e9696574163052e05e99e4820a6e09df5479d60e3ce6dff91d04c0949a677e", 175),
    ("a3120c143b03615e7069c9ead8fe600c8023edca326c4abac17878214b8e2f0c", 131),
];
/// The same without salt.
const PLAIN: [&str; 3] = [
    "5ef843c875fc1eacd58aa6cb900e42b763d321f595596399132511e27429c415",
    "65b9a42ebe37b047a24048010cafd425122ee6c57b72f07fe8019c006d11be5a",
    "a2fc679ad7b920c3d60dd129f4d1f0e1b0e994a92151eea8cf551eb729961e49",
];

static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(PACKED, false));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name.trim_start_matches("./").to_string(), bytes)
    });
    files.collect()
});

/// Returns the words that pin the set by fs-verity's digests.
pub fn digests() -> String {
    format!(
        "image=image blob1=b1 blob2=b2 verity=sha256-12:{IMAGE} verity1=sha256-12:{B1} \
         verity2=v1-sha256-12:{B2}"
    )
}

/// The disks of the set, some of them changed: by serial, the file of the set and the change.
pub type Change<'c> = (&'c str, &'c dyn Fn(&mut Vec<u8>));

/// Returns a world with these disks, each a file of the set.
pub fn world(disks: &[(&str, &str)], changes: &[Change<'_>]) -> World {
    let world = World::new(1);
    for (serial, file) in disks {
        let mut bytes = FILES[*file].clone();
        let of = changes.iter().filter(|(name, _)| name == serial);
        of.for_each(|(_, change)| change(&mut bytes));
        world.blob(serial, padded(&bytes));
    }
    world
}

pub const BESIDE: [(&str, &str); 6] = [
    ("image", "image.erofs"),
    ("b1", "b1.erofs"),
    ("b2", "b2.erofs"),
    ("image.v", "image.erofs.verity"),
    ("b1.v", "b1.erofs.verity"),
    ("b2.v", "b2.erofs.verity"),
];
const BEHIND: [(&str, &str); 3] =
    [("image", "image.appended"), ("b1", "b1.appended"), ("b2", "b2.appended")];

/// Returns the rows of a manifest, each as JSON.
fn rows(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns path and sum of the files of a manifest.
fn sums(bytes: &[u8]) -> BTreeMap<String, String> {
    let files = rows(bytes).into_iter().filter_map(|row| {
        Some((row["path"].as_str()?.to_string(), row["sha256"].as_str()?.to_string()))
    });
    files.collect()
}

/// Panics unless the set reads as Linux reads it.
fn is_whole(guest: &mut Checked, line: &str) {
    let manifest = guest.run(&["manifest", "/"]).unwrap();
    let expected = &FILES["manifest.jsonl"];
    assert_eq!(rows(&manifest).len(), rows(expected).len(), "{line}");
    assert_eq!(sums(&manifest), sums(expected), "{line}");
    assert!(!sums(expected).is_empty());
    let stats = guest.root.storage().stats();
    assert_eq!((stats.wrong, stats.wrong_elsewhere), (0, 0), "{line}");
    assert!(stats.verified_bytes > 700_000, "{line}: {stats:?}");
}

/// Returns the set with dm-verity's trees after the data, after their superblocks: two worlds, the
/// words that pin it, those that do not, and a file.
pub fn behind() -> Option<(World, World, String, String, &'static str)> {
    let zeros = "00".repeat(32);
    let salted = APPENDED.map(|(root, blocks)| (root, blocks, zeros.as_str()));
    let plain = "image=image blob1=b1 blob2=b2".to_string();
    Some((world(&BEHIND, &[]), world(&BEHIND, &[]), dm(salted, ""), plain, "/data/big"))
}

/// Returns the words that pin the image by dm-verity's root, and the blobs by fs-verity's digests.
pub fn dm_image() -> String {
    let root = APPENDED[0].0;
    format!(
        "image=image blob1=b1 blob2=b2 verity=root_hash={root},salt={},data_blocks=4,\
         data_block_size=4096,hash_block_size=4096 verity1=sha256-12:{B1} verity2=sha256-12:{B2}",
        "00".repeat(32)
    )
}

/// Returns the words that pin the set by dm-verity's roots.
fn dm(roots: [(&str, u32, &str); 3], options: &str) -> String {
    let words = roots.into_iter().enumerate().map(|(slot, (root, blocks, salt))| {
        let key = if slot == 0 { String::new() } else { slot.to_string() };
        format!(
            "verity{key}=root_hash={root},salt={salt},data_blocks={blocks},data_block_size=4096,\
             hash_block_size=4096{options}"
        )
    });
    format!("image=image blob1=b1 blob2=b2 {}", words.collect::<Vec<_>>().join(" "))
}

#[test]
fn set_reads_as_linux_reads_it_in_every_notation() {
    let zeros = "00".repeat(32);
    let salted = APPENDED.map(|(root, blocks)| (root, blocks, zeros.as_str()));
    let mut plain = salted;
    plain.iter_mut().zip(PLAIN).for_each(|(one, root)| *one = (root, one.1, "-"));
    for (disks, line) in [
        (&BESIDE[..], digests()),
        (&BEHIND[..], dm(salted, "")),
        (&BEHIND[..], dm(salted, ",hash=sha256,format=1,tree=self")),
        (&BESIDE[..], dm(plain, "")),
    ] {
        let mut guest = mount(&world(disks, &[]), &line).unwrap();
        is_whole(&mut guest, &line);
    }
    // The place of a tree, and a tree that is not the image's.
    let line = digests()
        .replace(IMAGE, &format!("{IMAGE},tree=image.v,at=0"))
        .replace(B2, &format!("{B2},bytes=536576,tree=b2.v"));
    is_whole(&mut mount(&world(&BESIDE, &[]), &line).unwrap(), &line);
    let line = digests().replace(IMAGE, &format!("{IMAGE},tree=b1.v"));
    let error = mount(&world(&BESIDE, &[]), &line).err().unwrap();
    assert!(error.starts_with("image: size and root hash: sha256 "), "{error}");
}

#[test]
fn seal_on_a_disk_without_a_longest_transfer_is_refused_by_that() {
    let world = world(&BESIDE, &[]);
    let disk = world.blob("seal", padded(b"# a seal\n"));
    world.set_transfer_max(disk, 0);
    let line = format!("image=image seal=seal root=sha256:{IMAGE}");
    let error = mount(&world, &line).err().unwrap();
    assert!(error.starts_with("the disk of the seal cannot be read from: "), "{error}");
}

#[test]
fn seal_stands_for_all_words() {
    let text = format!("# the set\nimage sha256-12:{IMAGE}\n1 sha256-12:{B1}\n2 sha256-12:{B2}\n");
    let root = rootlet_trust::digest(
        &rootlet_trust::Software,
        rootlet_trust::Algorithm::Sha256,
        text.as_bytes(),
    );
    let line = format!("image=image blob1=b1 blob2=b2 seal=seal root=sha256:{}", root.unwrap());
    let whole = world(&BESIDE, &[]);
    whole.blob("seal", padded(text.as_bytes()));
    is_whole(&mut mount(&whole, &line).unwrap(), &line);
    let other = world(&BESIDE, &[]);
    other.blob("seal", padded(text.replace("set", "sea").as_bytes()));
    let error = mount(&other, &line).err().unwrap();
    assert!(error.starts_with("root=: the seal is sha256 "), "{error}");
    // A seal that leaves a slot out.
    let short = format!("image sha256-12:{IMAGE}\n1 sha256-12:{B1}\n");
    let root = rootlet_trust::digest(
        &rootlet_trust::Software,
        rootlet_trust::Algorithm::Sha256,
        short.as_bytes(),
    );
    let line = format!("image=image blob1=b1 blob2=b2 seal=seal root=sha256:{}", root.unwrap());
    let lacking = world(&BESIDE, &[]);
    lacking.blob("seal", padded(short.as_bytes()));
    assert_eq!(
        mount(&lacking, &line).err().unwrap(),
        "slot 2: nothing says what it is, and the image is verified: give verity2= or a line of the \
         seal"
    );
}

/// The files of the set that a mount without digests reads.
pub static CONTENTS: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let line = "image=image blob1=b1 blob2=b2";
    let mut guest = Guest::mount(world(&BESIDE, &[]).attach(), line, 1).unwrap();
    let paths = ["/bin/app", "/etc/motd", "/data/big"];
    paths.into_iter().map(|path| (path, guest.run(&["cat", path]).unwrap())).collect()
});

/// Reads bytes of a file, which must be those of the set or an error.
pub fn read(guest: &Checked, path: &str, at: usize, len: usize) -> Result<(), String> {
    let mut out = vec![0xee; len];
    let file = guest.root.open(path.as_bytes()).map_err(|error| format!("{error:#}"))?;
    let read = file.read_at(at as u64, &mut out).map_err(|error| format!("{error:#}"))?;
    assert_eq!(read, len, "{path}");
    assert!(out == CONTENTS[path][at..at + len], "{path}: other bytes");
    Ok(())
}

/// A change of the set and what is wanted of it.
fn flipped(serial: &str, at: usize) -> Result<Checked, String> {
    let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    mount(&world(&BESIDE, &[(serial, &flip)]), &digests())
}

#[test]
fn changed_byte_of_a_blob_fails_its_block_alone() {
    let guest = flipped("b1", 20_000).unwrap();
    assert!(
        read(&guest, "/bin/app", 0, 4096).is_err() && read(&guest, "/bin/app", 4000, 96).is_err()
    );
    read(&guest, "/bin/app", 4096, 65_905).unwrap();
    read(&guest, "/etc/motd", 0, 120).unwrap();
    read(&guest, "/data/big", 0, 600_000).unwrap();
    let refusals = guest.root.storage().take_refusals();
    let text = refusals[0].to_string();
    assert_eq!(refusals.len(), 1, "one block, one message");
    assert!(text.starts_with("slot 1: block 4: sha256 ") && text.contains(", verity1= wants "));
    // After the end of a file, in its block.
    let guest = flipped("b1", 98_504).unwrap();
    assert!(read(&guest, "/etc/motd", 0, 120).is_err());
    read(&guest, "/bin/app", 0, 70_001).unwrap();
}

#[test]
fn changed_node_fails_what_lies_below_it() {
    let error = flipped("b1.v", 0).err().unwrap();
    assert!(error.starts_with("slot 1: size and root hash: sha256 "), "{error}");
    let guest = flipped("b1.v", 4224).unwrap();
    assert!(read(&guest, "/bin/app", 0, 1).is_err() && read(&guest, "/etc/motd", 0, 1).is_err());
    let text = guest.root.storage().take_refusals()[0].to_string();
    assert!(text.starts_with("slot 1: tree, level 0, node 0: sha256 "), "{text}");
    read(&guest, "/data/big", 0, 600_000).unwrap();
}

#[test]
fn image_that_is_changed_is_not_mounted() {
    for at in [1024, 1152] {
        let error = flipped("image", at).err().unwrap();
        assert!(error.starts_with("image: block 0: sha256 "), "{error}");
        assert!(error.contains(", verity= wants "), "{error}");
    }
}

#[test]
fn other_blobs_and_other_lengths_are_refused_at_mount() {
    let exchanged = digests().replace("blob1=b1 blob2=b2", "blob1=b2 blob2=b1");
    let error = mount(&world(&BESIDE, &[]), &exchanged).err().unwrap();
    assert!(error.contains("slot 1"), "{error}");
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 4096);
    let error = mount(&world(&BESIDE, &[("b2", &cut)]), &digests()).err().unwrap();
    assert!(error.contains("slot 2"), "{error}");
    // With more, what the slot says is tried, and the digest covers that.
    let more = |bytes: &mut Vec<u8>| bytes.resize(bytes.len() + 4096, 7);
    let guest = mount(&world(&BESIDE, &[("b2", &more)]), &digests()).unwrap();
    read(&guest, "/data/big", 0, 600_000).unwrap();
    // An older blob, consistent in itself, with its own tree.
    let older: Vec<(&str, &str)> = BESIDE
        .iter()
        .map(|(serial, file)| match *serial {
            "b2" => ("b2", "b1.erofs"),
            "b2.v" => ("b2.v", "b1.erofs.verity"),
            serial => (serial, *file),
        })
        .collect();
    let error = mount(&world(&older, &[]), &digests()).err().unwrap();
    assert!(error.starts_with("slot 2: size and root hash: sha256 "), "{error}");
}

#[test]
fn superblock_is_refused_where_it_differs_from_what_is_pinned() {
    let line = dm_image();
    let mut disks = BESIDE.to_vec();
    disks[0].1 = "image.appended";
    for (at, wanted) in [
        (16_384 + 8, "image: its superblock says version 0, verity= says 1"),
        (16_384 + 72, "image: its superblock says 5 data blocks, verity= says 4"),
        (
            16_384 + 88,
            "image: its superblock says salt 01000000000000000000000000000000.., verity= says",
        ),
    ] {
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1;
        let error = mount(&world(&disks, &[("image", &flip)]), &line).err().unwrap();
        assert!(error.starts_with(wanted), "{error}");
    }
    let uuid = |bytes: &mut Vec<u8>| bytes[16_384 + 20] ^= 1;
    mount(&world(&disks, &[("image", &uuid)]), &line).unwrap();
    // Without the signature it is a tree, and a wrong one.
    let signature = |bytes: &mut Vec<u8>| bytes[16_384] ^= 1;
    let error = mount(&world(&disks, &[("image", &signature)]), &line).err().unwrap();
    assert!(error.starts_with("image: tree, level 0, node 0: sha256 "), "{error}");
}
