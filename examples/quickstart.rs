//! Reads one file of an EROFS image on this machine: the lines that README.md shows.
//!
//! ```text
//! cargo run --example quickstart --features std -- tests/data/tiny.erofs /hello
//! ```
//! An image with blobs takes `add_disk` or `add_share` for each, and `bind` their names.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::read::Root;
use rootlet::storage::file::FileStorage;

fn read(image_file: &Path, path: &[u8], out: &mut [u8]) -> Result<usize, Box<dyn Error>> {
    // [readme]
    let mut storage = FileStorage::new();
    let device = storage.add_disk("root", image_file, true)?;
    let image = Image::read(&storage, device)?;
    let sources = image.bind(&mut storage, &[])?;
    let root = Root::new(storage, NoRegion, &image, &sources)?;
    let len = root.open(path)?.read_at(0, out)?;
    // [/readme]
    Ok(len)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [image_file, path] = words.as_slice() else {
        return Err("usage: quickstart IMAGE PATH".into());
    };
    let mut out = vec![0; 64 << 10];
    let len = read(Path::new(image_file), path.as_bytes(), &mut out)?;
    std::io::stdout().write_all(out.get(..len).unwrap_or_default())?;
    Ok(())
}
