//! What a comparison found: a table, JSON, and the figures for a chart.
//!
//! Always: the same figures in every form: medians over all runs, and what they lie between; a
//! ratio is that of neighbours in time.

use serde_json::json;

use super::plan::{ROWS, Row, Source, Unit};
use super::timed::{Race, Timed};
use crate::measure::median::median;
use crate::measure::tables::align;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// How the processors were run.
    pub accel: &'static str,
    /// Memory of both guests in bytes.
    pub mem_bytes: u64,
    /// The peer's kernel.
    pub kernel: String,
    /// How many runs.
    pub runs: u32,
    /// rootlet's races, and the peer's.
    pub races: [Vec<Race>; 2],
    /// The least memory in MiB with which a guest read a file.
    pub least_mib: [Option<f64>; 2],
    /// The bytes that a monitor loads.
    pub image_bytes: [u64; 2],
}

/// Which guest.
pub const OURS: usize = 0;
/// The other.
pub const THEIRS: usize = 1;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Returns the median; of an even number the mean of the middle two.
    pub fn median(&self) -> Option<f64> {
        median(self.0.iter().copied())
    }

    fn shown(&self) -> String {
        let Some(median) = self.median() else { return "-".into() };
        let (low, high) = self
            .0
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
        if self.0.len() < 2 {
            return figure(median);
        }
        format!("{} ({}..{})", figure(median), figure(low), figure(high))
    }
}

/// Writes three digits, or all before the point.
fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A row with its figures.
#[derive(Debug)]
pub struct Line {
    /// The row.
    pub row: &'static Row,
    /// The samples of rootlet, then those of the system that rootlet is compared with.
    pub samples: [Samples; 2],
    /// How many times better rootlet is.
    pub ratio: Option<f64>,
}

impl Measured {
    /// Returns the rows with their figures.
    pub fn lines(&self) -> Vec<Line> {
        static TABLE: [Row; ROWS.len()] = ROWS;
        TABLE.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &'static Row) -> Line {
        let samples = match row.source {
            Source::FirstByte => [OURS, THEIRS].map(|of| self.first_bytes(of)),
            Source::Step(step) => [OURS, THEIRS].map(|of| self.steps(of, step, row.unit)),
            Source::Known(step, known) => [self.steps(OURS, step, row.unit), Samples(vec![known])],
            Source::Own(step, other) => [step, other].map(|step| self.steps(OURS, step, row.unit)),
            Source::Memory => self.least_mib.map(|mib| Samples(mib.into_iter().collect())),
            Source::Size => {
                self.image_bytes.map(|bytes| Samples(vec![bytes as f64 / f64::from(1 << 20)]))
            }
        };
        let ratio = ratio(row.unit, &samples);
        Line { row, samples, ratio }
    }

    fn first_bytes(&self, of: usize) -> Samples {
        let times = self.races[of].iter().filter_map(|race| race.first_byte);
        Samples(times.map(|time| time.as_secs_f64() * 1e3).collect())
    }

    fn steps(&self, of: usize, name: &str, unit: Unit) -> Samples {
        let steps = self.races[of].iter().flat_map(|race| &race.steps);
        let steps = steps.filter(|step| step.name == name);
        Samples(steps.map(|step| rate(step, unit)).collect())
    }
}

/// Returns the median of the ratios of what was measured one after the other, for a busy machine
/// slows both; where there are no such pairs, the ratio of the medians.
fn ratio(unit: Unit, [ours, theirs]: &[Samples; 2]) -> Option<f64> {
    if ours.0.len() == theirs.0.len() {
        let pairs = ours.0.iter().zip(&theirs.0);
        return Samples(pairs.map(|(ours, theirs)| unit.ratio(*ours, *theirs)).collect()).median();
    }
    Some(unit.ratio(ours.median()?, theirs.median()?))
}

fn rate(step: &Timed, unit: Unit) -> f64 {
    let seconds = step.guest_ns.max(1) as f64 / 1e9;
    match unit {
        Unit::MibS => step.bytes as f64 / f64::from(1 << 20) / seconds,
        Unit::KiloS => step.ops as f64 / 1e3 / seconds,
        Unit::Ms | Unit::Mib => seconds * 1e3,
    }
}

