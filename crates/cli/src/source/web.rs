//! An object of a web server, by its URL.
//!
//! Always: the URL has no password, and no part that a server does not get.

use std::fmt;

use super::url::Url;

/// An object of a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    url: String,
}

impl Web {
    /// Reads `https://HOST[:PORT]/PATH[?QUERY]`, or the same over plain HTTP.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        url.no_user()?;
        url.host()?;
        match url.path() {
            "" => Err("the path is missing".into()),
            _ => Ok(Self { url: text.into() }),
        }
    }

    /// Returns the object of a URL that is put together here.
    pub fn of(url: String) -> Self {
        Self { url }
    }

    /// Returns the URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns whether everybody on the way may read and change what is transferred.
    pub fn is_plain(&self) -> bool {
        self.url.starts_with("http:")
    }
}

impl fmt::Display for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn object_is_named_by_its_whole_url() {
        let web = Web::parse("https://h:8443/a/b?x=1&y=%20").unwrap();
        assert_eq!(web.url(), "https://h:8443/a/b?x=1&y=%20");
        assert!(!web.is_plain() && Web::parse("http://h/x").unwrap().is_plain());
    }

    #[test]
    fn wrong_part_of_a_url_is_named() {
        for (text, part) in [
            ("https://h", "the path is missing; expected https://HOST[:PORT]/PATH[?QUERY]"),
            ("https:///x", "the host is missing"),
            ("https:x", "// does not follow the scheme"),
            ("http://h/x#y", "it has a fragment"),
            ("https://me:secret@h/x", "a password in a URL is seen by every user"),
            ("https://h/a b", "no URL"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
