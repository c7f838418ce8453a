//! The origin of an inode: tells the inodes of one image from those of another.
//!
//! Always: an inode has the origin of the superblock that it was parsed with.

/// The number that a reader gives to an image. Values parsed from bytes that no reader has numbered
/// have [`Origin::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(u64);

impl Origin {
    /// The origin of what no reader has numbered.
    pub const NONE: Self = Self(0);

    /// Returns the origin with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}
