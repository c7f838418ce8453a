//! One reader alone, for a tool that counts its instructions: no time is measured.
//!
//! Always: the disks are memory with drivers that wait, so the figure is of the library's own work
//! and the copies; each read goes to a disk.

use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::read::{File, Root};
use rootlet::storage::{DeviceInfo, Discover, Disk, IoErrorKind, Simple, Storage};
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_trust::Software;
use rootlet_verity::Verified;

const FILE_BYTES: usize = 32 << 20;
const READS: usize = 2000;

struct Memory(&'static str, Vec<u8>);

impl Disk for Memory {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new(self.1.len() as u64, 512)
    }

    fn serial(&self) -> &str {
        self.0
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        out.copy_from_slice(&self.1[at as usize..][..out.len()]);
        Ok(out.len())
    }
}

/// Returns the length of the reads that the command line asks for; `None` without `--lone`.
pub fn asked() -> Option<usize> {
    let mut words = std::env::args().skip_while(|word| word != "--lone");
    words.nth(1).map(|bytes| bytes.parse().unwrap())
}

/// Reads `bytes` bytes at a time, at random: whole blocks if they are of 4 KiB, else anywhere. With
/// `--unpinned` over a storage that verifies what is pinned, and nothing is.
pub fn read(bytes: usize) {
    let data = Content::seeded(1, FILE_BYTES).to_vec();
    let mut tree = Tree::new();
    tree.file("/large", Content::bytes(data.clone()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let mut storage: Simple<Memory> = Simple::new(|| 0);
    for (name, mut bytes) in
        [("image", built.image.bytes().to_vec()), ("blob1", built.blobs[0].to_vec())]
    {
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        assert!(storage.add(Memory(name, bytes)).is_ok());
    }
    match std::env::args().any(|word| word == "--unpinned") {
        true => read_over(Verified::new(storage, &Software, 0), bytes, &data),
        false => read_over(storage, bytes, &data),
    }
}

fn read_over<S: Discover>(mut storage: S, bytes: usize, data: &[u8]) {
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    let root = Root::new(storage, NoRegion, &image, &sources).map_err(|failed| failed.error);
    let root = root.unwrap();
    let file = root.open(b"/large").unwrap();
    let mut all = vec![0; FILE_BYTES];
    assert!(file.read_at(0, &mut all) == Ok(FILE_BYTES) && all == data, "what finds the blocks");
    lone_reads(&file, &mut vec![0; bytes]);
    println!("{READS} reads of {bytes} bytes");
}

/// The part that is counted.
#[inline(never)]
fn lone_reads<S: Storage>(file: &File<'_, S, NoRegion>, out: &mut [u8]) {
    let unit = if out.len() == 4096 { 4096 } else { 1 };
    let places = (FILE_BYTES - out.len()) / unit;
    let mut state = 12345_u64;
    for _ in 0..READS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (state >> 33) as usize % places * unit;
        assert_eq!(file.read_at(at as u64, out), Ok(out.len()));
    }
}
