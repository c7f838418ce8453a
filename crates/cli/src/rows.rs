//! The rows of a manifest, and what differs between two of them.

use anyhow::{Context, Result};
use serde_json::Value;

/// How many differing rows are shown.
const DIFFERENCES_MAX: usize = 5;

/// Rows as a manifest has them, one JSON object a line.
pub fn parse_rows(manifest: &[u8]) -> Result<Vec<Value>> {
    let lines = manifest.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_slice(line)
                .with_context(|| format!("`{}` is no row", String::from_utf8_lossy(line)))
        })
        .collect()
}

/// How many rows differ, and the first of them in words.
pub fn differences(expected: &[Value], found: &[Value]) -> (usize, Vec<String>) {
    let (mut count, mut shown) = (0, Vec::new());
    for at in 0..expected.len().max(found.len()) {
        let (want, have) = (expected.get(at), found.get(at));
        if want != have {
            count += 1;
            if shown.len() < DIFFERENCES_MAX {
                let show = |row: Option<&Value>| row.map_or("nothing".into(), Value::to_string);
                let (want, have) = (show(want), show(have));
                shown.push(format!("row {at}\n  expected {want}\n  found    {have}"));
            }
        }
    }
    (count, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_row_is_refused() {
        assert_eq!(parse_rows(b"{\"path\": \"/\"}\n").unwrap().len(), 1);
        assert!(parse_rows(b"{\"path\": \"/\"}\nnot json\n").is_err());
    }
}
