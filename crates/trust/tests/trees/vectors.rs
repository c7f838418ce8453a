//! The 24 vectors, which veritysetup 2.6.1 and fsverity 1.5 have made, and `confusion/`.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::LazyLock;

use rootlet_trust::{
    Claim, Digest, Root, SUPERBLOCK_BYTES, Spec, Untrue, compare, is_superblock, superblock,
};

use crate::{blocks, data, made, proved};

const EXPECTED: &str = include_str!("../data/expected.tsv");
const PACKED: &[u8] = include_bytes!("../data/vectors.tar.xz");
/// The UUID that the superblocks have.
const UUID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

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

/// A row of `expected.tsv`: the text that pins the data, the data, and the tree as it is stored.
struct Row {
    name: &'static str,
    spec: String,
    data: Vec<u8>,
    stored: &'static [u8],
    is_file: bool,
    root: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let bytes = fields[2].parse().unwrap();
        match fields[..] {
            ["dm", name, _, blocks, hash, format, data_size, hash_size, salt, .., root] => Row {
                name,
                spec: format!(
                    "root_hash={root},salt={salt},data_blocks={blocks},data_block_size={data_size},\
                     hash_block_size={hash_size},hash={hash},format={format}"
                ),
                data: data(bytes),
                stored: &FILES[&format!("dm/{name}.hash")],
                is_file: false,
                root,
            },
            ["fs", name, _, hash, size, salt, _, root] => Row {
                name,
                spec: format!("{hash}-{}:{root},salt={salt}", size.parse::<u32>().unwrap().ilog2()),
                data: data(bytes),
                stored: &FILES[&format!("fs/{name}.tree")],
                is_file: true,
                root,
            },
            _ => panic!("{line}"),
        }
    };
    let rows: Vec<Row> = EXPECTED.lines().map(row).collect();
    assert_eq!(rows.len(), 24);
    rows
}

/// Returns the claim of a row.
fn claim(row: &Row) -> Claim {
    Spec::parse(&row.spec).unwrap().claim(row.data.len() as u64).unwrap()
}

/// Returns what is stored before the tree, and the tree.
fn parted(row: &Row) -> (&'static [u8], &'static [u8]) {
    let tree = claim(row).shape().tree_bytes();
    row.stored.split_at(row.stored.len() - usize::try_from(tree).unwrap())
}

#[test]
fn trees_and_superblocks_are_made_byte_for_byte_as_the_tools_make_them() {
    for row in &rows() {
        let (head, stored) = parted(row);
        let claim = claim(row);
        let (tree, root) = made(claim.shape(), &row.data);
        assert!(tree == stored, "{}", row.name);
        assert_eq!(matches!(root, Root::File(_)), row.is_file, "{}", row.name);
        assert_eq!(root.digest().to_string(), row.root, "{}", row.name);
        if !head.is_empty() {
            let mut expected = superblock(claim.shape(), UUID).unwrap().to_vec();
            expected.resize(head.len(), 0);
            assert!(is_superblock(head) && head == expected, "{}", row.name);
        }
    }
}

#[test]
fn every_block_of_every_vector_is_right_and_of_none_with_a_bit_changed() {
    for mut row in rows() {
        let (_, stored) = parted(&row);
        let tree = proved(&row.spec, &row.data, stored).unwrap();
        assert!(blocks(&tree, &row.data, stored).iter().all(Result::is_ok), "{}", row.name);
        let size = crate::size(tree.shape().data_block());
        for at in (0..row.data.len()).step_by(size * 7 + 13) {
            row.data[at] ^= 1;
            // The data alone proves a tree without nodes.
            if let Ok(tree) = proved(&row.spec, &row.data, stored) {
                let found = blocks(&tree, &row.data, stored);
                let wrong = found.iter().position(|found| matches!(found, Err(Untrue::Wrong(_))));
                assert_eq!(wrong, Some(at / size), "{}: byte {at}", row.name);
                assert_eq!(found.iter().filter(|found| found.is_err()).count(), 1);
            } else {
                assert!(stored.is_empty(), "{}: byte {at}", row.name);
            }
            row.data[at] ^= 1;
        }
    }
}

