//! The marks of overlayfs on a file whose bytes lie elsewhere, and the object that they name.
//!
//! Always: pure; a mark that cannot be parsed still marks the file, but names no object.
//!
//! Source of the format: Linux `fs/overlayfs/overlayfs.h`, `struct ovl_metacopy`.

use core::fmt;

/// The length of the header before a digest: version, length, flags and algorithm.
const HEADER_BYTES: usize = 4;
const SHA256: u8 = 1;
const SHA512: u8 = 2;

/// The kind of the attributes that mark a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Set by root: `trusted.overlay.*`.
    Trusted,
    /// Set by any user: `user.overlay.*`.
    User,
}

impl Marks {
    /// The name, after its prefix, of the attribute that marks a file whose bytes lie elsewhere.
    pub const METACOPY: &[u8] = b"overlay.metacopy";
    /// The name, after its prefix, of the attribute with the path of the file that holds the bytes.
    pub const REDIRECT: &[u8] = b"overlay.redirect";
    /// The name, after its prefix, of the attribute that makes an empty file a whiteout.
    pub const WHITEOUT: &[u8] = b"overlay.whiteout";
    /// The name, after its prefix, of the attribute that makes a directory opaque, if its value is
    /// [`Marks::OPAQUE_VALUE`].
    pub const OPAQUE: &[u8] = b"overlay.opaque";
    /// The value of an attribute [`Marks::OPAQUE`] that hides the directories below.
    pub const OPAQUE_VALUE: &[u8] = b"y";
    /// How the names of the attributes of overlayfs begin, after their prefix. One that is to be seen is
    /// stored with this twice.
    pub const ESCAPE: &[u8] = b"overlay.";

    /// Returns the index of the prefix, `trusted.` or `user.`.
    pub fn index(self) -> u8 {
        match self {
            Self::Trusted => 4,
            Self::User => 1,
        }
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::User => "user",
        })
    }
}

/// The object that holds the bytes of a marked file, as the marks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The object with this fs-verity digest of SHA-256.
    Sha256([u8; 32]),
    /// The object with this fs-verity digest of SHA-512.
    Sha512([u8; 64]),
    /// The file of this path in another layer.
    Path(ObjectPath),
    /// The marks name no object.
    Unnamed,
}

impl Object {
    /// The longest path of an object in a folder of objects, in bytes.
    pub const PATH_BYTES_MAX: usize = 2 + 128;
    /// The longest valid value of a metacopy attribute, in bytes.
    pub const METACOPY_BYTES_MAX: usize = HEADER_BYTES + 64;

    /// Returns the digest of the object, if that is how the marks name it.
    pub fn digest(&self) -> Option<&[u8]> {
        match self {
            Self::Sha256(digest) => Some(digest),
            Self::Sha512(digest) => Some(digest),
            Self::Path(_) | Self::Unnamed => None,
        }
    }

