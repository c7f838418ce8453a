//! The tree of the sample: files of the sizes and kinds that readers get wrong, and their sums.
//!
//! Always: the same tree on every machine. Its rows are made from the tree itself, by code that
//! shares nothing with the reader.

use std::fmt::Write;

use rootlet_sim::Rng;
use rootlet_sim::image::{Content, Kind, Tree};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use anyhow::Result;
use rootlet_cli::interrupt::Interrupt;

/// Log2 of the chunk size in bytes.
pub const CHUNK_BITS: u8 = 16;
const CHUNK: u64 = 1 << CHUNK_BITS;
/// Bytes of each large file of [`large`].
const LARGE_BYTES: u64 = 256 << 20;
const BLOCK: u64 = 4096;
const TIME_S: i64 = 1_750_000_000;
const SEED: u64 = 0x0072_6f6f_746c_6574;

/// Returns the tree.
pub fn sample() -> Tree {
    let mut rng = Rng::new(SEED);
    let mut tree = Tree::new();
    documents(&mut tree, &mut rng);
    libraries(&mut tree, &mut rng);
    edges(&mut tree, &mut rng);
    links(&mut tree);
    let paths: Vec<Vec<u8>> = tree.walk().into_iter().map(|(path, _)| path).collect();
    for (number, path) in (0..).zip(&paths) {
        if let Some(meta) = tree.meta_mut(path) {
            (meta.mtime_s, meta.mtime_ns) = (TIME_S + number * 61, 123_456_789);
        }
    }
    tree
}

/// Adds many small files of text.
fn documents(tree: &mut Tree, rng: &mut Rng) {
    for number in 0..96 {
        let len = 200 + rng.next_u64() % 9_000;
        tree.file(format!("/etc/conf.d/{number:03}.conf"), Content::bytes(text(rng, len)));
    }
    for number in 0..64 {
        let dir = format!("/usr/share/doc/package-{number:02}");
        let len = 1_000 + rng.next_u64() % 120_000;
        tree.file(format!("{dir}/README"), Content::bytes(text(rng, len)));
        // The same text again and again, as licences are: stored once.
        let licence = text(&mut Rng::new(SEED + number % 3), 35_149);
        tree.file(format!("{dir}/LICENSE"), Content::bytes(licence));
    }
}

/// Adds fewer large files of noise, over many chunks each.
fn libraries(tree: &mut Tree, rng: &mut Rng) {
    for number in 0..16 {
        let len = 100_000 + rng.next_u64() % 1_500_000;
        let meta = tree.file(format!("/usr/lib/lib{number:02}.so"), noise(rng, len));
        meta.mode = 0o755;
    }
    let meta = tree.file("/usr/bin/tool", noise(rng, 3 << 20));
    (meta.mode, meta.uid, meta.gid) = (0o4755, 1000, 100_000);
}

/// Adds files of sizes around the edges of blocks and chunks, and holes.
fn edges(tree: &mut Tree, rng: &mut Rng) {
    for edge in [0, 512, BLOCK, 2 * BLOCK, CHUNK, 2 * CHUNK, 3 * CHUNK, 7 * CHUNK] {
        for size in [edge.saturating_sub(1), edge, edge + 1] {
            let path = format!("/edge/{size}");
            if tree.find(&path).is_none() {
                tree.file(path, noise(rng, size));
            }
        }
    }
    let mut sparse = Content::hole(8 << 20);
    sparse.put(0, text(rng, BLOCK)).put(5 * CHUNK + 100, text(rng, 3 * CHUNK));
    sparse.put((8 << 20) - 1, *b"!");
    tree.file("/var/lib/sparse", sparse);
    tree.file("/var/lib/all-hole", Content::hole(3 * CHUNK + 7));
    tree.dir("/var/empty");
}

fn links(tree: &mut Tree) {
    tree.symlink("/bin", "usr/bin");
    tree.symlink("/usr/lib/lib.so", "lib00.so");
    tree.symlink("/etc/nowhere", "/does/not/exist");
    tree.symlink("/var/deep", "../usr/share/doc/package-00/README");
    tree.hard_link("/usr/bin/tool-again", "/usr/bin/tool");
}

/// Returns the length of a file that is made in memory.
fn in_memory(len: u64) -> usize {
    usize::try_from(len).expect("a file of the sample fits into memory")
}

/// Returns bytes that no pattern tells apart.
pub fn noise(rng: &mut Rng, len: u64) -> Content {
    Content::seeded(rng.next_u64(), in_memory(len))
}

/// Returns words and lines, as long as wanted.
fn text(rng: &mut Rng, len: u64) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "root", "chunk", "blob", "region", "the", "of", "reads", "a", "device", "and", "keeps",
        "what",
    ];
    let len = in_memory(len);
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        let pick = rng.next_u64();
        let word = WORDS[(pick % 12) as usize];
        let end = if pick >> 60 == 0 { '\n' } else { ' ' };
        // Writing to a string cannot fail.
        let _ = write!(text, "{word}{end}");
    }
    text.truncate(len);
    text.into_bytes()
}

/// Returns the rows that a correct reader's `manifest /` prints, in its order.
pub fn rows(tree: &Tree, interrupt: &Interrupt) -> Result<Vec<Value>> {
    let links = tree.link_counts();
    let mut rows = Vec::new();
    for (path, number) in tree.walk() {
        interrupt.check()?;
        let node = &tree.nodes()[number];
        let meta = &node.meta;
        let mut row = json!({
            "path": String::from_utf8_lossy(&path),
            "mode": node.st_mode(),
            "uid": meta.uid,
            "gid": meta.gid,
            "mtime_ns": meta.mtime_s * 1_000_000_000 + i64::from(meta.mtime_ns),
        });
        match &node.kind {
            Kind::File(content) => {
                let sum = Sha256::digest(content.to_vec());
                row["size"] = content.size().into();
                row["nlink"] = links[number].into();
                row["sha256"] =
                    sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
            }
            Kind::Symlink(target) => row["target"] = String::from_utf8_lossy(target).into(),
            _ => {}
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Returns a tree for measuring: a large file on each of two blobs, and many small files.
pub fn large() -> Tree {
    let mut rng = Rng::new(SEED);
    let mut tree = Tree::new();
    // File after file, one to each blob.
    tree.file("/disk.bin", noise(&mut rng, LARGE_BYTES));
    tree.file("/share.bin", noise(&mut rng, LARGE_BYTES));
    for number in 0..2000 {
        let dir = number % 50;
        tree.file(format!("/tree/{dir:02}/{number:04}"), noise(&mut rng, number % 700));
    }
    tree
}

/// Bytes of all regular files, each counted once for each of its names.
pub fn file_bytes(rows: &[Value]) -> (usize, u64) {
    let sizes: Vec<u64> = rows.iter().filter_map(|row| row["size"].as_u64()).collect();
    (sizes.len(), sizes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_the_same_every_time_and_large_enough_to_show_something() {
        let rows_of = |tree: &Tree| rows(tree, &Interrupt::default()).unwrap();
        let rows = rows_of(&sample());
        assert_eq!(rows, rows_of(&sample()));
        let (files, bytes) = file_bytes(&rows);
        assert!(files > 250, "{files} files");
        assert!((30 << 20..48 << 20).contains(&bytes), "{bytes} bytes");
        assert_eq!(rows[0]["path"], "/");
        let tool = rows.iter().find(|row| row["path"] == "/usr/bin/tool").unwrap();
        assert_eq!(tool["nlink"], 2);
        assert_eq!(tool["mode"], 0o104_755);
    }
}
