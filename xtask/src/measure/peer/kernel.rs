//! The Linux kernel of the peer: given, or Debian's for clouds, unpacked from its package.
//!
//! Always: nothing is installed; what was unpacked is used again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::boot::build;
use crate::measure::BenchArgs;
use rootlet_cli::exit;
use rootlet_cli::programs::find_in_path;

/// The package that names the newest kernel for clouds.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its name, for the tables.
    pub name: String,
    /// The image.
    pub image: PathBuf,
    /// Its modules, unless all that is needed is built in.
    pub modules: Option<PathBuf>,
}

impl Kernel {
    /// Returns the kernel that the user wants.
    pub fn find(args: &BenchArgs) -> Result<Self> {
        match &args.kernel {
            Some(image) => {
                let name = image.file_name().unwrap_or_default().display().to_string();
                fs::metadata(image)
                    .map_err(|error| exit::usage(format!("{}: {error}", image.display())))?;
                Ok(Self { name, image: image.clone(), modules: args.modules.clone() })
            }
            None => Self::debian(),
        }
    }

    fn debian() -> Result<Self> {
        let dir = build::target_directory()?.join("rootlet-peer/kernel");
        if let Some(kernel) = Self::unpacked(&dir)? {
            return Ok(kernel);
        }
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if find_in_path(program).is_none() {
                let message = "Debian's kernel comes by apt-get, which is not here: give --kernel \
                               FILE and --modules DIR";
                return Err(exit::stop(exit::SETUP, message));
            }
        }
        fs::create_dir_all(&dir)?;
        let said = output(Command::new("apt-cache").args(["depends", PACKAGE]), &dir)?;
        let mut packages = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let package = packages
            .next_back()
            .with_context(|| format!("{PACKAGE} needs no kernel; try `apt-get update`"))?;
        eprintln!("downloading {package}, to be unpacked in {}", dir.display());
        output(Command::new("apt-get").args(["download", package]), &dir)?;
        for entry in fs::read_dir(&dir)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                let parts = [entry.path().into_os_string(), dir.clone().into_os_string()];
                output(Command::new("dpkg-deb").arg("-x").args(parts), &dir)?;
                fs::remove_file(entry.path())?;
            }
        }
        Self::unpacked(&dir)?.with_context(|| format!("{package} holds no kernel"))
    }

    fn unpacked(dir: &Path) -> Result<Option<Self>> {
        let Ok(entries) = fs::read_dir(dir.join("boot")) else { return Ok(None) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(version) = name.strip_prefix("vmlinuz-") else { continue };
            let modules = dir.join("lib/modules").join(version);
            if modules.is_dir() {
                let name = format!("Debian {version}");
                return Ok(Some(Self { name, image: entry.path(), modules: Some(modules) }));
            }
        }
        Ok(None)
    }
}

fn output(command: &mut Command, dir: &Path) -> Result<String> {
    let output = command.current_dir(dir).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", command.get_program().display(), words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
