//! A web server with one object, and with faults.
//!
//! Always: it counts the bytes of the object that it sends; a fault begins once a number of them were
//! sent; the server is gone when its [`Origin`] is.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a part of a request may take; after it a connection looks whether the server is gone.
const PAUSE: Duration = Duration::from_millis(50);

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers with this status.
    Status(u16),
    /// It answers nothing.
    Stall,
    /// It closes the connection in the middle of its answer.
    Cut,
    /// It closes each connection, as a server that was killed.
    Gone,
    /// It sends everything for a range.
    NoRanges,
    /// It sends the first half of a range for the range.
    Short,
    /// It answers GET alone.
    NoHead,
    /// It gives no ETag.
    NoTag,
    /// It gives an ETag that allows other bytes.
    WeakTag,
    /// It has another object of the same length.
    Changed,
    /// It has one, and answers a range whatever ETag is wanted.
    ChangedHeedless,
}

#[derive(Debug)]
struct State {
    object: Arc<Vec<u8>>,
    /// The answer to who asks for a manifest.
    manifest: Vec<u8>,
    /// More objects, by the ends of their paths.
    others: Vec<(String, Arc<Vec<u8>>)>,
    fault: Option<(Fault, u64)>,
    /// How long a fault lasts from its first request on.
    lasts: Option<Duration>,
    began: Option<Instant>,
    sent: u64,
    is_over: bool,
}

impl State {
    fn object(&self, path: &str) -> Arc<Vec<u8>> {
        let other = self.others.iter().find(|(end, _)| path.ends_with(end));
        Arc::clone(other.map_or(&self.object, |(_, object)| object))
    }

    /// One of the objects by its name, else the manifest.
    fn manifest(&self, path: &str) -> Vec<u8> {
        let other = self.others.iter().find(|(end, _)| path.ends_with(end));
        other.map_or(&self.manifest, |(_, object)| object.as_ref()).clone()
    }

    /// The fault of a request that comes now.
    fn fault(&mut self) -> Option<Fault> {
        let (fault, after) = self.fault?;
        if self.sent < after {
            return None;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        match self.lasts {
            Some(lasts) if began.elapsed() > lasts => None,
            _ => Some(fault),
        }
    }
}

/// The server.
pub struct Origin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Origin {
    /// Serves `object`.
    pub fn new(object: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let object = Arc::new(object);
        let (fault, lasts, began) = (None, None, None);
        let (manifest, others) = (Vec::new(), Vec::new());
        let state =
            State { object, manifest, others, fault, lasts, began, sent: 0, is_over: false };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().is_over {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client that hangs up ends its connection.
                thread::spawn(move || stream.and_then(|stream| serve(&stream, &shared)));
            }
        });
        Self { address, state }
    }

    /// The object's URL.
    pub fn url(&self) -> String {
        format!("http://{}/blob", self.address)
    }

    /// Has this manifest, too, as a registry does, and returns the registry's host and port.
    pub fn add_manifest(&self, manifest: &str) -> String {
        self.state.lock().unwrap().manifest = manifest.into();
        self.address.to_string()
    }

    /// Has another object, whose path ends so.
    pub fn add_object(&self, end: &str, object: Vec<u8>) {
        self.state.lock().unwrap().others.push((end.into(), Arc::new(object)));
    }

    /// Has `fault` once `after` bytes of the object were sent, for as long as it `lasts`.
    pub fn fail(&self, fault: Fault, after: u64, lasts: Option<Duration>) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.lasts, state.began) = (Some((fault, after)), lasts, None);
    }

    /// Ends the fault, and forgets what was sent.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.sent) = (None, 0);
    }

    /// How many bytes of the object were sent.
    pub fn sent(&self) -> u64 {
        self.state.lock().unwrap().sent
    }

    /// For how long the fault has been there; `None` if it has not begun.
    pub fn failed_for(&self) -> Option<Duration> {
        self.state.lock().unwrap().began.map(|began| began.elapsed())
    }

    /// Whether the fault has begun.
    pub fn has_failed(&self) -> bool {
        self.state.lock().unwrap().began.is_some()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_over = true;
        let _ = TcpStream::connect(self.address);
    }
}

