//! What a reader says of one path.
//!
//! Always: what two readers have to agree on, and nothing that one of them is free to choose.

pub mod linux;

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Characters of a value that are shown where it differs.
const VALUE_CHARS: usize = 300;

/// Everything below the root by its path, without a slash in front; the root's is empty.
pub type Rows = BTreeMap<String, Row>;

/// One path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// With the bits of the type.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Size in bytes. Where this or one of the next two is `None`, the reader says nothing of it.
    pub size: Option<u64>,
    /// How many names it has.
    pub nlink: Option<u32>,
    /// How many sectors of 512 bytes it takes.
    pub blocks: Option<u64>,
    /// Of a regular file, in hex.
    pub sha256: Option<String>,
    /// Of a symlink.
    pub target: Option<String>,
    /// Major and minor of a device.
    pub rdev: Option<(u32, u32)>,
    /// Values in hex.
    pub xattrs: BTreeMap<String, String>,
}

/// Returns the SHA-256 of bytes, in hex.
pub fn sum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the nanoseconds since 1970.
pub fn time_ns(seconds: i64, nanoseconds: u32) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// Returns bytes as text: a byte that is not UTF-8 becomes a character for private use.
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let stray = |byte: &u8| char::from_u32(0xe000 + u32::from(*byte)).unwrap();
        text.extend(chunk.invalid().iter().map(stray));
    }
    text
}

/// The bytes of such a text.
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(0xe000)) {
            Ok(stray) => bytes.push(stray),
            Err(_) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// The same for a line of JSON, in which such a byte is a lone surrogate, U+DC80 to U+DCFF.
fn without_surrogates(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let (kept, len) =
            if escape.starts_with("\\udc") { ("\\ue0", 4) } else { (&escape[..2], 2) };
        text.push_str(kept);
        rest = &escape[len..];
    }
    text + rest
}

/// The rows that `manifest /` printed.
pub fn of_manifest(output: &[u8]) -> Rows {
    let output = str::from_utf8(output).unwrap();
    let row = |line| of_line(&serde_json::from_str(&without_surrogates(line)).unwrap());
    output.lines().map(row).collect()
}

fn of_line(line: &Value) -> (String, Row) {
    let number = |value: &Value| value.as_u64().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let path = text(&line["path"])[1..].to_owned();
    let rdev = line.get("rdev").map(|rdev| (number(&rdev[0]) as u32, number(&rdev[1]) as u32));
    let xattrs = line.get("xattr").and_then(Value::as_object);
    let xattrs = xattrs.into_iter().flatten().map(|(name, value)| (name.clone(), text(value)));
    let row = Row {
        mode: number(&line["mode"]) as u32,
        owner: (number(&line["uid"]) as u32, number(&line["gid"]) as u32),
        mtime_ns: line["mtime_ns"].as_i64().unwrap().into(),
        size: line.get("size").map(number),
        nlink: line.get("nlink").map(|links| number(links) as u32),
        blocks: None,
        sha256: line.get("sha256").map(text),
        target: line.get("target").map(text),
        rdev,
        xattrs: xattrs.collect(),
    };
    (path, row)
}

impl Row {
    /// Whether both say the same of what both say something of.
    fn agrees(&self, other: &Self) -> bool {
        let cut = |row: &Self| Self {
            size: row.size.filter(|_| self.size.is_some() && other.size.is_some()),
            nlink: row.nlink.filter(|_| self.nlink.is_some() && other.nlink.is_some()),
            blocks: row.blocks.filter(|_| self.blocks.is_some() && other.blocks.is_some()),
            ..row.clone()
        };
        cut(self) == cut(other)
    }
}

/// What differs in two rows, in words.
fn facts((who, row): (&str, Option<&Row>), (other, its): (&str, Option<&Row>)) -> String {
    let (Some(row), Some(its)) = (row, its) else {
        return format!("{} alone has it", if row.is_some() { who } else { other });
    };
    let fields = |row: &Row| {
        [
            ("mode", format!("{:o}", row.mode)),
            ("owner", format!("{:?}", row.owner)),
            ("mtime_ns", row.mtime_ns.to_string()),
            ("size", format!("{:?}", row.size)),
            ("nlink", format!("{:?}", row.nlink)),
            ("blocks", format!("{:?}", row.blocks)),
            ("sha256", format!("{:?}", row.sha256)),
            ("target", format!("{:?}", row.target)),
            ("rdev", format!("{:?}", row.rdev)),
            ("xattrs", format!("{:?}", row.xattrs)),
        ]
    };
    let short = |value: &str| value.chars().take(VALUE_CHARS).collect::<String>();
    let differ = fields(row).into_iter().zip(fields(its)).filter(|(one, other)| one != other);
    let words = differ.map(|((name, one), (_, two))| {
        format!("\n  {name}: {who} {}, {other} {}", short(&one), short(&two))
    });
    words.collect()
}

/// The first few differences, in words; empty if there is none.
pub fn differences(who: &str, rows: &Rows, other: &str, others: &Rows) -> Vec<String> {
    let paths: std::collections::BTreeSet<&String> = rows.keys().chain(others.keys()).collect();
    let agree = |path: &String| match (rows.get(path), others.get(path)) {
        (Some(one), Some(other)) => one.agrees(other),
        _ => false,
    };
    let words = |path: &String| {
        let short: String = path.chars().take(80).collect();
        let facts = facts((who, rows.get(path)), (other, others.get(path)));
        format!("{short:?}: {facts}")
    };
    paths.into_iter().filter(|path| !agree(path)).take(3).map(words).collect()
}
