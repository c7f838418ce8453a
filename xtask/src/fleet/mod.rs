//! `fleet`: how many bytes an origin sends when many guests boot one image, by what lies between.
//!
//! Always: what a guest fetches is what a real boot fetched; everything else is a model, and says so.

mod args;
mod model;
mod trace;

use anyhow::Result;
use rootlet_cli::say;
use rootlet_cli::size::human;

pub use args::FleetArgs;
use trace::Trace;

/// Prints the table.
///
/// # Errors
/// The trace is none.
pub fn task(args: &FleetArgs) -> Result<()> {
    let trace = Trace::read(args.trace.as_deref())?;
    let (rows, ideal) = model::rows(args, &trace);
    let FleetArgs { hosts, guests, boots, same, arrival, lost, gbit, changed, .. } = args;
    say!("{hosts} hosts x {guests} guests x {boots} boots; first boots within {arrival} s");
    say!(
        "a guest fetches {} of an image of {}, {same} % as every other; {lost} % of caches are lost",
        human(trace.bytes()),
        human(u64::from(trace.pieces) * trace::PIECE)
    );
    say!("");
    let (sent, times, peak) = ("GiB", "x ideal", "peak Gbit/s");
    let (seconds, next) = (format!("s at {gbit} Gbit/s"), format!("GiB, {changed} % new"));
    say!("{:66}{sent:>12}{times:>10}{peak:>13}{seconds:>17}{next:>18}", "design");
    for row in rows {
        let gib = row.bytes as f64 / f64::from(1 << 30);
        let times = row.bytes as f64 / ideal as f64;
        let gbits = |bytes: u64| bytes as f64 * 8.0 / 1e9;
        let (peak, seconds) = (gbits(row.peak), gbits(row.bytes) / f64::from(*gbit));
        let next = gib * f64::from(*changed) / 100.0;
        say!("{:66}{gib:12.1}{times:10.1}{peak:13.1}{seconds:17.1}{next:18.1}", row.name);
    }
    Ok(())
}
