//! JSON, written piece by piece without memory of its own.
//!
//! Always: valid JSON whatever the bytes; a byte that is not UTF-8 becomes the lone surrogate
//! U+DC80 to U+DCFF, as Python's `surrogateescape` has it, so that nothing is lost.

use crate::serial::hex::digit;
use embedded_io::Write;

/// Writes `bytes` as lowercase hex digits.
pub fn write_hex<W: Write>(out: &mut W, bytes: &[u8]) -> Result<(), W::Error> {
    for byte in bytes {
        out.write_all(&[digit(byte >> 4), digit(*byte)])?;
    }
    Ok(())
}

/// Writes `text` as a JSON string with its quotes.
pub fn write_string<W: Write>(out: &mut W, text: &[u8]) -> Result<(), W::Error> {
    out.write_all(b"\"")?;
    write_inside(out, text)?;
    out.write_all(b"\"")
}

/// Writes `text` as it stands inside a JSON string.
pub fn write_inside<W: Write>(out: &mut W, text: &[u8]) -> Result<(), W::Error> {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.write_all(b"\\\"")?,
                '\\' => out.write_all(b"\\\\")?,
                '\n' => out.write_all(b"\\n")?,
                c if u32::from(c) < 0x20 || c == '\x7f' => {
                    let [byte, ..] = u32::from(c).to_le_bytes();
                    out.write_all(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)])?;
                }
                c => out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
        }
        for byte in chunk.invalid() {
            out.write_all(&[b'\\', b'u', b'd', b'c', digit(byte >> 4), digit(*byte)])?;
        }
    }
    Ok(())
}
