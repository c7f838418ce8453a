//! Stacks over images in memory.
//!
//! Always: the bottom comes first, as everywhere.

use rootlet::Error;
use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::read::{Budget, Root};
use rootlet::storage::memory::MemoryStorage;

/// Serials of images.
const SERIALS: [&str; 4] = ["a", "b", "c", "d"];

/// A storage with room for more images than a stack may have.
pub type Disks<'m> = MemoryStorage<'m, 260>;

/// A mounted stack.
pub type Stack<'m> = Root<Disks<'m>, NoRegion>;

/// Mounts images without blobs as a stack.
///
/// # Errors
/// Those of the mount.
pub fn stack(images: &[Vec<u8>]) -> Result<Stack<'_>, Error> {
    let mut disks = Disks::default();
    let mut heads = Vec::new();
    for image in images {
        let device = disks.add_disk(SERIALS[heads.len() % SERIALS.len()], image).unwrap();
        let head = Image::read(&disks, device)?;
        let sources = head.alone(&disks)?;
        heads.push((head, sources));
    }
    let heads: Vec<_> = heads.iter().map(|(image, sources)| (image, sources)).collect();
    Ok(Root::stack(disks, NoRegion, &heads, &Budget::default())?)
}
