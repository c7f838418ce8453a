//! Where the bytes of a disk are: the one place that reads what a user names.
//!
//! Always: a name means the same for an image, a blob and a disk; a name with a scheme is never taken
//! for a file, and a file is never opened as another format than raw bytes unless its name says so.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::node::Node;
use super::oci::Oci;
use super::store::Store;
use super::web::Web;

/// The forms of names that are not those of files.
const FORMS: [&str; 15] = [
    "nbd://HOST[:PORT][/EXPORT]",
    "nbd+unix:///[EXPORT]?socket=FILE",
    "https://HOST[:PORT]/PATH[?QUERY]",
    "http://HOST[:PORT]/PATH[?QUERY]",
    "oci://REGISTRY/NAME:TAG[#FILE] or oci://REGISTRY/NAME@sha256:DIGEST[#FILE]",
    "oci+http://REGISTRY/NAME:TAG[#FILE]",
    "s3://BUCKET/KEY",
    "gs://BUCKET/KEY",
    "az://CONTAINER/BLOB",
    "iscsi://HOST[:PORT]/TARGET/LUN",
    "ssh://[USER@]HOST[:PORT]/PATH",
    "rbd:POOL/[NAMESPACE/]IMAGE@SNAPSHOT[:KEY=VALUE...]",
    "qcow2:FILE",
    "vmdk:FILE",
    "vhost-user:SOCKET",
];

/// The source of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The raw bytes of a file or a block device of this machine.
    File(PathBuf),
    /// What QEMU's block layer reads by one of its drivers.
    Node(Node),
    /// An object of a web server, which a daemon of this machine fetches and keeps.
    Web(Web),
    /// A file of a registry, which becomes an object of a web server once its manifest is read.
    Oci(Oci),
    /// An object of an object store, which becomes one of a web server with the user's keys.
    Store(Store),
    /// A disk that a daemon serves on this socket (vhost-user-blk).
    VhostUser(PathBuf),
}

impl Source {
    /// Returns the source that `name` names.
    ///
    /// # Errors
    /// The part of a URL that is wrong or not supported, or a scheme that nobody knows.
    pub fn parse(name: &OsStr) -> Result<Self, String> {
        // Only text has a scheme.
        let Some(text) = name.to_str() else { return Ok(Self::File(name.into())) };
        if text.is_empty() {
            return Err("no file given".into());
        }
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self::File(text.into())) };
        let source = match scheme {
            "vhost-user" => match rest {
                "" => Err("no socket given".into()),
                _ if rest.starts_with("//") => Err("no // follows vhost-user:".into()),
                _ => Ok(Self::VhostUser(rest.into())),
            },
            "oci" | "oci+http" => Oci::parse(text).map(Self::Oci),
            "https" | "http" => Web::parse(text).map(Self::Web),
            _ => match (Node::parse(text, scheme, rest), Store::parse(text, scheme, rest)) {
                (Some(node), _) => node.map(Self::Node),
                (None, Some(store)) => store.map(Self::Store),
                (None, None) if is_url(scheme, rest) => Err(format!("unknown scheme `{scheme}`")),
                (None, None) => Ok(Self::File(text.into())),
            },
        };
        source.map_err(|why| {
            let of = |form: &&&str| form.split_once(':').is_some_and(|(of, _)| of == scheme);
            let mut forms: Vec<_> = FORMS.iter().filter(of).copied().collect();
            if forms.is_empty() {
                forms = FORMS.to_vec();
            }
            let forms = forms.join(", ");
            format!("{text}: {why}; expected {forms}, or ./{text} for a file of that name")
        })
    }

    /// Returns the file of raw bytes; `None` for any other source.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Node(_) | Self::Web(_) | Self::Oci(_) => None,
            Self::Store(_) | Self::VhostUser(_) => None,
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_ref())
    }
}

impl From<PathBuf> for Source {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

/// As the user named it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Node(node) => node.fmt(f),
            Self::Web(web) => web.fmt(f),
            Self::Oci(oci) => oci.fmt(f),
            Self::Store(store) => store.fmt(f),
            Self::VhostUser(socket) => write!(f, "vhost-user:{}", socket.display()),
        }
    }
}

/// Whether what stands before a colon is a scheme (RFC 3986 3.1), and after it an authority.
fn is_url(scheme: &str, rest: &str) -> bool {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    rest.starts_with("//")
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(is_scheme)
}

/// Returns whether `name` is that of a file, and not a URL.
pub fn is_file_name(name: &str) -> bool {
    matches!(Source::parse(name.as_ref()), Ok(Source::File(_)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_name_without_a_known_scheme_is_a_file() {
        for name in ["a", "a:b", "/dev/vda", "./nbd://x", "C:\\x", "x:/y", "blob@1"] {
            assert_eq!(name.parse(), Ok(Source::File(name.into())), "{name}");
        }
        let name = OsStr::from_bytes(b"nbd://\xff");
        assert_eq!(Source::parse(name), Ok(Source::File(name.into())));
    }

    #[test]
    fn a_scheme_that_nobody_knows_is_refused_with_the_known_ones() {
        for name in ["ftp://h/x", "file:///x", "nbds://h/x"] {
            let error = name.parse::<Source>().unwrap_err();
            assert!(error.contains("unknown scheme") && error.contains("nbd://"), "{error}");
            assert!(error.contains(&format!("./{name}")), "{error}");
        }
        let disk: Source = "vhost-user:/run/a".parse().unwrap();
        assert_eq!(disk, Source::VhostUser("/run/a".into()));
        assert_eq!(disk.to_string(), "vhost-user:/run/a");
        for (name, part) in [("vhost-user:", "no socket given"), ("vhost-user://s", "no //")] {
            let error = name.parse::<Source>().unwrap_err();
            assert!(error.contains(part) && error.contains("vhost-user:SOCKET"), "{error}");
        }
        assert_eq!("".parse::<Source>().unwrap_err(), "no file given");
    }
}
