//! The readers: ours, erofs-rs, and fsck.erofs with the files that it extracts.
//!
//! Always: each gives rows of the same form; what a reader cannot tell is cut by `exceptions`.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use erofs_rs::types::Inode;
use rootlet::storage::Discover;
use rootlet::storage::file::FileStorage;
use rootlet_rows::{Row, Rows, bytes_of, hex, of_manifest, sum, time_ns};

use crate::guest::Guest;

/// An image on the disk, with its blob.
pub struct Files<'f> {
    pub image: &'f Path,
    pub blob: Option<&'f Path>,
}

/// What we say of these files.
pub fn ours(files: &Files<'_>) -> Result<Rows, String> {
    let mut storage = FileStorage::new();
    storage.add_disk("image", files.image, true).unwrap();
    let mut line = "image=image".to_owned();
    if let Some(blob) = files.blob {
        storage.add_disk("blob1", blob, true).unwrap();
        line += " blob1=blob1";
    }
    rows(Guest::mount(storage, &line, 1)?)
}

/// Returns the rows of `manifest /`. Entries that are not regular files get their size and links out
/// of the inode.
pub fn rows<S: Discover>(mut guest: Guest<S>) -> Result<Rows, String> {
    let mut rows = of_manifest(&guest.run(&["manifest", "/"])?);
    for (path, row) in &mut rows {
        let path = [b"/", &bytes_of(path)[..]].concat();
        let inode = guest.root.symlink_metadata(&path).map_err(|error| format!("{error:#}"))?;
        if row.sha256.is_some() {
            assert_eq!((row.size, row.nlink), (Some(inode.size()), Some(inode.nlink())));
        }
        (row.size, row.nlink) = (Some(inode.size()), Some(inode.nlink()));
    }
    Ok(rows)
}

/// What erofs-rs says.
pub fn erofs_rs(files: &Files<'_>) -> Result<Rows, String> {
    let image = fs::read(files.image).unwrap();
    let blob = files.blob.map(|blob| fs::read(blob).unwrap());
    let blobs = blob.iter().map(|blob| SliceImage::new(blob)).collect();
    let mounted = EroFS::new_with_devices(SliceImage::new(&image), blobs);
    let mounted = mounted.map_err(|error| error.to_string())?;
    let mut rows = Rows::new();
    let root = mounted.get_inode(mounted.super_block().root_nid.into());
    let root = root.map_err(|error| error.to_string())?;
    rows.insert(String::new(), row_of(&mounted, root)?);
    for entry in mounted.walk_dir("/").map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let path = entry.dir_entry.path();
        let path = str::from_utf8(path.as_bytes()).unwrap().trim_start_matches('/').to_owned();
        let row = row_of(&mounted, entry.inode).map_err(|error| format!("{path:?}: {error}"))?;
        rows.insert(path, row);
    }
    Ok(rows)
}

fn row_of(mounted: &EroFS<SliceImage<'_>>, inode: Inode) -> Result<Row, String> {
    let (seconds, nanoseconds) = inode.modified_unix();
    let mode = std::os::unix::fs::PermissionsExt::mode(&inode.permissions());
    let mut row = Row {
        mode: inode.file_type().as_raw_mode() | mode,
        owner: (inode.uid(), inode.gid()),
        mtime_ns: time_ns(seconds, nanoseconds),
        size: Some(inode.data_size()),
        nlink: Some(inode.nlink()),
        rdev: inode.device(),
        ..Row::default()
    };
    if inode.is_file() {
        let mut bytes = Vec::new();
        let mut file = mounted.open_inode_file(inode).map_err(|error| error.to_string())?;
        file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        row.sha256 = Some(sum(&bytes));
    }
    if inode.is_symlink() {
        let target = mounted.read_link_inode(inode).map_err(|error| error.to_string())?;
        row.target = Some(str::from_utf8(target.as_bytes()).unwrap().to_owned());
    }
    for (name, value) in mounted.xattrs_inode(inode).map_err(|error| error.to_string())? {
        row.xattrs.insert(String::from_utf8(name).unwrap(), hex(&value));
    }
    Ok(row)
}

/// What fsck.erofs extracts into `dir`, which is made.
pub fn fsck(files: &Files<'_>, dir: &Path) -> Result<Rows, String> {
    let mut command = Command::new("fsck.erofs");
    command.arg(format!("--extract={}", dir.display()));
    if let Some(blob) = files.blob {
        command.arg(format!("--device={}", blob.display()));
    }
    let ran = command.arg(files.image).output().map_err(|error| error.to_string())?;
    if !ran.status.success() {
        let said = [ran.stdout, ran.stderr].concat();
        return Err(format!("{}: {}", ran.status, String::from_utf8_lossy(&said)));
    }
    let mut rows = Rows::new();
    let mut ahead = vec![dir.to_path_buf()];
    while let Some(path) = ahead.pop() {
        let here = path.strip_prefix(dir).unwrap().as_os_str().as_bytes();
        let here = str::from_utf8(here).unwrap().to_owned();
        rows.insert(here, row_on_disk(&path));
        if path.symlink_metadata().unwrap().is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    Ok(rows)
}

fn row_on_disk(path: &Path) -> Row {
    let stat = path.symlink_metadata().unwrap();
    let kind = stat.file_type();
    let rdev = stat.rdev();
    let rdev = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    let bytes = kind.is_file().then(|| fs::read(path).unwrap());
    let target = kind.is_symlink().then(|| fs::read_link(path).unwrap());
    Row {
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        mtime_ns: time_ns(stat.mtime(), stat.mtime_nsec() as u32),
        // A directory's are those of the host's file system.
        size: (!kind.is_dir()).then_some(stat.len()),
        nlink: (!kind.is_dir()).then_some(stat.nlink() as u32),
        sha256: bytes.map(|bytes| sum(&bytes)),
        target: target.map(|target| target.to_str().unwrap().to_owned()),
        rdev: (kind.is_char_device() || kind.is_block_device()).then_some(rdev),
        ..Row::default()
    }
}
