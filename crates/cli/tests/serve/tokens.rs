//! docker-registry with a server of tokens: what docker keeps for it is a password, or an identity token.
//!
//! Always: the registry itself checks the tokens, which openssl signs; a question that is not one of the
//! two kinds that docker asks is answered 400.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::registry::{Registry, keep, refused};
use super::{Serve, is_skipped, object, reader};

/// What the server takes for a name and a password, and for an identity token.
const WHO: &str = "me:secret";
const IDENTITY: &str = "an+identity/token=";

/// A server of tokens.
struct Tokens {
    base: String,
    asked: Arc<Mutex<Vec<&'static str>>>,
    is_over: Arc<AtomicBool>,
}

impl Tokens {
    /// Serves tokens that are signed with the key in `dir`.
    fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = listener.local_addr().unwrap().to_string();
        let (asked, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, ends, dir) = (Arc::clone(&asked), Arc::clone(&is_over), dir.to_path_buf());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // A client that hangs up ends its connection.
                let _ = stream.and_then(|stream| answer(&stream, &dir, &kept));
            }
        });
        Self { base, asked, is_over }
    }

    /// Returns the kinds of the questions since the last time.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.base);
    }
}

fn answer(
    mut stream: &TcpStream,
    dir: &Path,
    asked: &Mutex<Vec<&'static str>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length, mut who) = (String::new(), 0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                who = value.trim().into();
            }
            Some(_) => {}
            None => head = line,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (body, scope) = (String::from_utf8(body).unwrap(), "scope=repository%3at%2fimg%3apull");
    let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let identity = "refresh_token=an%2bidentity%2ftoken%3d";
    let parts = ["grant_type=refresh_token", "client_id=rootlet", "service=s", scope];
    let kind = if head.starts_with("POST /token ") && parts.iter().all(|part| has(&body, part)) {
        has(&body, identity).then_some("identity")
    } else {
        let basic = format!("Basic {}", BASE64.encode(WHO.as_bytes()));
        let is_good = head.starts_with("GET /token?service=s&") && has(&head, scope);
        (is_good && who == basic).then_some("password")
    };
    asked.lock().unwrap().push(kind.unwrap_or("wrong"));
    let name = if kind == Some("identity") { "access_token" } else { "token" };
    let (status, text) = match kind {
        Some(_) => (200, format!("{{\"{name}\": \"{}\", \"expires_in\": 60}}", token(dir))),
        None => (400, String::new()),
    };
    let length = text.len();
    let head = format!("HTTP/1.1 {status} so\r\nContent-Length: {length}\r\nConnection: close\r\n");
    stream.write_all(format!("{head}\r\n{text}").as_bytes())
}

/// Returns a token that allows to read (RFC 7519, and what docker-registry wants to find in it).
fn token(dir: &Path) -> String {
    let certificate = fs::read_to_string(dir.join("token.pem")).unwrap();
    let chain: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let head = serde_json::json!({"typ": "JWT", "alg": "RS256", "x5c": [chain]});
    let claims = serde_json::json!({
        "iss": "i", "sub": "me", "aud": "s", "nbf": now - 60, "iat": now, "exp": now + 60, "jti": "1",
        "access": [{"type": "repository", "name": "t/img", "actions": ["pull"]}],
    });
    let part = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(head), part(claims));
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha256", "-sign"]).arg(dir.join("token.key"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = child.wait_with_output().unwrap().stdout;
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// Makes the key of the server of tokens; whether there is a program for that.
fn make_key(dir: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=t"]);
    command.arg("-keyout").arg(dir.join("token.key")).arg("-out").arg(dir.join("token.pem"));
    let made = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !made {
        println!("skipped: openssl makes no key");
    }
    made
}

/// Keeps this text as docker's settings, and returns their folder.
fn settle(dir: &Path, text: &serde_json::Value) -> PathBuf {
    let kept = dir.join("docker");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("config.json"), text.to_string()).unwrap();
    kept
}

/// Makes a helper of docker's that knows the identity token, and returns what PATH is with it.
fn help(dir: &Path) -> String {
    let file = dir.join("docker-credential-of-a-test");
    let known = serde_json::json!({"ServerURL": "", "Username": "<token>", "Secret": IDENTITY});
    fs::write(&file, format!("#!/bin/sh\necho '{known}'\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

#[test]
fn token_is_got_by_a_password_an_identity_token_or_one_of_a_helper() {
    let dir = tempfile::tempdir().unwrap();
    if is_skipped() || !make_key(dir.path()) {
        return;
    }
    let Some(registry) = Registry::start(dir.path(), None) else { return };
    registry.push_image(dir.path());
    drop(registry);
    let tokens = Tokens::start(dir.path());
    let settings = format!(
        "auth: {{token: {{realm: 'http://{}/token', service: s, issuer: i, rootcertbundle: {}}}}}\n",
        tokens.base,
        dir.path().join("token.pem").display()
    );
    let Some(registry) = Registry::start_with(dir.path(), &settings) else { return };
    let (base, path) = (registry.base.as_str(), help(dir.path()));
    let source = format!("oci+http://{base}/t/img:1#a.blob");
    let (socket, out) = (dir.path().join("socket"), dir.path().join("out"));
    let auth =
        |auth: serde_json::Value| settle(dir.path(), &serde_json::json!({"auths": {base: auth}}));
    let identity = |token: &str| auth(serde_json::json!({"auth": "", "identitytoken": token}));
    let helped = || settle(dir.path(), &serde_json::json!({"credHelpers": {base: "of-a-test"}}));
    let kinds: [(&str, &dyn Fn() -> PathBuf); 3] = [
        ("password", &|| keep(dir.path(), base, WHO)),
        ("identity", &|| identity(IDENTITY)),
        ("identity", &helped),
    ];
    for (kind, settings) in kinds {
        let docker = settings().display().to_string();
        let variables = [("DOCKER_CONFIG", docker.as_str()), ("PATH", &path)];
        let serve = Serve::start_with(&source, &socket, &[], &variables);
        assert!(reader(&socket, &out).wait().unwrap().success(), "{kind}");
        assert!(fs::read(&out).unwrap() == object(), "{kind}");
        assert_eq!(serve.end().0, Some(0));
        let asked = tokens.asked();
        assert!(!asked.is_empty() && asked.iter().all(|of| *of == kind), "{kind}: {asked:?}");
    }
    let wrong = "answers 400: it refuses the identity token of";
    refused(dir.path(), &source, &identity("other"), wrong);
    let wrong = "answers 400: it refuses the name and password of";
    refused(dir.path(), &source, &keep(dir.path(), base, "me:other"), wrong);
}
