//! A guest's image: what is booted, and what its log is read with.

use std::path::PathBuf;

use anyhow::{Context, Result};
use object::{Object, ObjectSegment};

/// A guest's image.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The ELF.
    pub elf: PathBuf,
    /// Its bytes, for the log decoder.
    pub bytes: Vec<u8>,
    /// What is booted of it: the same without symbols, which QEMU would read and sort, where there
    /// is such a file, else the ELF.
    pub kernel: PathBuf,
}

impl Firmware {
    /// Reads the ELF at `elf`.
    pub fn read(elf: PathBuf) -> Result<Self> {
        let bytes = std::fs::read(&elf).with_context(|| elf.display().to_string())?;
        Ok(Self { kernel: elf.clone(), elf, bytes })
    }

    /// Where in memory the image ends, with what the loader zeroes after it.
    pub fn memory_end(&self) -> u64 {
        let file = object::File::parse(self.bytes.as_slice());
        let end = |file: object::File<'_>| {
            file.segments().map(|part| part.address().saturating_add(part.size())).max()
        };
        file.ok().and_then(end).unwrap_or(0)
    }

    /// The architecture that the ELF is for, as Rust names it.
    pub fn arch(&self) -> Option<&'static str> {
        match object::File::parse(self.bytes.as_slice()).ok()?.architecture() {
            object::Architecture::X86_64 | object::Architecture::I386 => Some("x86_64"),
            object::Architecture::Aarch64 => Some("aarch64"),
            object::Architecture::Riscv64 => Some("riscv64"),
            _ => None,
        }
    }

    /// Whether it is an ELF, and no flat image.
    pub fn is_elf(&self) -> bool {
        self.bytes.starts_with(b"\x7fELF")
    }

    /// How many bytes of the file are loaded: the size of the image without its symbols.
    pub fn loaded_bytes(&self) -> u64 {
        let file = object::File::parse(self.bytes.as_slice());
        file.map_or(0, |file| file.segments().map(|segment| segment.file_range().1).sum())
    }
}
