//! Nodes of QEMU's block layer: what its drivers read over a network, or out of another format.
//!
//! Always: pure; a part of a URL that is wrong or not supported is refused by its name; whatever can
//! wait for a server has a time after which reads fail.

mod file;
mod iscsi;
mod nbd;
mod rbd;
mod ssh;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use file::{Format, FormatFile};
use iscsi::Iscsi;
use nbd::Nbd;
use rbd::Rbd;
pub use ssh::Ssh;

/// How many seconds reads wait unless the plan of a boot says otherwise.
const WAIT_S: u32 = 20;

/// A node of QEMU's block layer.
#[derive(Clone, Debug)]
pub struct Node {
    /// What the user wrote.
    text: String,
    kind: Kind,
    /// How many seconds reads may wait for a server that is gone before they fail; ssh has no such
    /// limit.
    pub wait_s: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Nbd(Nbd),
    Iscsi(Iscsi),
    Ssh(Ssh),
    Rbd(Rbd),
    File(FormatFile),
}

/// The options of QEMU's -drive that open a node: the format, and pairs in the order to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Drive {
    /// The format of the bytes.
    pub format: &'static str,
    /// Names and values of the other options.
    pub options: Vec<(&'static str, OsString)>,
}

impl Drive {
    /// Returns a node of raw bytes that `driver` reads.
    fn raw(driver: &str) -> Self {
        Self { format: "raw", options: vec![("file.driver", driver.into())] }
    }

    fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.options.push((name, value.into()));
        self
    }
}

impl Node {
    /// Returns the node that `text` names, of which `rest` follows the `scheme`; `None` for another
    /// scheme.
    ///
    /// # Errors
    /// The part that is wrong.
    pub fn parse(text: &str, scheme: &str, rest: &str) -> Option<Result<Self, String>> {
        let kind = match scheme {
            "nbd" => Nbd::inet(text).map(Kind::Nbd),
            "nbd+unix" => Nbd::unix(text).map(Kind::Nbd),
            "iscsi" => Iscsi::parse(text).map(Kind::Iscsi),
            "ssh" => Ssh::parse(text).map(Kind::Ssh),
            "rbd" => Rbd::parse(rest).map(Kind::Rbd),
            "qcow2" => FormatFile::new(Format::Qcow2, rest).map(Kind::File),
            "vmdk" => FormatFile::new(Format::Vmdk, rest).map(Kind::File),
            _ => return None,
        };
        Some(kind.map(|kind| Self { text: text.into(), kind, wait_s: WAIT_S }))
    }

    /// Returns the qcow2 file `path`.
    pub fn qcow2(path: &Path) -> Self {
        let file = FormatFile { format: Format::Qcow2, path: path.into() };
        Self { text: format!("qcow2:{}", path.display()), kind: Kind::File(file), wait_s: WAIT_S }
    }

    /// Returns the node of the NBD server on `socket` that stands in for `named`.
    pub fn served(named: impl fmt::Display, socket: &Path, wait_s: u32) -> Self {
        Self { text: named.to_string(), kind: Kind::Nbd(Nbd::on(socket)), wait_s }
    }

    /// Returns the options that open the node.
    pub fn drive(&self) -> Drive {
        let wait_s = self.wait_s;
        match &self.kind {
            Kind::Nbd(nbd) => nbd.drive(wait_s),
            Kind::Iscsi(iscsi) => iscsi.drive(wait_s),
            Kind::Ssh(ssh) => ssh.drive(),
            Kind::Rbd(rbd) => rbd.drive(wait_s),
            Kind::File(file) => file.drive(),
        }
    }

    /// Returns the file of an ssh server that the node reads; `None` if it reads none.
    pub fn ssh(&self) -> Option<&Ssh> {
        match &self.kind {
            Kind::Ssh(ssh) => Some(ssh),
            _ => None,
        }
    }

    /// Returns the file of this machine that the node reads; `None` if it reads none.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(file) => Some(&file.path),
            _ => None,
        }
    }

    /// Returns why the content may change while it is read; `None` if nothing says so.
    pub fn changes(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Rbd(rbd) if !rbd.is_snapshot() => {
                Some("an image without @SNAPSHOT may change while it is read")
            }
            _ => None,
        }
    }
}

/// Two names of one server and export are one node.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Node {}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
