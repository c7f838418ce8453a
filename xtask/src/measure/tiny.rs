//! The least guest there can be: writes given bytes, then ends, or stays.
//!
//! Always: it runs 32-bit code from a PVH entry, touches two ports for output and one to end, and
//! no device. It says what a machine costs without a rootlet in it, and lets the tool be tested
//! against a real QEMU.

/// Where the image is linked, and its entry.
const BASE: u32 = 0x10_0000;
const HEADER_BYTES: u32 = 52;
const PROGRAM_HEADER_BYTES: u32 = 32;
const COM1: u16 = 0x3f8;
const DEBUGCON: u16 = 0xe9;
const DEBUG_EXIT: u8 = 0xf4;
/// Xen's public/elfnote.h: the 32-bit entry of a PVH guest.
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// How the guest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Writes this to isa-debug-exit: QEMU ends with `value << 1 | 1`.
    Exit(u8),
    /// Halts for good.
    #[cfg(test)]
    Never,
    /// Loads an empty interrupt table and traps: a triple fault.
    #[cfg(test)]
    TripleFault,
}

/// Returns an ELF that writes `console` on the serial line and `log` on the debug console.
pub fn elf(console: &[u8], log: &[u8], end: End) -> Vec<u8> {
    let note_at = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;
    let note = note();
    let code_at = note_at + u32_len(&note);
    let code_bytes = u32_len(&code(console, log, end, 0));
    let code = code(console, log, end, BASE + code_at + code_bytes);
    let body = [note.as_slice(), code.as_slice(), console, log].concat();
    let mut file = header(BASE + code_at);
    let loaded = note_at + u32_len(&body);
    const PT_LOAD: u32 = 1;
    const PT_NOTE: u32 = 4;
    file.extend(program_header(PT_LOAD, 0, loaded, 0x1000));
    file.extend(program_header(PT_NOTE, note_at, u32_len(&note), 4));
    file.extend(body);
    if let Some(entry) = file.get_mut(note_at as usize + 16..note_at as usize + 20) {
        entry.copy_from_slice(&(BASE + code_at).to_le_bytes());
    }
    file
}

fn u32_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Words as bytes.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns the header of an ELF file: 32 bits, little-endian, executable, 80386.
fn header(entry: u32) -> Vec<u8> {
    let mut header = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    header.extend(words(&[1, entry, HEADER_BYTES, 0, 0]));
    // Sizes of the header and of a program header, two of those, no sections.
    header.extend([52, 0, 32, 0, 2, 0, 40, 0, 0, 0, 0, 0]);
    header
}

/// Returns a loaded segment of a file of 64 bits, all rights, linked at `address` and loaded `ram`
/// above.
pub fn program_header_64(at: u64, address: u64, ram: u64, bytes: u64) -> Vec<u8> {
    let mut header = words(&[1, 7]);
    let fields = [at, address, ram + address, bytes, bytes, 1];
    header.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    header
}

fn program_header(kind: u32, at: u32, bytes: u32, align: u32) -> Vec<u8> {
    words(&[kind, at, BASE + at, BASE + at, bytes, bytes, 7, align])
}

/// Returns the note that names the entry. QEMU reads 8 bytes of it, so the high half is there and
/// zero.
fn note() -> Vec<u8> {
    let mut note = words(&[4, 8, XEN_ELFNOTE_PHYS32_ENTRY]);
    note.extend_from_slice(b"Xen\0");
    note.extend(words(&[0, 0]));
    note
}

fn code(console: &[u8], log: &[u8], end: End, data: u32) -> Vec<u8> {
    let mut code = out_string(data, console, COM1);
    code.extend(out_string(data.wrapping_add(u32_len(console)), log, DEBUGCON));
    match end {
        // mov al, value; out DEBUG_EXIT, al
        End::Exit(value) => code.extend([0xb0, value, 0xe6, DEBUG_EXIT]),
        #[cfg(test)]
        End::Never => {}
        #[cfg(test)]
        // push 0; push 0; lidt [esp]; int3. The stack pointer is 0 at entry: point it first.
        End::TripleFault => {
            code.push(0xbc);
            code.extend((BASE - 16).to_le_bytes());
            code.extend([0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0xcc]);
        }
    }
    // hlt; jmp to it
    code.extend([0xf4, 0xeb, 0xfd]);
    code
}

/// Returns `cld; mov esi, at; mov ecx, count; mov dx, port; rep outsb`.
fn out_string(at: u32, bytes: &[u8], port: u16) -> Vec<u8> {
    let mut code = vec![0xfc, 0xbe];
    code.extend(at.to_le_bytes());
    code.push(0xb9);
    code.extend(u32_len(bytes).to_le_bytes());
    code.extend([0x66, 0xba]);
    code.extend(port.to_le_bytes());
    code.extend([0xf3, 0x6e]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSegment};

    #[test]
    fn the_file_is_an_elf_whose_note_names_its_entry() {
        let bytes = elf(b"hello", b"log", End::Exit(0x10));
        let file = object::File::parse(bytes.as_slice()).unwrap();
        assert_eq!(file.segments().next().unwrap().address(), u64::from(BASE));
        let note_at = (HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES) as usize;
        let entry = u32::from_le_bytes(bytes[note_at + 16..note_at + 20].try_into().unwrap());
        assert_eq!(u64::from(entry), file.entry());
        assert_eq!(bytes[(entry - BASE) as usize], 0xfc);
        assert!(bytes.ends_with(b"hellolog"));
    }
}