#[test]
fn superblock_agrees_with_what_is_pinned_or_the_first_field_that_differs_is_named() {
    let rows = rows();
    let row = rows.iter().find(|row| row.name == "appended").unwrap();
    let claim = claim(row);
    let right: [u8; SUPERBLOCK_BYTES] = row.stored[..SUPERBLOCK_BYTES].try_into().unwrap();
    assert_eq!(compare(&right, claim.shape()), Ok(()));
    let text = |at: usize, byte: u8| {
        let mut raw = right;
        raw[at] = byte;
        let differs = compare(&raw, claim.shape()).err()?;
        Some(rootlet_trust::Subject::of_slot(1).refused(differs).to_string())
    };
    for (at, byte, wanted) in [
        (8, 2, "slot 1: its superblock says version 2, verity1= says 1"),
        (12, 0, "slot 1: its superblock says hash type 0, verity1= says 1"),
        (32, b'S', "slot 1: its superblock says hash Sha256, verity1= says sha256"),
        (38, b'x', "slot 1: its superblock says hash sha256x, verity1= says sha256"),
        (65, 2, "slot 1: its superblock says data blocks of 512 bytes, verity1= says 4096"),
        (69, 32, "slot 1: its superblock says hash blocks of 8192 bytes, verity1= says 4096"),
        (72, 43, "slot 1: its superblock says 299 data blocks, verity1= says 300"),
        (80, 31, "slot 1: its superblock says a salt of 31 bytes, verity1= says 32"),
        (
            88,
            1,
            "slot 1: its superblock says salt 01000000000000000000000000000000.., \
             verity1= says 00000000000000000000000000000000..",
        ),
    ] {
        assert_eq!(text(at, byte).as_deref(), Some(wanted), "byte {at}");
    }
    for uuid in 16..32 {
        assert_eq!(text(uuid, 0xff), None, "the UUID may be any");
    }
    // Other bytes are the end of a name and of a salt, and padding.
    let counts = |at: usize| {
        at < 16 || (32..39).contains(&at) || (64..82).contains(&at) || (88..120).contains(&at)
    };
    for (at, byte) in right.iter().enumerate().skip(8) {
        assert_eq!(text(at, byte ^ 0x40).is_some(), counts(at), "byte {at}");
    }
}

/// Level 0 of a tree as data, and its top node as tree: the root fits if the number of blocks is
/// not pinned.
#[test]
fn hashes_are_not_served_as_data_though_the_root_fits() {
    let (data, tree) =
        (&include_bytes!("../data/confusion/data")[..], include_bytes!("../data/confusion/hash"));
    let root = "89dbd990db85e782019f7071f8d609c391cdd1e843ca9681f994490381106405";
    let spec = |blocks: u32| {
        format!(
            "root_hash={root},salt=-,data_blocks={blocks},data_block_size=4096,hash_block_size=4096"
        )
    };
    let error = Spec::parse(&spec(300)).unwrap().claim(data.len() as u64).unwrap_err();
    assert_eq!(error.to_string(), "12288 bytes, its digest covers 1228800");
    let error = Spec::parse(&spec(300).replace("data_blocks=300,", "")).unwrap_err();
    assert_eq!(error.to_string(), "data_blocks is missing; it cannot be taken from the disk");
    // The attack, were the number of blocks taken from the disk.
    let fooled = proved(&spec(3), data, tree).unwrap();
    assert!(blocks(&fooled, data, tree).iter().all(Result::is_ok));
    // fs-verity's digest covers the length, so it cannot be fooled.
    let file = "b2937607f3d5d46bd4ef1c568e08d8ce1791912d0e440eef503736dbabdb4a32";
    assert!(matches!(proved(&format!("sha256-12:{file}"), data, tree), Err(Untrue::Wrong(_))));
}

#[test]
fn tree_without_salt_serves_both_formats() {
    let both = [("dm/blocks-300.hash", "fs/blocks-300.tree"), ("dm/tail.hash", "fs/tail.tree")];
    for (dm, fs) in both {
        assert!(FILES[dm] == FILES[fs], "{dm}");
    }
    let root =
        Root::Hash(Digest::from_hex(rootlet_trust::Algorithm::Sha256, &"0".repeat(64)).unwrap());
    let row = rows().into_iter().find(|row| row.name == "tail").unwrap();
    let wrong =
        Claim::new(claim(&row).shape().clone(), root).prove(&rootlet_trust::Software, row.stored);
    assert!(wrong.is_err(), "another root, and more than the top node");
}
