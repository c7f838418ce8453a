//! A tree taken from a directory of the host, with owners, modes, times and hard links.
//!
//! Always: nothing outside the directory is read; symbolic links are kept, not followed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::content::Content;
use super::tree::{Kind, Meta, Node, Tree, join};

const PAGE: usize = 4096;

impl Tree {
    /// Reads the tree below `dir` into memory. Zero pages of a file that occupies less room
    /// than its length are taken for holes. Extended attributes are not read: the standard
    /// library cannot name them; set [`Meta::xattrs`] afterwards.
    ///
    /// # Errors
    /// Those of the host's file system.
    pub fn from_host(dir: &Path) -> io::Result<Self> {
        let mut tree = Self::new();
        *tree.dir("/") = meta(&fs::metadata(dir)?);
        let mut linked: HashMap<(u64, u64), usize> = HashMap::new();
        let mut ahead = vec![(b"/".to_vec(), dir.to_path_buf())];
        while let Some((path, host)) = ahead.pop() {
            let mut entries = fs::read_dir(&host)?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let path = join(&path, entry.file_name().as_bytes());
                let host = entry.path();
                let stat = fs::symlink_metadata(&host)?;
                if stat.is_dir() {
                    *tree.dir(&path) = meta(&stat);
                    ahead.push((path, host));
                    continue;
                }
                let identity = (stat.dev(), stat.ino());
                let node = match linked.get(&identity) {
                    Some(node) => *node,
                    None => {
                        let node = Node { meta: meta(&stat), kind: kind(&host, &stat)? };
                        let node = tree.push(node);
                        linked.insert(identity, node);
                        node
                    }
                };
                tree.link(&path, node);
            }
        }
        Ok(tree)
    }
}

fn meta(stat: &fs::Metadata) -> Meta {
    Meta {
        mode: (stat.mode() & 0o7777) as u16,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime_s: stat.mtime(),
        mtime_ns: stat.mtime_nsec() as u32,
        xattrs: Vec::new(),
    }
}

fn kind(host: &Path, stat: &fs::Metadata) -> io::Result<Kind> {
    let of = stat.file_type();
    Ok(if of.is_file() {
        Kind::File(content(host, stat)?)
    } else if of.is_symlink() {
        Kind::Symlink(fs::read_link(host)?.as_os_str().as_bytes().to_vec())
    } else if of.is_char_device() {
        Kind::CharDevice(major(stat.rdev()), minor(stat.rdev()))
    } else if of.is_block_device() {
        Kind::BlockDevice(major(stat.rdev()), minor(stat.rdev()))
    } else if of.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    })
}

fn content(host: &Path, stat: &fs::Metadata) -> io::Result<Content> {
    let data = fs::read(host)?;
    if stat.blocks().saturating_mul(512) >= data.len() as u64 {
        return Ok(Content::bytes(data));
    }
    let mut content = Content::hole(data.len() as u64);
    let mut run_start = 0;
    for at in (0..data.len()).step_by(PAGE) {
        let end = data.len().min(at + PAGE);
        if data[at..end].iter().all(|byte| *byte == 0) {
            content.put(run_start as u64, &data[run_start..at]);
            run_start = end;
        }
    }
    content.put(run_start as u64, &data[run_start..]);
    Ok(content)
}

// The encoding of device numbers in Linux's 64-bit `st_rdev` (gnu_dev_makedev).
fn major(rdev: u64) -> u32 {
    (((rdev >> 8) & 0xfff) | ((rdev >> 32) & 0xffff_f000)) as u32
}

fn minor(rdev: u64) -> u32 {
    ((rdev & 0xff) | ((rdev >> 12) & 0xffff_ff00)) as u32
}
