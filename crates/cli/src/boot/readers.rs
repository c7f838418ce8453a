//! Reading what comes out of a machine: console, log, and the monitor's own words.
//!
//! Always: a reader ends with its source, or when nobody listens.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use super::console::{Console, Said};
use super::log;

/// What a reader passes on.
pub enum Event {
    /// On the console, and when.
    Said(Said, Instant),
    /// A line of the log.
    Log(String),
    /// A line of the monitor itself.
    Monitor(String),
    /// The console is closed.
    ConsoleEnded,
}

/// How long a reader waits for more. A guest writes byte by byte, and the emulator would wake the
/// reader for each, which takes it longer than the byte does.
const GATHER: Duration = Duration::from_micros(200);

/// Reads to the end, keeping a copy where one is wanted. A reader ends when nobody listens.
fn pump(
    source: &mut impl Read,
    copy: Option<PathBuf>,
    each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut copy = copy.map(File::create).transpose()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(copy) = &mut copy {
            copy.write_all(&buffer[..count])?;
        }
        each(&buffer[..count])?;
        if count < buffer.len() {
            thread::sleep(GATHER);
        }
    }
}

/// Reads the console to its end.
pub fn read_console(source: Option<impl Read>, copy: Option<PathBuf>, sender: &SyncSender<Event>) {
    let mut console = Console::default();
    let mut gone = false;
    if let Some(mut source) = source {
        let mut each = |bytes: &[u8]| {
            let at = Instant::now();
            console.feed(bytes, &mut |said| gone |= sender.send(Event::Said(said, at)).is_err());
            if gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        };
        if let Err(error) = pump(&mut source, copy, &mut each)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            // The receiver may be gone already.
            let _ = sender.send(Event::Monitor(format!("the console broke: {error}")));
        }
    }
    let at = Instant::now();
    console.finish(&mut |said| drop(sender.send(Event::Said(said, at))));
    let _ = sender.send(Event::ConsoleEnded);
}

/// Reads the monitor's own messages.
pub fn read_monitor(source: Option<impl Read>, sender: &SyncSender<Event>) {
    let Some(source) = source else { return };
    for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_string();
        // QEMU says on every SIGTERM whom it came from; the tool sent it itself.
        if !line.contains("terminating on signal") && sender.send(Event::Monitor(line)).is_err() {
            return;
        }
    }
}

/// Reads the log of the guest, should it connect before all is `over`.
pub fn read_log(
    listener: &UnixListener,
    over: &AtomicBool,
    decoder: Option<log::Decoder<'_>>,
    copy: Option<PathBuf>,
    sender: &SyncSender<Event>,
) {
    let mut stream = loop {
        // Read before the attempt: QEMU may connect and end between the two.
        let last = over.load(Ordering::Relaxed);
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if last => return,
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut decoder = decoder;
    let result = stream.set_nonblocking(false).and_then(|()| {
        pump(&mut stream, copy, &mut |bytes| {
            let mut gone = false;
            if let Some(decoder) = &mut decoder {
                decoder.feed(bytes, &mut |line| gone |= sender.send(Event::Log(line)).is_err());
            }
            if gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        })
    });
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = sender.send(Event::Log(format!("log: the channel broke: {error}")));
    }
}
