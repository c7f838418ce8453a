//! The mount of a stack, and of a composefs image, beside Linux's own of the same: every row the same.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rootlet_golden::{composefs, layers};
use rootlet_rows::linux::{Mounted, overlay, rows, unable};
use rootlet_rows::{differences, of_manifest};

use crate::mounted::{Mount, folder, is_able, say};

/// Returns the differences between what a mount of these words shows, and the rows of a manifest.
fn against_rows(words: &[OsString], manifest: &Path) -> Vec<String> {
    let mount = Mount::of(words);
    let ours = rows(&mount.at("")).unwrap();
    mount.end();
    assert!(ours.len() > 10);
    differences("the mount", &ours, "Linux", &of_manifest(&fs::read(manifest).unwrap()))
}

#[test]
fn stack_looks_as_linux_shows_it() {
    if !is_able() {
        return;
    }
    let dir = folder();
    for (name, bytes) in layers() {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let path = |name: &str| dir.path().join(name);
    let files: Vec<_> = (1..=3).map(|number| path(&format!("l{number}.erofs"))).collect();
    let by_file: Vec<OsString> =
        files.iter().flat_map(|file| ["--layer".into(), file.clone().into()]).collect();
    let parts = format!("{}@erofs-layer-*", path("gpt.img").display());
    for words in [by_file.clone(), vec!["--layers".into(), parts.into()]] {
        let found = against_rows(&words, &path("overlay.jsonl"));
        assert!(found.is_empty(), "{words:?}: {}", found.join("\n"));
    }
    if let Some(why) = unable(&files[0]) {
        say(&format!("skipped: not compared with Linux's own mount: {why}"));
        return;
    }
    let mounts: Vec<_> = files.iter().map(|file| Mounted::new(file, &[]).unwrap()).collect();
    let mut theirs = overlay(&mounts).unwrap().rows().unwrap();
    // Linux says 1 of merged ones alone.
    theirs
        .values_mut()
        .filter(|row| row.mode & 0o170_000 == 0o040_000)
        .for_each(|row| row.nlink = Some(1));
    let mount = Mount::of(&by_file);
    let ours = rows(&mount.at("")).unwrap();
    // What a whiteout hides is not there by its name either.
    assert!(!mount.at("opt/old/b").exists() && mount.at("opt/old").is_dir());
    mount.end();
    let found = differences("the mount", &ours, "Linux's mount", &theirs);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn composefs_image_looks_as_linux_shows_it() {
    if !is_able() {
        return;
    }
    let dir = folder();
    composefs(dir.path());
    let path = |name: &str| dir.path().join(name);
    let own = folder();
    let words: [OsString; 4] =
        [path("image.cfs").into(), own.path().into(), "--objects".into(), path("objects").into()];
    let mount = Mount::start(own.path(), words.into_iter());
    let ours = rows(&mount.at("")).unwrap();
    mount.end();
    let linux = of_manifest(&fs::read(path("overlay.jsonl")).unwrap());
    let found = differences("the mount", &ours, "Linux", &linux);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
