//! Guest images of all boards in one folder, to be taken elsewhere.
//!
//! Always: an image is what cargo's release build loads, without symbols; the sums are of what was
//! written; the README's QEMU command is made by the code that the tool boots with.

mod monitors;
mod readme;
pub mod strip;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::board::Board;
use crate::build;
use crate::cli::{DistArgs, LogLevel};
use crate::flat;
use crate::output::say;
use crate::setup::{self, Need};
use crate::size::human;

/// One file of the folder.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: &'static str,
    /// How many bytes it has.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sum: String,
}

/// A board with its files.
pub struct Guest {
    /// The board.
    pub board: Board,
    /// The ELF first.
    pub files: Vec<Entry>,
}

/// The task.
pub fn task(args: &DistArgs) -> Result<()> {
    let boards = Board::value_variants();
    setup::ensure(&boards.iter().copied().map(Need::Target).collect::<Vec<_>>())?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => build::target_directory()?.join("dist"),
    };
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let mut guests = Vec::new();
    for &board in boards {
        let firmware = build::board(board, LogLevel::Info, false)?;
        let name = board.package();
        let mut files = Vec::new();
        let elf = strip::elf(&firmware.bytes).with_context(|| format!("the image of {name}"))?;
        files.push(write(&out, format!("{name}.elf"), "ELF, without symbols", &elf)?);
        if let Some(image) = flat::image(&elf)? {
            files.push(write(&out, format!("{name}.Image"), "flat, with a Linux header", &image)?);
        }
        guests.push(Guest { board, files });
    }
    let readme = write(&out, "README.md".into(), "", readme::text(&guests)?.as_bytes())?;
    let files: Vec<&Entry> = guests.iter().flat_map(|guest| &guest.files).collect();
    let all = files.iter().copied().chain([&readme]);
    let sums: String = all.map(|file| format!("{}  {}\n", file.sum, file.name)).collect();
    fs::write(out.join("SHA256SUMS"), sums).context("SHA256SUMS")?;
    for file in files {
        say!("{}  {:>9}  {}", file.sum, human(file.bytes), out.join(&file.name).display());
    }
    Ok(())
}

fn write(out: &Path, name: String, what: &'static str, bytes: &[u8]) -> Result<Entry> {
    let file = out.join(&name);
    fs::write(&file, bytes).with_context(|| file.display().to_string())?;
    let sum = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Entry { name, what, bytes: bytes.len() as u64, sum })
}
