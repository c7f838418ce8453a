//! The options that say how a web server is trusted.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::exit::usage;
use crate::source::Web;

/// How a web server is trusted.
#[derive(Args, Clone, Debug, Default)]
pub struct WebArgs {
    /// Trust the certificates of this PEM file for https://, and no others
    #[arg(long, value_name = "FILE", help_heading = "Blobs and region")]
    pub ca: Option<PathBuf>,
    /// Read http:// too: everybody on the way can change what the guest gets
    #[arg(long, help_heading = "Blobs and region")]
    pub plain_http: bool,
}

impl WebArgs {
    /// Refuses plain HTTP unless it is wanted.
    pub fn check(&self, web: &Web) -> Result<()> {
        match web.is_plain() && !self.plain_http {
            true => Err(usage(format!(
                "{web}: everybody on the way could change what the guest gets: take https://, or \
                 insist by --plain-http"
            ))),
            false => Ok(()),
        }
    }
}
