//! The public items of each crate, beside those that were reviewed last.
//!
//! ```text
//! UPDATE_SNAPSHOTS=yes cargo test -p rootlet --test published public_items
//! ```
//! writes what there is. `public-api` reads rustdoc's JSON, whose form changes with the compiler: a
//! toolchain of another version than that of `rust-toolchain.toml` may want another `public-api`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{LIBRARY, cargo, output};
use public_api::{Builder, PublicApi};
use serde_json::Value;

/// The most types, traits, functions and constants that a user of `rootlet` finds.
const ITEMS_MAX: usize = 250;

/// Writes the JSON of a crate with all its features, and returns the file.
fn json(name: &str) -> PathBuf {
    let mut cargo = cargo();
    cargo.args(["rustdoc", "--locked", "--package", name, "--lib", "--all-features", "--"]);
    cargo.args(["-Zunstable-options", "--output-format", "json"]);
    // The JSON is unstable; so a stable compiler writes it too.
    output(cargo.env("RUSTC_BOOTSTRAP", "1"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published/doc");
    made.join(name.replace('-', "_")).with_extension("json")
}

fn api(json: &Path) -> PublicApi {
    let builder = Builder::from_rustdoc_json(json);
    let builder = builder.omit_blanket_impls(true).omit_auto_trait_impls(true);
    builder.omit_auto_derived_impls(true).build().unwrap()
}

/// The types of `rootlet-base` that `rootlet` hands on; of `rootlet-crypt`,
/// `rootlet-trust` and `rootlet-verity` none.
const OF_BASE: usize = 3;

/// Returns the number of types, traits, functions and constants of a crate: no modules, fields,
/// variants, methods or re-exports.
fn named(json: &Path) -> usize {
    let json: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let (paths, index) = (json["paths"].as_object().unwrap(), json["index"].as_object().unwrap());
    let own = paths.iter().filter(|(id, path)| path["crate_id"] == 0 && index.contains_key(*id));
    own.filter(|(_, path)| path["kind"] != "variant" && path["kind"] != "module").count()
}

#[test]
fn public_items_are_those_that_were_reviewed() {
    let mut sum = (0, 0);
    for name in LIBRARY {
        let json = json(name);
        let (api, named) = (api(&json), named(&json));
        let all = api.items().count();
        println!("{name}: {named} items, {all} with fields, variants, methods and impls");
        let found = match name {
            "rootlet-base" => OF_BASE,
            "rootlet-crypt" | "rootlet-trust" | "rootlet-verity" => 0,
            _ => named,
        };
        sum = (sum.0 + found, sum.1 + all);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published");
        api.assert_eq_or_update(file.join(name).with_extension("txt"));
    }
    println!(
        "rootlet with what it hands on: {} items, {} with fields, variants, methods and impls",
        sum.0, sum.1
    );
    assert!(sum.0 <= ITEMS_MAX, "{} public items, the bar is {ITEMS_MAX}", sum.0);
}
