//! `check`: every table of a region, and every resident block.
//!
//! Always: each fault has a line with its place; the last line says what was checked.

use anyhow::Result;
use rootlet::cache::inspect::{Checked, Fault, Region};
use serde_json::json;

use super::args::CheckArgs;
use super::{Opened, faulty, show};
use crate::progress::Progress;
use crate::say;
use crate::size::{counted, human};

/// Checks every block of a region.
pub fn task(opened: &mut Opened<'_>, args: CheckArgs, holders: &[String]) -> Result<()> {
    let superblocks = opened.superblocks()?;
    if let Err(why) = superblocks.counts {
        if !args.json && show::is_there(&superblocks) {
            show::superblocks(&superblocks)?;
        }
        return Err(opened.refused(why));
    }
    let region = opened.region()?;
    let mut faults = Vec::new();
    region.check_tables(&mut |fault| faults.push(fault));
    region.check_hint(&opened.storage, &mut |fault| faults.push(fault));
    let progress = Progress::of_entries(region.pages.len() as u64);
    let mut checked = Checked::default();
    for number in (0u32..).take(region.pages.len()) {
        let page = region.check_slots(&opened.storage, number, &mut |fault| faults.push(fault));
        checked.blocks += page.blocks;
        checked.changed += page.changed;
        progress.entry(|| "pages".into());
    }
    drop(progress);
    if args.json {
        report_json(&region, &faults, checked, holders)?;
    } else {
        report(&region, &faults, checked, holders)?;
    }
    if faults.is_empty() { Ok(()) } else { Err(faulty()) }
}

fn report(region: &Region, faults: &[Fault], checked: Checked, holders: &[String]) -> Result<()> {
    for fault in faults {
        say!("{fault}");
    }
    for holder in holders {
        say!("in use: {holder} has it open for writing: what changes meanwhile looks faulty");
    }
    if checked.changed > 0 {
        let slots = counted(checked.changed, "slot", "slots");
        say!("changed meanwhile and left out: {slots}");
    }
    say!(
        "{} superblocks, {} pages, {}, {} ({}) checked, {}",
        region.superblocks.copies.len(),
        (region.pages.len() + region.blob_pages.len()) * 2,
        counted(region.blobs.len() as u64, "blob", "blobs"),
        counted(checked.blocks, "resident block", "resident blocks"),
        human(checked.blocks << 12),
        counted(faults.len() as u64, "fault", "faults")
    );
    Ok(())
}

fn report_json(
    region: &Region,
    faults: &[Fault],
    checked: Checked,
    holders: &[String],
) -> Result<()> {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let report = json!({
        "in_use": holders,
        "pages": (region.pages.len() + region.blob_pages.len()) * 2,
        "blobs": region.blobs.len(),
        "blocks": checked.blocks,
        "changed_slots": checked.changed,
        "faults": faults,
    });
    say!("{report:#}");
    Ok(())
}
