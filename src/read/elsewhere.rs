//! Files whose bytes lie outside the image: overlayfs marks them, composefs makes them.
//!
//! Always: such a file is not opened, so what the image holds in place of its bytes, mostly zeros,
//! is never taken for them. An inode without xattrs costs nothing here, and one with xattrs their
//! headers, which lie after the inode.

use super::inner::Inner;
use super::xattrs::{Found, Wanted};
use crate::cache::Layer;
use crate::erofs::overlay::{METACOPY, Marks, Object, ObjectPath, REDIRECT};
use crate::erofs::{Inode, Unsupported};
use crate::error::Error;
use crate::storage::Storage;

const MARKS: [Marks; 2] = [Marks::Trusted, Marks::User];

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Succeeds if the image itself says what the bytes of this regular file are.
    ///
    /// # Errors
    /// Unsupported with what the file's marks say of the place of its bytes.
    pub fn has_own_bytes(&mut self, inode: &Inode) -> Result<(), Error> {
        let names = MARKS.map(|marks| Wanted { index: marks.index(), rest: METACOPY });
        let Some(found) = self.find_xattr(inode, &names)? else { return Ok(()) };
        let [trusted, user] = MARKS;
        let marks = if found.which == 0 { trusted } else { user };
        let object = match self.object(&found)? {
            Object::Unnamed => self.redirect(inode, marks)?,
            named => named,
        };
        Err(Unsupported::Elsewhere { nid: inode.nid, marks, object }.into())
    }

    /// Returns what the value of a metacopy attribute names.
    fn object(&mut self, found: &Found) -> Result<Object, Error> {
        let mut value = [0; Object::METACOPY_BYTES_MAX];
        let len = usize::try_from(found.value.len).ok();
        // A longer one cannot be read.
        let Some(value) = len.and_then(|len| value.get_mut(..len)) else {
            return Ok(Object::Unnamed);
        };
        self.meta(found.space, found.value.at, value)?;
        Ok(Object::from_metacopy(value))
    }

    /// Returns what the redirect attribute names, if there is one.
    fn redirect(&mut self, inode: &Inode, marks: Marks) -> Result<Object, Error> {
        let found = self.find_xattr(inode, &[Wanted { index: marks.index(), rest: REDIRECT }])?;
        let Some(Found { space, value, .. }) = found else { return Ok(Object::Unnamed) };
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
