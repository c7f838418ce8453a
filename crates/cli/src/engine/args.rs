//! The options that say which web servers are trusted, and what is taken of a registry.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::exit::usage;
use crate::source::{Platform, Web};

/// Which web servers are trusted, and what is taken of a registry.
#[derive(Args, Clone, Debug, Default)]
pub struct WebArgs {
    /// Trust the certificates of this PEM file for https://, and no others
    #[arg(long, value_name = "FILE", help_heading = "Web servers")]
    pub ca: Option<PathBuf>,
    /// Read http:// too: everybody on the way can change what the guest gets
    #[arg(long, help_heading = "Web servers")]
    pub plain_http: bool,
    /// The image of this platform, where a registry has several [default: linux and the processor of the
    /// board, or without a guest of this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Blobs and region")]
    pub platform: Option<Platform>,
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
