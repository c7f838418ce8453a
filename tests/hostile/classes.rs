//! The classes of malformed images that a reader has to survive, item by item.

use crate::case::Case;

/// A class by its name, and its cases.
pub type Class = (&'static str, fn() -> Vec<Case>);

/// The classes of one module.
pub type Family = &'static [Class];

/// All classes: directories, inodes, maps, streams, fragments and metabox, xattrs, places, devices.
pub const CLASSES: [&str; 41] = [
    "directories that loop",
    "directories that recurse without end",
    "nameoff beyond the block",
    "nameoff not a multiple of 12",
    "nameoff not monotonic",
    "names unsorted",
    "name with a slash",
    "name with a NUL",
    "i_size negative",
    "i_size huge",
    "i_size beyond the map",
    "32-bit truncation of offsets",
    "symlink size overflow",
    "endless loop in a compact index with small blocks",
    "endless loop in a compact index with big pclusters",
    "endless loop by stale lengths",
    "look-back distance out of range",
    "overlapping extents",
    "illegal extents",
    "unknown algorithm",
    "crafted interlaced",
    "LZ4 overlap underflow",
    "DEFLATE over capacity",
    "zstd over capacity",
    "u64 to u32 narrowing of a decoded length",
    "fragment offset beyond the packed inode",
    "fragment inside the packed inode",
    "packed inode in the metabox",
    "metabox within itself",
    "shared xattr count beyond the body",
    "xattr entry list overrun",
    "xattr prefix id beyond the table",
    "inline data crossing a block",
    "inline pcluster beyond the image",
    "image shorter than it says",
    "device id beyond the count",
    "slots that overlap",
    "slots that repeat",
    "device table outside the image",
    "requests merged across devices",
    "sparse pclusters",
];
