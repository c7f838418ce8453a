//! The manifests and blobs of a registry, as curl brings them.
//!
//! Always: nothing is checked here: the caller has the digest.

use std::io::{self, Read, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use super::curl::{self, Fault};
use super::login::Login;
use super::{Target, WebArgs, registry};
use crate::source::{Oci, Web};

/// How long a registry may take for a blob, in seconds.
const BLOB_PATIENCE_S: u32 = 3600;

/// An image of a registry, to be copied.
#[derive(Clone, Debug)]
pub struct Pull {
    oci: Oci,
    args: WebArgs,
    /// The answer to a registry that wants to know who asks, once it was asked for a manifest.
    login: OnceLock<Box<Login>>,
}

impl Pull {
    /// Returns the image that `oci` names.
    ///
    /// # Errors
    /// Status 2: plain HTTP that nobody insists on.
    pub fn open(oci: &Oci, args: &WebArgs) -> Result<Self> {
        args.check(&Web::of(oci.manifest()))?;
        Ok(Self { oci: oci.clone(), args: args.clone(), login: OnceLock::new() })
    }

    /// Returns the tag or the digest.
    pub fn reference(&self) -> &str {
        self.oci.reference()
    }

    /// Returns the manifest of a tag or a digest.
    pub fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let url = Web::of(self.oci.manifest_of(reference));
        let found = registry::manifest(&self.oci, &url, &self.args)?;
        let (answer, login) = found.map_err(|fault| self.refuse(fault))?;
        if let Some(login) = login {
            self.login.get_or_init(|| Box::new(login));
        }
        Ok(answer.body)
    }

    /// Returns the bytes of a blob as they come.
    pub fn blob(&self, digest: &str) -> Result<Body> {
        let mut target = Target::open(&Web::of(self.oci.blob(digest)));
        if let Some(login) = self.login.get() {
            let secret = login.secret(target.is_plain, &self.args)?;
            target.secrets.push(secret.map_err(|fault| self.refuse(fault))?.0);
        }
        let mut command = Command::new(curl::program()?);
        command.args(curl::arguments(target.is_plain, &self.args)?).args(["--location", "--fail"]);
        command.args(["--max-time", &BLOB_PATIENCE_S.to_string(), "--config", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start curl")?;
        let mut stdin = child.stdin.take().context("the input of curl")?;
        // One that ends before it has read all says why.
        let _ = stdin.write_all(target.settings().as_bytes());
        drop(stdin);
        let out = child.stdout.take().context("the output of curl")?;
        Ok(Body { child: Some(child), out, url: target.url })
    }

    fn refuse(&self, fault: Fault) -> anyhow::Error {
        anyhow!("{}: {}", self.oci, fault.why())
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
            Some(fault) => Err(io::Error::other(format!("{}: {}", self.url, fault.why()))),
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
