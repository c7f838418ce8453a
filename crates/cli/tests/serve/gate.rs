//! A registry that wants a token, and sends its users to another server for a blob.
//!
//! Always: tokens and signed URLs are good for a time; the other server is never told who asks; what a
//! request did wrong is kept for the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;

/// The registry.
pub struct Gate {
    /// Its host and port.
    pub base: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    manifest: String,
    blob: Vec<u8>,
    /// `NAME:PASSWORD`; empty if tokens are for everybody.
    password: String,
    /// How long a token and a signed URL are good.
    lasts: Duration,
    given: Vec<Instant>,
    signed: Vec<Instant>,
    wrong: Vec<String>,
    /// The status of every answer but that of a token, if it is always the same.
    status: Option<u16>,
    is_over: bool,
}

impl Gate {
    /// Serves a manifest, under the tag 1, and a blob.
    pub fn new(manifest: String, blob: Vec<u8>, password: &str, lasts: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let password = password.to_string();
        let state = State { manifest, blob, password, lasts, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let name = base.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().is_over {
                    return;
                }
                let (shared, name) = (Arc::clone(&shared), name.clone());
                // A client that hangs up ends its connection.
                thread::spawn(move || stream.and_then(|stream| answer(&stream, &name, &shared)));
            }
        });
        Self { base, state }
    }

    /// Answers with this status from now on.
    pub fn refuse(&self, status: u16) {
        self.state.lock().unwrap().status = Some(status);
    }

    /// How many tokens were given.
    pub fn tokens(&self) -> usize {
        self.state.lock().unwrap().given.len()
    }

    /// What requests did wrong.
    pub fn wrong(&self) -> Vec<String> {
        self.state.lock().unwrap().wrong.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_over = true;
        let _ = TcpStream::connect(&self.base);
    }
}

/// Answers one request, and hangs up.
fn answer(mut stream: &TcpStream, base: &str, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or("").to_string();
    let (mut who, mut range) = (None, None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => who = Some(value.to_string()),
            "range" => range = Some(value.to_string()),
            _ => {}
        }
    }
    let (status, headers, body) = state.lock().unwrap().answer(base, &path, who, range);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} so\r\n{headers}Content-Length: {length}\r\n\
                        Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

impl State {
    fn answer(
        &mut self,
        base: &str,
        path: &str,
        who: Option<String>,
        range: Option<String>,
    ) -> (u16, String, Vec<u8>) {
        let number = |text: &str| text.parse::<usize>().ok();
        let is_good = |times: &[Instant], number: Option<usize>| {
            let time = number.and_then(|number| times.get(number));
            time.is_some_and(|time| time.elapsed() < self.lasts)
        };
        if path.starts_with("/token") {
            let wanted = format!("Basic {}", BASE64.encode(self.password.as_bytes()));
            if !self.password.is_empty() && who.as_ref() != Some(&wanted) {
                return (401, String::new(), Vec::new());
            }
            if !path.to_lowercase().contains("scope=repository%3at%2fimg%3apull") {
                self.wrong.push(format!("a token for {path}"));
            }
            self.given.push(Instant::now());
            let seconds = self.lasts.as_secs();
            let number = self.given.len() - 1;
            let token = format!("{{\"token\": \"t{number}\", \"expires_in\": {seconds}}}");
            return (200, String::new(), token.into());
        }
        if let Some(status) = self.status {
            return (status, String::new(), Vec::new());
        }
        if let Some(signed) = path.strip_prefix("/data?") {
            if who.is_some() {
                self.wrong.push("the other server was told who asks".into());
            }
            if !is_good(&self.signed, number(signed)) {
                return (403, String::new(), Vec::new());
            }
            return self.part(range);
        }
        let token = who.as_ref().and_then(|who| who.strip_prefix("Bearer t"));
        if !is_good(&self.given, token.and_then(number)) {
            let headers = format!(
                "WWW-Authenticate: Bearer realm=\"http://{base}/token\",service=\"s\",\
                 scope=\"repository:t/img:pull\"\r\n"
            );
            return (401, headers, Vec::new());
        }
        match path {
            "/v2/t/img/manifests/1" => (200, String::new(), self.manifest.clone().into()),
            _ if path.starts_with("/v2/t/img/blobs/") => {
                self.signed.push(Instant::now());
                let other = base.replace("127.0.0.1", "localhost");
                let number = self.signed.len() - 1;
                (307, format!("Location: http://{other}/data?{number}\r\n"), Vec::new())
            }
            _ => (404, String::new(), Vec::new()),
        }
    }

    fn part(&self, range: Option<String>) -> (u16, String, Vec<u8>) {
        let range = range.unwrap();
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let headers = format!("Content-Range: bytes {first}-{last}/{}\r\n", self.blob.len());
        (206, headers, self.blob[first..=last].to_vec())
    }
}
