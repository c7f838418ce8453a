//! The Linux guest's initramfs, made on the spot.
//!
//! Always: what a module needs is loaded before it; the archive is in the format "newc" (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst), uncompressed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Modules that the guest may need, where the kernel has them as such.
const WANTED: [&str; 6] =
    ["virtio_mmio", "virtio_blk", "erofs", "virtiofs", "crc32c_generic", "lz4_decompress"];

/// The contents of the guest's first root.
pub struct Contents<'a> {
    /// The first program, an ELF without libraries or a script.
    pub init: &'a [u8],
    /// Where the kernel's modules are, at any depth; `None` if it has all built in.
    pub modules: Option<&'a Path>,
    /// Files of the root, any of which may be run.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// Returns the archive.
pub fn build(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["dev", "lib"] {
        archive.add(dir, 0o40_755, &[], 0);
    }
    // The kernel opens it for the first program: character device 5:1.
    archive.add("dev/console", 0o20_600, &[], 0x5_0001);
    let mut order = String::new();
    for (name, file) in contents.modules.map(ordered).transpose()?.unwrap_or_default() {
        let place = format!("lib/{name}.ko");
        archive.add(&place, 0o100_644, &fs::read(file)?, 0);
        order.push_str(&format!("/{place}\n"));
    }
    archive.add("modules", 0o100_644, order.as_bytes(), 0);
    for (name, bytes) in contents.files {
        archive.add(name, 0o100_755, bytes, 0);
    }
    archive.add("init", 0o100_755, contents.init, 0);
    archive.add("TRAILER!!!", 0, &[], 0);
    Ok(archive.bytes)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry; `device` has the major number in its upper and the minor in its lower half.
    fn add(&mut self, name: &str, mode: u32, data: &[u8], device: u32) {
        self.entries += 1;
        let (data_len, name_len) = (data.len() as u32, name.len() as u32 + 1);
        // ino, mode, uid, gid, nlink, mtime, size, device, rdev, name, check.
        let (major, minor) = (device >> 16, device & 0xffff);
        let fields = [self.entries, mode, 0, 0, 1, 0, data_len, 0, 0, major, minor, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Returns the modules that are wanted and there, with what they need, in the order of loading.
fn ordered(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut all = BTreeMap::new();
    find(dir, &mut all)?;
    let mut order = Vec::new();
    for name in WANTED {
        if all.contains_key(name) {
            load(name, &all, &mut order, 0)?;
        }
    }
    Ok(order)
}

fn find(dir: &Path, all: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            find(&path, all)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((name, rest)) = name.split_once(".ko")
        {
            if !rest.is_empty() && WANTED.contains(&name) {
                bail!("{} is compressed: unpack the modules first", path.display());
            }
            all.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn load(
    name: &str,
    all: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, PathBuf)>,
    depth: usize,
) -> Result<()> {
    if order.iter().any(|(own, _)| own == name) {
        return Ok(());
    }
    if depth > 16 {
        bail!("modules need each other in a circle at {name}");
    }
    let path = all.get(name).with_context(|| format!("module {name} is not there"))?;
    for needed in needs(&fs::read(path)?) {
        load(&needed, all, order, depth + 1)?;
    }
    order.push((name.into(), path.clone()));
    Ok(())
}

/// Returns what a module says that it needs: `depends=` in its section `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|part| part == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(text);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let module = |name: &str, needs: &str| {
            fs::create_dir_all(dir.path().join("kernel/x")).unwrap();
            let text = format!("\x7fELF\0license=GPL\0depends={needs}\0name={name}\0");
            fs::write(dir.path().join(format!("kernel/x/{name}.ko")), text).unwrap();
        };
        module("virtio_blk", "virtio,virtio_ring");
        module("virtio", "virtio_ring");
        module("virtio_ring", "");
        module("unwanted", "");
        let order = ordered(dir.path()).unwrap();
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["virtio_ring", "virtio", "virtio_blk"]);
        module("erofs", "missing");
        assert!(ordered(dir.path()).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn archive_is_what_cpio_reads() {
        let files = [("steps", &b"a=walk:/\n"[..])];
        let archive = build(&Contents { init: b"ELF", modules: None, files: &files }).unwrap();
        assert_eq!(archive.len() % 4, 0);
        let mut cpio = std::process::Command::new("python3");
        // An independent reader: walks the headers as the format's document has them.
        let script = "import sys\n\
            d=sys.stdin.buffer.read(); at=0\n\
            while True:\n\
            \x20 f=[int(d[at+6+8*i:at+14+8*i],16) for i in range(13)]; assert d[at:at+6]==b'070701'\n\
            \x20 n=d[at+110:at+110+f[11]-1].decode(); b=(at+110+f[11]+3)//4*4; e=b+f[6]\n\
            \x20 print(n,oct(f[1]),d[b:e]); at=(e+3)//4*4\n\
            \x20 if n=='TRAILER!!!': break\n";
        cpio.args(["-c", script]).stdin(std::process::Stdio::piped());
        let mut child = cpio.stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &archive).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("dev/console 0o20600 b''"), "{text}");
        assert!(text.contains("steps 0o100755 b'a=walk:/\\n'"), "{text}");
        assert!(text.contains("init 0o100755 b'ELF'"), "{text}");
    }
}
