//! Guest images that were built or installed.
//!
//! Always: nothing is built; a guest that is not found is named with the places where it may lie.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Firmware;
use super::board::Board;
use crate::exit;

/// The variable that may name a folder with guests.
const VARIABLE: &str = "ROOTLET_GUESTS";

/// Finds the guest of `board`: as BOARD.elf in the folder that ROOTLET_GUESTS names, beside this
/// program, in ../share/rootlet from there or in the user's data folder; or as cargo built it in the
/// checkout that holds the current folder.
///
/// # Errors
/// Status 3: it is in none of these places.
pub fn find(board: Board) -> Result<Firmware> {
    let name = format!("{}.elf", board.package());
    let installed = folders().into_iter().map(|dir| dir.join(&name));
    let found = installed.chain(built(board)).find(|file| file.is_file());
    match found {
        Some(file) => Firmware::read(file),
        None => Err(exit::stop(
            exit::SETUP,
            format!(
                "missing: the guest {name}. Take it from a release and put it beside rootlet, name \
                 its folder in {VARIABLE}, name a file by --guest, or type `cargo run -- build` in \
                 a checkout"
            ),
        )),
    }
}

/// The folders in which guests may be installed.
fn folders() -> Vec<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let share = beside.as_deref().and_then(Path::parent).map(|dir| dir.join("share/rootlet"));
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).or(home);
    let data = data.map(|dir| dir.join("rootlet"));
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    [named, beside, share, data].into_iter().flatten().collect()
}

/// The file that cargo makes of a board in the checkout around the current folder.
fn built(board: Board) -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let is_checkout = |dir: &&Path| {
        let manifest = dir.join("boards").join(board.package()).join("Cargo.toml");
        fs::metadata(manifest).is_ok()
    };
    let checkout = here.ancestors().find(is_checkout)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or(checkout.join("target"), PathBuf::from);
    Some(target.join(board.target()).join("release").join(board.package()))
}
