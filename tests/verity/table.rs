//! The table of changes as docs/trust.md shows it:
//! `cargo test --test verity table -- --nocapture`.
//!
//! Always: each line that is printed is one of the page.

use rootlet_guest::{SYNC_TIME, keep_trees};
use rootlet_sim::disk::{Sparse, Survive, World};

use crate::set::{BESIDE, CONTENTS, Change, digests, dm_image, read, world};
use crate::world::{Checked, mount};

const BLOCK: usize = 4096;

/// Returns what a mount came to: its error, or how much of which files cannot be read, and why.
fn outcome(mounted: Result<Checked, String>) -> String {
    let guest = match mounted {
        Ok(guest) => guest,
        Err(error) => return format!("not mounted: `{error}`"),
    };
    let mut failed = Vec::new();
    for (path, content) in CONTENTS.iter() {
        let blocks = content.len().div_ceil(BLOCK);
        let is_wrong = |block: &usize| {
            let at = block * BLOCK;
            read(&guest, path, at, BLOCK.min(content.len() - at)).is_err()
        };
        match (0..blocks).filter(is_wrong).count() {
            0 => {}
            wrong => failed.push(format!("{wrong} of {blocks} blocks of {path}")),
        }
    }
    if failed.is_empty() {
        return "all files are read".into();
    }
    let why = guest.root.storage().take_refusals().first().map(ToString::to_string);
    let why = why.map_or_else(String::new, |why| format!(": `{why}`"));
    format!("refused are {}{why}", failed.join(", "))
}

/// Returns what a mount of disks with a change comes to.
fn changed(disks: &[(&str, &str)], changes: &[Change<'_>]) -> String {
    outcome(mount(&world(disks, changes), &digests()))
}

/// Returns what a mount over a region comes to of which a byte of a block is changed, with the blobs or
/// without them.
fn region(has_blobs: bool) -> String {
    let line = format!("{} cache=cache", digests());
    let warm = world(&BESIDE, &[]);
    let disk = warm.disk("cache", 512, Sparse::zeros(4 << 20));
    let guest = mount(&warm, &line).unwrap();
    for (path, content) in CONTENTS.iter() {
        read(&guest, path, 0, content.len()).unwrap();
    }
    keep_trees(&guest.root).unwrap();
    assert!(guest.root.leave(SYNC_TIME));
    let mut bytes = warm.crash_image(disk, Survive::Everything).0.to_vec();
    let big = &CONTENTS["/data/big"][40 * BLOCK..41 * BLOCK];
    let at = bytes.windows(BLOCK).step_by(512).position(|window| window == big).unwrap();
    bytes[at * 512] ^= 1;
    let disks: Vec<_> =
        BESIDE.into_iter().filter(|(serial, _)| has_blobs || serial.starts_with("image")).collect();
    let cold: World = world(&disks, &[]);
    cold.disk("cache", 512, Sparse::from(bytes));
    outcome(mount(&cold, &line))
}

#[test]
fn table_of_changes_is_that_of_the_page() {
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    let one = |serial: &str, at: usize| changed(&BESIDE, &[(serial, &flip(at))]);
    let as_disk = |serial: &str, file: &'static str| {
        let disks: Vec<_> = BESIDE
            .into_iter()
            .map(|(disk, of)| (disk, if disk == serial { file } else { of }))
            .collect();
        disks
    };
    let mut exchanged = as_disk("b1", "b2.erofs");
    exchanged[2].1 = "b1.erofs";
    let mut older = as_disk("b2", "b1.erofs");
    older[5].1 = "b1.erofs.verity";
    let behind = as_disk("image", "image.appended");
    let superblock =
        |at: usize| outcome(mount(&world(&behind, &[("image", &flip(at))]), &dm_image()));
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - BLOCK);
    let more = |bytes: &mut Vec<u8>| bytes.resize(bytes.len() + BLOCK, 7);
    let rows = [
        ("nothing", changed(&BESIDE, &[])),
        ("image, byte 1024", one("image", 1024)),
        ("b1, byte 20000: in /bin/app", one("b1", 20_000)),
        ("b1, byte 98504: after the end of /etc/motd, in its block", one("b1", 98_504)),
        ("b1's tree, byte 0: its top node", one("b1.v", 0)),
        ("b1's tree, byte 4224: the digest of block 4", one("b1.v", 4224)),
        ("b1 and b2 exchanged", changed(&exchanged, &[])),
        ("b2 without its last 4096 bytes", changed(&BESIDE, &[("b2", &cut)])),
        ("b2 with 4096 bytes more", changed(&BESIDE, &[("b2", &more)])),
        ("b2 and its tree of another time", changed(&older, &[])),
        ("superblock of dm-verity: its number of blocks", superblock(16_384 + 72)),
        ("superblock of dm-verity: its UUID", superblock(16_384 + 20)),
        ("region, a byte of a block of /data/big", region(true)),
        ("the same, and the blobs are away", region(false)),
    ];
    println!("| changed | what comes of it |\n|-|-|");
    let rows = rows.map(|(change, outcome)| format!("| {change} | {outcome} |"));
    rows.iter().for_each(|row| println!("{row}"));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/trust.md");
    let page = std::fs::read_to_string(page).unwrap();
    for row in &rows {
        assert!(page.contains(row), "docs/trust.md has no such row:\n{row}");
    }
}
