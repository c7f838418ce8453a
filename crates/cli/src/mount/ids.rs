//! Inode numbers: the kernel wants 1 for the root and 0 for nothing, and the image has nids.
//!
//! Always: each nid of the image has one number, which is the nid itself but for the root and for
//! the nids 0 and 1; so hard links have one number, today and in the next mount.

use fuser::INodeNo;
use rootlet::erofs::Nid;

/// The numbers of nids 0 and 1 where these are not the root. No inode has such a nid: it would be of
/// image 255 of a stack, which has at most 128.
const LOW: [u64; 2] = [255 << 55, (255 << 55) + 1];

/// What the numbers of one image depend on.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    root: Nid,
}

impl Ids {
    /// Returns the numbers of an image with this root directory.
    pub fn new(root: Nid) -> Self {
        Self { root }
    }

    /// Returns the number of the inode `nid`.
    pub fn ino(&self, nid: Nid) -> INodeNo {
        match nid.0 {
            _ if nid == self.root => INodeNo::ROOT,
            0 => INodeNo(LOW[0]),
            1 => INodeNo(LOW[1]),
            other => INodeNo(other),
        }
    }

    /// Returns the inode that has this number.
    pub fn nid(&self, ino: INodeNo) -> Nid {
        match ino {
            INodeNo::ROOT => self.root,
            INodeNo(number) if number == LOW[0] => Nid(0),
            INodeNo(number) if number == LOW[1] => Nid(1),
            INodeNo(number) => Nid(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nid_has_a_number_of_its_own_and_the_root_has_1() {
        for root in [0, 1, 2, 36, 1 << 63] {
            let ids = Ids::new(Nid(root));
            assert_eq!(ids.ino(Nid(root)), INodeNo::ROOT);
            let nids = [0, 1, 2, 35, 36, 37, 1 << 40, 1 << 63, 1 << 63 | 1];
            let mut numbers: Vec<u64> = nids.iter().map(|nid| ids.ino(Nid(*nid)).0).collect();
            for (nid, number) in nids.iter().zip(&numbers) {
                assert_eq!(ids.nid(INodeNo(*number)), Nid(*nid), "root {root}");
            }
            numbers.push(0);
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), nids.len() + 1, "root {root}");
        }
    }
}
