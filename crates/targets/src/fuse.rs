//! A FUSE session against any replies.
//!
//! Always: it ends after a bounded number of messages; a file that opens has a possible size.

use rootlet::fuse::{Session, Transport};
use rootlet::storage::IoErrorKind;

use crate::input::Input;

/// The longest read that a session agrees to.
const READ_BYTES_MAX: u32 = 1 << 20;
/// Messages of one session: handshake, six names with their FORGETs, open, close, end.
const MESSAGES_MAX: usize = 40;

struct Noise<'i> {
    input: Input<'i>,
    messages: usize,
    nodes: u64,
}

impl Noise<'_> {
    fn count(&mut self, request: &[u8]) -> u64 {
        self.messages += 1;
        assert!(self.messages <= MESSAGES_MAX, "a session without end");
        let len = u32::from_le_bytes(request[..4].try_into().unwrap());
        assert_eq!(len as usize, request.len(), "the header's length");
        u64::from_le_bytes(request[8..16].try_into().unwrap())
    }
}

impl Transport for Noise<'_> {
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        let unique = self.count(request);
        let how = self.input.byte();
        let len = usize::from(self.input.byte());
        let body = self.input.take(len);
        let mut bytes = Vec::new();
        if how & 1 == 0 {
            // A header that fits, mostly without an error.
            bytes.extend((16 + body.len() as u32).to_le_bytes());
            let error = if how & 2 == 0 { 0 } else { -i32::from(how >> 2) };
            bytes.extend(error.to_le_bytes());
            bytes.extend(unique.to_le_bytes());
        }
        bytes.extend(body);
        let written = bytes.len().min(reply.len());
        reply[..written].copy_from_slice(&bytes[..written]);
        match how >> 5 {
            6 => Ok(usize::from(how) << 8),
            7 => Err(IoErrorKind::Gone),
            _ => Ok(bytes.len()),
        }
    }

    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind> {
        self.count(request);
        self.nodes += 1;
        if self.input.byte() & 1 == 1 { Err(IoErrorKind::Timeout) } else { Ok(()) }
    }
}

pub fn run(bytes: &[u8]) {
    session(bytes);
}

/// One session; whether a file was opened in it.
fn session(bytes: &[u8]) -> bool {
    let input = &mut Input(bytes);
    let path = input.byte();
    let noise = &mut Noise { input: Input(input.0), messages: 0, nodes: 0 };
    let Ok(mut session) = Session::connect(noise) else { return false };
    let most = session.read_bytes_max();
    assert!((4096..=READ_BYTES_MAX).contains(&most) && most % 4096 == 0, "{most}");
    let path: &[u8] = match path % 4 {
        0 => b"file",
        1 => b"a/b/c/d/e/file",
        2 => noise.input.take(8),
        _ => b"dir/file",
    };
    let opened = session.open(noise, path);
    let is_open = opened.is_ok();
    if let Ok(file) = opened {
        assert!(file.size <= i64::MAX as u64);
        let request = session.read_request(&file, 0, most);
        let mut header = [0; 16];
        let front = noise.input.take(16);
        header[..front.len()].copy_from_slice(front);
        if noise.input.byte() & 1 == 0 {
            header[8..].copy_from_slice(&request.unique().to_le_bytes());
        }
        let len = u32::from_le_bytes(header[..4].try_into().unwrap());
        if let Ok(data) = request.reply(&header, len) {
            assert!(data <= most, "more than was asked for");
        }
        let _ = session.close(noise, file);
    }
    let _ = session.destroy(noise);
    is_open
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_come_as_far_as_an_open_file() {
        assert!(super::session(include_bytes!("../../../tests/data/seeds/fuse/opens")));
        assert!(super::session(include_bytes!("../../../tests/data/seeds/fuse/deep")));
        assert!(!super::session(include_bytes!("../../../tests/data/seeds/fuse/refuses")));
    }
}
