//! Filling a region once, for many guests that only read it.
//!
//! Always: a guest fills it, so that it holds what guests ask for, under the names by which they ask; a
//! region that has not all of what was read is an error.

use anyhow::{Result, bail};

use super::args::PrepareArgs;
use crate::boot::{self, BootCommand};
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::say;
use crate::source::RegionPlace;

/// Boots a guest that reads the files, with the region at `place`.
///
/// # Errors
/// The guest fails, or the region has no room.
pub fn task(args: &PrepareArgs, place: &RegionPlace, interrupt: &Interrupt) -> Result<()> {
    let mut command: BootCommand = args.boot.clone();
    let name = place.file.display();
    if command.source.region.is_some() || command.machine.overlay.is_some() {
        let why = "it names the region already: leave out --region and --overlay";
        return Err(usage(format!("region {name} prepare: {why}")));
    }
    if command.dry_run || command.json {
        return Err(usage("prepare has neither --dry-run nor --json: `rootlet boot` has"));
    }
    let path = match &command.words[..] {
        [] => "/".to_string(),
        [path] => path.clone(),
        _ => return Err(usage("prepare reads the files below one path")),
    };
    if command.image.is_none() {
        return Err(usage("no image given: `rootlet region FILE prepare IMAGE`"));
    }
    command.words = vec!["sum".into(), path];
    command.source.region = Some(place.clone());
    let report = boot::read(&command, interrupt)?;
    let counter = |name: &str| {
        let counters = report.verdict.iter().flat_map(|verdict| &verdict.counters);
        counters.into_iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    };
    let lost = |name| counter(name).is_none_or(|value| value != "0");
    if lost("culled_slots") || lost("dropped_bytes") {
        bail!(
            "{name}: it has no room for all that was read: make a larger one (--region-size, with a \
             new file)"
        );
    }
    if counter("region") != Some("yes") {
        bail!("{name}: the guest read without it, as it says above");
    }
    say!("prepared {name}: for each guest --region {name} --overlay FILE");
    Ok(())
}
