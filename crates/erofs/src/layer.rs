//! The number of an image in a stack, as a part of its inode numbers.
//!
//! Always: an image that is alone has the number 0, and its inode numbers are those on disk; what a
//! disk says never names an inode of another image.

use super::block::Nid;
use super::corrupt::{Corrupt, Part};

impl Nid {
    /// Returns the number that an inode has in a stack, from its number on disk and that of its
    /// image, from 1.
    ///
    /// # Errors
    /// Corrupt if the number on disk lies in no image.
    pub fn in_layer(self, layer: u8) -> Result<Self, Corrupt> {
        if self.0 & Self::LAYER != 0 {
            return Err(Corrupt::Overflow(Part::Inode(self)));
        }
        Ok(Self(self.0 | u64::from(layer) << Self::LAYER_BITS))
    }

    /// Returns the number on disk of an inode of the image whose inode 0 is `first`. The number of
    /// an inode of another image becomes one that lies in no image.
    pub(crate) const fn on_disk(self, first: Self) -> Self {
        Self(self.0 ^ first.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Space;
    use super::*;
    use std::string::ToString;

    #[test]
    fn number_in_a_stack_has_the_image_and_the_number_on_disk() {
        for (number, space) in [(7, Space::Image), (1 << 63 | 7, Space::Metabox)] {
            for layer in [1, 128, 255] {
                let nid = Nid(number).in_layer(layer).unwrap_or_else(|_| unreachable!());
                assert_eq!((nid.layer(), nid.space()), (layer, space));
                let first = Nid(u64::from(layer) << 55);
                assert_eq!(nid.on_disk(first), Nid(number));
                assert!(nid.to_string().ends_with(&std::format!("of layer {layer}")), "{nid}");
                let other = Nid(u64::from(layer - 1) << 55);
                assert!(nid.on_disk(other).slot() >= 1 << 55);
            }
        }
        assert_eq!(Nid(7).layer(), 0);
    }

    #[test]
    fn number_on_disk_that_would_name_another_image_is_refused() {
        for bit in 55..63 {
            let nid = Nid(1 << bit | 36);
            assert_eq!(nid.in_layer(1), Err(Corrupt::Overflow(Part::Inode(nid))));
        }
    }
}
