//! A file in a registry, by the manifest that names it.
//!
//! Source: OCI distribution specification 1.1 (names of repositories, tags and digests) and the
//! annotation org.opencontainers.image.title, which `oras push` gives each file.

use std::fmt;

use super::url::Url;

/// The server of the registry that is called docker.io.
const HUB: &str = "registry-1.docker.io";

/// A file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oci {
    /// What the user wrote.
    text: String,
    /// `https://REGISTRY/v2/NAME`, or the same over plain HTTP.
    base: String,
    /// A tag, or a digest.
    reference: String,
    /// The title of a layer; `None` for the only one.
    title: Option<String>,
}

impl Oci {
    /// Reads `oci://REGISTRY/NAME:TAG[#FILE]` or `oci://REGISTRY/NAME@sha256:DIGEST[#FILE]`; with
    /// `oci+http` over plain HTTP.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, title) = match text.split_once('#') {
            Some((_, "")) => return Err("the file after # is missing".into()),
            Some((url, title)) => (url, Some(title.to_string())),
            None => (text, None),
        };
        let parsed = Url::parse(url)?;
        parsed.no_user()?;
        parsed.no_query()?;
        parsed.host()?;
        let (name, reference) = match parsed.path().split_once('@') {
            Some((name, digest)) => (name, digest),
            None => parsed.path().rsplit_once(':').ok_or(":TAG or @sha256:DIGEST is missing")?,
        };
        if !name.split('/').all(is_component) {
            return Err(format!("`{name}` is not a name of a repository"));
        }
        let is_digest = reference.strip_prefix("sha256:").is_some_and(is_sha256);
        if !is_digest && (parsed.path().contains('@') || !is_tag(reference)) {
            return Err(format!("`{reference}` is neither a tag nor sha256: and 64 hex digits"));
        }
        let (scheme, rest) = url.split_once("://").ok_or("// does not follow the scheme")?;
        let authority = rest.split('/').next().ok_or("the host is missing")?;
        let scheme = if scheme == "oci" { "https" } else { "http" };
        let authority = if authority == "docker.io" { HUB } else { authority };
        let base = format!("{scheme}://{authority}/v2/{name}");
        Ok(Self { text: text.into(), base, reference: reference.into(), title })
    }

    /// Returns the name under which docker keeps a password for the registry.
    pub fn registry(&self) -> &str {
        let authority = self.base.split('/').nth(2).expect("a base has an authority");
        if authority == HUB { "index.docker.io" } else { authority }
    }

    /// Returns the URL of the manifest.
    pub fn manifest(&self) -> String {
        self.manifest_of(&self.reference)
    }

    /// Returns the URL of the manifest of a tag or a digest.
    pub fn manifest_of(&self, reference: &str) -> String {
        format!("{}/manifests/{reference}", self.base)
    }

    /// Returns the tag or the digest that the user gave.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Returns the URL of the blob with this digest.
    pub fn blob(&self, digest: &str) -> String {
        format!("{}/blobs/{digest}", self.base)
    }

    /// Returns the digest that the manifest has to have, if the user gave one.
    pub fn digest(&self) -> Option<&str> {
        Some(self.reference.as_str()).filter(|reference| reference.contains(':'))
    }

    /// Returns the title of the layer; `None` for the only one.
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }
}

impl fmt::Display for Oci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns whether `digits` are those of a SHA-256.
pub fn is_sha256(digits: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.len() == 64 && digits.bytes().all(is_digit)
}

fn is_component(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain)
        && name.ends_with(plain)
        && name.chars().all(|c| plain(c) || "._-".contains(c))
}

fn is_tag(tag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(plain) && tag.chars().all(|c| plain(c) || ".-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn name_gives_the_urls_of_manifest_and_blobs() {
        let oci = Oci::parse("oci://h:5000/a/b-c:v1.0#a.blob").unwrap();
        assert_eq!(oci.manifest(), "https://h:5000/v2/a/b-c/manifests/v1.0");
        assert_eq!(oci.blob("sha256:00"), "https://h:5000/v2/a/b-c/blobs/sha256:00");
        assert_eq!((oci.title(), oci.digest()), (Some("a.blob"), None));
        let digest = format!("sha256:{}", "0a".repeat(32));
        let oci = Oci::parse(&format!("oci+http://h/a@{digest}")).unwrap();
        assert_eq!(oci.manifest(), format!("http://h/v2/a/manifests/{digest}"));
        assert_eq!((oci.title(), oci.digest()), (None, Some(digest.as_str())));
        assert_eq!(oci.registry(), "h");
        let oci = Oci::parse("oci://docker.io/library/a:1").unwrap();
        assert_eq!(oci.manifest(), "https://registry-1.docker.io/v2/library/a/manifests/1");
        assert_eq!(oci.registry(), "index.docker.io");
    }

    #[test]
    fn wrong_part_of_a_name_is_named() {
        for (text, part) in [
            ("oci://h/a", ":TAG or @sha256:DIGEST is missing; expected oci://REGISTRY/NAME:TAG"),
            ("oci:///a:1", "the host is missing"),
            ("oci://h/A:1", "`A` is not a name of a repository"),
            ("oci://h/a//b:1", "`a//b` is not a name"),
            ("oci://h/:1", "`` is not a name"),
            ("oci://h/a:-1", "`-1` is neither a tag"),
            ("oci://h/a@sha256:00", "`sha256:00` is neither a tag nor sha256: and 64 hex digits"),
            ("oci://h/a@latest", "`latest` is neither"),
            ("oci://h/a:1#", "the file after # is missing"),
            ("oci://h/a:1?x=y", "?x=y is not supported"),
            ("oci://me:secret@h/a:1", "a password in a URL"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
