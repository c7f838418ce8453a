//! The result as one table, from the medians that Criterion left.
//!
//! Always: only rows that have both readers; the ratio is how many times faster we are.

use std::fs;
use std::path::{Path, PathBuf};

/// Prints the table on standard error, after Criterion's own lines.
pub fn print() {
    let home = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("../criterion"));
    let Ok(groups) = fs::read_dir(&home) else { return };
    let mut rows: Vec<String> = groups.flatten().filter_map(|group| row(&group.path())).collect();
    rows.sort();
    eprintln!("| medians, ms | rootlet | erofs-rs | times |\n|-|-:|-:|-:|");
    rows.iter().for_each(|row| eprintln!("{row}"));
}

fn row(group: &Path) -> Option<String> {
    let (ours, other) = (median_ns(group, "rootlet")?, median_ns(group, "erofs-rs")?);
    let name = group.file_name()?.to_string_lossy().into_owned();
    let ms = |ns: f64| ns / 1e6;
    Some(format!("| {name} | {:.2} | {:.2} | {:.2} |", ms(ours), ms(other), other / ours))
}

fn median_ns(group: &Path, reader: &str) -> Option<f64> {
    let file = group.join(reader).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}
