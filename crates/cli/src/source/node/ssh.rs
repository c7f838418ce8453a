//! A file of a machine with an ssh server. The key comes from ssh-agent, the server's own from
//! known_hosts.

use super::Drive;
use crate::source::url::Url;

const PORT: u16 = 22;

/// A file of an ssh server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The user, if the name has one.
    pub user: Option<String>,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The file, from the root on.
    pub path: String,
}

impl Ssh {
    /// Reads `ssh://[USER@]HOST[:PORT]/PATH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        url.no_query()?;
        if url.path().is_empty() {
            return Err("the path is missing".into());
        }
        let user = url.user()?.map(str::to_string);
        Ok(Self { user, host: url.host()?, port: url.port(PORT), path: format!("/{}", url.path()) })
    }

    /// Returns the options for QEMU's own driver.
    pub fn drive(&self) -> Drive {
        let drive = Drive::raw("ssh")
            .with("file.server.host", &self.host)
            .with("file.server.port", self.port.to_string())
            .with("file.path", &self.path);
        match &self.user {
            Some(user) => drive.with("file.user", user),
            None => drive,
        }
    }
}
