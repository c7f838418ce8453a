//! What is printed of an inode: a row of `ls -l`, or a JSON object.
//!
//! Always: numbers are numbers; a name that is not UTF-8 has its bytes in hexadecimal digits beside
//! what can be shown of it.

use chrono::DateTime;
use data_encoding::HEXLOWER;
use rootlet::erofs::{FileKind, Inode};
use serde_json::{Value, json};

use crate::color::{self, Paint};
use crate::shown::shown;

/// The widths of the columns of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    links: usize,
    owner: usize,
    group: usize,
    size: usize,
}

impl Columns {
    /// As wide as the rows of `inodes` need.
    pub fn of<'i>(inodes: impl Iterator<Item = &'i Inode>) -> Self {
        inodes.fold(Self::default(), |widest, inode| Self {
            links: widest.links.max(inode.nlink().to_string().len()),
            owner: widest.owner.max(inode.uid().to_string().len()),
            group: widest.group.max(inode.gid().to_string().len()),
            size: widest.size.max(size(inode).len()),
        })
    }

    /// Mode, links, owner, group, size or device number, and time in UTC.
    pub fn row(&self, inode: &Inode) -> String {
        let Self { links, owner, group, size: width } = *self;
        format!(
            "{} {:>links$} {:>owner$} {:>group$} {:>width$} {}",
            mode(inode),
            inode.nlink(),
            inode.uid(),
            inode.gid(),
            size(inode),
            time(inode),
        )
    }
}

fn size(inode: &Inode) -> String {
    match inode.rdev() {
        Some(rdev) => format!("{}, {}", rdev.major, rdev.minor),
        None => inode.size().to_string(),
    }
}

/// The mode as ls(1) writes it.
fn mode(inode: &Inode) -> String {
    let kind = match inode.kind() {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Symlink => 'l',
    };
    let mut text = String::from(kind);
    let bits = inode.permissions();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let three = bits >> shift;
        text.push(if three & 4 != 0 { 'r' } else { '-' });
        text.push(if three & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & special != 0, three & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The time of modification in UTC; seconds where a calendar has no such day.
fn time(inode: &Inode) -> String {
    let seconds = inode.mtime().seconds;
    match DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%d %H:%M").to_string(),
        None => format!("{seconds} s"),
    }
}

/// Returns the name in the colour of its inode's kind.
pub fn painted(paint: Paint, name: &[u8], inode: &Inode) -> String {
    let text = shown(name);
    match inode.kind() {
        FileKind::Directory => paint.text(color::DIRECTORY, &text),
        FileKind::Symlink => paint.text(color::SYMLINK, &text),
        FileKind::Regular if inode.permissions() & 0o111 != 0 => paint.text(color::GOOD, &text),
        FileKind::Regular => text,
        _ => paint.text(color::SPECIAL, &text),
    }
}

/// All that is known of an inode without reading more.
pub fn json(path: &[u8], inode: &Inode, target: Option<&[u8]>) -> Value {
    let mut row = json!({
        "path": String::from_utf8_lossy(path),
        "type": inode.kind().to_string(),
        "nid": inode.nid().0,
        "mode": inode.mode(),
        "nlink": inode.nlink(),
        "uid": inode.uid(),
        "gid": inode.gid(),
        "size": inode.size(),
        "mtime_ns": nanoseconds(inode),
    });
    bytes_of(&mut row, "path", path);
    if let Some(rdev) = inode.rdev() {
        row["rdev"] = json!([rdev.major, rdev.minor]);
    }
    if let Some(target) = target {
        row["target"] = json!(String::from_utf8_lossy(target));
        bytes_of(&mut row, "target", target);
    }
    row
}

/// A number where JSON's readers keep it, else a string.
fn nanoseconds(inode: &Inode) -> Value {
    let total = inode.mtime().total_ns();
    i64::try_from(total).map_or_else(|_| json!(total.to_string()), |ns| json!(ns))
}

/// Adds the bytes of a name that is not UTF-8.
fn bytes_of(row: &mut Value, key: &str, name: &[u8]) {
    if str::from_utf8(name).is_err() {
        row[format!("{key}_bytes")] = json!(HEXLOWER.encode(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_sim::image::{Built, Content, Options, Tree, build};

    /// The inode of a file with this mode.
    fn inode(mode: u16) -> Inode {
        let mut tree = Tree::new();
        tree.file("/f", Content::bytes("12345")).mode = mode;
        let Built { image, .. } = build(&tree, &Options::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("image");
        image.write_to(&file).unwrap();
        let opened = crate::source::open(Some(&file), &Default::default(), false).unwrap();
        opened.root.metadata(b"/f").unwrap()
    }

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        for (bits, text) in [
            (0o644, "-rw-r--r--"),
            (0o4755, "-rwsr-xr-x"),
            (0o2644, "-rw-r-Sr--"),
            (0o1777, "-rwxrwxrwt"),
        ] {
            assert_eq!(mode(&inode(bits)), text);
        }
    }

    #[test]
    fn json_of_a_name_that_is_no_text_has_its_bytes() {
        let row = json(b"/\xff", &inode(0o600), Some(b"x"));
        assert_eq!(row["path_bytes"], "2fff");
        assert_eq!((&row["size"], &row["mode"]), (&json!(5), &json!(0o100_600)));
        assert_eq!((&row["target"], &row["target_bytes"]), (&json!("x"), &Value::Null));
    }
}
