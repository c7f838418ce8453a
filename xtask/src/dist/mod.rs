//! The program `rootlet` and the guest images of all boards in one folder, to be taken elsewhere.
//!
//! Always: an image is what cargo's release build loads, without symbols; the sums are of what was
//! written; the README's QEMU command is made by the code that the tool boots with.

mod monitors;
mod readme;
pub mod strip;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use sha2::{Digest, Sha256};

use crate::boot::build;
use crate::setup::{self, Need};
use rootlet_cli::boot::LogLevel;
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::flat;
use rootlet_cli::say;
use rootlet_cli::size::human;

/// Making images to be taken elsewhere.
#[derive(Args, Clone, Debug)]
pub struct DistArgs {
    /// The folder; made if missing [default: dist in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The name of the program.
const PROGRAM: &str = "rootlet";

/// One file of the folder.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The purpose of the file, for a person.
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

/// Makes the folder with the program and the guest images.
pub fn task(args: &DistArgs) -> Result<()> {
    let boards = Board::value_variants();
    let mut needs: Vec<Need> = boards.iter().copied().map(Need::Target).collect();
    needs.push(Need::LinuxTarget);
    setup::ensure(&needs)?;
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
    let program = strip::elf(&build::program(false)?.bytes).context("the program rootlet")?;
    let what = "the program, for Linux on x86_64";
    let program = write(&out, PROGRAM.into(), what, &program)?;
    fs::set_permissions(out.join(PROGRAM), fs::Permissions::from_mode(0o755)).context(PROGRAM)?;
    let text = readme::text(&program, &guests)?;
    let readme = write(&out, "README.md".into(), "", text.as_bytes())?;
    let guests = guests.iter().flat_map(|guest| &guest.files);
    let files: Vec<&Entry> = std::iter::once(&program).chain(guests).collect();
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
