//! Container images in OCI layouts, made here: archives with whiteouts, gzip, zstd and EROFS layers.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const TINY: &[u8] = include_bytes!("../../../../tests/data/tiny.erofs");
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const EROFS: &str = "application/vnd.erofs.layer.v1";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn sha256(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{digits}")
}

/// A layer: its media type, its blob, and what is packed in it.
pub type Layer = (String, Vec<u8>, Vec<u8>);

/// A file or, without content, a folder.
pub type Entry<'e> = (&'e str, Option<&'e [u8]>);

pub fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let content = content.unwrap_or_else(|| {
            header.set_entry_type(tar::EntryType::Directory);
            &[]
        });
        header.set_size(content.len() as u64);
        if header.entry_type() != tar::EntryType::Directory {
            header.set_entry_type(tar::EntryType::Regular);
        }
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn plain(content: Vec<u8>) -> Layer {
    (TAR.into(), content.clone(), content)
}

pub fn gzip(content: Vec<u8>) -> Layer {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&content).unwrap();
    (format!("{TAR}+gzip"), encoder.finish().unwrap(), content)
}

pub fn zstd(kind: &str, content: &[u8]) -> Layer {
    (format!("{kind}+zstd"), compress_to_vec(content, CompressionLevel::Fastest), content.into())
}

/// Three layers: files, whiteouts over them, and an image that is one already.
pub fn three() -> Vec<Layer> {
    let long: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let lower = tar(&[
        ("etc/", None),
        ("etc/passwd", Some(b"root")),
        ("opt/", None),
        ("opt/old", Some(b"old")),
        ("opt/long", Some(&long)),
    ]);
    let upper = tar(&[("etc/", None), ("etc/.wh.passwd", Some(b"")), ("etc/motd", Some(b"hi\n"))]);
    vec![gzip(lower), zstd(TAR, &upper), zstd(EROFS, TINY)]
}

/// A layout in a folder of its own.
pub struct Layout(pub TempDir);

impl Layout {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("l/blobs/sha256")).unwrap();
        fs::write(dir.path().join("l/oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self(dir)
    }

    /// A layout with one image.
    pub fn of(layers: &[Layer]) -> Self {
        let this = Self::new();
        let image = this.image(layers, "amd64");
        this.index(&[image]);
        this
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path("l/blobs/sha256").join(digest.split_once(':').unwrap().1)
    }

    pub fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }

    pub fn image(&self, layers: &[Layer], architecture: &str) -> Value {
        let ids: Vec<String> = layers.iter().map(|(_, _, content)| sha256(content)).collect();
        let config = json!({"os": "linux", "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config =
            self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layers: Vec<Value> =
            layers.iter().map(|(kind, blob, _)| self.blob(kind, blob)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
            "layers": layers});
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    pub fn index(&self, manifests: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        fs::write(self.path("l/index.json"), index.to_string()).unwrap();
        self.blob(INDEX, index.to_string().as_bytes())
    }
}

/// Whether there is an mkfs.erofs that reads archives.
pub fn has_mkfs() -> bool {
    let program = std::env::var_os("MKFS_EROFS").unwrap_or_else(|| "mkfs.erofs".into());
    let output = Command::new(program).arg("--help").output();
    let knows = output.is_ok_and(|output| {
        let help = [output.stdout, output.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        ["--tar", "--sort", "--mkfs-time"].iter().all(|option| help.contains(option))
    });
    if !knows {
        println!("skipped: no mkfs.erofs 1.8.3 or newer in PATH or MKFS_EROFS");
    }
    knows
}
