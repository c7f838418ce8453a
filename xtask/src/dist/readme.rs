//! The README of the folder.
//!
//! Always: a command in it runs in the folder as it stands; what was not run is said to be so.

use super::monitors::{self, Section};
use super::{Entry, Guest};
use crate::accel::Accel;
use crate::board::Board;
use crate::qemu::{Disk, Machine, pasteable};
use crate::size::{Size, human};
use anyhow::Result;

/// Memory of a guest in the examples.
const MEM: Size = Size(64 << 20);
/// What the guest is told in the examples.
const APPEND: &str = "image=image -- manifest /";
/// The image in the examples.
const IMAGE: &str = "root.erofs";

/// The whole text.
pub fn text(guests: &[Guest]) -> Result<String> {
    let mut text = format!(
        "# rootlet {}\n\nGuest images that mount an EROFS image and run one command in it. Check \
         them with `sha256sum -c SHA256SUMS`. The examples boot with an EROFS image `{IMAGE}` in \
         this folder, whose data lies within, and print its manifest; the guest's configuration is \
         one line, described in the project's README. The last line on the console is the verdict, \
         `PASS` or `FAIL` with counters.\n\n| file | what | bytes | SHA-256 |\n|-|-|-:|-|\n",
        env!("CARGO_PKG_VERSION")
    );
    for Entry { name, what, bytes, sum } in guests.iter().flat_map(|guest| &guest.files) {
        text.push_str(&format!("| `{name}` | {what} | {bytes} ({}) | `{sum}` |\n", human(*bytes)));
    }
    for guest in guests {
        text.push_str(&format!("\n## {}\n", guest.board.package()));
        text.push_str(&qemu(guest)?);
        let file = |suffix: &str| {
            let mut files = guest.files.iter().map(|file| file.name.as_str());
            files.find(|name| name.ends_with(suffix))
        };
        let kernel = file(".Image").or_else(|| file(".elf")).unwrap_or_default();
        for Section { title, body } in monitors::sections(guest.board.package(), kernel) {
            text.push_str(&format!("\n### {title}\n{body}"));
        }
    }
    Ok(text)
}

fn qemu(guest: &Guest) -> Result<String> {
    let mut text = String::from("\n### QEMU\n");
    for Entry { name, .. } in &guest.files {
        let command = command(guest.board, name)?;
        text.push_str(&format!("Run by the project's tests:\n```sh\n{command}\n```\n"));
    }
    Ok(text)
}

/// QEMU's command line for a board's file.
fn command(board: Board, kernel: &str) -> Result<String> {
    let disk = Disk {
        serial: "image".into(),
        file: IMAGE.into(),
        read_only: true,
        blkdebug: None,
        options: None,
    };
    let machine = Machine {
        board,
        bus: None,
        accel: Accel::Tcg,
        mem: MEM,
        kernel: kernel.into(),
        append: APPEND.into(),
        disks: vec![disk],
        shares: Vec::new(),
        log_socket: None,
        extra: Vec::new(),
    };
    Ok(pasteable(board.qemu().as_ref(), &machine.arguments()?))
}
