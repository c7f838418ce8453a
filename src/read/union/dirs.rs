//! What is known of merged directories: the parts of each, and the directory above.
//!
//! Always: bounded; what is forgotten is found again through the `..` of the topmost part.

use crate::erofs::Nid;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// The most words of 8 bytes that are kept.
const WORDS_MAX: usize = 64 << 10;
/// The words of a directory beside its parts.
const WORDS: usize = 8;

/// A merged directory.
#[derive(Clone, Debug)]
pub struct Known {
    /// The topmost part of the directory above; the root is its own.
    pub above: Nid,
    /// The parts, the topmost first; at least one.
    pub parts: Box<[Nid]>,
}

/// Merged directories by their topmost parts.
#[derive(Debug, Default)]
pub struct Dirs {
    known: BTreeMap<Nid, Known>,
    words: usize,
}

impl Dirs {
    /// Returns what is known of the directory with this topmost part.
    pub fn get(&self, top: Nid) -> Option<&Known> {
        self.known.get(&top)
    }

    /// Notes a directory. Forgets all others if there is no room.
    pub fn note(&mut self, above: Nid, parts: &[Nid]) {
        let Some(top) = parts.first() else { return };
        if self.known.contains_key(top) {
            return;
        }
        let words = parts.len().wrapping_add(WORDS);
        match self.words.checked_add(words).filter(|all| *all <= WORDS_MAX) {
            Some(all) => self.words = all,
            None => {
                self.known.clear();
                self.words = words;
            }
        }
        self.known.insert(*top, Known { above, parts: parts.into() });
    }

    /// Returns the most bytes that may still be allocated.
    pub fn reserve_bytes() -> usize {
        2 * 8 * WORDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_last_directory_is_known() {
        let mut dirs = Dirs::default();
        for number in 0..100_000 {
            let parts = [Nid(number), Nid(number | 1 << 60)];
            dirs.note(Nid(7), &parts);
            let known = dirs.get(Nid(number)).map(|known| (known.above, &known.parts[..]));
            assert_eq!(known, Some((Nid(7), &parts[..])));
            assert!(dirs.words <= WORDS_MAX && dirs.known.len() <= WORDS_MAX / WORDS);
        }
    }
}
