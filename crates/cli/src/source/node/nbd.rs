//! A network block device: qemu-nbd, nbdkit, nbd-server.
//!
//! Source: the NBD URI specification (doc/uri.md of the NBD project), without TLS.

use std::path::{Path, PathBuf};

use super::Drive;
use crate::source::url::Url;

/// The port that IANA has given NBD.
const PORT: u16 = 10809;

/// An export of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nbd {
    server: Server,
    /// Empty for the server's default.
    export: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Inet { host: String, port: u16 },
    Unix(PathBuf),
}

impl Nbd {
    /// Reads `nbd://HOST[:PORT][/EXPORT]`.
    pub fn inet(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        url.no_user()?;
        url.no_query()?;
        let server = Server::Inet { host: url.host()?, port: url.port(PORT) };
        Ok(Self { server, export: url.path().into() })
    }

    /// Reads `nbd+unix:///[EXPORT]?socket=FILE`.
    pub fn unix(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        url.no_user()?;
        url.no_host()?;
        let socket = url.only_query("socket")?.ok_or("?socket=FILE is missing")?;
        Ok(Self { server: Server::Unix(socket.into()), export: url.path().into() })
    }

    /// Returns the default export of the server on `socket`.
    pub fn on(socket: &Path) -> Self {
        Self { server: Server::Unix(socket.into()), export: String::new() }
    }

    /// A server that is gone is connected to again; a read waits for that.
    pub fn drive(&self, wait_s: u32) -> Drive {
        let drive = Drive::raw("nbd");
        let drive = match &self.server {
            Server::Inet { host, port } => drive
                .with("file.server.type", "inet")
                .with("file.server.host", host)
                .with("file.server.port", port.to_string()),
            Server::Unix(socket) => {
                drive.with("file.server.type", "unix").with("file.server.path", socket)
            }
        };
        let drive = match self.export.as_str() {
            "" => drive,
            export => drive.with("file.export", export),
        };
        drive.with("file.reconnect-delay", wait_s.to_string())
    }
}
