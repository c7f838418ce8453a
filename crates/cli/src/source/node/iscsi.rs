//! A logical unit of an iSCSI target, without a password.

use super::Drive;
use crate::source::url::Url;

/// The port that IANA has given iSCSI targets.
const PORT: u16 = 3260;

/// A logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iscsi {
    host: String,
    port: u16,
    target: String,
    lun: u32,
}

impl Iscsi {
    /// Reads `iscsi://HOST[:PORT]/TARGET/LUN`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        url.no_user()?;
        url.no_query()?;
        let (target, lun) = url.path().split_once('/').ok_or("the LUN is missing")?;
        if target.is_empty() {
            return Err("the target is missing".into());
        }
        let lun = lun.parse().map_err(|_| format!("the LUN `{lun}` is no number"))?;
        Ok(Self { host: url.host()?, port: url.port(PORT), target: target.into(), lun })
    }

    pub fn drive(&self, wait_s: u32) -> Drive {
        let Self { host, port, target, lun } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Drive::raw("iscsi")
            .with("file.transport", "tcp")
            .with("file.portal", format!("{host}:{port}"))
            .with("file.target", target)
            .with("file.lun", lun.to_string())
            .with("file.timeout", wait_s.to_string())
    }
}
