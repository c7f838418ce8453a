//! The archive of a layer on its way to mkfs.erofs.
//!
//! Always: every byte is handed on as it is; each name is looked at before the entry after it is
//! handed on. A name that leaves the archive ends the way, and so does an entry that mkfs.erofs would
//! leave out without a word. Zeros follow an archive that lacks
//! them at its end, as those of umoci do.

use std::io::{self, Read, Write};
use std::path::{Component, Path};

use anyhow::{Context, Result, anyhow, bail};
use rootlet_base::num::clip;

/// The unit of an archive.
const BLOCK_BYTES: u64 = 512;
/// What ends an archive: two blocks of zeros.
const END_BYTES: u64 = 2 * BLOCK_BYTES;

/// A reader that hands all bytes on, and zeros at the end.
struct Tee<'t, R, W> {
    from: &'t mut R,
    to: &'t mut W,
    /// The bytes of the archive so far.
    bytes: u64,
    /// The zeros that are left, from the end of the archive on.
    zeros: Option<u64>,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut len = self.from.read(out)?;
        self.bytes += len as u64;
        if len == 0 {
            let short = self.bytes.next_multiple_of(BLOCK_BYTES) - self.bytes;
            let left = self.zeros.get_or_insert(short + END_BYTES);
            len = clip(*left, out.len());
            out[..len].fill(0);
            *left -= len as u64;
        }
        self.to.write_all(&out[..len])?;
        Ok(len)
    }
}

/// Hands an archive on, up to its last byte.
///
/// # Errors
/// Those of reader and writer; what is not an archive; a name that leaves it.
pub fn walk(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    let mut tee = Tee { from, to, bytes: 0, zeros: None };
    let mut end = 0;
    let mut archive = tar::Archive::new(&mut tee);
    for entry in archive.entries()? {
        let mut entry = entry.map_err(|error| anyhow!("its archive is wrong: {error}"))?;
        is_taken(&mut entry)?;
        stays(&entry.path()?)?;
        end = entry.raw_file_position() + entry.size();
        if entry.header().entry_type().is_hard_link()
            && let Some(target) = entry.link_name()?
        {
            stays(&target)?;
        }
    }
    // Zeros follow the last entry.
    io::copy(&mut tee, &mut io::sink())?;
    if end > tee.bytes {
        bail!("its archive is cut: {} bytes, and its last file ends at {end}", tee.bytes);
    }
    tee.to.flush()?;
    Ok(())
}

/// Checks that mkfs.erofs makes a file of an entry: it skips types that it does not know, and takes
/// the parts of a sparse file for all of it.
fn is_taken(entry: &mut tar::Entry<'_, impl Read>) -> Result<()> {
    let [.., kind] = *entry.header().as_bytes().first_chunk::<157>().context("a short header")?;
    let mut is_sparse = kind == b'S';
    if let Some(records) = entry.pax_extensions()? {
        for record in records {
            is_sparse |= record?.key_bytes().starts_with(b"GNU.sparse.");
        }
    }
    let name = entry.path()?;
    if is_sparse {
        bail!("{}: a sparse file, which mkfs.erofs does not read: pack it whole", name.display());
    }
    if !(b'0'..=b'7').contains(&kind) {
        let kind = kind.escape_ascii();
        bail!("{}: an entry of type `{kind}`, which mkfs.erofs leaves out", name.display());
    }
    Ok(())
}

/// Checks that a name does not lead out of the archive. A symlink may: the guest resolves it.
fn stays(name: &Path) -> Result<()> {
    if name.components().any(|part| part == Component::ParentDir) {
        bail!("an entry leaves the archive: {}", name.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, target) in entries {
            let mut header = tar::Header::new_ustar();
            // The builder refuses such names.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(target) = target {
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
            }
            header.set_entry_type(match target {
                Some(_) => tar::EntryType::Link,
                None => tar::EntryType::Regular,
            });
            header.set_size(if target.is_some() { 0 } else { 3 });
            header.set_mode(0o644);
            header.set_cksum();
            let content = if target.is_some() { &b""[..] } else { b"abc" };
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn archive_is_handed_on_byte_for_byte() {
        let bytes = archive(&[("./a", None), ("/b", None), ("c..d/.wh.e", None), ("l", Some("a"))]);
        let bytes = [bytes, vec![0; 5000]].concat();
        let mut out = Vec::new();
        walk(&mut &bytes[..], &mut out).unwrap();
        assert!(out[..bytes.len()] == bytes && out[bytes.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(out.len() % 512, 0);
    }

    #[test]
    fn archive_without_its_end_gets_one_unless_a_file_is_cut() {
        let whole = archive(&[("a", None)]);
        let mut out = Vec::new();
        walk(&mut &whole[..515], &mut out).unwrap();
        assert!(out == whole);
        let said = walk(&mut &whole[..514], &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(said, "its archive is cut: 514 bytes, and its last file ends at 515");
    }

    #[test]
    fn entry_that_would_be_left_out_is_refused() {
        for (kind, why) in [
            (0, "a: an entry of type `\\x00`, which mkfs.erofs leaves out"),
            (b'V', "a: an entry of type `V`, which mkfs.erofs leaves out"),
        ] {
            let mut bytes = archive(&[("a", None)]);
            bytes[156] = kind;
            let header = tar::Header::from_byte_slice(&bytes[..512]);
            let mut header = header.clone();
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
            let said = walk(&mut &bytes[..], &mut Vec::new()).unwrap_err().to_string();
            assert_eq!(said, why);
        }
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
        let bytes =
            [builder.into_inner().unwrap()[..1024].to_vec(), archive(&[("a", None)])].concat();
        let said = walk(&mut &bytes[..], &mut Vec::new()).unwrap_err().to_string();
        assert!(said.contains("a: a sparse file"), "{said}");
    }

    #[test]
    fn name_that_leaves_is_refused() {
        for (entry, why) in [
            (("../x", None), "an entry leaves the archive: ../x"),
            (("a/../../x", None), "an entry leaves the archive: a/../../x"),
            (("l", Some("../etc/passwd")), "an entry leaves the archive: ../etc/passwd"),
        ] {
            let bytes = archive(&[("a", None), entry, ("b", None)]);
            let said = walk(&mut &bytes[..], &mut Vec::new()).unwrap_err().to_string();
            assert_eq!(said, why);
        }
        let said = walk(&mut &[7_u8; 2048][..], &mut Vec::new()).unwrap_err().to_string();
        assert!(said.contains("its archive is wrong"), "{said}");
    }
}
