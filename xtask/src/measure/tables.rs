//! What was measured, as tables.
//!
//! Always: the same figures in every form; a rate is bytes over the median time.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use crate::measure::bench::Test;
use crate::measure::median::median;
use rootlet_cli::size::human;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// How the processor was run.
    pub accel: &'static str,
    /// The firmware's loaded bytes.
    pub loaded_bytes: u64,
    /// One for each run.
    pub boots: Vec<Boot>,
    /// One for each test.
    pub rows: Vec<Row>,
}

/// The times of one run.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// From the start of QEMU to the output of the empty guest.
    pub empty: Duration,
    /// From the start of QEMU to the first byte of a file.
    pub first: Duration,
    /// From the guest's entry to the first byte of a file, by its own clock.
    pub in_guest: Duration,
}

/// One test over all runs.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name, bytes and operations, which are the same in every run.
    pub test: Test,
    /// The times.
    pub ns: Vec<u64>,
}

/// The ways in which the guest reads the same bytes.
const WAYS: [&str; 4] = ["raw", "erofs", "cold", "warm"];

impl Row {
    /// Megabytes (10^6) a second.
    fn rate(&self) -> f64 {
        self.test.bytes as f64 * 1e3 / over_runs(self.ns.iter().map(|&ns| ns as f64)).max(1.0)
    }
}

/// Adds a run of `test` to its row.
pub fn add(rows: &mut Vec<Row>, test: Test) {
    match rows.iter_mut().find(|row| row.test.name == test.name) {
        Some(row) => row.ns.push(test.ns),
        None => rows.push(Row { ns: vec![test.ns], test }),
    }
}

/// Returns the median over the runs.
fn over_runs(values: impl Iterator<Item = f64>) -> f64 {
    median(values).expect("there is a run at least")
}

impl Measured {
    /// Returns heading and rows of the table of boots. A ratio is the median of the runs' own: the
    /// two boots of a run follow each other, and share the pace that their host has just then.
    fn boot_table(&self) -> Vec<[String; 3]> {
        let row = |what: &str, of: fn(&Boot) -> Duration| {
            let ms = over_runs(self.boots.iter().map(|boot| of(boot).as_secs_f64() * 1e3));
            let to_empty = |boot: &Boot| of(boot).div_duration_f64(boot.empty);
            let ratio = over_runs(self.boots.iter().map(to_empty));
            [what.into(), format!("{ms:.1}"), format!("{ratio:.2}")]
        };
        vec![
            ["from exec of QEMU to".into(), "ms".into(), "ratio".into()],
            row("the output of an empty guest", |boot| boot.empty),
            row("first byte of a file", |boot| boot.first),
            row("(of it in the guest, entry to first byte)", |boot| boot.in_guest),
        ]
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.test.name == name)
    }

    /// Returns heading and rows of the table of reads: `raw-disk-seq-1M` is a cell of the line
    /// `disk-seq-1M`, and so on.
    fn read_table(&self) -> Vec<[String; 5]> {
        let heading = ["MB/s (to raw)", "raw", "EROFS", "region cold", "region warm"];
        let mut table = vec![heading.map(String::from)];
        let names = self.rows.iter().filter_map(|row| row.test.name.split_once('-'));
        let mut seen = Vec::new();
        for (_, name) in names.filter(|(way, _)| WAYS.contains(way)) {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        for name in seen {
            // A device has no stream: beside it stand plain reads of the same length.
            let of = |way: &str| match way {
                "raw" => format!("raw-{}", name.replace("-stream-", "-seq-")),
                _ => format!("{way}-{name}"),
            };
            let rates = WAYS.map(|way| self.row(&of(way)).map(Row::rate));
            let cells = rates.map(|rate| match (rate, rates[0]) {
                (Some(rate), Some(raw)) => format!("{rate:.0} ({:.2})", rate / raw.max(1e-9)),
                (Some(rate), None) => format!("{rate:.0}"),
                (None, _) => "-".into(),
            });
            let [_, erofs, cold, warm] = cells;
            let raw = rates[0].map_or("-".into(), |rate| format!("{rate:.0}"));
            table.push([name.replacen('-', " ", 1), raw, erofs, cold, warm]);
        }
        table
    }

    /// Returns heading and rows of the table of all operations that are not reads.
    fn other_table(&self) -> Vec<[String; 4]> {
        let heading = ["operation", "operations", "ms", "us each"].map(String::from);
        let others = self.rows.iter().filter(|row| {
            !row.test.name.split_once('-').is_some_and(|(way, _)| WAYS.contains(&way))
        });
        let rows = others.map(|row| {
            let ns = over_runs(row.ns.iter().map(|&ns| ns as f64));
            let each = ns / 1e3 / row.test.ops.max(1) as f64;
            let Test { name, ops, .. } = &row.test;
            [name.clone(), ops.to_string(), format!("{:.2}", ns / 1e6), format!("{each:.1}")]
        });
        std::iter::once(heading).chain(rows).collect()
    }

    fn caption(&self) -> String {
        format!(
            "accel {}, firmware {}, medians of {} runs",
            self.accel,
            human(self.loaded_bytes),
            self.boots.len()
        )
    }
}