/// Writes the table for a terminal, or for a README.
pub fn table(measured: &Measured, markdown: bool) -> String {
    let heading = ["", "unit", "rootlet", "peer", "ratio", "aim"].map(String::from);
    let mut rows = vec![heading];
    for Line { row, samples, ratio } in measured.lines() {
        let ratio = ratio.map_or("-".into(), |ratio| {
            let mark = if ratio >= row.at_least { "" } else { " !" };
            format!("{ratio:.2}{mark}")
        });
        let [ours, theirs] = samples.map(|samples| samples.shown());
        let unit = row.unit.name().to_string();
        rows.push([row.title.into(), unit, ours, theirs, ratio, figure(row.at_least)]);
    }
    let Measured { accel, mem_bytes, kernel, runs, .. } = measured;
    let mem = mem_bytes >> 20;
    let mut text = format!(
        "peer {kernel}; accel {accel}, {mem} MiB, medians of {runs} runs (least..most); \
         ratio: how many times better, run by run; ! is below the aim\n\n"
    );
    match markdown {
        true => align(&mut text, &rows, " | ", Some("| ")),
        false => align(&mut text, &rows, "  ", None),
    }
    text
}

/// Writes JSON for a program: all samples, nothing rounded.
pub fn json(measured: &Measured) -> String {
    let lines: Vec<_> = measured
        .lines()
        .into_iter()
        .map(|Line { row, samples, ratio }| {
            let [ours, theirs] = samples;
            json!({
                "title": row.title,
                "unit": row.unit.name(),
                "rootlet": ours.0,
                "peer": theirs.0,
                "peer_is": match row.source {
                    Source::Known(..) => "known",
                    Source::Own(..) => "rootlet",
                    _ => "measured",
                },
                "ratio": ratio,
                "aim": row.at_least,
            })
        })
        .collect();
    let races = |of: usize| -> Vec<_> {
        let steps = |race: &Race| -> Vec<_> {
            let steps = race.steps.iter().map(|step| {
                json!({
                    "name": step.name, "bytes": step.bytes, "ops": step.ops,
                    "guest_ns": step.guest_ns, "host_ns": step.host_ns, "sum": step.sum,
                })
            });
            steps.collect()
        };
        measured.races[of].iter().map(steps).collect()
    };
    let all = json!({
        "accel": measured.accel,
        "mem_bytes": measured.mem_bytes,
        "kernel": measured.kernel,
        "runs": measured.runs,
        "rows": lines,
        "rootlet_races": races(OURS),
        "peer_races": races(THEIRS),
    });
    format!("{all}\n")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::time::Duration;

    /// Returns two runs, in which rootlet is four times as fast.
    pub fn measured() -> Measured {
        let race = |ms: u64, ns: u64| Race {
            first_byte: Some(Duration::from_millis(ms)),
            steps: vec![Timed {
                name: "seq-1M".into(),
                bytes: 1 << 20,
                ops: 1,
                guest_ns: ns,
                host_ns: ns + 7,
                sum: 3,
            }],
            done: true,
        };
        Measured {
            accel: "tcg",
            mem_bytes: 256 << 20,
            kernel: "Some <kernel>".into(),
            runs: 2,
            races: [
                vec![race(10, 1_000_000), race(20, 1_000_000)],
                vec![race(60, 4_000_000), race(60, 4_000_000)],
            ],
            least_mib: [Some(8.0), None],
            image_bytes: [1 << 20, 20 << 20],
        }
    }

    #[test]
    fn ratios_say_how_many_times_better() {
        let measured = measured();
        let line = |title: &str| measured.lines().into_iter().find(|l| l.row.title == title);
        assert_eq!(line("exec to first file byte").unwrap().ratio, Some(4.5), "6 and 3");
        assert_eq!(line("cold sequential 1 MiB").unwrap().ratio, Some(4.0));
        assert_eq!(line("image size").unwrap().ratio, Some(20.0));
        assert_eq!(line("least memory").unwrap().ratio, None);
    }

    #[test]
    fn table_marks_what_is_below_its_aim() {
        let text = table(&measured(), false);
        let row = |title: &str| text.lines().find(|line| line.starts_with(title)).unwrap();
        assert!(row("exec to first").contains("15.0 (10.0..20.0)"), "{text}");
        assert!(row("exec to first").contains("4.50 !"), "{text}");
        assert!(row("cold sequential 1 MiB").contains("4.00  "), "{text}");
        assert!(!row("cold sequential 1 MiB").contains('!'), "{text}");
        let columns: Vec<usize> = table(&measured(), true)
            .lines()
            .skip(2)
            .map(|line| line.matches('|').count())
            .collect();
        assert!(columns.iter().all(|count| *count == 7), "{columns:?}");
    }

    #[test]
    fn json_keeps_every_sample() {
        let value: serde_json::Value = serde_json::from_str(&json(&measured())).unwrap();
        assert_eq!(value["rows"][0]["rootlet"], serde_json::json!([10.0, 20.0]));
        assert_eq!(value["rootlet_races"][1][0]["host_ns"], 1_000_007);
        assert_eq!(value["rows"].as_array().unwrap().len(), ROWS.len());
    }
}
