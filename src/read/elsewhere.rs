//! Files whose bytes lie outside the image: marked by overlayfs, written by composefs.
//!
//! Always: such a file is not opened, so the bytes that the image has in its place, mostly zeros,
//! are never returned. The check costs nothing for an inode without xattrs; else it reads the
//! xattrs' headers, which lie after the inode.

use super::guard::Guard;
use super::stop::Stop;
use super::xattrs::{FoundXattr, Wanted};
use crate::cache::Layer;
use crate::erofs::overlay::{METACOPY, Marks, Object, ObjectPath, REDIRECT};
use crate::erofs::{Inode, Unsupported};
use crate::storage::Storage;

const MARKS: [Marks; 2] = [Marks::Trusted, Marks::User];

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Succeeds if the image itself holds the bytes of this regular file.
    ///
    /// # Errors
    /// Unsupported, with the object that the file's marks name in place of its bytes.
    pub fn has_own_bytes(&mut self, inode: &Inode) -> Result<(), Stop> {
        let names = MARKS.map(|marks| Wanted { index: marks.index(), rest: METACOPY });
        let Some(found) = self.find_xattr(inode, &names)? else { return Ok(()) };
        let [trusted, user] = MARKS;
        let marks = if found.which == 0 { trusted } else { user };
        let object = match self.object(&found)? {
            Object::Unnamed => self.redirect(inode, marks)?,
            named => named,
        };
        Err(Unsupported::Elsewhere { nid: inode.nid(), marks, object }.into())
    }

    /// Returns the object that the value of a metacopy attribute names.
    fn object(&mut self, found: &FoundXattr) -> Result<Object, Stop> {
        let mut value = [0; Object::METACOPY_BYTES_MAX];
        let len = usize::try_from(found.value.len).ok();
        // No valid value is longer.
        let Some(value) = len.and_then(|len| value.get_mut(..len)) else {
            return Ok(Object::Unnamed);
        };
        self.meta(found.space, found.value.at, value)?;
        Ok(Object::from_metacopy(value))
    }

    /// Returns the object that the redirect attribute names; unnamed if there is no such attribute.
    fn redirect(&mut self, inode: &Inode, marks: Marks) -> Result<Object, Stop> {
        let found = self.find_xattr(inode, &[Wanted { index: marks.index(), rest: REDIRECT }])?;
        let Some(FoundXattr { space, value, .. }) = found else { return Ok(Object::Unnamed) };
        let mut start = [0; ObjectPath::BYTES_MAX];
        let len = usize::try_from(value.len);
        let (kept, whole) = match len.ok().and_then(|len| start.get_mut(..len)) {
            Some(kept) => (kept, true),
            None => (start.as_mut_slice(), false),
        };
        self.meta(space, value.at, kept)?;
        Ok(Object::Path(ObjectPath::new(kept, whole)))
    }
}
