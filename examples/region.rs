//! Reads every byte of one file twice over a region: from its source, then from the region.
//!
//! ```text
//! truncate -s 16M region.img
//! cargo run --example region --features std -- tests/data/tiny.erofs region.img /hello
//! ```
//! Run it again: the first mount finds there what the run before left.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{Root, Stats};
use rootlet::storage::file::FileStorage;

/// How long the region may take to make durable what it took in.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Mounts, reads the file to its end, makes the region durable, and says what was fetched.
fn mount_and_read(
    image_file: &Path,
    blobs: &[(String, String)],
    region_file: &Path,
    path: &[u8],
) -> Result<(u64, Stats), Box<dyn Error>> {
    let mut storage = FileStorage::new();
    let device = storage.add_disk("root", image_file, true)?;
    let region = storage.add_disk("cache", region_file, false)?;
    for (serial, file) in blobs {
        storage.add_disk(serial, Path::new(file), true)?;
    }
    let image = Image::read(&storage, device)?;
    let names: Vec<_> = (1..)
        .zip(blobs)
        .map(|(slot, (serial, _))| (slot, SourceName::Disk(serial.as_str())))
        .collect();
    let sources = image.bind(&mut storage, &names)?;
    // A region that cannot be used costs speed, never a read.
    let layer = match Cache::open(&storage, &CacheOptions::new(region, entropy())) {
        Ok(cache) => Some(cache),
        Err(refused) => {
            eprintln!("without a region: {refused:#}");
            None
        }
    };
    let root = Root::new(storage, layer, &image, &sources)?;
    let file = root.open(path)?;
    let mut out = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let len = u64::try_from(file.read_at(offset, &mut out)?)?;
        if len == 0 {
            break;
        }
        offset = offset.saturating_add(len);
    }
    root.leave(LEAVE_TIME);
    Ok((offset, root.stats()))
}

/// Bytes that are never the same twice; not for secrets.
fn entropy() -> [u8; 16] {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    (nanos << 32 | u128::from(std::process::id())).to_le_bytes()
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [image, region, path, blobs @ ..] = words.as_slice() else {
        return Err("usage: region IMAGE REGION PATH [BLOB...]".into());
    };
    let blobs: Vec<_> =
        (1..).zip(blobs).map(|(slot, file)| (format!("blob{slot}"), file.clone())).collect();
    for mount in ["first", "second"] {
        let (bytes, stats) =
            mount_and_read(Path::new(image), &blobs, Path::new(region), path.as_bytes())?;
        println!(
            "{mount} mount: {bytes} bytes read, {} fetched, {} from the region",
            stats.fetched_bytes, stats.hit_bytes
        );
    }
    Ok(())
}
