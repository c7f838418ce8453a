//! The objects of a composefs image: a folder of a share, or an image on a disk.
//!
//! Always: nothing pins an image of objects; it leads to bytes, and the digest of each object decides
//! what they are.

use super::{Bound, MountError};
use crate::config::{ObjectsName, Part, SourceName};
use alloc::boxed::Box;
use alloc::vec::Vec;
use rootlet::blob::Image;
use rootlet::storage::Discover;
use rootlet_verity::Verified;

/// Has `storage` take the objects that `name` names. Returns the image that has them, if it is one.
///
/// # Errors
/// [`MountError`].
pub(super) fn open<S: Discover>(
    storage: &mut Verified<S>,
    name: &ObjectsName,
) -> Result<Option<Bound>, MountError> {
    match name {
        ObjectsName::Folder { mount_tag, folder } => {
            let folder = Some((mount_tag.as_str(), folder.as_str()));
            storage.set_objects(folder).map_err(MountError::Verity)?;
            Ok(None)
        }
        ObjectsName::Image(name, part) => {
            storage.set_objects(None).map_err(MountError::Verity)?;
            let refused =
                |error| MountError::Objects { name: name.clone(), error: Box::new(error) };
            bind(storage, name, part).map(Some).map_err(refused)
        }
    }
}

fn bind<S: Discover>(
    storage: &mut Verified<S>,
    name: &SourceName,
    part: &Part,
) -> Result<Bound, MountError> {
    let disk = name.find(storage)?;
    let device = part.open(storage, disk);
    let device = device.map_err(|error| MountError::partition(name, part, error))?;
    let image = Box::new(Image::read(storage, device)?);
    let sources = image.bind(storage, &[])?;
    Ok(Bound { name: name.clone(), part: part.clone(), image, sources, missing: Vec::new() })
}
