//! A registry that was asked for a manifest, and gives the blobs in it; an object of a web server.
//!
//! Always: a tag is resolved once; the registry's server learns who asks if it wants to know, and no
//! other one does; a redirect is resolved anew with each ticket, not with each read.
//!
//! Own code, because the crate oci-client (0.18, with its smallest features) would add 107 crates to the
//! 189 of this program, a runtime and a TLS library in C among them, for requests that curl makes.
//!
//! Source: OCI distribution specification 1.1.

use std::time::Duration;

use anyhow::Result;

use super::curl::{Answer, Request};
use super::login::Login;
use super::manifest::{Document, Manifest};
use super::object::first_byte;
use super::ticket::{Issued, Ticket};
use super::{Fault, Layer, Object, Target, WebArgs, store};
use crate::source::{Oci, Platform, Source, Web};

/// The longest manifest in bytes, as the specification recommends.
const MANIFEST_BYTES_MAX: u32 = 4 << 20;
/// The types of manifests and of indexes that lead to them.
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
/// How deep an index may lead to indexes.
const DEPTH_MAX: u32 = 4;
/// How many redirects are followed to a blob.
const REDIRECTS_MAX: u32 = 5;
/// After which time a redirect is asked for anew, whose own time is not known.
const REDIRECT: Duration = Duration::from_secs(60);

/// An object that can be read.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where it is, as far as everybody may know.
    pub web: Web,
    /// Its content.
    pub object: Object,
    /// The right to read it; `None` if everybody has that.
    pub ticket: Option<Ticket>,
}

/// A registry with a manifest.
#[derive(Clone, Debug)]
pub struct Registry {
    oci: Oci,
    args: WebArgs,
    login: Option<Login>,
    manifest: Manifest,
}

/// Asks for what `source` names.
///
/// # Errors
/// Status 2: plain HTTP that nobody insists on. Status 3: there is no curl.
pub fn fetched(source: &Source, args: &WebArgs) -> Result<Result<Fetched, Fault>> {
    match source {
        Source::Web(web) => {
            args.check(web)?;
            let object = Object::ask(&Target::open(web), args, None)?;
            Ok(object.map(|object| Fetched { web: web.clone(), object, ticket: None }))
        }
        Source::Store(store) => {
            let found = store::url(store).and_then(|web| Ok((web, store::issue(store)?.target)));
            let (web, target) = match found {
                Ok(found) => found,
                Err(fault) => return Ok(Err(fault)),
            };
            args.check(&web)?;
            let asked = Object::ask(&target, args, None)?;
            let ticket = Some(Ticket::Store(store.clone()));
            let advised = asked.map_err(|fault| match fault {
                Fault::Unfit(why) if why.contains("answers 401") || why.contains("answers 403") => {
                    Fault::Unfit(format!("{web}: {why} ({})", store::advice(store)))
                }
                fault => fault,
            });
            Ok(advised.map(|object| Fetched { web, object, ticket }))
        }
        Source::Oci(oci) => match Registry::open(oci, args)? {
            Ok(registry) => registry.named(),
            Err(fault) => Ok(Err(fault)),
        },
        other => unreachable!("{other} is not fetched"),
    }
}

impl Registry {
    /// Asks a registry for the manifest that `oci` names; of an index, for the one of the platform that
    /// is wanted.
    ///
    /// # Errors
    /// Status 2: plain HTTP that nobody insists on. Status 3: there is no curl.
    pub fn open(oci: &Oci, args: &WebArgs) -> Result<Result<Self, Fault>> {
        args.check(&Web::of(oci.manifest()))?;
        let platform = args.platform.clone().unwrap_or_else(Platform::here);
        let (mut reference, mut digest) =
            (oci.reference().to_string(), oci.digest().map(String::from));
        for _ in 0..=DEPTH_MAX {
            let (answer, login) = match manifest(oci, &Web::of(oci.manifest_of(&reference)), args)?
            {
                Ok(found) => found,
                Err(fault) => return Ok(Err(fault)),
            };
            let next =
                Document::parse(digest.as_deref(), &answer.body).and_then(|found| match found {
                    Document::Manifest(manifest) => Ok(Ok(manifest)),
                    Document::Index(index) => Ok(Err(index.choose(&platform)?)),
                });
            reference = match next {
                Ok(Ok(manifest)) => {
                    return Ok(Ok(Self { oci: oci.clone(), args: args.clone(), login, manifest }));
                }
                Ok(Err(next)) => next,
                Err(fault) => return Ok(Err(fault)),
            };
            digest = Some(reference.clone());
        }
        Ok(Err(Fault::Unfit(format!("indexes lead to indexes, more than {DEPTH_MAX} deep"))))
    }

