//! The fields of an inode from which its layout is parsed.
//!
//! Always: as they are on disk, not yet checked against the image.

use super::block::Nid;
use super::record::block48;

/// The fields of an inode from which its layout is parsed.
#[derive(Clone, Copy)]
pub(super) struct Outline {
    pub nid: Nid,
    pub size: u64,
    /// `i_u`: the low half of the first block, or the chunk format.
    pub low: u32,
    /// The high half of the first block, if the inode has one.
    pub high: Option<u16>,
    /// The byte after the inode and its xattrs.
    pub body_end: u64,
}

impl Outline {
    /// Returns the first block.
    pub fn start(self) -> u64 {
        match self.high {
            Some(high) => block48(high, self.low),
            None => u64::from(self.low),
        }
    }
}
