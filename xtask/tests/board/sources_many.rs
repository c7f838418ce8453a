//! Eight guests at once: one engine, and one prepared region, cost the origin one guest.
//!
//! Always: the guests run at the same time, and each reads everything. Without nbdkit, curl or qemu-img
//! the test says so and passes.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use clap::Parser;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::region::{self, RegionArgs};

use crate::boot::{Boot, allocated};
use crate::daemons::Daemon;
use crate::origin::Origin;
use crate::sample::Sample;
use crate::sources_web::is_skipped;

const GUESTS: u64 = 8;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    region: RegionArgs,
}

/// Prepares the sample's region, with its first blob at `url`; the error if there is one.
fn prepare(sample: &Sample, url: &str, region: &str, size: &str) -> Result<(), String> {
    let path = |name: &str| sample.path(name).display().to_string();
    let second = format!("2={}", path("blob2"));
    let first = format!("1={url}");
    let words = ["region", region, "prepare", &path("image"), "--blob", &first, "--blob"];
    let more = [&second, "--plain-http", "--region-size", size];
    let line = Line::try_parse_from(words.iter().chain(&more)).unwrap();
    let interrupt = Interrupt::watch().unwrap();
    region::task(&line.region, &interrupt).map_err(|error| format!("{error:#}"))
}

/// Boots eight guests at once that read everything, each with `words` for its number.
fn eight(sample: &Sample, rows: &[u8], words: impl Fn(u64) -> Vec<String>) {
    let boots = (0..GUESTS).map(|number| {
        let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
        args.extend(["--blob".into(), format!("2={}", sample.path("blob2").display()).into()]);
        args.extend(words(number).iter().map(OsString::from));
        args.extend(["--", "manifest", "/"].map(OsString::from));
        Boot::start(args)
    });
    for boot in boots.collect::<Vec<_>>() {
        let outcome = boot.end();
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout == rows, "{}", outcome.stderr);
    }
}

#[test]
fn eight_guests_of_one_engine_or_one_prepared_region_cost_the_origin_one() {
    if is_skipped()
        || Command::new("qemu-img").arg("--version").stdout(Stdio::null()).status().is_err()
    {
        println!("skipped: qemu-img is not installed, or a program before");
        return;
    }
    let sample = Sample::new();
    let rows = sample.manifest();
    let blob = sample.built.blobs[0].to_vec();
    let need = blob.len() as u64;
    let origin = Origin::new(blob);
    let socket = sample.path("engine");
    let mut command = Command::new("nbdkit");
    command.args(["--foreground", "--readonly", "--filter=cache", "--unix"]).arg(&socket);
    command.args(["curl", "cache-on-read=true", &format!("url={}", origin.url())]);
    let engine = Daemon::start(command, socket.clone());
    let nbd = format!("1=nbd+unix:///?socket={}", socket.display());
    eight(&sample, &rows, |_| vec!["--blob".into(), nbd.clone()]);
    println!("one engine: needed {need} bytes, and {} were sent", origin.sent());
    assert!(origin.sent() * 100 <= need * 105, "needed {need}, sent {}", origin.sent());
    drop(engine);

    let region = sample.path("region").display().to_string();
    let error = prepare(&sample, &origin.url(), &sample.path("small").display().to_string(), "1M");
    assert!(error.unwrap_err().contains("no room for all that was read"));
    prepare(&sample, &origin.url(), &region, "16M").unwrap();
    let before = std::fs::read(&region).unwrap();
    origin.heal();
    let first = format!("1={}", origin.url());
    eight(&sample, &rows, |number| {
        let overlay = sample.path(&format!("overlay{number}")).display().to_string();
        let words = ["--blob", &first, "--plain-http", "--region", &region, "--overlay", &overlay];
        words.map(String::from).to_vec()
    });
    println!("one region: {} bytes were sent", origin.sent());
    assert_eq!(origin.sent(), 0);
    assert!(std::fs::read(&region).unwrap() == before, "the region was written");
    let bytes = allocated(&sample.path("overlay0"));
    println!("an overlay of {bytes} bytes");
    assert!(bytes < 1 << 20, "{bytes}");
}
