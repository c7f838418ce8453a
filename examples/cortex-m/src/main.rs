//! Reads an EROFS image on a Cortex-M4 without a heap, within 20 KiB of state, 12 KiB of stack and
//! 50 KiB of flash.
//!
//! ```text
//! cp ../../tests/data/tiny.erofs image.erofs
//! cargo run --release
//! ```
//! It prints length and FNV-1a of each file of `/` and of `/data`, and what it took.
#![no_std]
#![no_main]

mod adapter;
mod machine;

use adapter::HostFile;
use cortex_m_rt::entry;
use rootlet::cache::NoRegion;
use rootlet::read::{File, Memory, Root};
use rootlet::storage::Simple;
use rootlet::{Error, PathError};
use semihosting::io::{self, Write as _};
use semihosting::process;
use static_cell::{ConstStaticCell, StaticCell};

type Disks = Simple<HostFile, 1>;
type Line = heapless::Vec<u8, 320>;

/// What a mount works in: it is never on the stack.
static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
/// The root, once it is mounted.
static ROOT: StaticCell<Root<Disks, NoRegion>> = StaticCell::new();
/// Where the bytes of files land.
static OUT: ConstStaticCell<[u8; 1024]> = ConstStaticCell::new([0; 1024]);

#[entry]
fn main() -> ! {
    process::exit(i32::from(run().is_err()))
}

/// Mounts the image. Not inlined: what a mount has on the stack is gone when files are read.
#[inline(never)]
fn mount() -> Result<&'static Root<Disks, NoRegion>, ()> {
    let Ok(disk) = HostFile::open(c"image.erofs") else {
        return fail(&[b"no file image.erofs"]);
    };
    let mut storage = Disks::with_room(|| 0);
    let device = storage.add(disk).map_err(|_| ())?;
    let root = Root::open_image_in(storage, NoRegion, device, MEMORY.take());
    match root {
        Ok(root) => Ok(ROOT.init(root)),
        Err(_) => fail(&[b"no image, or one that cannot be mounted"]),
    }
}

fn run() -> Result<(), ()> {
    let root = mount()?;
    say(&[b"mount: bytes of stack, of a root"], &[machine::stack_bytes_max(), size_of_val(root)]);
    let out = OUT.take();
    for dir in [b"/".as_slice(), b"/data", b"/links"] {
        match list(root, dir, out) {
            Ok(()) | Err(Error::Path(PathError::NotFound)) => {}
            Err(_) => return fail(&[b"a read failed below ", dir]),
        }
    }
    say(&[b"reads: bytes of stack"], &[machine::stack_bytes_max()]);
    Ok(())
}

/// Prints path, length and sum of each file of a directory, through symlinks.
#[inline(never)]
fn list(root: &Root<Disks, NoRegion>, dir: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let mut cursor = root.read_dir(dir)?;
    while let Some(entry) = cursor.next(root)? {
        let mut path = Line::new();
        for part in [dir, b"/", &entry.name] {
            path.extend_from_slice(part).map_err(|_| PathError::TooLong)?;
        }
        match root.open(&path) {
            Ok(file) => {
                let (bytes, sum) = read(&file, out)?;
                say(&[&path], &[bytes, sum]);
            }
            // A directory, a device, or a symlink that leads nowhere.
            Err(Error::Path(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the length of a file and the FNV-1a of all its bytes.
fn read(file: &File<'_, Disks, NoRegion>, out: &mut [u8]) -> Result<(usize, usize), Error> {
    let (mut offset, mut sum) = (0, 0x811c_9dc5_u32);
    loop {
        let len = file.read_at(offset, out)?;
        if len == 0 {
            return Ok((offset as usize, sum as usize));
        }
        for byte in &out[..len] {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        offset += len as u64;
    }
}

/// Prints why the run fails, and returns the failure.
fn fail<T>(why: &[&[u8]]) -> Result<T, ()> {
    say(why, &[]);
    Err(())
}

/// Prints a line of words and numbers. What does not fit is cut; a host that does not listen is no
/// reason to fail.
#[inline(never)]
fn say(words: &[&[u8]], numbers: &[usize]) {
    let mut line = Line::new();
    for word in words {
        let _ = line.extend_from_slice(word);
    }
    for number in numbers {
        let (mut digits, mut at, mut rest) = ([0; 20], 20, *number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let _ = line.push(b' ');
        let _ = line.extend_from_slice(&digits[at..]);
    }
    let _ = line.push(b'\n');
    let _ = io::stdout().and_then(|mut out| out.write_all(&line));
}
