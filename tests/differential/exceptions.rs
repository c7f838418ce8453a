//! Where the tools that we compare with are known to be wrong.
//!
//! Always: every exception is here, with its reason; nothing else is left out of a comparison.
//!
//! Two things mkfs.erofs 1.5 itself gets wrong, so no tree and no options ask for them: it cuts a
//! name of 255 bytes and then does not find the file; and with ztailpacking and noinline_data
//! together it loses the bytes of a short file that does not compress, which is zeros to all
//! readers alike.

use rootlet_rows::Rows;
use rootlet_sim::image::{self, FileLayout};

use crate::options::Options;

/// Type bits of a mode, and those of a directory.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
/// The bits of a mode that lend the owner, and the group.
const SET_ID: u32 = 0o6000;

/// Why erofs-rs 0.3.0 is not asked about an image.
pub fn erofs_rs(options: &Options) -> Option<&'static str> {
    // A slot that gives no length counts as a device of no bytes; mkfs.erofs 1.5 gives none.
    options.blobdev.then_some("a device slot without a length cannot be read")
}

/// Whether Linux 6.18 may mix up chunks of such an image, read out of files.
///
/// It takes a chunk for the continuation of the last one where the address in the map of the one
/// is where the other ended on its device. Both mean the same only where an address is not turned
/// into one of a device: not in the unified address space of several devices, and not from one of
/// a slot into one of a flattened image.
pub fn kernel(options: &image::Options) -> bool {
    let mut layouts = options.layouts.values().chain([&options.layout]);
    let devices = options.blobs + u16::from(options.primary_too);
    layouts.any(|layout| match layout {
        FileLayout::ChunkMap => devices > 1,
        FileLayout::ChunkIndexes | FileLayout::ChunkIndexes48 => options.flattened,
        FileLayout::Plain | FileLayout::Inline => false,
    })
}

/// Cuts from ours the xattrs that Linux 6.18 does not list in an image whose metadata is compressed.
///
/// When Linux has read the xattrs that an inode has for itself, in the metabox, it takes their page
/// for the page of the image with the same number, in which it looks for the shared ones. The bytes
/// there are not an xattr as a rule, and passed over. An inode without own xattrs has the shared ones.
pub fn kernel_metabox(ours: &mut Rows, theirs: &Rows) {
    for (path, row) in ours {
        if let Some(listed) = theirs.get(path).map(|row| &row.xattrs).filter(|it| !it.is_empty()) {
            row.xattrs.retain(|name, _| listed.contains_key(name));
        }
    }
}

/// Cuts what fsck.erofs 1.5 does not restore; `may_own` says whether its user may give owners.
pub fn fsck(rows: &mut Rows, may_own: bool) {
    for row in rows.values_mut() {
        // It restores no xattrs, and makes a file of every hard link.
        row.xattrs.clear();
        row.nlink = None;
        // It sets owners after modes, by which the kernel takes the bits that lend them.
        if row.mode & TYPE != DIRECTORY {
            row.mode &= !SET_ID;
        }
        // A user gets files of its own, and modes by its umask.
        if !may_own {
            row.owner = (0, 0);
            row.mode &= TYPE;
        }
    }
}
