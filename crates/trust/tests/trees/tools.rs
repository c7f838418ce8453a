//! The tools themselves, where they are installed: what the library makes is what they make, and
//! what they say of changed data is what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rootlet_trust::{Spec, superblock};

use crate::data;
use crate::naive::Naive;

/// Returns a tool's output, or `None` after a line that says that the tool is not installed.
fn run(program: &str, args: &[&str]) -> Option<Output> {
    // veritysetup lies where only root looks.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    match Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C").output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn naive(format: u8, sha512: bool, salt: &[u8], data_block: usize, hash_block: usize) -> Naive {
    Naive { sha512, format, salt: salt.to_vec(), data_block, hash_block }
}

#[test]
fn veritysetup_makes_the_same_trees_and_verifies_ours() {
    let dir = tempfile::tempdir().unwrap();
    let [file, theirs, ours] = ["data", "theirs", "ours"].map(|name| dir.path().join(name));
    for (naive, bytes) in [
        (naive(1, false, &[7; 32], 4096, 4096), 4096),
        (naive(1, false, &[7; 8], 4096, 4096), 129 * 4096),
        (naive(1, false, &[0; 32], 512, 512), 5000 * 512),
        (naive(1, true, &[9; 64], 1024, 4096), 777 * 1024),
        (naive(0, false, &[9; 16], 4096, 1024), 300 * 4096),
        (naive(1, true, &[1], 4096, 512), 77 * 4096),
    ] {
        let data = data(bytes);
        fs::write(&file, &data).unwrap();
        let hex: String = naive.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = if naive.sha512 { "sha512" } else { "sha256" };
        let options = [
            format!("--hash={hash}"),
            format!("--format={}", naive.format),
            format!("--salt={hex}"),
            format!("--data-block-size={}", naive.data_block),
            format!("--hash-block-size={}", naive.hash_block),
            "--uuid=00010203-0405-0607-0809-0a0b0c0d0e0f".into(),
        ];
        let _ = fs::remove_file(&theirs);
        let mut args = vec!["format", text(&file), text(&theirs)];
        args.extend(options.iter().map(String::as_str));
        let Some(output) = run("veritysetup", &args) else { return };
        assert!(output.status.success(), "{args:?}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        let claim = Spec::parse(&naive.spec(&data)).unwrap().claim(bytes as u64).unwrap();
        let (tree, made) = crate::made(claim.shape(), &data);
        assert_eq!(made.digest().to_string(), root, "{naive:?}");
        let uuid = std::array::from_fn(|byte| byte as u8);
        let mut bytes = superblock(claim.shape(), uuid).unwrap().to_vec();
        bytes.resize(naive.hash_block, 0);
        bytes.extend(&tree);
        assert!(fs::read(&theirs).unwrap() == bytes, "{naive:?}");
        fs::write(&ours, bytes).unwrap();
        let verify = ["verify", text(&file), text(&ours), root];
        assert!(run("veritysetup", &verify).unwrap().status.success(), "{naive:?}");
        let mut changed = data.clone();
        changed[bytes_of_last_block(&naive, &data)] ^= 4;
        fs::write(&file, &changed).unwrap();
        assert!(!run("veritysetup", &verify).unwrap().status.success(), "{naive:?}");
    }
}

/// Returns a byte of the last block.
fn bytes_of_last_block(naive: &Naive, data: &[u8]) -> usize {
    data.len() - naive.data_block / 2
}

#[test]
fn fsverity_makes_the_same_trees_and_digests() {
    let dir = tempfile::tempdir().unwrap();
    let [file, theirs] = ["data", "theirs"].map(|name| dir.path().join(name));
    for (naive, bytes) in [
        (naive(2, false, &[], 4096, 4096), 0),
        (naive(2, false, &[], 4096, 4096), 1),
        (naive(2, false, &[3; 32], 4096, 4096), 4097),
        (naive(2, false, &[], 1024, 1024), 33 * 1024 * 32 + 5),
        (naive(2, true, &[5; 16], 1024, 1024), 700_001),
        (naive(2, true, &[], 2048, 2048), 16 * 32 * 2048 + 1),
    ] {
        let data = data(bytes);
        fs::write(&file, &data).unwrap();
        let _ = fs::remove_file(&theirs);
        let hash = format!("--hash-alg={}", if naive.sha512 { "sha512" } else { "sha256" });
        let size = format!("--block-size={}", naive.data_block);
        let tree = format!("--out-merkle-tree={}", text(&theirs));
        let hex: String = naive.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let salt = format!("--salt={hex}");
        let mut args = vec!["digest", text(&file), "--compact", &hash, &size, &tree];
        if !hex.is_empty() {
            args.push(&salt);
        }
        let Some(output) = run("fsverity", &args) else { return };
        assert!(output.status.success(), "{args:?}: {output:?}");
        let claim = Spec::parse(&naive.spec(&data)).unwrap().claim(bytes as u64).unwrap();
        let (tree, made) = crate::made(claim.shape(), &data);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(made.digest().to_string(), said.trim(), "{naive:?}");
        assert!(fs::read(&theirs).unwrap_or_default() == tree, "{naive:?}");
    }
}
