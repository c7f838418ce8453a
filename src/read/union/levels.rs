//! A path through merged directories, each of which is looked for in a lower image only when a name
//! is missing above.
//!
//! Always: a name of the path is looked up at most once in each image; a name that its topmost image
//! has is looked up once.

use super::super::guard::Guard;
use super::super::stop::Stop;
use crate::cache::Layer;
use crate::erofs::{FileKind, Inode, Nid};
use crate::num::{Bug, OrBug};
use crate::storage::Storage;
use crate::units::count;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A directory of the path.
#[derive(Debug)]
struct Level {
    /// Its name; empty for the root.
    name: Box<[u8]>,
    /// Its parts that are known, the topmost first.
    parts: Vec<Nid>,
    /// How many images, from the top, were searched for parts.
    tried: usize,
    /// Whether the last part may be opaque: nobody has looked yet.
    is_open: bool,
    /// Whether something hides the parts after `tried` images.
    is_cut: bool,
}

/// The directories of a path, from the root on.
#[derive(Debug)]
pub struct Levels {
    levels: Vec<Level>,
    /// The number of images.
    images: usize,
}

impl Levels {
    /// Returns the topmost part of the last directory.
    pub fn top(&self) -> Result<Nid, Bug> {
        self.levels.last().and_then(|level| level.parts.first()).copied().or_bug()
    }

    /// Leaves the last directory; the root stays.
    pub fn leave(&mut self) {
        if self.levels.len() > 1 {
            self.levels.pop();
        }
    }

    /// Leaves all directories but the root.
    pub fn leave_all(&mut self) {
        self.levels.truncate(1);
    }

    fn at(&mut self, level: usize) -> Result<&mut Level, Bug> {
        self.levels.get_mut(level).or_bug()
    }

    fn last(&self) -> Result<usize, Bug> {
        self.levels.len().checked_sub(1).or_bug()
    }

    /// Returns how many images from the top have been searched after the one of `nid`.
    fn tried_with(&self, nid: Nid) -> Result<usize, Bug> {
        // The bottom image has number 1.
        self.images.checked_sub(nid.layer().into()).and_then(|above| above.checked_add(1)).or_bug()
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the path of the root. The roots of all images are merged.
    pub(super) fn levels(&self) -> Levels {
        let merged = self.shared.merged();
        let images = merged.len();
        let roots = merged.iter().rev().map(|mount| mount.superblock().root());
        let parts = roots.collect();
        let root =
            Level { name: Box::default(), parts, tried: images, is_open: false, is_cut: true };
        Levels { levels: alloc::vec![root], images }
    }

    /// Looks a name up in one image.
    pub(super) fn look(&mut self, dir: Nid, name: &[u8]) -> Result<Option<Inode>, Stop> {
        let dir = self.inode(dir)?;
        count(&mut self.io.stats.lookups, 1);
        match self.lookup(&dir, name)? {
            Some(nid) => self.inode(nid).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the entry `name` of the last directory; if that is a directory, it is the last one
    /// from now on.
    pub(super) fn enter(
        &mut self,
        levels: &mut Levels,
        name: &[u8],
    ) -> Result<Option<Inode>, Stop> {
        let last = levels.last()?;
        // Each round looks into another part.
        for part in 0.. {
            while levels.at(last)?.parts.len() <= part {
                if !self.extend(levels, last)? {
                    return Ok(None);
                }
            }
            let dir = *levels.at(last)?.parts.get(part).or_bug()?;
            let Some(inode) = self.look(dir, name)? else { continue };
            if inode.kind() == FileKind::Directory {
                let tried = levels.tried_with(inode.nid())?;
                let parts = alloc::vec![inode.nid()];
                let name = name.into();
                levels.levels.push(Level { name, parts, tried, is_open: true, is_cut: false });
            } else if self.is_whiteout(&inode)? {
                return Ok(None);
            }
            return Ok(Some(inode));
        }
        Ok(None)
    }

    /// Finds the next part of a directory in the images below. Returns false if there is none.
    fn extend(&mut self, levels: &mut Levels, level: usize) -> Result<bool, Stop> {
        // Each round searches another image.
        loop {
            let image = levels.at(level)?.tried;
            for above in 1..=level {
                self.close(levels.at(above)?, image)?;
            }
            let is_hidden = |level: &Level| level.is_cut && level.tried <= image;
            let path = levels.levels.get(1..=level).or_bug()?;
            if image >= levels.images || path.iter().any(is_hidden) {
                return Ok(false);
            }
            if self.search(levels, level, image)? {
                return Ok(true);
            }
        }
    }

    /// Looks whether the last part of a directory is opaque, before the image `image` is searched.
    fn close(&mut self, level: &mut Level, image: usize) -> Result<(), Stop> {
        if level.is_open && level.tried <= image {
            let part = *level.parts.last().or_bug()?;
            let part = self.inode(part)?;
            level.is_cut = level.is_cut || self.is_opaque(&part)?;
            level.is_open = false;
        }
        Ok(())
    }

    /// Searches one image for the directories up to `level`, from the last that was searched for
    /// there. Returns whether the image has a part of `level`.
    fn search(&mut self, levels: &mut Levels, level: usize, image: usize) -> Result<bool, Stop> {
        let is_searched = |level: &Level| level.tried > image;
        let path = levels.levels.get(..level).or_bug()?;
        let from = path.iter().rposition(is_searched).or_bug()?;
        let images = levels.images;
        let is_here = |nid: &Nid| usize::from(nid.layer()).checked_add(image) == Some(images);
        let mut dir = levels.at(from)?.parts.iter().copied().find(is_here);
        for at in from.checked_add(1).or_bug()?..=level {
            let this = levels.at(at)?;
            this.tried = image.checked_add(1).or_bug()?;
            let Some(parent) = dir.take() else { continue };
            let Some(found) = self.look(parent, &this.name)? else { continue };
            if found.kind() == FileKind::Directory {
                this.parts.push(found.nid());
                this.is_open = true;
                dir = Some(found.nid());
            } else {
                this.is_cut = true;
            }
        }
        Ok(dir.is_some())
    }

    /// Finds all parts of the last directory, and notes them.
    pub(super) fn complete(&mut self, levels: &mut Levels) -> Result<(), Stop> {
        let last = levels.last()?;
        // Each round finds another part.
        while self.extend(levels, last)? {}
        // The root is its own.
        let above = last.checked_sub(1).unwrap_or(last);
        let above = *levels.at(above)?.parts.first().or_bug()?;
        let parts = &levels.levels.get(last).or_bug()?.parts;
        self.dirs.note(above, parts);
        Ok(())
    }
}
