//! A file of this machine in another format than raw bytes.
//!
//! Always: the format is the one that the user names. QEMU also opens what the file names: a backing
//! file, or the extents of a flat VMDK.

use std::path::PathBuf;

use super::Drive;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Qcow2,
    Vmdk,
}

/// A file and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatFile {
    pub format: Format,
    pub path: PathBuf,
}

impl FormatFile {
    /// Returns the file `name` of this format.
    pub fn new(format: Format, name: &str) -> Result<Self, String> {
        match name {
            "" => Err("no file given".into()),
            _ if name.starts_with("//") => Err("no // follows the format".into()),
            _ => Ok(Self { format, path: name.into() }),
        }
    }

    pub fn drive(&self) -> Drive {
        let format = match self.format {
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
        };
        let options = vec![("file.driver", "file".into()), ("file.filename", (&self.path).into())];
        Drive { format, options }
    }
}
