//! The golden images: unpacked once into a folder of the build, with their index and rows.
//!
//! Always: every file has the SHA-256 that the index gives before a test sees it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Unpacks a composefs image with its objects into `dir`: `image.cfs` and, of format 0,
/// `image-v0.cfs`, both made by mkcomposefs; `objects`; and `overlay.jsonl`, the rows of Linux's own
/// mount of them.
///
/// # Panics
/// When a file cannot be written.
pub fn composefs(dir: &Path) {
    let packed: &[u8] = include_bytes!("../../../tests/data/composefs.tar.xz");
    tar::Archive::new(lzma_rust2::XzReader::new(packed, false)).unpack(dir).unwrap();
}

/// Some golden images and the rows that a correct reader gives of them.
#[derive(Debug)]
pub struct Set {
    /// The images, in the order of the index.
    pub images: Vec<Golden>,
    /// The rows of the whole tree, in walk order.
    pub manifest: Vec<Value>,
}

/// One golden image.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its name.
    pub name: String,
    /// The primary device.
    pub image: PathBuf,
    /// The blobs, from slot 1 on.
    pub devices: Vec<PathBuf>,
    /// Patterns of the paths that it leaves out: exact, or up to a `*` at the end.
    pub omits: Vec<String>,
}

impl Golden {
    /// Returns whether the image leaves `path` out.
    pub fn omits(&self, path: &str) -> bool {
        self.omits.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == pattern,
        })
    }

    /// Returns whether several layers were merged into the image.
    pub fn is_merged(&self) -> bool {
        self.name.starts_with("merged-")
    }
}

impl Set {
    /// Returns the set of `tests/data/golden`, unpacked into a folder of `made`, which for a test is
    /// its `CARGO_TARGET_TMPDIR`.
    ///
    /// # Panics
    /// When the set cannot be read or unpacked, or has other sums than its index.
    pub fn built_in(made: impl AsRef<Path>) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poison| poison.into_inner());
        let data = data_dir();
        let archive = fs::read(data.join("images.tar.xz")).unwrap();
        let digest = hex(&Sha256::digest(&archive));
        let dir = made.as_ref().join(format!("golden-{}", &digest[..16]));
        if !dir.exists() {
            // Another process may do the same: the first one gives the directory its name.
            let mine = dir.with_extension(std::process::id().to_string());
            let tar = lzma_rust2::XzReader::new(archive.as_slice(), false);
            tar::Archive::new(tar).unpack(&mine).unwrap();
            check_sums(&data.join("index.json"), &mine);
            if fs::rename(&mine, &dir).is_err() {
                fs::remove_dir_all(&mine).unwrap();
            }
        }
        Self::read(&data, &dir)
    }

    /// Returns the set that the variable `ROOTLET_GOLDEN` names, if there is one.
    ///
    /// # Panics
    /// When the set cannot be read, or has other sums than its index.
    pub fn named_by_user() -> Option<Self> {
        let dir = PathBuf::from(std::env::var_os("ROOTLET_GOLDEN")?);
        let images = dir.join("images");
        check_sums(&dir.join("index.json"), &images);
        Some(Self::read(&dir, &images))
    }

    fn read(dir: &Path, images: &Path) -> Self {
        let entries = index(&dir.join("index.json"));
        let entries = entries.iter().map(|entry| Golden {
            name: text(&entry["name"]),
            image: images.join(text(&entry["image"])),
            devices: texts(&entry["devices"]).iter().map(|name| images.join(name)).collect(),
            omits: texts(&entry["omits"]),
        });
        let rows = fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
        let manifest = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        Self { images: entries.collect(), manifest }
    }
}

/// Returns three layers of a container as containerd, Kata and nerdbox have them, by file: the images
/// `l1.erofs` to `l3.erofs`, a disk of partitions `gpt.img`, merged images, and `overlay.jsonl`, the
/// rows that Linux's overlay shows.
///
/// # Panics
/// When they cannot be read.
pub fn layers() -> BTreeMap<String, Vec<u8>> {
    let packed = fs::read(data_dir().with_file_name("layers").join("layers.tar.xz")).unwrap();
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(packed.as_slice(), false));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name.trim_start_matches("./").to_string(), bytes)
    });
    files.collect()
}

/// Returns the folder of the set.
fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden")
}

fn check_sums(index_file: &Path, images: &Path) {
    let mut sums = BTreeMap::new();
    for entry in index(index_file) {
        let of_entry = entry["sha256"].as_object().unwrap();
        sums.extend(of_entry.iter().map(|(name, sum)| (name.clone(), text(sum))));
    }
    for (name, sum) in sums {
        let bytes = fs::read(images.join(&name)).unwrap();
        assert_eq!(hex(&Sha256::digest(&bytes)), sum, "{name}");
    }
}

fn index(file: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
