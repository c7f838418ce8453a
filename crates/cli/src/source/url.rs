//! A URL taken apart, so that each driver says which of its parts it has.
//!
//! Always: no part is passed over: what a driver does not take out is refused by its name.

use fluent_uri::Uri;
use fluent_uri::component::Host;
use fluent_uri::pct_enc::{EStr, Encoder};

/// A URL, decoded.
pub struct Url {
    user: Option<String>,
    /// Without the brackets of an IPv6 address; `None` if it is empty.
    host: Option<String>,
    port: Option<u16>,
    /// Without its first slash.
    path: String,
    query: Option<String>,
}

impl Url {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// The part that no URL has.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Uri::parse(text).map_err(|error| format!("no URL: {error}"))?;
        if url.fragment().is_some() {
            return Err("it has a fragment (#...)".into());
        }
        let authority = url.authority().ok_or("// does not follow the scheme")?;
        let user = authority.userinfo().map(|user| decoded("user", user)).transpose()?;
        let port = authority.port_to_u16().map_err(|_| "the port is not one of 0 to 65535")?;
        if port == Some(0) {
            return Err("the port is 0".into());
        }
        let host = match authority.host_parsed() {
            Host::RegName(name) if name.is_empty() => None,
            Host::RegName(name) => Some(decoded("host", name)?),
            _ => {
                let host = authority.host();
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                Some(host.unwrap_or(authority.host()).to_string())
            }
        };
        let path = decoded("path", url.path())?;
        let path = path.strip_prefix('/').unwrap_or(&path).to_string();
        let query = url.query().map(|query| decoded("query", query)).transpose()?;
        Ok(Self { user, host, port, path, query })
    }

    /// Takes the host out.
    pub fn host(&self) -> Result<String, String> {
        self.host.clone().ok_or("the host is missing".into())
    }

    /// Returns the port, or `usual`.
    pub fn port(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }

    /// Returns the path without its first slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the value of the only key of the query, which is `key`; `None` without a query.
    pub fn only_query(&self, key: &str) -> Result<Option<&str>, String> {
        let Some(query) = &self.query else { return Ok(None) };
        match query.split_once('=') {
            Some((name, value)) if name == key && !value.is_empty() => Ok(Some(value)),
            _ => Err(format!("?{query} is not ?{key}=...")),
        }
    }

    /// Refuses a query.
    pub fn no_query(&self) -> Result<(), String> {
        match &self.query {
            Some(query) => Err(format!("?{query} is not supported")),
            None => Ok(()),
        }
    }

    /// Refuses a host.
    pub fn no_host(&self) -> Result<(), String> {
        match (&self.host, self.port) {
            (None, None) => Ok(()),
            _ => Err("it has a host".into()),
        }
    }

    /// Returns the user, who has no password here.
    pub fn user(&self) -> Result<Option<&str>, String> {
        match self.user.as_deref() {
            Some(user) if user.contains(':') || user.contains('%') => {
                Err("a password in a URL is seen by every user of this machine".into())
            }
            user => Ok(user),
        }
    }

    /// Refuses a user.
    pub fn no_user(&self) -> Result<(), String> {
        match self.user()? {
            Some(user) => Err(format!("the user `{user}` is not supported")),
            None => Ok(()),
        }
    }
}

fn decoded<E: Encoder>(part: &str, text: &EStr<E>) -> Result<String, String> {
    let text = text.decode().to_string().map_err(|_| format!("the {part} is not UTF-8"))?;
    match text.contains('\0') {
        true => Err(format!("the {part} has a zero byte")),
        false => Ok(text.into_owned()),
    }
}
