//! The README of the folder.
//!
//! Always: a command in it runs in the folder as it stands; what was not run is said to be so.

use super::monitors::{self, IMAGE};
use super::{Entry, Guest};
use anyhow::Result;
use rootlet_cli::size::human;

/// Returns the whole text.
pub fn text(program: &Entry, guests: &[Guest]) -> Result<String> {
    let mut text = format!(
        "# rootlet {}\n\n`rootlet` looks into EROFS images, their blobs and regions, and boots the guests \
         that lie beside it: `./rootlet boot {IMAGE}`, `./rootlet --help`. It is static and runs on any \
         Linux on x86_64.\n\nThe others are guest images that mount an EROFS image and run one command in it. Check \
         them with `sha256sum -c SHA256SUMS`. The examples boot with an EROFS image `{IMAGE}` in \
         this folder, whose data lies within, and print its manifest; the guest's configuration is \
         one line, described in the project's README. The last line on the console is the verdict, \
         `PASS` or `FAIL` with counters.\n\n| file | what | bytes | SHA-256 |\n|-|-|-:|-|\n",
        env!("CARGO_PKG_VERSION")
    );
    let files = guests.iter().flat_map(|guest| &guest.files);
    for Entry { name, what, bytes, sum } in std::iter::once(program).chain(files) {
        text.push_str(&format!("| `{name}` | {what} | {bytes} ({}) | `{sum}` |\n", human(*bytes)));
    }
    for guest in guests {
        text.push_str(&format!("\n## {}\n", guest.board.package()));
        let files: Vec<&str> = guest.files.iter().map(|file| file.name.as_str()).collect();
        text.push_str(&monitors::sections(guest.board, &files)?);
    }
    Ok(text)
}
