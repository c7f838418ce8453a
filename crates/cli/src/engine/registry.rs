//! The manifests and blobs of a registry, as curl brings them.
//!
//! Always: nothing is checked here: the caller has the digest.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::curl::{self, Fault};
use super::{WebArgs, oci};
use crate::source::{Oci, Web};

/// How long a registry may take for a blob, in seconds.
const BLOB_PATIENCE_S: u32 = 3600;
/// The types of manifests and of indexes that lead to them.
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// An image of a registry.
#[derive(Clone, Debug)]
pub struct Registry {
    oci: Oci,
    args: WebArgs,
}

impl Registry {
    /// Returns the image that `oci` names.
    ///
    /// # Errors
    /// Status 2: plain HTTP that nobody insists on.
    pub fn open(oci: &Oci, args: &WebArgs) -> Result<Self> {
        args.check(&Web::of(oci.manifest()))?;
        Ok(Self { oci: oci.clone(), args: args.clone() })
    }

    /// Returns the tag or the digest.
    pub fn reference(&self) -> &str {
        self.oci.reference()
    }

    /// Returns the manifest of a tag or a digest.
    pub fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let url = Web::of(self.oci.manifest_of(reference));
        oci::fetch(&url, &self.args, ACCEPT)?.map_err(|fault| self.refuse(fault))
    }

    /// Returns the bytes of a blob as they come.
    pub fn blob(&self, digest: &str) -> Result<Body> {
        let url = Web::of(self.oci.blob(digest));
        let mut command = Command::new(curl::program()?);
        command.args(curl::arguments(&url, &self.args, BLOB_PATIENCE_S)?).arg("--fail");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start curl")?;
        let out = child.stdout.take().context("the output of curl")?;
        Ok(Body { child: Some(child), out, url: url.url().into() })
    }

    fn refuse(&self, fault: Fault) -> anyhow::Error {
        let (Fault::Away(why) | Fault::Unfit(why)) = fault;
        anyhow!("{}: {why}", self.oci)
    }
}

/// The bytes of a blob on their way.
#[derive(Debug)]
pub struct Body {
    child: Option<Child>,
    out: ChildStdout,
    url: String,
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.out.read(out)?;
        if len > 0 || out.is_empty() {
            return Ok(len);
        }
        let Some(child) = self.child.take() else { return Ok(0) };
        match curl::failed(&child.wait_with_output()?) {
            None => Ok(0),
            Some(Fault::Away(why) | Fault::Unfit(why)) => {
                Err(io::Error::other(format!("{}: {why}", self.url)))
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended already is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