/// A request.
#[derive(Default)]
struct Asked {
    is_head: bool,
    path: String,
    /// The last byte is missing where everything after the first one is meant.
    range: Option<(usize, Option<usize>)>,
    wanted: Option<String>,
}

/// Reads the head of a request; `None` at the end.
fn asked(lines: &mut impl BufRead, state: &Mutex<State>) -> std::io::Result<Option<Asked>> {
    let mut asked = Asked::default();
    let (mut line, mut is_first) = (String::new(), true);
    loop {
        match lines.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if state.lock().unwrap().is_over {
                    return Ok(None);
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        let text = line.trim_end();
        if is_first {
            asked.is_head = text.starts_with("HEAD ");
            asked.path = text.split(' ').nth(1).unwrap_or("").into();
        }
        if text.is_empty() {
            return Ok(Some(asked));
        }
        is_first = false;
        let value = |name: &str| {
            let (given, value) = text.split_once(": ")?;
            given.eq_ignore_ascii_case(name).then(|| value.to_string())
        };
        if let Some(range) = value("range") {
            let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            asked.range = Some((first.parse().unwrap(), last.parse().ok()));
        }
        asked.wanted = value("if-match").or(asked.wanted);
        line.clear();
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PAUSE))?;
    let mut lines = BufReader::new(stream);
    while let Some(asked) = asked(&mut lines, state)? {
        let mut fault = state.lock().unwrap().fault();
        while fault == Some(Fault::Stall) {
            thread::sleep(PAUSE);
            let mut state = state.lock().unwrap();
            fault = state.fault();
            if state.is_over {
                return Ok(());
            }
        }
        if fault == Some(Fault::Gone) {
            return Ok(());
        }
        // A client that makes a directory of the server looks for names first.
        let aside = match asked.path.as_str() {
            "/" => Some(b"<a href=\"blob\">blob</a>".to_vec()),
            path if path.contains("/manifests/") => Some(state.lock().unwrap().manifest(path)),
            _ => None,
        };
        if let Some(text) = aside.filter(|_| !matches!(fault, Some(Fault::Status(_)))) {
            let length = text.len();
            let head = "HTTP/1.1 200 so\r\nContent-Type: text/html\r\nContent-Length:";
            stream.write_all(format!("{head} {length}\r\n\r\n").as_bytes())?;
            stream.write_all(if asked.is_head { b"" } else { &text })?;
            continue;
        }
        let object = state.lock().unwrap().object(&asked.path);
        let tag = match fault {
            Some(Fault::Changed | Fault::ChangedHeedless) => "\"2\"",
            Some(Fault::WeakTag) => "W/\"1\"",
            _ => "\"1\"",
        };
        let is_other = asked.wanted.is_some_and(|wanted| wanted != tag);
        let status = match fault {
            Some(Fault::Status(status)) => status,
            Some(Fault::NoHead) if asked.is_head => 405,
            Some(Fault::ChangedHeedless) if asked.range.is_some() => 206,
            _ if is_other => 412,
            Some(Fault::NoRanges) => 200,
            _ if asked.range.is_some() => 206,
            _ => 200,
        };
        let (first, last) = match asked.range {
            Some((first, last)) if status == 206 => {
                (first, last.map_or(object.len() - 1, |last| last.min(object.len() - 1)))
            }
            _ => (0, object.len() - 1),
        };
        let mut body = match status {
            200 | 206 => object[first..=last].to_vec(),
            _ => Vec::new(),
        };
        if matches!(fault, Some(Fault::Changed | Fault::ChangedHeedless)) {
            body.iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        if fault == Some(Fault::Short) {
            body.truncate(body.len() / 2);
        }
        let mut head = format!(
            "HTTP/1.1 {status} so\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n",
            body.len()
        );
        if fault != Some(Fault::NoTag) {
            head.push_str(&format!("ETag: {tag}\r\n"));
        }
        if status == 206 {
            head.push_str(&format!("Content-Range: bytes {first}-{last}/{}\r\n", object.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if asked.is_head {
            continue;
        }
        if fault == Some(Fault::Cut) {
            body.truncate(body.len() / 2);
        }
        stream.write_all(&body)?;
        state.lock().unwrap().sent += body.len() as u64;
        if fault == Some(Fault::Cut) {
            return Ok(());
        }
    }
    Ok(())
}
