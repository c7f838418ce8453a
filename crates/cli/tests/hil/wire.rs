//! A serial line: a terminal for the tool at one end, a socket for QEMU's port at the other, and
//! someone in between who does to the bytes what real lines do.
//!
//! Always: the thread in between ends with its [`Wire`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// What happens to bytes on their way: the number of the boot, the place of the first byte in it,
/// the bytes.
pub type Mischief = Box<dyn FnMut(usize, usize, &[u8]) -> Vec<u8> + Send>;

/// The line.
pub struct Wire {
    /// The tool's end.
    pub port: PathBuf,
    /// QEMU's end.
    pub socket: PathBuf,
    /// Keeps the terminal from hanging up while the tool has not opened it.
    _other: OwnedFd,
    over: Arc<AtomicBool>,
    between: Option<JoinHandle<()>>,
}

impl Wire {
    /// A line with its socket in `dir`.
    pub fn new(dir: &Path, mischief: Mischief) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = OsString::from_vec(ptsname(&ours, Vec::new()).unwrap().into_bytes());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        let socket = dir.join("port.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let between = thread::spawn(move || carry(&listener, ours.into(), mischief, &ended));
        Self { port: name.into(), socket, _other: other, over, between: Some(between) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(between) = self.between.take() {
            let carried = between.join();
            assert!(carried.is_ok() || thread::panicking(), "the line broke");
        }
    }
}

/// Carries one boot after the other.
fn carry(listener: &UnixListener, mut to: File, mut mischief: Mischief, over: &AtomicBool) {
    let mut boot = 0;
    while !over.load(Ordering::Relaxed) {
        let Ok((mut from, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (mut at, mut buffer) = (0, [0; 4096]);
        while !over.load(Ordering::Relaxed) {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    to.write_all(&mischief(boot, at, &buffer[..count])).unwrap();
                    at += count;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // QEMU was killed.
                Err(_) => break,
            }
        }
        boot += 1;
    }
}
