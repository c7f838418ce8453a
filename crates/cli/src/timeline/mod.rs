//! `timeline`: draws what a guest did and when, from the log of its console.
//!
//! Always: a log is read only; the drawing is pure.

mod delay;
mod json;
mod lanes;
mod log;
mod model;
mod svg;
mod text;
mod totals;
mod unread;
mod words;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use model::Timeline;

use crate::boot::guest::Report;
use crate::exit::usage;
use crate::note;
use crate::output;

/// Drawing a boot.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A guest sends its timeline if its command line has the word `timeline`, or `timeline=N` for at most \
N events.

Examples:
  rootlet timeline console.bin
  rootlet timeline serial.log --output boot.svg
  rootlet timeline first.log second.log --output both.svg
  ssh board cat /dev/ttyUSB0 | rootlet timeline - --json")]
pub struct TimelineArgs {
    /// What the guest's console wrote, raw; `-` is standard input
    #[arg(required = true, value_name = "LOG")]
    pub logs: Vec<PathBuf>,
    /// Draw an SVG into this file, all logs side by side
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print JSON, one line for each log
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

/// The task.
///
/// # Errors
/// A log that cannot be read or has no timeline.
pub fn task(args: &TimelineArgs) -> Result<()> {
    let boots = args.logs.iter().map(|log| Ok((title(log), read(log)?)));
    let boots = boots.collect::<Result<Vec<_>>>()?;
    if let Some(file) = &args.output {
        let boots: Vec<(&str, &Timeline)> =
            boots.iter().map(|(title, timeline)| (title.as_str(), timeline)).collect();
        return write(&boots, file);
    }
    for (title, timeline) in &boots {
        if args.json {
            output::bytes(format!("{}\n", json::value(timeline)).as_bytes())?;
            continue;
        }
        if boots.len() > 1 {
            output::bytes(format!("{title}\n").as_bytes())?;
        }
        output::bytes(text::draw(timeline, columns()).as_bytes())?;
    }
    Ok(())
}

/// Draws boots side by side into a file, each under its title. A boot that sent no timeline, because
/// it did not get so far, is left out.
///
/// # Errors
/// The file's.
pub fn draw(boots: &[(&str, &Report)], file: &Path) -> Result<()> {
    let sent = boots.iter().filter_map(|(title, report)| Some((*title, of(report)?)));
    let timelines: Vec<_> = sent.collect();
    if timelines.is_empty() {
        note!("timeline  the guest sent none");
        return Ok(());
    }
    let timelines: Vec<_> = timelines.iter().map(|(title, timeline)| (*title, timeline)).collect();
    write(&timelines, file)
}

fn write(boots: &[(&str, &Timeline)], file: &Path) -> Result<()> {
    fs::write(file, svg::draw(boots)).with_context(|| file.display().to_string())
}

/// Returns the timeline that a guest sent; `None` if it sent none.
fn of(report: &Report) -> Option<Timeline> {
    let payloads = &report.timeline;
    let timeline = || Timeline::of(payloads.iter().map(Vec::as_slice), report.verdict.clone());
    (!payloads.is_empty()).then(timeline)
}

fn title(log: &Path) -> String {
    log.file_stem().map_or_else(|| "boot".into(), |name| name.to_string_lossy().into_owned())
}

fn read(log: &Path) -> Result<Timeline> {
    let name = log.display();
    let bytes = if log == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("standard input")?;
        bytes
    } else {
        fs::read(log).map_err(|error| usage(format!("{name}: {error}")))?
    };
    log::read(&bytes).with_context(|| {
        format!("{name}: no timeline in it: the guest sends one if it is booted with `timeline`")
    })
}

/// Returns the columns of the terminal; 80 where there is none.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| size.ws_col.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::verdict::Verdict;

    #[test]
    fn boot_with_the_greatest_numbers_is_drawn() {
        let numbers = [0, 1, (1 << 36) - 1, 1 << 36, (1 << 60) - 1, 1 << 60, u64::MAX];
        for (start, took) in numbers.iter().flat_map(|one| numbers.map(|other| (*one, other))) {
            let mut text =
                format!("begin 1 events 9 dropped {start} flushes {took} written {start}\n");
            for kind in ["read", "use", "fetch", "hit", "write", "flush"] {
                text += &format!("event {kind} demand 1 {start} {took} {took} {start} {start}\n");
            }
            text += &format!("mark end {start}\nslot 1 {start} blob1\nend {took}\n");
            for us in [0, 1, start, took] {
                let verdict = Verdict::parse(&format!("PASS files=1 first_byte_us={us}"));
                let timeline = Timeline::of([text.as_bytes()], verdict);
                assert!(text::draw(&timeline, 40).contains("entry to end"));
                assert!(svg::draw(&[("boot", &timeline)]).ends_with("</svg>\n"));
                assert!(json::value(&timeline)["events"].is_array());
            }
        }
    }
}
