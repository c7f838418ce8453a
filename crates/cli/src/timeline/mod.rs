//! `timeline`: draws what a guest did and when, from the log of its console.
//!
//! Always: a log is read only; the drawing is pure.

mod delay;
mod json;
mod lanes;
mod log;
mod model;
mod sent;
mod svg;
mod text;
mod totals;
mod unread;
mod words;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use model::Timeline;
pub use sent::Sent;

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

/// Draws each log, or prints it as JSON.
///
/// # Errors
/// A log that cannot be read, has no timeline, or one that is too long or mixed of two boots.
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
            output::bytes(format!("{}\n", model::shown(title)).as_bytes())?;
        }
        output::bytes(text::draw(timeline, columns()).as_bytes())?;
    }
    Ok(())
}

/// Draws boots side by side into a file, each under its title. A boot that sent no timeline, because
/// it did not get so far, is left out.
///
/// # Errors
/// The file's, and a timeline that is too long or contradicts itself.
pub fn draw(boots: &[(&str, &Report)], file: &Path) -> Result<()> {
    let mut timelines = Vec::new();
    for (title, report) in boots {
        let timeline = log::timeline(&report.timeline, report.verdict.clone());
        let timeline = timeline.with_context(|| format!("the timeline of {title}"))?;
        timelines.extend(timeline.map(|timeline| (*title, timeline)));
    }
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

fn title(log: &Path) -> String {
    log.file_stem().map_or_else(|| "boot".into(), |name| name.to_string_lossy().into_owned())
}

fn read(log: &Path) -> Result<Timeline> {
    let name = log.display();
    let timeline = if log == Path::new("-") {
        log::read(&mut io::stdin().lock()).context("standard input")?
    } else {
        let mut file = File::open(log).map_err(|error| usage(format!("{name}: {error}")))?;
        log::read(&mut file).with_context(|| name.to_string())?
    };
    timeline.with_context(|| {
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
            for us in [0, 1, start, took, u64::MAX / 1000] {
                let verdict = Verdict::parse(&format!("PASS files=1 first_byte_us={us}"));
                let timeline = Timeline::of([text.as_bytes()], verdict);
                assert!(text::draw(&timeline, 40).contains("entry to end"));
                assert!(svg::draw(&[("boot", &timeline)]).ends_with("</svg>\n"));
                assert!(json::value(&timeline)["events"].is_array());
            }
        }
    }

    #[test]
    fn crafted_boot_of_many_events_slots_and_stages_is_drawn_soon() {
        let mut text = String::from("begin 1 events 50000 dropped 0 flushes 0 written 0\n");
        (0..20_000).for_each(|slot| text += &format!("slot {slot} 4096 blob{slot}\n"));
        (0..20_000_u64).for_each(|at| {
            // No two of them touch.
            let (place, time, slot) = (at * 16_384, at * 1000, at * 7 % 20_000);
            text += &format!("event use demand 0 {time} 10 {place} 4096 -\n");
            text += &format!("event fetch demand 0 {time} 10 {} 4096 {at}\n", place + 8192);
            text += &format!("mark m{at} {}\nfile {at} /f\n", time + 500);
            if at % 2 == 0 {
                text += &format!("event fetch demand {slot} {time} 10 {place} 4096 -\n");
            }
        });
        let verdict = Verdict::parse("PASS first_byte_us=20000");
        let start = std::time::Instant::now();
        let timeline = Timeline::of([text.as_bytes()], verdict);
        let drawn = text::draw(&timeline, 80);
        assert!(drawn.contains("shorter ones"), "{}", &drawn[..2000]);
        assert!(svg::draw(&[("boot", &timeline)]).ends_with("</svg>\n"));
        assert!(json::value(&timeline)["events"].as_array().unwrap().len() == 50_000);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
