//! A directory of the host in place of a share: finds the file that a name leads to.
//!
//! Always: follows the rules of a share's client, so a name leads to the same file over a directory
//! as in a guest, or is refused for the same reason.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::share::{FileType, LINKS_MAX, LinkFault, Way, check, components};
use super::{DiscoverError, Errno};

/// The first stop of a walk along a path.
enum Step {
    /// The end of the path: this file.
    End(PathBuf),
    /// A link or `..`: the number of the component, and the target that replaces it.
    Turn(usize, Vec<u8>),
}

/// Returns the path of the regular file `name` on the share that `dir` stands for. Follows symbolic
/// links that stay in the share.
///
/// # Errors
/// [`DiscoverError::Path`], [`DiscoverError::Link`], [`DiscoverError::Type`], or
/// [`DiscoverError::Share`] with the errno of the host.
pub fn path_on_share(dir: &Path, name: &str) -> Result<PathBuf, DiscoverError> {
    check(name.as_bytes()).map_err(|(_, fault)| DiscoverError::Path(fault))?;
    let mut step = walk(dir, name.as_bytes())?;
    let mut path = name.as_bytes().to_vec();
    for _ in 0..LINKS_MAX {
        match step {
            Step::End(file) => return Ok(file),
            Step::Turn(component, target) => {
                let way = Way::new(&path, component, &target).map_err(DiscoverError::Link)?;
                path = way.path().to_vec();
                step = walk(dir, &path)?;
            }
        }
    }
    match step {
        Step::End(file) => Ok(file),
        Step::Turn(..) => Err(DiscoverError::Link(LinkFault::Many)),
    }
}

/// Walks along `path` to its end, or to the first link or `..`.
fn walk(dir: &Path, path: &[u8]) -> Result<Step, DiscoverError> {
    let mut here = dir.to_owned();
    let mut mode = stat(&here)?.mode();
    // An empty path is the share's root.
    for (component, name) in components(path).take_while(|_| !path.is_empty()) {
        if FileType::of(mode) != FileType::DIRECTORY {
            return Err(DiscoverError::Type(mode));
        }
        if name == b".." {
            return Ok(Step::Turn(component, name.to_vec()));
        }
        here.push(OsStr::from_bytes(name));
        mode = stat(&here)?.mode();
        if FileType::of(mode) == FileType::LINK {
            let target = std::fs::read_link(&here).map_err(share_error)?;
            return Ok(Step::Turn(component, target.as_os_str().as_bytes().to_vec()));
        }
    }
    match FileType::of(mode) {
        FileType::REGULAR => Ok(Step::End(here)),
        _ => Err(DiscoverError::Type(mode)),
    }
}

fn stat(path: &Path) -> Result<Metadata, DiscoverError> {
    std::fs::symlink_metadata(path).map_err(share_error)
}

pub(super) fn share_error(error: io::Error) -> DiscoverError {
    DiscoverError::Share(errno(&error))
}

/// Returns the errno of a host's error; EIO if it has none.
pub(super) fn errno(error: &io::Error) -> u32 {
    let number = error.raw_os_error().and_then(|errno| u32::try_from(errno).ok());
    number.unwrap_or(Errno::EIO.0)
}
