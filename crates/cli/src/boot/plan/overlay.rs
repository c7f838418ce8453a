//! A qcow2 file over a region that many guests share.
//!
//! Always: the region below is only read. Should it change, what a guest finds is garbled, which costs
//! time and no wrong byte.

use std::path::{Path, absolute};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::exit;
use crate::programs::find_in_path;

/// Makes `overlay` over the raw file `region`.
///
/// # Errors
/// Status 3: there is no qemu-img.
pub fn make(overlay: &Path, region: &Path) -> Result<()> {
    let program = find_in_path("qemu-img").ok_or_else(|| {
        let why = "missing: qemu-img, which --overlay needs, is not in PATH (Debian: qemu-utils)";
        exit::stop(exit::SETUP, why)
    })?;
    let mut command = Command::new(program);
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(absolute(region)?);
    let output =
        command.arg(overlay).stdin(Stdio::null()).output().context("cannot start qemu-img")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("--overlay {}: {}", overlay.display(), said.trim());
    }
    Ok(())
}
