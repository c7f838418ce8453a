//! Bytes at the origin of a fleet, by what lies between it and the guests.
//!
//! Always: a seed decides everything; a part of the fleet is drawn guest by guest, and stands for all of
//! it; nothing here measures a network.

use std::collections::HashMap;

use rootlet_sim::Rng;

use super::FleetArgs;
use super::trace::{PIECE, Trace};

/// How many caches of a mid-tier are drawn at most.
const TIERS_DRAWN: u32 = 1;
/// What sharing among hosts costs over one copy, in percent: an assumption.
const SHARING_PERCENT: u64 = 5;

/// What a design asks of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    /// Bytes for one release.
    pub bytes: u64,
    /// The most bytes in one second.
    pub peak: u64,
}

/// A piece that is asked for, at a time in milliseconds.
type Asked = (u64, u32);

/// Counts each design. The ideal, each piece once, is the second value.
pub fn rows(args: &FleetArgs, trace: &Trace) -> (Vec<Row>, u64) {
    let mut rng = Rng::new(args.seed);
    let tiers = args.hosts.div_ceil(args.tier).min(TIERS_DRAWN);
    let drawn = (tiers * args.tier).min(args.hosts);
    let (mut no_cache, mut host, mut host_twice) = (Sum::default(), Sum::default(), Sum::default());
    let (mut mid, mut mid_twice) = (Sum::default(), Sum::default());
    let mut all = vec![false; trace.pieces as usize];
    for tier in 0..tiers {
        let mut below = Vec::new();
        for _ in 0..args.tier.min(drawn - tier * args.tier) {
            let asked = of_host(args, trace, &mut rng);
            asked.iter().for_each(|(_, piece)| all[*piece as usize] = true);
            no_cache.add(&asked);
            let lost = lost(args, &mut rng);
            host_twice.add(&missed(&asked, args.latency, lost, false));
            let missed = missed(&asked, args.latency, lost, true);
            host.add(&missed);
            below.extend(missed);
        }
        below.sort_unstable();
        let lost = lost(args, &mut rng);
        mid.add(&missed(&below, args.latency, lost, true));
        mid_twice.add(&missed(&below, args.latency, lost, false));
    }
    // All guests together ask for every piece that is asked for at all.
    let others =
        u64::from(args.hosts - drawn) * u64::from(args.guests) * u64::from(100 - args.same);
    let ideal = match others > 0 {
        true => u64::from(trace.pieces) * PIECE,
        false => all.iter().filter(|is| **is).count() as u64 * PIECE,
    };
    let scaled = |name: &str, sum: &Sum, times: u64| {
        let scale = |value: u64| value * u64::from(args.hosts) / u64::from(drawn);
        Row { name: name.into(), bytes: scale(sum.bytes()) * times / 100, peak: scale(sum.peak()) }
    };
    let tier = args.tier;
    let shared = Row {
        name: "hosts share among themselves, or one CDN".into(),
        bytes: ideal * (100 + SHARING_PERCENT) / 100,
        peak: ideal.min(mid.peak()),
    };
    let rows = vec![
        scaled("no cache: every boot", &no_cache, 100 * u64::from(args.boots)),
        scaled("a region for each guest", &no_cache, 100 + u64::from(args.lost)),
        scaled("a cache for each host, that asks again for what is on its way", &host_twice, 100),
        scaled("a cache for each host, that waits for what is on its way", &host, 100),
        scaled(&format!("and one for {tier} hosts, that asks again"), &mid_twice, 100),
        scaled(&format!("and one for {tier} hosts, that waits"), &mid, 100),
        shared,
    ];
    (rows, ideal)
}

/// Returns what the guests of a host ask for in their first boots, in the order of time.
fn of_host(args: &FleetArgs, trace: &Trace, rng: &mut Rng) -> Vec<Asked> {
    let mut all = Vec::new();
    for _ in 0..args.guests {
        let start = rng.below(u64::from(args.arrival) * 1000);
        all.extend(trace.asked.iter().map(|(ms, piece)| match rng.below(100) {
            draw if draw < u64::from(args.same) => (start + ms, *piece),
            _ => (start + ms, rng.below(trace.pieces.into()) as u32),
        }));
    }
    all.sort_unstable();
    all
}