/// Writes the tables for a terminal.
pub fn plain(measured: &Measured) -> String {
    let mut text = format!("{}\n\n", measured.caption());
    align(&mut text, &measured.boot_table(), "  ", None);
    text.push('\n');
    align(&mut text, &measured.read_table(), "  ", None);
    text.push('\n');
    align(&mut text, &measured.other_table(), "  ", None);
    text
}

/// Writes the tables for a README.
pub fn markdown(measured: &Measured) -> String {
    let mut text = format!("{}.\n\n", measured.caption());
    align(&mut text, &measured.boot_table(), " | ", Some("| "));
    text.push('\n');
    align(&mut text, &measured.read_table(), " | ", Some("| "));
    text.push('\n');
    align(&mut text, &measured.other_table(), " | ", Some("| "));
    text
}

/// Writes JSON for a program: all samples, nothing rounded.
pub fn json(measured: &Measured) -> String {
    let boots: Vec<_> = measured
        .boots
        .iter()
        .map(|boot| {
            json!({
                "empty_us": boot.empty.as_micros() as u64,
                "first_byte_us": boot.first.as_micros() as u64,
                "in_guest_us": boot.in_guest.as_micros() as u64,
            })
        })
        .collect();
    let tests: Vec<_> = measured
        .rows
        .iter()
        .map(|row| {
            let Test { name, bytes, ops, .. } = &row.test;
            json!({ "name": name, "bytes": bytes, "ops": ops, "ns": row.ns })
        })
        .collect();
    let all = json!({
        "accel": measured.accel,
        "firmware_bytes": measured.loaded_bytes,
        "boots": boots,
        "tests": tests,
    });
    format!("{all}\n")
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
pub fn align<const N: usize>(
    text: &mut String,
    rows: &[[String; N]],
    between: &str,
    edge: Option<&str>,
) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(edge.unwrap_or_default());
        for (at, cell) in row.iter().enumerate() {
            let width = widths[at];
            // Writing to a string cannot fail.
            let _ = match at {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "{between}{cell:>width$}"),
            };
        }
        text.push_str(if edge.is_some() { " |\n" } else { "\n" });
        if number == 0 && edge.is_some() {
            let rule = |(at, width): (usize, &usize)| match at {
                0 => format!("|{}", "-".repeat(width + 2)),
                _ => format!("|{}:", "-".repeat(width + 1)),
            };
            text.extend(widths.iter().enumerate().map(rule));
            text.push_str("|\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let ms = Duration::from_millis;
        let mut measured = Measured { accel: "tcg", loaded_bytes: 2048, ..Measured::default() };
        for (empty, first) in [(20, 60), (40, 50), (30, 90)] {
            measured.boots.push(Boot { empty: ms(empty), first: ms(first), in_guest: ms(9) });
        }
        for (name, ns) in [
            ("raw-disk-seq-1M", 1_000_000),
            ("warm-disk-seq-1M", 4_000_000),
            ("raw-disk-seq-1M", 3_000_000),
            ("walk-cold", 8_000_000),
        ] {
            add(&mut measured.rows, Test { name: name.into(), bytes: 4_000_000, ops: 4, ns });
        }
        measured
    }

    #[test]
    fn rates_and_ratios_follow_from_the_medians() {
        let table = measured().read_table();
        assert_eq!(
            table[1..],
            [["disk seq-1M", "2000", "-", "-", "1000 (0.50)"].map(String::from)]
        );
        let other = measured().other_table();
        assert_eq!(other[1..], [["walk-cold", "4", "8.00", "2000.0"].map(String::from)]);
        let boot = measured().boot_table();
        assert_eq!(boot[1][1..], ["30.0", "1.00"]);
        // Each run's own: 3, 1.25 and 3.
        assert_eq!(boot[2][1..], ["60.0", "3.00"]);
    }

    #[test]
    fn markdown_is_a_table_with_as_many_columns_in_every_line() {
        let text = markdown(&measured());
        let tests: Vec<&str> = text.lines().skip_while(|line| !line.contains("MB/s")).collect();
        assert_eq!(tests.len(), 3 + 1 + 3, "{text}");
        assert!(tests[..3].iter().all(|line| line.matches('|').count() == 6), "{text}");
        assert!(tests[4..].iter().all(|line| line.matches('|').count() == 5), "{text}");
        assert!(tests[..3].iter().all(|line| line.len() == tests[0].len()), "{text}");
        assert!(tests[1].chars().all(|c| "|-:".contains(c)), "{text}");
    }

    #[test]
    fn json_keeps_every_sample() {
        let value: serde_json::Value = serde_json::from_str(&json(&measured())).unwrap();
        assert_eq!(value["tests"][0]["ns"], serde_json::json!([1_000_000, 3_000_000]));
        assert_eq!(value["boots"].as_array().unwrap().len(), 3);
    }
}
