//! A device tree with a command line and an initrd added.
//!
//! Always: all else in the tree stays as it is, byte by byte.
//!
//! A copy with a few words more, and no crate: a writer takes a tree apart and puts it together
//! again, and dtoolkit refuses trees that are met (`blob.rs`).
//!
//! Source: `chosen` of Linux and of dt-schema.

use alloc::vec::Vec;

use super::blob::{Blob, Fault, Token};
use super::{WORD, at, tag};
use crate::bytes::put;

const CHOSEN: &[u8] = b"chosen";
const BOOTARGS: &[u8] = b"bootargs";
const INITRD_START: &[u8] = b"linux,initrd-start";
const INITRD_END: &[u8] = b"linux,initrd-end";
/// Properties of `chosen` that are ours to say.
const OURS: [&[u8]; 3] = [BOOTARGS, INITRD_START, INITRD_END];

/// What a tree is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Additions<'a> {
    /// The command line, in the place of the one that the tree has.
    pub line: &'a str,
    /// The address of the initrd's first byte, and that after its last.
    pub initrd: Option<(u64, u64)>,
}

/// Where the tree is changed.
#[derive(Default)]
struct Places {
    /// Properties that go: their first byte, and the one after their last.
    gone: Vec<(usize, usize)>,
    /// Where properties of `chosen` may stand.
    chosen: Option<usize>,
    /// Where the root ends.
    root_end: Option<usize>,
}

/// Returns the tree in `tree` with `additions`.
///
/// # Errors
/// [`Fault`].
pub fn extend(tree: &[u8], additions: &Additions<'_>) -> Result<Vec<u8>, Fault> {
    let short = Fault::Short(tree.len());
    let whole = Blob::bytes_of(tree.first_chunk().ok_or(short)?)?;
    let blob = Blob::new(tree.get(..whole).ok_or(short)?)?;
    let places = Places::of(&blob)?;
    with(&blob, &places, additions).ok_or(short)
}

impl Places {
    fn of(tree: &Blob<'_>) -> Result<Self, Fault> {
        let (mut places, mut tokens) = (Self::default(), tree.tokens());
        let (mut depth, mut is_chosen) = (0_usize, false);
        loop {
            match tokens.step()? {
                Token::Begin(name) => {
                    depth = depth.checked_add(1).ok_or_else(|| tokens.misplaced())?;
                    is_chosen = depth == 2 && name == CHOSEN;
                    if is_chosen {
                        places.chosen.get_or_insert(tokens.at());
                    }
                }
                Token::End => {
                    if depth == 1 {
                        places.root_end.get_or_insert(tokens.last());
                    }
                    depth = depth.checked_sub(1).ok_or_else(|| tokens.misplaced())?;
                    is_chosen = false;
                }
                Token::Property(name, _) if is_chosen && OURS.contains(&name) => {
                    places.gone.push((tokens.last(), tokens.at()));
                }
                Token::Property(..) => {}
                Token::Over if depth == 0 && places.root_end.is_some() => return Ok(places),
                Token::Over => return Err(tokens.misplaced()),
            }
        }
    }
}

/// Returns the tree with additions. Both structure and names move to the end, so that nothing else
/// has to. `None` for more bytes than a tree may have.
fn with(tree: &Blob<'_>, places: &Places, additions: &Additions<'_>) -> Option<Vec<u8>> {
    let mut strings = tree.strings.to_vec();
    let mut added = Vec::new();
    let mut add = |name: &[u8], value: &[u8]| {
        let place = u32::try_from(strings.len()).ok()?;
        strings.extend_from_slice(name);
        strings.push(0);
        for word in [tag::PROPERTY, u32::try_from(value.len()).ok()?, place] {
            added.extend_from_slice(&word.to_be_bytes());
        }
        added.extend_from_slice(value);
        added.resize(added.len().checked_next_multiple_of(WORD)?, 0);
        Some(())
    };
    let mut line = additions.line.as_bytes().to_vec();
    line.push(0);
    add(BOOTARGS, &line)?;
    if let Some((start, end)) = additions.initrd {
        add(INITRD_START, &start.to_be_bytes())?;
        add(INITRD_END, &end.to_be_bytes())?;
    }
    let place = match places.chosen {
        Some(place) => place,
        None => {
            let mut node = tag::BEGIN.to_be_bytes().to_vec();
            node.extend_from_slice(CHOSEN);
            node.resize(node.len().checked_add(1)?.checked_next_multiple_of(WORD)?, 0);
            node.append(&mut added);
            node.extend_from_slice(&tag::END.to_be_bytes());
            added = node;
            places.root_end?
        }
    };
    let mut structure = tree.structure.to_vec();
    for &(from, to) in &places.gone {
        for word in structure.get_mut(from..to)?.chunks_exact_mut(WORD) {
            word.copy_from_slice(&tag::NOTHING.to_be_bytes());
        }
    }
    let (before, after) = structure.split_at_checked(place)?;
    let structure = [before.get(tree.begin..)?, &added, after].concat();
    assemble(tree.bytes, &structure, &strings)
}

/// Returns a tree with other parts, which stand after all that it had.
fn assemble(tree: &[u8], structure: &[u8], strings: &[u8]) -> Option<Vec<u8>> {
    let mut out = tree.to_vec();
    let mut put_part = |part: &[u8], place: usize, len: usize| {
        out.resize(out.len().checked_next_multiple_of(8)?, 0);
        let start = u32::try_from(out.len()).ok()?;
        out.extend_from_slice(part);
        put(&mut out, place, &start.to_be_bytes())?;
        put(&mut out, len, &u32::try_from(part.len()).ok()?.to_be_bytes())
    };
    put_part(structure, at::STRUCTURE, at::STRUCTURE_BYTES)?;
    put_part(strings, at::STRINGS, at::STRINGS_BYTES)?;
    let bytes = u32::try_from(out.len()).ok()?;
    put(&mut out, at::BYTES, &bytes.to_be_bytes())?;
    Some(out)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a test that fails panics"
)]
mod tests {
    use super::*;
    use crate::bytes::be32;
    use crate::tree::MAGIC;
    use std::string::{String, ToString};
    use std::vec;

