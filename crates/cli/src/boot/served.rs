//! The disks of a plan whose bytes other programs serve: asked for, put in the place of what the user
//! named, or left out.
//!
//! Always: what is left of the plan can be opened; a source that is away is left out only where a region
//! may have what is asked of it; a source that is there and wrong is an error.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::BootArgs;
use super::plan::{Plan, SERIAL_OF_IMAGE};
use super::reach;
use crate::engine::{self, Command, Engine, Fault, Fetched, Registry, Wait};
use crate::exit::usage;
use crate::note;
use crate::source::{Node, Oci, Source};

/// The pause before a server is asked again that cannot answer now.
const PAUSE: Duration = Duration::from_millis(500);

/// The engines of a boot.
#[derive(Debug, Default)]
pub struct Engines(Vec<(String, Engine)>);

impl Engines {
    /// Starts what the disks of `plan` need, with sockets in `private` and output in `says`, and leaves
    /// out what is away. QEMU's `program` opens the disks.
    ///
    /// # Errors
    /// Status 3: a program is missing. A source is away, and there is no region, or it is the image; or
    /// a source cannot be read.
    pub fn start(
        plan: &mut Plan,
        args: &BootArgs,
        private: &Path,
        says: &Path,
        program: &Path,
    ) -> Result<Self> {
        let mut engines = Vec::new();
        for (serial, command) in commands(plan, args, private)? {
            let engine = command.start(&says.join(format!("nbdkit-{serial}.txt")))?;
            engines.push((serial, engine));
        }
        let mut away = Vec::new();
        // An overlay over the region is made later.
        for disk in plan.disks.iter().filter(|disk| !plan.is_region(disk)) {
            if let Some(why) = reach::away(program, disk)? {
                // An engine knows more of the server than its reader does.
                let engine = engines.iter().find(|(serial, _)| *serial == disk.serial);
                let why = engine.and_then(|(_, engine)| engine.last_words()).unwrap_or(why);
                away.push((disk.serial.clone(), why));
            }
        }
        away.iter().try_for_each(|(serial, why)| leave_out(plan, serial, why))?;
        Ok(Self(engines))
    }

    /// Tells the last words of each engine that reported an error.
    pub fn tell(&self) {
        for (serial, engine) in &self.0 {
            if let Some(words) = engine.last_words() {
                note!("{serial}: {words}");
            }
        }
    }
}

/// Returns the commands that serve what web servers have, each with the serial of its disk, and puts
/// their sockets, in `dir`, into `plan`.
///
/// # Errors
/// Those of [`Engines::start`].
pub fn commands(plan: &mut Plan, args: &BootArgs, dir: &Path) -> Result<Vec<(String, Command)>> {
    let mut commands = Vec::new();
    for disk in plan.disks.clone() {
        let (source, serial) = (&disk.source, disk.serial.as_str());
        let found = match source {
            Source::Oci(oci) if serial == SERIAL_OF_IMAGE => image(plan, args, oci, &mut commands)?,
            Source::Web(_) | Source::Oci(_) | Source::Store(_) => {
                patient(plan.wait, || engine::fetched(source, &args.machine.web()))?
            }
            _ => continue,
        };
        match found {
            Ok(fetched) => commands.push((serial.into(), fetched)),
            Err(Fault::Away(why) | Fault::Busy(why)) => leave_out(plan, serial, &why)?,
            Err(Fault::Unfit(why)) => bail!("{source} ({serial}): {why}"),
        }
    }
    plan.check_room(&args.machine)?;
    let serve = |(serial, fetched): (String, Fetched)| {
        let command = serve(plan, args, dir, &serial, &fetched)?;
        Ok((serial, command))
    };
    let mut commands = commands.into_iter().map(serve).collect::<Result<Vec<_>>>()?;
    let (wait, known_hosts) = (plan.wait, args.machine.known_hosts.as_deref());
    for disk in &mut plan.disks {
        let Source::Node(node) = &disk.source else { continue };
        let Some(ssh) = node.ssh() else { continue };
        if !disk.read_only {
            if known_hosts.is_some() {
                let why = "QEMU itself writes it, and looks at the user's known_hosts alone";
                return Err(usage(format!(
                    "{node}: no --known-hosts for a disk that is written: {why}"
                )));
            }
            continue;
        }
        let socket = dir.join(format!("{}.nbd", disk.serial));
        commands.push((disk.serial.clone(), Command::ssh(ssh, node, known_hosts, &socket, wait)?));
        disk.source = Source::Node(Node::served(node, &socket, wait.monitor_s()));
    }
    Ok(commands)
}

/// Asks a registry for an image, and for the blobs that its manifest gives to slots for which the user
/// names none; these come into `plan` and `found`.
fn image(
    plan: &mut Plan,
    args: &BootArgs,
    oci: &Oci,
    found: &mut Vec<(String, Fetched)>,
) -> Result<Result<Fetched, Fault>> {
    let web = args.machine.web();
    let registry = match patient(plan.wait, || Registry::open(oci, &web))? {
        Ok(registry) => registry,
        Err(fault) => return Ok(Err(fault)),
    };
    let layers = match registry.blobs() {
        Ok(layers) => layers,
        Err(fault) => return Ok(Err(fault)),
    };
    for (slot, layer) in layers {
        let serial = format!("blob{slot}");
        if plan.names(&serial) {
            continue;
        }
        match patient(plan.wait, || registry.blob(&layer))? {
            Ok(fetched) => {
                plan.add_blob(&serial, Source::Oci(oci.clone()));
                found.push((serial, fetched));
            }
            Err(fault) => return Ok(Err(fault)),
        }
    }
    patient(plan.wait, || registry.named())
}

/// Asks again while the server says that it cannot answer now.
fn patient<T>(
    wait: Wait,
    mut ask: impl FnMut() -> Result<Result<T, Fault>>,
) -> Result<Result<T, Fault>> {
    let until = Instant::now() + Duration::from_secs(wait.start_s().into());
    loop {
        match ask()? {
            Err(Fault::Busy(_)) if Instant::now() < until => thread::sleep(PAUSE),
            answer => return Ok(answer),
        }
    }
}

fn serve(
    plan: &mut Plan,
    args: &BootArgs,
    dir: &Path,
    serial: &str,
    fetched: &Fetched,
) -> Result<Command> {
    let socket = dir.join(format!("{serial}.nbd"));
    let wait = plan.wait;
    let command = Command::new(fetched, &args.machine.web, &socket, dir, wait)?;
    plan.tell_version(serial, &fetched.object.version());
    let disk = plan.disk(serial)?;
    // As the user named it.
    disk.source = Source::Node(Node::served(&disk.source, &socket, wait.monitor_s()));
    Ok(command)
}

/// Takes a disk out of `plan` whose source is away.
///
/// # Errors
/// There is no region, or it is the disk of the image.
fn leave_out(plan: &mut Plan, serial: &str, why: &str) -> Result<()> {
    let source = plan.disk(serial)?.source.clone();
    // A file of this machine is there, and wrong.
    let is_here = matches!(&source, Source::Node(node) if node.file().is_some());
    // A region that is made for this boot has nothing.
    let has_region =
        plan.region.as_ref().is_some_and(|region| fs::exists(&region.file).is_ok_and(|is| is));
    if !has_region || is_here || serial == SERIAL_OF_IMAGE {
        bail!("{source} ({serial}): {why}");
    }
    note!("{serial}: {source} is away, and is read from the region as far as that has it: {why}");
    plan.disks.retain(|disk| disk.serial != serial);
    Ok(())
}
