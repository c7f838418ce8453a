//! Files of a stack that one name stands for: `DIR/erofs-layer-*`.
//!
//! Always: in the order of the numbers that stand for the star, none of which is left out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::exit::usage;
use crate::source::{BlobPlace, Source};

/// Returns the places that `place` stands for: itself, or the files whose names have a number where
/// it has a star at the end.
///
/// # Errors
/// Status 2: no file fits, or one is left out.
pub fn files(place: &BlobPlace) -> Result<Vec<BlobPlace>> {
    let alone = || Ok(vec![place.clone()]);
    let BlobPlace::Disk(Source::File(file)) = place else { return alone() };
    let name = file.file_name().and_then(|name| name.to_str());
    let Some(start) = name.and_then(|name| name.strip_suffix('*')).filter(|_| !file.exists())
    else {
        return alone();
    };
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry.with_context(|| dir.display().to_string())?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(start));
        let plain = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if let Some(number) = digits.filter(plain).and_then(|digits| digits.parse::<u64>().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    let file = file.display();
    let Some((first, _)) = found.first() else {
        return Err(usage(format!("{file}: no file has a number for the star")));
    };
    let due = *first..;
    let mut pairs = found.iter().map(|(number, _)| *number).zip(due);
    if let Some((_, gap)) = pairs.find(|(number, due)| number != due) {
        return Err(usage(format!("{file}: there is no number {gap}, and there are later ones")));
    }
    Ok(found.into_iter().map(|(_, path)| BlobPlace::Disk(Source::File(path))).collect())
}
