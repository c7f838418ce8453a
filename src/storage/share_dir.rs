//! A directory of the host in place of a share: which file a name leads to.
//!
//! Always: the rules are those of a share's client, so a name means the same file over a directory
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

/// Where a path turns.
enum Step {
    /// It ends, at this file.
    End(PathBuf),
    /// Its component of this number leads here.
    Turn(usize, Vec<u8>),
}

/// Returns the path of the regular file that is called `name` on the share that `dir` stands for.
/// Symbolic links are followed as long as they stay in it.
///
/// # Errors
/// [`DiscoverError::Path`], [`DiscoverError::Link`], [`DiscoverError::Type`], or
/// [`DiscoverError::Share`] with what the host says.
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

/// Goes along `path` as far as its first turn.
fn walk(dir: &Path, path: &[u8]) -> Result<Step, DiscoverError> {
    let mut here = dir.to_owned();
    let mut mode = stat(&here)?.mode();
    // Without a name it is the share's root.
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

/// Returns the host's number for an error; one without a number is an I/O error.
pub(super) fn errno(error: &io::Error) -> u32 {
    let number = error.raw_os_error().and_then(|errno| u32::try_from(errno).ok());
    number.unwrap_or(Errno::EIO.0)
}
