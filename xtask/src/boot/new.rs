//! The folder of an application, made from the example that is its template.
//!
//! Always: nothing that is there is written over; the folder builds wherever it lies.

use std::fs;
use std::path::{Path, absolute};

use anyhow::{Context, Result};
use rootlet_cli::exit::usage;
use rootlet_cli::say;

use super::NewArgs;
use crate::setup::workspace;

/// The files of the template.
const FILES: [&str; 8] = [
    ".cargo/config.toml",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "build.rs",
    "rust-toolchain.toml",
    "src/main.rs",
    "src/table.rs",
];
/// The template's package, and how it finds the platform.
const NAME: &str = "rootlet-app";
const PLATFORM: &str = "../../boards/common";

/// Makes the folder.
pub fn task(args: &NewArgs) -> Result<()> {
    let dir = &args.dir;
    let said = || dir.display().to_string();
    let name = absolute(dir).with_context(said)?;
    let name = name.file_name().and_then(|name| name.to_str()).filter(|name| is_name(name));
    let name = name.ok_or_else(|| {
        let dir = dir.display();
        usage(format!(
            "{dir}: its last part is to name the package: ASCII letters, digits, - and _, a letter \
             first"
        ))
    })?;
    let platform = workspace().join("boards/common").canonicalize().context("boards/common")?;
    let platform = platform.to_str().context("the name of the checkout is not text")?;
    fs::create_dir(dir).with_context(said)?;
    for file in FILES {
        let from = workspace().join("examples/app").join(file);
        let text = fs::read_to_string(&from).with_context(|| from.display().to_string())?;
        let text = match file {
            "Cargo.lock" => text.replace(&quoted(NAME), &quoted(name)),
            "Cargo.toml" => text
                .replace(&quoted(NAME), &quoted(name))
                .replace(&quoted(PLATFORM), &quoted(platform)),
            _ => text,
        };
        write(&dir.join(file), &text)?;
    }
    say!("{}: cargo build --release", dir.display());
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let said = || file.display().to_string();
    fs::create_dir_all(file.parent().context("a file in a folder")?).with_context(said)?;
    fs::write(file, text).with_context(said)
}

/// Returns a text as TOML has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns whether cargo takes a text as the name of a package.
fn is_name(text: &str) -> bool {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_are_those_that_cargo_takes() {
        for (text, is) in
            [("a", true), ("my-app_2", true), ("2a", false), ("a b", false), ("", false)]
        {
            assert_eq!(is_name(text), is, "{text:?}");
        }
    }

    #[test]
    fn template_has_what_is_replaced() {
        let manifest = fs::read_to_string(workspace().join("examples/app/Cargo.toml")).unwrap();
        for text in [NAME, PLATFORM] {
            assert_eq!(manifest.matches(&quoted(text)).count(), 1, "{text}");
        }
    }
}