    /// Asks for the blob that the name of the source names.
    pub fn named(&self) -> Result<Result<Fetched, Fault>> {
        match self.manifest.layer(&self.oci) {
            Ok(layer) => self.blob(&layer),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Returns the layers that the manifest's annotations give to slots from 1 on.
    pub fn blobs(&self) -> Result<Vec<(u16, Layer)>, Fault> {
        self.manifest.blobs()
    }

    /// Asks for the blob of `layer`.
    pub fn blob(&self, layer: &Layer) -> Result<Result<Fetched, Fault>> {
        let web = Web::of(self.oci.blob(&layer.digest));
        let issued = match self.issue(web.url())? {
            Ok(issued) => issued,
            Err(fault) => return Ok(Err(fault)),
        };
        let asked = Object::ask(&issued.target, &self.args, Some(&layer.digest))?;
        Ok(asked.and_then(|object| match object.bytes == layer.size {
            false => Err(Fault::Unfit(format!(
                "the manifest says {} bytes, and the registry has {}",
                layer.size, object.bytes
            ))),
            true => {
                let is_open = issued.target == Target::open(&web);
                let ticket = Ticket::Registry(Box::new(self.clone()), web.url().into());
                Ok(Fetched { web, object, ticket: (!is_open).then_some(ticket) })
            }
        }))
    }

    /// Gets what the blob at `url` is asked for with: a token, and where it is.
    pub fn issue(&self, url: &str) -> Result<Result<Issued, Fault>> {
        let mut target = Target::open(&Web::of(url.into()));
        let mut lasts = None;
        if let Some(login) = &self.login {
            match login.secret(target.is_plain, &self.args)? {
                Ok((secret, of_token)) => {
                    target.secrets.push(secret);
                    lasts = of_token;
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
        for _ in 0..REDIRECTS_MAX {
            let answer = match first_byte(&target, &self.args, false)? {
                Ok(answer) => answer,
                Err(fault) => return Ok(Err(fault)),
            };
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                // Who asks for the object tells of a server that sends everything for a range.
                let status = if answer.status == 200 { 200 } else { 206 };
                return Ok(answer.has_status(status).map(|()| Issued { target, lasts }));
            }
            let Some(next) = answer.header("location").and_then(|to| redirect(&target, to)) else {
                let why = format!("{}: it redirects to nowhere", target.url);
                return Ok(Err(Fault::Unfit(why)));
            };
            target = next;
            lasts = Some(lasts.map_or(REDIRECT, |lasts| lasts.min(REDIRECT)));
        }
        Ok(Err(Fault::Unfit(format!("{url}: more than {REDIRECTS_MAX} redirects"))))
    }
}

/// Asks a registry for the manifest or the index at `web`. It learns who asks if it wants to know.
pub fn manifest(
    oci: &Oci,
    web: &Web,
    args: &WebArgs,
) -> Result<Result<(Answer, Option<Login>), Fault>> {
    let more = ["--header", ACCEPT];
    let request = Request { follows: true, body_bytes_max: Some(MANIFEST_BYTES_MAX), more: &more };
    let mut target = Target::open(web);
    let first = match request.send(&target, args)? {
        Ok(answer) if answer.status == 401 => answer,
        Ok(answer) => return Ok(answer.has_status(200).map(|()| (answer, None))),
        Err(fault) => return Ok(Err(fault)),
    };
    let login = match Login::to(&first, oci.registry())? {
        Ok(login) => login,
        Err(fault) => return Ok(Err(fault)),
    };
    match login.secret(target.is_plain, args)? {
        Ok((secret, _)) => target.secrets.push(secret),
        Err(fault) => return Ok(Err(fault)),
    }
    Ok(request.send(&target, args)?.and_then(|answer| match answer.status {
        status @ (401 | 403) => {
            let advice = login.advice(oci.registry());
            Err(Fault::Unfit(format!("the registry answers {status}: {advice}")))
        }
        _ => answer.has_status(200).map(|()| (answer, Some(login))),
    }))
}

/// Returns where a redirect to `location` leads; another server does not learn who asks. `None` if it is
/// none.
fn redirect(from: &Target, location: &str) -> Option<Target> {
    let origin = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split(['/', '?']).next()?))
    };
    let here = origin(&from.url)?;
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(from.at(format!("{here}{location}")));
    }
    let there = origin(location)?;
    let mut target = from.at(location.into());
    if there != here {
        target.secrets.clear();
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_server_is_not_told_who_asks() {
        let secrets = vec![("header", "Authorization: x".to_string())];
        let from = Target { url: "https://h:1/v2/a".into(), secrets, is_plain: false };
        for (location, url, is_told) in [
            ("/b?c", "https://h:1/b?c", true),
            ("https://h:1/b", "https://h:1/b", true),
            ("https://h/b", "https://h/b", false),
            ("http://h:1/b", "http://h:1/b", false),
            ("https://s3/b?X-Amz-Signature=1", "https://s3/b?X-Amz-Signature=1", false),
        ] {
            let to = redirect(&from, location).unwrap();
            assert_eq!((to.url.as_str(), !to.secrets.is_empty()), (url, is_told));
        }
        assert_eq!(redirect(&from, "b"), None);
        assert_eq!(redirect(&from, "//h/b"), None);
    }
}
