//! The password or the identity token that is kept for a registry, as docker and podman keep it.
//!
//! Always: nothing is written; what is not there is no error; a file that cannot be read is named.

use std::env;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use data_encoding::BASE64;
use serde::Deserialize;

use super::Fault;

/// What a registry learns of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The secret.
    pub secret: Secret,
    /// Where it is from.
    pub place: String,
}

/// What nobody else may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// `NAME:PASSWORD`.
    Password(Hidden),
    /// What servers of tokens take in place of a name and a password.
    IdentityToken(Hidden),
}

/// A text that no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// The kind of the credential and its origin, without the secret.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.secret {
            Secret::Password(_) => "name and password",
            Secret::IdentityToken(_) => "identity token",
        };
        write!(f, "{kind} of {}", self.place)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kept {
    auths: std::collections::BTreeMap<String, Auth>,
    cred_helpers: std::collections::BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Credential {
    /// Returns the secret for `registry`; `None` if none is kept.
    pub fn find(registry: &str) -> Result<Result<Option<Self>, Fault>> {
        for file in places() {
            let Ok(text) = fs::read(&file) else { continue };
            match Self::of(&text, registry, &file)? {
                Ok(None) => {}
                found => return Ok(found),
            }
        }
        Ok(Ok(None))
    }

    /// Returns the secret for `registry` in the `text` of `file`.
    fn of(text: &[u8], registry: &str, file: &Path) -> Result<Result<Option<Self>, Fault>> {
        let place = file.display().to_string();
        let unfit = |why: String| Ok(Err(Fault::Unfit(format!("{place}: {why}"))));
        let kept: Kept = match serde_json::from_slice(text) {
            Ok(kept) => kept,
            Err(error) => return unfit(error.to_string()),
        };
        let is_it = |name: &str| host(name) == registry;
        let helper = kept.cred_helpers.iter().find(|(name, _)| is_it(name));
        let entry = kept.auths.iter().find(|(name, _)| is_it(name));
        // docker leaves an empty entry where a store of credentials has the password.
        let store = entry.zip(kept.creds_store.as_ref()).map(|((name, _), store)| (name, store));
        if let Some((name, helper)) = helper.or(store) {
            return helped(helper, name);
        }
        let Some((_, auth)) = entry else { return Ok(Ok(None)) };
        if let Some(token) = auth.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Ok(Some(Self {
                secret: Secret::IdentityToken(Hidden(token.clone())),
                place,
            })));
        }
        let Some(auth) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) else {
            return Ok(Ok(None));
        };
        let pair =
            BASE64.decode(auth.as_bytes()).ok().and_then(|pair| String::from_utf8(pair).ok());
        let pair = pair.as_deref().map(|pair| pair.trim_end_matches('\0'));
        match pair.filter(|pair| pair.contains(':')) {
            Some(pair) => {
                Ok(Ok(Some(Self { secret: Secret::Password(Hidden(pair.into())), place })))
            }
            None => unfit(format!("`auth` of {registry} is not NAME:PASSWORD in base64")),
        }
    }
}

/// Asks a helper of docker's for the secret of the registry that is kept as `name`.
fn helped(helper: &str, name: &str) -> Result<Result<Option<Credential>, Fault>> {
    let program = format!("docker-credential-{helper}");
    let unfit = |why: &str| Ok(Err(Fault::Unfit(format!("{program}: {why}"))));
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return unfit("not in PATH, and docker's config.json says that it has the password");
    };
    let mut stdin = child.stdin.take().context("the helper's input")?;
    // One that ends before it has read says so by its status.
    let _ = stdin.write_all(name.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| program.clone())?;
    if !output.status.success() {
        return Ok(Ok(None));
    }
    match serde_json::from_slice(&output.stdout) {
        Ok(Helped { username, secret }) => {
            let secret = match username.as_str() {
                "<token>" => Secret::IdentityToken(Hidden(secret)),
                _ => Secret::Password(Hidden(format!("{username}:{secret}"))),
            };
            Ok(Ok(Some(Credential { secret, place: program })))
        }
        Err(error) => unfit(&error.to_string()),
    }
}

/// The files with secrets.
fn places() -> Vec<PathBuf> {
    let folder = |variable: &str, rest: &str| {
        let value = env::var_os(variable).filter(|value| !value.is_empty());
        value.map(|value| PathBuf::from(value).join(rest))
    };
    let docker = folder("DOCKER_CONFIG", "config.json");
    let all = [
        env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from),
        docker.or(folder("HOME", ".docker/config.json")),
        folder("XDG_RUNTIME_DIR", "containers/auth.json"),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the host and the port of the name of a registry, without what else it may have.
fn host(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Option<Credential>, Fault> {
        Credential::of(text.as_bytes(), "h:5000", Path::new("c")).unwrap()
    }

    #[test]
    fn secret_is_that_of_the_registry() {
        let auth = BASE64.encode(b"me:se:cret");
        for name in ["h:5000", "https://h:5000/v2/"] {
            let text =
                format!("{{\"auths\": {{\"h\": {{}}, \"{name}\": {{\"auth\": \"{auth}\"}}}}}}");
            let found = found(&text).unwrap().unwrap();
            assert!(found.secret == Secret::Password(Hidden("me:se:cret".into())));
            assert_eq!(found.to_string(), "name and password of c");
            assert!(!format!("{found:?}").contains("me:se"), "{found:?}");
        }
        let text = "{\"auths\": {\"h:5000\": {\"auth\": \"\", \"identitytoken\": \"t\"}}}";
        assert!(found(text).unwrap().unwrap().secret == Secret::IdentityToken(Hidden("t".into())));
        for text in
            ["{}", "{\"auths\": {\"h\": {\"auth\": \"eDp5\"}}}", "{\"auths\": {\"h:5000\": {}}}"]
        {
            assert_eq!(found(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn file_that_cannot_be_used_is_named_with_the_reason() {
        for (text, why) in [
            ("<", "c: expected value"),
            (
                "{\"auths\": {\"h:5000\": {\"auth\": \"#\"}}}",
                "c: `auth` of h:5000 is not NAME:PASSWORD",
            ),
            (
                "{\"credHelpers\": {\"h:5000\": \"none-of-ours\"}}",
                "docker-credential-none-of-ours: not in PATH",
            ),
        ] {
            let fault = found(text).unwrap_err();
            assert!(fault.why().contains(why), "{fault:?}");
        }
    }
}
