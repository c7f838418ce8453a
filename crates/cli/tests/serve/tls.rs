//! A web server with a certificate of its own, over nginx; without it the test says so and passes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Serve, is_skipped, object, reader, wait};

struct Nginx {
    process: Child,
    url: String,
}

impl Nginx {
    /// Serves the files of `dir` over TLS, and redirects `/moved/NAME` to them.
    fn start(dir: &Path) -> Option<Self> {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]);
        command.args(["/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"]);
        command.arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem"));
        if !command.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            println!("skipped: openssl makes no certificate");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = dir.display();
        let settings = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {here}; proxy_temp_path {here};\n\
             fastcgi_temp_path {here}; uwsgi_temp_path {here}; scgi_temp_path {here};\n\
             server {{ listen 127.0.0.1:{port} ssl; server_name localhost; root {here};\n\
             ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem;\n\
             rewrite ^/moved/(.*)$ https://localhost:{port}/$1 redirect; }} }}\n"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(&file).stdin(Stdio::null());
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("skipped: nginx is not installed");
            return None;
        };
        let this = Self { process, url: format!("https://localhost:{port}") };
        wait(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(this)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn certificate_that_is_not_trusted_is_refused_until_it_is_named() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.blob"), object()).unwrap();
    fs::write(path("cut.blob"), [7; 700]).unwrap();
    fs::write(path("empty.blob"), "").unwrap();
    let Some(nginx) = Nginx::start(dir.path()) else { return };
    let ca = path("cert.pem").display().to_string();
    for (name, more, why) in [
        ("a.blob", vec![], "SSL certificate problem: self-signed certificate (--ca FILE names"),
        ("none", vec!["--ca", &ca], "the server answers 404: there is no such object"),
        ("cut.blob", vec!["--ca", &ca], "700 bytes, 188 more than whole sectors of 512"),
        ("empty.blob", vec!["--ca", &ca], "the server answers"),
    ] {
        let source = format!("{}/{name}", nginx.url);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", &source, "--socket"]).arg(path("none")).args(more);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.contains(&source), "{said}");
    }
    let (socket, out) = (path("socket"), path("out"));
    for name in ["a.blob", "moved/a.blob"] {
        let serve = Serve::start(&format!("{}/{name}", nginx.url), &socket, &["--ca", &ca]);
        assert!(reader(&socket, &out).wait().unwrap().success(), "{name}");
        assert!(fs::read(&out).unwrap() == object(), "{name}");
        assert_eq!(serve.end().0, Some(0));
    }
}