/// Returns when a cache is lost, if it is.
fn lost(args: &FleetArgs, rng: &mut Rng) -> Option<u64> {
    let is_lost = rng.below(100) < args.lost.into();
    is_lost.then(|| rng.below(u64::from(args.arrival) * 1000))
}

/// Returns the requests of a cache that gets the requests `asked`. The cache has a piece `latency`
/// milliseconds after its request, and loses all at `lost`. One that `waits` asks once for a piece on
/// its way.
fn missed(asked: &[Asked], latency: u32, lost: Option<u64>, waits: bool) -> Vec<Asked> {
    let mut since = HashMap::new();
    let mut is_lost = false;
    let mut all = Vec::new();
    for &(ms, piece) in asked {
        if !is_lost && lost.is_some_and(|lost| ms >= lost) {
            since.clear();
            is_lost = true;
        }
        let begun = *since.entry(piece).or_insert_with(|| {
            all.push((ms, piece));
            ms
        });
        if !waits && ms > begun && ms < begun + u64::from(latency) {
            all.push((ms, piece));
        }
    }
    all
}

/// Pieces that are sent, by second.
#[derive(Default)]
struct Sum(HashMap<u64, u64>);

impl Sum {
    fn add(&mut self, asked: &[Asked]) {
        for (ms, _) in asked {
            *self.0.entry(ms / 1000).or_insert(0) += 1;
        }
    }

    fn bytes(&self) -> u64 {
        self.0.values().sum::<u64>() * PIECE
    }

    fn peak(&self) -> u64 {
        self.0.values().copied().max().unwrap_or(0) * PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: FleetArgs,
    }

    fn counted(line: &str) -> (Vec<u64>, u64) {
        let words = ["fleet"].into_iter().chain(line.split_whitespace());
        let args = Line::try_parse_from(words).unwrap().args;
        let trace = Trace { asked: vec![(0, 0), (10, 1), (20, 2), (30, 3)], pieces: 100 };
        let (rows, ideal) = rows(&args, &trace);
        (rows.into_iter().map(|row| row.bytes / PIECE).collect(), ideal / PIECE)
    }

    #[test]
    fn guests_that_ask_alike_cost_what_the_design_says() {
        let line = "--hosts 6 --guests 5 --boots 3 --tier 2 --same 100 --lost 0 --latency 0";
        let (rows, ideal) = counted(line);
        // Four pieces: 90 boots, 30 guests, 6 hosts, 3 caches.
        assert_eq!(rows[..6], [360, 120, 24, 24, 12, 12]);
        assert_eq!((rows[6], ideal), (4, 4));
    }

    #[test]
    fn others_ask_for_more_and_a_lost_cache_asks_again() {
        let (rows, ideal) =
            counted("--hosts 6 --guests 50 --tier 2 --same 50 --lost 0 --latency 0");
        assert!(rows[3] > 6 * 40 && rows[3] <= 6 * 100, "{rows:?}");
        assert_eq!(ideal, 100);
        let (lost, _) = counted("--hosts 6 --guests 50 --tier 2 --same 50 --lost 100 --latency 0");
        assert!(lost[3] > rows[3] && lost[5] > rows[5] && lost[0] == rows[0], "{rows:?} {lost:?}");
        assert_eq!(counted("--hosts 9 --seed 7"), counted("--hosts 9 --seed 7"));
    }

    #[test]
    fn what_is_on_its_way_is_asked_for_once_by_a_cache_that_waits() {
        let asked = [(0, 7), (10, 7), (60, 7), (70, 8)];
        assert_eq!(missed(&asked, 50, None, true), [(0, 7), (70, 8)]);
        assert_eq!(missed(&asked, 50, None, false), [(0, 7), (10, 7), (70, 8)]);
        assert_eq!(missed(&asked, 0, Some(30), true), [(0, 7), (60, 7), (70, 8)]);
    }
}
