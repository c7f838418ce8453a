//! A web server over TLS, with a certificate of an authority of its own; over nginx and openssl.
//!
//! Always: the server is gone when its [`Nginx`] is.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server.
pub struct Nginx {
    process: Child,
    /// The URL of its root, without a slash at the end.
    pub url: String,
    /// The certificate of the authority.
    pub ca: PathBuf,
}

impl Nginx {
    /// Starts a server whose block `server` has these settings, in which `URL` stands for its own;
    /// `None`, after a word, if a program is missing. Its files go to `dir`.
    pub fn start(dir: &Path, settings: &str) -> Option<Self> {
        if !certify(dir) {
            println!("skipped: openssl makes no certificate");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (here, url) = (dir.display(), format!("https://localhost:{port}"));
        let settings = settings.replace("URL", &url);
        let settings = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {here}; proxy_temp_path {here};\n\
             fastcgi_temp_path {here}; uwsgi_temp_path {here}; scgi_temp_path {here};\n\
             server {{ listen 127.0.0.1:{port} ssl; server_name localhost;\n\
             ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/cert.key;\n\
             {settings} }} }}\n"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(&file).stdin(Stdio::null());
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("skipped: nginx is not installed");
            return None;
        };
        let this = Self { process, url, ca: dir.join("ca.pem") };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "nginx does not come up");
            thread::sleep(Duration::from_millis(5));
        }
        Some(this)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the certificate of an authority, and one of its for localhost; whether there is a program for
/// that.
fn certify(dir: &Path) -> bool {
    let make = |name: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]).args(more);
        command.arg("-keyout").arg(dir.join(format!("{name}.key")));
        command.arg("-out").arg(dir.join(format!("{name}.pem"))).current_dir(dir);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let host = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let of_authority = ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey"];
    make("ca", &["-subj", "/CN=an authority of a test"])
        && make("cert", &[&host[..], &of_authority, &["ca.key"]].concat())
}
