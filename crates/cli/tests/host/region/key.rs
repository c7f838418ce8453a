//! A region with a key, through the tool: made, read, looked at, and left alone.

use std::fs;

use super::{BYTES, Scene, tool};
use crate::run::Outcome;

/// Reads all files of the scene's image, with these words about the region.
fn sum(scene: &Scene, words: &[&str]) -> Outcome {
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let blobs = ["1", "2"].map(|slot| {
        format!("--blob={slot}={}", path(&format!("blob{}", slot.parse::<u8>().unwrap() - 1)))
    });
    let (image, region) = (path("image"), path("region.img"));
    let all = ["sum", "-v", &image, &blobs[0], &blobs[1], "--region", &region];
    let outcome = tool(&[&all, words, &["/"]].concat());
    assert_eq!((outcome.status, outcome.stdout.len()), (0, 2), "{outcome:?}");
    outcome
}

/// An image with blobs, a blank area for a region, and keys.
fn scene() -> (Scene, [String; 2]) {
    let scene = Scene::used();
    scene.write(&vec![0; BYTES as usize]);
    let keys = [("key", 1), ("other", 2)].map(|(name, byte)| {
        let path = scene.path(name);
        fs::write(&path, [byte; 32]).unwrap();
        path.to_str().unwrap().to_owned()
    });
    (scene, keys)
}

#[test]
fn region_with_a_key_is_read_with_it_alone() {
    let (scene, [key, other]) = scene();
    let cold = sum(&scene, &["--cache-key", &key]);
    assert!(cold.stderr.contains("region  disk cache: 0 of "), "{cold:?}");
    let warm = sum(&scene, &["--cache-key", &key]);
    assert!(warm.stderr.contains(" fetched 0 bytes"), "{warm:?}");
    assert_eq!(warm.stdout, cold.stdout);
    let before = scene.bytes();
    assert!(before.starts_with(b"RLCRYPT\x1a"));
    let word = b"whole.blob";
    assert!(!before.windows(word.len()).any(|window| window == word), "the tag of a blob");
    for (words, why) in [
        (&["--cache-key", &other][..], "it is encrypted with another key than the given one"),
        (&[], "it is encrypted, and no key was given (cache-key=)"),
    ] {
        let outcome = sum(&scene, words);
        assert!(outcome.stderr.contains(&format!("region  not used: {why}")), "{outcome:?}");
        let advice =
            format!("format --force{}`", if words.is_empty() { "" } else { " --cache-key FILE" });
        assert!(outcome.stderr.contains(&advice), "{outcome:?}");
        assert_eq!(outcome.stdout, cold.stdout);
    }
    assert!(scene.bytes() == before, "it is left as it is");
}

#[test]
fn look_at_a_region_with_a_key_takes_the_key() {
    let (scene, [key, other]) = scene();
    let made = scene.expect(&["format", "--cache-key", &key], 0);
    assert!(made.stdout[0].contains("slots of 64 KiB"), "{made:?}");
    sum(&scene, &["--cache-key", &key]);
    let shown = scene.expect(&["show", "--cache-key", &key, "--pages"], 0);
    assert!(shown.stdout.iter().any(|line| line.contains("whole.blob")), "{shown:?}");
    scene.expect(&["check", "--cache-key", &key], 0);
    let before = scene.bytes();
    for words in [&["show"][..], &["check"], &["drop", "whole.blob"], &["format"]] {
        let refused = scene.expect(words, 1);
        let why = "it is encrypted, and no key was given (--cache-key FILE)";
        assert!(refused.stderr.contains(why), "{refused:?}");
        let refused = scene.expect(&[words, &["--cache-key", &other]].concat(), 1);
        assert!(refused.stderr.contains("with another key than the given one"), "{refused:?}");
        assert!(
            refused.stderr.contains("format --force --cache-key FILE` overwrites it"),
            "{refused:?}"
        );
    }
    let again = scene.expect(&["format", "--cache-key", &key], 1);
    assert!(again.stderr.contains("the area holds the region"), "{again:?}");
    assert!(scene.bytes() == before, "it is left as it is");
    scene.expect(&["drop", "whole.blob", "--cache-key", &key], 0);
    scene.expect(&["check", "--cache-key", &key], 0);
    scene.expect(&["format", "--force", "--cache-key", &other], 0);
    scene.expect(&["check", "--cache-key", &other], 0);
}

#[test]
fn region_without_encryption_is_no_region_with_a_key() {
    let scene = Scene::used();
    let key = scene.path("key");
    fs::write(&key, [1; 32]).unwrap();
    let before = scene.bytes();
    for words in [&["show"][..], &["check"], &["format"]] {
        let words = [words, &["--cache-key", key.to_str().unwrap()]].concat();
        let refused = scene.expect(&words, 1);
        let why = "it is not encrypted, and a key was given (leave --cache-key out to use it)";
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert!(scene.bytes() == before);
}

#[test]
fn bad_key_is_told_by_its_file() {
    let (scene, [key, _]) = scene();
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    for (name, bytes) in [("empty", 0), ("short", 15), ("long", 1025)] {
        fs::write(scene.path(name), vec![7; bytes]).unwrap();
    }
    let next = "; a key has 16 to 1024 random ones: head -c 32 /dev/urandom > FILE";
    for (name, why) in [
        ("empty", format!("the key is empty{next}")),
        ("short", format!("the key has 15 bytes{next}")),
        ("long", format!("the key has more than 1024 bytes{next}")),
    ] {
        let refused = scene.expect(&["format", "--cache-key", &path(name)], 2);
        assert!(
            refused.stderr.contains(&format!("--cache-key {}: {why}", path(name))),
            "{refused:?}"
        );
        let told = sum(&scene, &["--cache-key", &path(name)]);
        assert!(told.stderr.contains(&why), "{told:?}");
    }
    let absent = scene.expect(&["format", "--cache-key", &path("absent")], 2);
    assert!(absent.stderr.contains("No such file"), "{absent:?}");
    let shared = scene.expect(&["format", "--cache-key", "share:key"], 2);
    assert!(shared.stderr.contains("--cache-key is a file here"), "{shared:?}");
    let (image, unused) = (path("image"), path("unused"));
    for (words, why) in [
        (&["sum", &image, "--cache-key", &key][..], "--cache-key needs a --region"),
        (
            &["sum", &image, "--region", &unused, "--cache-key", "share:k"],
            "--cache-key share:... needs",
        ),
        (&["sum", &image, "--region", &unused, "--cache-key", "share:"], "the name is empty"),
        (
            &["sum", &image, "--region", &unused, "--cache-key", "/no/key"],
            "/no/key (cache-key): No such",
        ),
    ] {
        let refused = tool(words);
        assert!(refused.status == 2 && refused.stderr.contains(why), "{refused:?}");
    }
}