    /// Returns a tree of these words and texts; `chosen` is the body of that node.
    fn tree(chosen: Option<&[(&str, &[u8])]>) -> Vec<u8> {
        let (mut structure, mut strings) = (Vec::new(), Vec::new());
        let word = |structure: &mut Vec<u8>, word: u32| structure.extend(word.to_be_bytes());
        let name = |structure: &mut Vec<u8>, name: &str| {
            structure.extend(name.as_bytes());
            structure.push(0);
            structure.resize(structure.len().next_multiple_of(4), 0);
        };
        let mut property = |structure: &mut Vec<u8>, key: &str, value: &[u8]| {
            let at = strings.len() as u32;
            strings.extend(key.as_bytes());
            strings.push(0);
            [3, value.len() as u32, at]
                .iter()
                .for_each(|word| structure.extend(word.to_be_bytes()));
            structure.extend(value);
            structure.resize(structure.len().next_multiple_of(4), 0);
        };
        word(&mut structure, tag::BEGIN);
        name(&mut structure, "");
        property(&mut structure, "model", b"x\0");
        if let Some(properties) = chosen {
            word(&mut structure, tag::BEGIN);
            name(&mut structure, "chosen");
            properties.iter().for_each(|(key, value)| property(&mut structure, key, value));
            word(&mut structure, tag::END);
        }
        word(&mut structure, tag::BEGIN);
        name(&mut structure, "memory@0");
        property(&mut structure, "bootargs", b"not ours\0");
        word(&mut structure, tag::END);
        word(&mut structure, tag::END);
        word(&mut structure, tag::OVER);
        let mut out = vec![0; 40 + 16];
        let at_structure = out.len();
        out.extend(&structure);
        let at_strings = out.len();
        out.extend(&strings);
        let fields = [
            MAGIC,
            out.len() as u32,
            at_structure as u32,
            at_strings as u32,
            40,
            17,
            16,
            0,
            strings.len() as u32,
            structure.len() as u32,
        ];
        for (number, field) in fields.into_iter().enumerate() {
            put(&mut out, number * 4, &field.to_be_bytes()).unwrap();
        }
        out
    }

    /// Returns the properties of a tree, each as `path/name=value`, by a reader of its own.
    fn properties(tree: &[u8]) -> Vec<(String, Vec<u8>)> {
        let field = |at: usize| be32(tree, at).unwrap() as usize;
        let text = |at: usize| {
            let end = at + tree[at..].iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(tree[at..end].to_vec()).unwrap()
        };
        assert_eq!(field(4), tree.len());
        let (mut at, mut path, mut out) = (field(8), Vec::new(), Vec::new());
        loop {
            match be32(tree, at).unwrap() {
                tag::BEGIN => {
                    path.push(text(at + 4));
                    at += (4 + path.last().unwrap().len() + 1).next_multiple_of(4);
                }
                tag::END => {
                    path.pop();
                    at += 4;
                }
                tag::PROPERTY => {
                    let (len, name) = (field(at + 4), text(field(12) + field(at + 8)));
                    let value = tree[at + 12..at + 12 + len].to_vec();
                    out.push((path.join("/") + "/" + &name, value));
                    at += 12 + len.next_multiple_of(4);
                }
                tag::NOTHING => at += 4,
                _ => return out,
            }
        }
    }

    const ADDITIONS: Additions<'_> =
        Additions { line: "console=ttyAMA0 ro", initrd: Some((0x4800_0000, 0x4912_3456)) };

    #[test]
    fn chosen_says_the_new_words_and_keeps_all_else() {
        let old = tree(Some(&[
            ("bootargs", b"image=x -- boot\0"),
            ("rng-seed", &[1, 2, 3]),
            ("linux,initrd-end", &[0; 8]),
        ]));
        let new = properties(&extend(&old, &ADDITIONS).unwrap());
        let want: Vec<(String, Vec<u8>)> = [
            ("/model", b"x\0".to_vec()),
            ("/chosen/bootargs", b"console=ttyAMA0 ro\0".to_vec()),
            ("/chosen/linux,initrd-start", 0x4800_0000_u64.to_be_bytes().to_vec()),
            ("/chosen/linux,initrd-end", 0x4912_3456_u64.to_be_bytes().to_vec()),
            ("/chosen/rng-seed", vec![1, 2, 3]),
            ("/memory@0/bootargs", b"not ours\0".to_vec()),
        ]
        .map(|(path, value)| (path.to_string(), value))
        .into();
        assert_eq!(new, want);
    }

    #[test]
    fn tree_without_the_node_gets_one_and_an_initrd_that_is_not_there_is_not_named() {
        let new = extend(&tree(None), &Additions { line: "", initrd: None }).unwrap();
        let new = properties(&new);
        assert_eq!(new.last().unwrap(), &("/chosen/bootargs".to_string(), vec![0]));
        assert!(!new.iter().any(|(path, _)| path.contains("initrd")));
    }

    #[test]
    fn tree_that_is_cut_anywhere_is_refused_and_one_that_is_changed_never_read_beyond() {
        let whole = tree(Some(&[("bootargs", b"x\0")]));
        for len in 0..whole.len() {
            assert!(extend(&whole[..len], &ADDITIONS).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 2, 3, 4, 9, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = extend(&changed, &ADDITIONS);
            }
        }
    }
}
