//! The session sends what a real daemon understood, byte for byte, and reads the daemon's answers.

use rootlet::fuse::{Cause, Error, Operation, Session, Transport};
use rootlet::storage::IoErrorKind;

const DIALOGUE: &str = include_str!("../data/fuse/virtiofsd-qemu-7.2.txt");

/// Replays the dialogue; any request but the next one fails the test.
struct Replay<'a> {
    lines: Box<dyn Iterator<Item = &'a str> + 'a>,
}

impl<'a> Replay<'a> {
    fn new(dialogue: &'a str) -> Self {
        let lines = dialogue.lines().filter(|line| !line.starts_with('#'));
        Self { lines: Box::new(lines) }
    }

    /// Checks the next request and returns the recorded reply to it.
    fn next(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let mut line = self.lines.next().expect("the dialogue goes on").split(' ');
        let name = line.next().unwrap();
        assert_eq!(hex(request), line.next().unwrap(), "{name}");
        line.next().map(bytes)
    }
}

impl Transport for Replay<'_> {
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        let recorded = self.next(request).expect("a reply");
        assert_eq!(&recorded.len().max(reply.len()), &reply.len(), "room for the reply");
        reply[..recorded.len()].copy_from_slice(&recorded);
        Ok(recorded.len())
    }

    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind> {
        assert_eq!(self.next(request), None);
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn dialogue_with_virtiofsd_is_spoken_byte_for_byte() {
    let mut daemon = Replay::new(DIALOGUE);
    let mut session = Session::connect(&mut daemon).unwrap();
    assert_eq!(session.read_bytes_max(), 1 << 20);

    let file = session.open(&mut daemon, b"blobs/b1.bin").unwrap();
    assert_eq!((file.nodeid, file.fh, file.size), (3, 0, 16));

    let mut read = |offset, expected: Result<&[u8], IoErrorKind>| {
        let request = session.read_request(&file, offset, 4096);
        let reply = daemon.next(request.bytes()).unwrap();
        let (header, data) = reply.split_first_chunk().unwrap();
        let got = request.reply(header, u32::try_from(reply.len()).unwrap());
        assert_eq!(got.map(|len| &data[..len as usize]), expected);
    };
    read(4, Ok(b"een bytes ok"));
    read(1 << 20, Ok(b""));
    // The recording asks for an unknown handle here.
    let stranger = rootlet::fuse::OpenFile { fh: 77, ..copy(&file) };
    let request = session.read_request(&stranger, 0, 4096);
    let reply = daemon.next(request.bytes()).unwrap();
    assert_eq!(request.reply(reply.first_chunk().unwrap(), 16), Err(IoErrorKind::Device(9)));

    session.close(&mut daemon, file).unwrap();
    let missing = Error::new(Operation::Lookup(1), Cause::Errno(2));
    assert_eq!(session.open(&mut daemon, b"none"), Err(missing));
    session.destroy(&mut daemon).unwrap();
    assert_eq!(daemon.lines.next(), None, "the dialogue ends here");
}

fn copy(file: &rootlet::fuse::OpenFile) -> rootlet::fuse::OpenFile {
    let &rootlet::fuse::OpenFile { nodeid, fh, size, version } = file;
    rootlet::fuse::OpenFile { nodeid, fh, size, version }
}

/// The digest is kept in regions: another number would make every warm file cold.
#[test]
fn version_digest_stays_what_it_is() {
    let mut daemon = Replay::new(DIALOGUE);
    let mut session = Session::connect(&mut daemon).unwrap();
    let file = session.open(&mut daemon, b"blobs/b1.bin").unwrap();
    assert_eq!(file.version, 6_894_359_641_669_271_407);
}
