//! Files whose bytes lie outside the image: marked by overlayfs, written by composefs.
//!
//! Always: such a file is read from its object, which was proved by its digest, or not opened; the
//! bytes that the image has in its place, mostly zeros, are never returned. The check costs nothing for an inode without xattrs; else it reads the
//! xattrs' headers, which lie after the inode.

use super::guard::Guard;
use super::stop::Stop;
use super::xattrs::{FoundXattr, Wanted};
use crate::cache::Layer;
use crate::erofs::overlay::{Marks, Object, ObjectPath};
use crate::erofs::{Inode, Layout, Unsupported};
use crate::error::Error;
use crate::storage::{ObjectFault, Storage};

const MARKS: [Marks; 2] = [Marks::Trusted, Marks::User];

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the inode of a regular file as it is read: as it is if the image itself holds its
    /// bytes, or with the place of the object that holds them, which is proved here.
    ///
    /// # Errors
    /// Unsupported, with the object that the file's marks name, if there are no objects or the marks
    /// name it by no digest; [`Error::Object`].
    pub fn placed(&mut self, inode: &Inode) -> Result<Inode, Stop> {
        self.turn_to(inode.nid());
        self.is_not_packed(inode)?;
        let names = MARKS.map(|marks| Wanted { index: marks.index(), rest: Marks::METACOPY });
        let Some(found) = self.find_xattr(inode, &names)? else { return Ok(*inode) };
        let [trusted, user] = MARKS;
        let marks = if found.which == 0 { trusted } else { user };
        let object = match self.object(&found)? {
            Object::Unnamed => self.redirect(inode, marks)?,
            named => named,
        };
        let nid = inode.nid();
        let (Some(_), Some(digest)) = (self.storage.objects(), object.digest()) else {
            return Err(Unsupported::Elsewhere { nid, marks, object }.into());
        };
        if !self.leads_to(inode, marks, &object)? {
            return Err(Error::Object { nid, object, why: ObjectFault::Redirect }.into());
        }
        match self.object_at(digest, inode.size())? {
            Ok(at) => Ok(inode.with_object(at)),
            Err(why) => Err(Error::Object { nid, object, why }.into()),
        }
    }

    /// Succeeds unless the bytes of a file are chunks of a blob of Nydus that lies on a device of its
    /// own: those are packed. Blobs that were exported into the image's device are not.
    fn is_not_packed(&self, inode: &Inode) -> Result<(), Unsupported> {
        let flags = self.mount().superblock().packed_by_nydus();
        let (Some(flags), Layout::Chunked(_)) = (flags, inode.layout()) else { return Ok(()) };
        let mut sources = self.shared.sources.iter();
        let primary = sources.next().map(|source| source.device);
        match sources.any(|source| Some(source.device) != primary) {
            true => Err(Unsupported::Rafs { nid: inode.nid(), flags }),
            false => Ok(()),
        }
    }

    /// Returns whether the redirect of a file, if there is one, is the path of its object.
    fn leads_to(&mut self, inode: &Inode, marks: Marks, object: &Object) -> Result<bool, Stop> {
        let found =
            self.find_xattr(inode, &[Wanted { index: marks.index(), rest: Marks::REDIRECT }])?;
        let Some(FoundXattr { space, value, .. }) = found else { return Ok(true) };
        let mut path = [0; Object::PATH_BYTES_MAX];
        let len = usize::try_from(value.len).ok();
        let Some(path) = len.and_then(|len| path.get_mut(..len)) else { return Ok(false) };
        self.meta(space, value.at, path)?;
        Ok(object.is_at(path))
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
        let found =
            self.find_xattr(inode, &[Wanted { index: marks.index(), rest: Marks::REDIRECT }])?;
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
