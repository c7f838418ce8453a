//! The URL of an object of an object store, and what its store wants to know of its user.
//!
//! Always: keys are looked for where the tools of the store have them, and go to that store alone; curl
//! signs each request, so that a signature is good for its method and does not end.
//!
//! No plugin over the crate object_store (0.14): its ranges are retried within its own times, and its
//! several hundred crates would build a second HTTP and TLS into this program for what curl does.
//!
//! Source: Signature Version 4 (curl(1), --aws-sigv4), the variables of the AWS and Azure command lines.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::ticket::Issued;
use super::{Fault, Target};
use crate::source::{Store, StoreKind, Web};

/// After which time keys are read again: those of a role are exchanged while a guest runs.
const KEYS: Duration = Duration::from_secs(600);
/// The SHA-256 of no bytes: of the body of every request here.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The version of Azure's interface that a token needs.
const AZURE_VERSION: &str = "x-ms-version: 2021-12-02";

/// A key of Amazon's kind.
#[derive(Clone, Default, PartialEq, Eq)]
struct Key {
    id: String,
    secret: String,
    session: Option<String>,
}

/// Returns the URL of `store` without what is secret.
pub fn url(store: &Store) -> Result<Web, Fault> {
    let Store { kind, bucket, key, .. } = store;
    let base = match kind {
        StoreKind::S3 => match variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            // A certificate has no names with more dots.
            None if bucket.contains('.') => {
                format!("https://s3.{}.amazonaws.com/{bucket}", region())
            }
            None => format!("https://{bucket}.s3.{}.amazonaws.com", region()),
        },
        StoreKind::Gs => {
            let host = variable(&["STORAGE_EMULATOR_HOST"]);
            let host = host.as_deref().unwrap_or("https://storage.googleapis.com");
            format!("{}/{bucket}", host.trim_end_matches('/'))
        }
        StoreKind::Az => {
            let account = variable(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
            let endpoint = variable(&["AZURE_STORAGE_ENDPOINT"]);
            let endpoint =
                endpoint.or(account.map(|name| format!("https://{name}.blob.core.windows.net")));
            let endpoint = endpoint.ok_or_else(|| {
                Fault::Unfit("whose container it is, is to be in AZURE_STORAGE_ACCOUNT".into())
            })?;
            format!("{}/{bucket}", endpoint.trim_end_matches('/'))
        }
    };
    let url = format!("{base}/{key}");
    Web::parse(&url).map_err(|why| Fault::Unfit(format!("{url}: {why}")))
}

/// Returns the object as curl asks for it now. Without any key it is asked for as by everybody.
pub fn issue(store: &Store) -> Result<Issued, Fault> {
    let mut target = Target::open(&url(store)?);
    let header = |text: String| ("header", text);
    match store.kind {
        StoreKind::S3 => {
            if let Some(key) = key()? {
                target.secrets.push(("aws-sigv4", format!("aws:amz:{}:s3", region())));
                target.secrets.push(("user", format!("{}:{}", key.id, key.secret)));
                target.secrets.push(header(format!("x-amz-content-sha256: {EMPTY}")));
                let session = key.session.map(|token| format!("x-amz-security-token: {token}"));
                target.secrets.extend(session.map(header));
            }
        }
        StoreKind::Gs => {
            let names = ["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"];
            let token = variable(&names).map(|token| format!("Authorization: Bearer {token}"));
            target.secrets.extend(token.map(header));
        }
        StoreKind::Az => {
            if let Some(signature) = variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
                target.url = format!("{}?{}", target.url, signature.trim_start_matches('?'));
            } else if let Some(token) = variable(&["AZURE_STORAGE_TOKEN"]) {
                target.secrets.push(header(format!("Authorization: Bearer {token}")));
                target.secrets.push(header(AZURE_VERSION.into()));
            }
        }
    }
    Ok(Issued { target, lasts: Some(KEYS) })
}

/// Returns what to do where a store refuses to be read.
pub fn advice(store: &Store) -> &'static str {
    match store.kind {
        StoreKind::S3 => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials, have the key; \
             AWS_REGION has the region, and AWS_ENDPOINT_URL the server of another store"
        }
        StoreKind::Gs => "GOOGLE_OAUTH_ACCESS_TOKEN has a token (`gcloud auth print-access-token`)",
        StoreKind::Az => "AZURE_STORAGE_SAS_TOKEN has a signature, or AZURE_STORAGE_TOKEN a token",
    }
}

/// Returns the first of these variables that says something.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

fn region() -> String {
    variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or("us-east-1".into())
}

/// Returns the key for S3: of the environment, else of the file of the AWS command line.
fn key() -> Result<Option<Key>, Fault> {
    let session = variable(&["AWS_SESSION_TOKEN"]);
    match (variable(&["AWS_ACCESS_KEY_ID"]), variable(&["AWS_SECRET_ACCESS_KEY"])) {
        (Some(id), Some(secret)) => return Ok(Some(Key { id, secret, session })),
        (None, None) => {}
        _ => {
            let why = "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set";
            return Err(Fault::Unfit(why.into()));
        }
    }
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
    let file = env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or(home);
    let Some(text) = file.and_then(|file| fs::read_to_string(file).ok()) else { return Ok(None) };
    let profile = variable(&["AWS_PROFILE"]);
    Ok(kept(&text, profile.as_deref().unwrap_or("default")))
}

/// Returns the key of a profile in the text of a file of the AWS command line.
fn kept(text: &str, profile: &str) -> Option<Key> {
    let (mut key, mut is_it) = (Key::default(), false);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_it = name.trim() == profile;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_it) else { continue };
        let value = value.trim().to_string();
        match name.trim() {
            "aws_access_key_id" => key.id = value,
            "aws_secret_access_key" => key.secret = value,
            "aws_session_token" => key.session = Some(value),
            _ => {}
        }
    }
    (!key.id.is_empty() && !key.secret.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_that_of_the_profile() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=B=\n# c = d\n\
                    [other]\naws_access_key_id = C\naws_secret_access_key = D\n\
                    aws_session_token = E\n[half]\naws_access_key_id = F\n";
        let key = |id: &str, secret: &str, session: Option<&str>| Key {
            id: id.into(),
            secret: secret.into(),
            session: session.map(Into::into),
        };
        assert!(kept(text, "default") == Some(key("A", "B=", None)));
        assert!(kept(text, "other") == Some(key("C", "D", Some("E"))));
        assert!(kept(text, "half").is_none() && kept(text, "none").is_none());
    }
}