    /// Returns whether `path` is that of the object in a folder of objects: `/xx/rest`.
    pub fn is_at(&self, path: &[u8]) -> bool {
        let Some(digest) = self.digest() else { return false };
        let mut rest = path;
        let mut take = |wanted: u8| match rest.split_first() {
            Some((first, after)) if *first == wanted => {
                rest = after;
                true
            }
            _ => false,
        };
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| match digit {
            0..=9 => b'0'.wrapping_add(digit),
            _ => b'a'.wrapping_add(digit).wrapping_sub(10),
        });
        let mut fits = take(b'/');
        for (digit, at) in digits.zip(0_u8..) {
            fits = fits && (at != 2 || take(b'/')) && take(digit);
        }
        fits && rest.is_empty()
    }

    /// Returns the object that the value of a metacopy attribute names, mostly by a digest.
    pub fn from_metacopy(value: &[u8]) -> Self {
        let Some((header, digest)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Self::Unnamed;
        };
        let [version, len, flags, algorithm] = *header;
        if version != 0 || flags != 0 || usize::from(len) != value.len() {
            return Self::Unnamed;
        }
        let named = match algorithm {
            SHA256 => digest.try_into().map(Self::Sha256),
            SHA512 => digest.try_into().map(Self::Sha512),
            _ => return Self::Unnamed,
        };
        named.unwrap_or(Self::Unnamed)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: &[u8] = match self {
            Self::Sha256(digest) => digest,
            Self::Sha512(digest) => digest,
            Self::Path(path) => return write!(f, "object {path}"),
            Self::Unnamed => return f.write_str("an object without a name"),
        };
        f.write_str("object ")?;
        digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The start of a path, for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPath {
    start: [u8; Self::BYTES_MAX],
    /// The number of bytes of `start` that are in use.
    kept: u8,
    whole: bool,
}

impl ObjectPath {
    /// The most bytes that are kept: the path of a SHA-256 digest and some more. Few, because each
    /// error of the library has room for them.
    pub const BYTES_MAX: usize = 70;

    /// Returns the start of a path. `whole` says that `path` is the whole path. Keeps at most
    /// [`ObjectPath::BYTES_MAX`] bytes.
    pub fn new(path: &[u8], whole: bool) -> Self {
        let (mut start, mut kept) = ([0; Self::BYTES_MAX], 0);
        for ((to, from), count) in start.iter_mut().zip(path).zip(1..) {
            (*to, kept) = (*from, count);
        }
        Self { start, kept, whole: whole && path.len() <= Self::BYTES_MAX }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.start.iter().take(self.kept.into());
        kept.flat_map(|byte| byte.escape_ascii())
            .try_for_each(|c| write!(f, "{}", char::from(c)))?;
        f.write_str(if self.whole { "" } else { "..." })
    }
}

/// Writes the place of the bytes of a marked file.
pub(super) fn describe(f: &mut fmt::Formatter<'_>, marks: Marks, object: &Object) -> fmt::Result {
    match object {
        Object::Path(path) => {
            write!(f, "its bytes are in {path}, named by {marks}.overlay.redirect")
        }
        Object::Unnamed => write!(f, "its bytes are elsewhere, says {marks}.overlay.metacopy"),
        named => write!(f, "its bytes are in the {named}, named by {marks}.overlay.metacopy"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Nid;
    use super::super::error::Unsupported;
    use super::super::xattr;
    use super::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn said(marks: Marks, object: Object) -> String {
        Unsupported::Elsewhere { nid: Nid(7), marks, object }.to_string()
    }

    fn metacopy(algorithm: u8, digest: &[u8]) -> Vec<u8> {
        let len = u8::try_from(digest.len()).unwrap_or(u8::MAX).wrapping_add(4);
        [&[0, len, 0, algorithm], digest].concat()
    }

    #[test]
    fn marks_have_the_names_that_their_messages_tell() {
        for marks in [Marks::Trusted, Marks::User] {
            for name in [Marks::METACOPY, Marks::REDIRECT] {
                let full = [marks.to_string().as_bytes(), b".", name].concat();
                assert_eq!(xattr::split(&full), Some((marks.index(), name)));
            }
        }
    }

    #[test]
    fn digests_are_named_whole() {
        let object = Object::from_metacopy(&metacopy(1, &[0x92; 32]));
        assert_eq!(object, Object::Sha256([0x92; 32]));
        let want = format!(
            "its bytes are in the object {}, named by trusted.overlay.metacopy",
            "92".repeat(32)
        );
        assert_eq!(said(Marks::Trusted, object), want);
        let object = Object::from_metacopy(&metacopy(2, &[0x0a; 64]));
        assert_eq!(object, Object::Sha512([0x0a; 64]));
        assert!(said(Marks::User, object).ends_with("0a0a, named by user.overlay.metacopy"));
    }

    #[test]
    fn metacopy_without_a_digest_that_can_be_read_names_nothing() {
        let sound = metacopy(1, &[3; 32]);
        let changed = |at: usize, byte: u8| {
            let mut value = sound.clone();
            if let Some(place) = value.get_mut(at) {
                *place = byte;
            }
            value
        };
        let short = metacopy(1, &[3; 31]);
        for value in [
            &[][..],
            &[0, 4, 0, 0],
            &[0, 3, 0],
            &short,
            &metacopy(2, &[3; 32]),
            &metacopy(3, &[3; 32]),
            &changed(0, 1),
            &changed(1, 35),
            &changed(2, 1),
        ] {
            assert_eq!(Object::from_metacopy(value), Object::Unnamed, "{value:?}");
        }
        let want = "its bytes are elsewhere, says user.overlay.metacopy";
        assert_eq!(said(Marks::User, Object::Unnamed), want);
    }

    #[test]
    fn path_is_told_as_far_as_it_was_kept() {
        let path = |text: &[u8]| Object::Path(ObjectPath::new(text, true));
        let want = "its bytes are in /a\\n, named by trusted.overlay.redirect";
        assert_eq!(said(Marks::Trusted, path(b"/a\n")), want);
        let want = format!("its bytes are in {}, named by user.overlay.redirect", "x".repeat(70));
        assert_eq!(said(Marks::User, path(&[b'x'; 70])), want);
        let want = want.replace("xx, ", "xx..., ");
        assert_eq!(said(Marks::User, path(&[b'x'; 71])), want);
        let start = Object::Path(ObjectPath::new(&[b'x'; 70], false));
        assert_eq!(said(Marks::User, start), want);
    }
}
