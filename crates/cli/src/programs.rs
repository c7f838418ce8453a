//! Programs of this machine.
//!
//! Always: nothing is installed; a program that is not there is named.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::boot::virtiofsd::Program;
use crate::exit;

/// The first executable `name` in PATH, or in the places that PATH lacks for common users.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let file = env::split_paths(&path).chain(more).map(|dir| dir.join(name));
    file.into_iter().find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The virtio-fs daemon: the one in Rust before the one in C, which no longer is maintained.
pub fn find_virtiofsd() -> Option<Program> {
    let places = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];
    let places = places.map(PathBuf::from).into_iter().filter(|file| is_executable(file));
    find_in_path("virtiofsd").into_iter().chain(places).find_map(|file| Program::probe(&file))
}

/// The virtio-fs daemon, which every share of a guest needs.
///
/// # Errors
/// Status 3: there is none.
pub fn virtiofsd() -> Result<Program> {
    find_virtiofsd().ok_or_else(|| {
        let places = "PATH, /usr/libexec, /usr/lib or /usr/lib/qemu";
        exit::stop(
            exit::SETUP,
            format!("missing: virtiofsd, which a --share needs, is not in {places}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_only_if_executable() {
        assert!(find_in_path("sh").is_some());
        assert_eq!(find_in_path("no-such-program-of-ours"), None);
        let plain = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_executable(plain.path()));
        assert!(!is_executable(Path::new("/usr")));
    }
}
