//! Words that are refused at mount, each with its message.

use crate::world::{made, mount};

#[test]
fn words_that_leave_something_unverified_are_refused() {
    let made = made(1, 20_000);
    let (world, ..) = made.world();
    let line = made.line();
    let without = |word: &str| {
        let words: Vec<&str> = line.split(' ').filter(|one| !one.starts_with(word)).collect();
        words.join(" ")
    };
    let error = |line: &str| mount(&world, line).err().unwrap();
    assert_eq!(
        error(&without("verity2=")),
        "slot 2: nothing says what it is, and the image is verified: give verity2= or a line of the \
         seal"
    );
    assert_eq!(
        error(&without("verity=")),
        "command line: a blob is verified, and the image that leads to it is not: give verity="
    );
    assert_eq!(
        error(&format!("{line} verity3={}", made.parts[1].spec)),
        "verity3= names a slot that the image does not have; it has 2"
    );
    assert_eq!(error(&format!("{line} seal=s")), "command line: seal= needs root=sha256:HEX");
    let root = format!("root=sha256:{}", "0".repeat(64));
    assert_eq!(error(&format!("{line} {root}")), "command line: root=sha256: needs seal=");
    assert_eq!(
        error(&format!("{line} seal=s {root}")),
        "command line: seal= says what all are, and so does verity="
    );
    assert_eq!(
        error("image=image verity=data_blocks=3"),
        "command line: verity=: root_hash is missing; it cannot be taken from the disk"
    );
    assert!(error(&format!("{line} verity1=")).contains("is given a second time"));
    assert!(error(&line.replace("verity=", "verty=")).contains("did you mean verity=?"));
    assert!(error(&line.replace("verity=", "verity-=")).contains("expected verityN="));
    assert_eq!(
        error(&format!("{line} verity0=x")),
        r#"command line: "verity0=x": expected verityN= with a device slot N from 1 to 65535"#
    );
}

#[test]
fn storage_that_verifies_nothing_says_so() {
    let made = made(1, 20_000);
    let (world, ..) = made.world();
    let error = crate::guest::Guest::mount(world.attach(), &made.line(), 1).err().unwrap();
    assert_eq!(error, "verity=, seal= or objects= is given, and this program verifies no digests");
}

#[test]
fn tree_or_source_that_is_not_there_is_named() {
    let made = made(1, 20_000);
    let (world, data, trees) = made.world();
    world.set_gone(trees[1], true);
    let error = mount(&world, &made.line()).err().unwrap();
    assert!(error.starts_with("slot 1: "), "{error}");
    world.set_gone(trees[1], false);
    world.resize(trees[1], 512);
    let error = mount(&world, &made.line()).err().unwrap();
    assert_eq!(error, "slot 1: its tree has 512 bytes, and needs 4096");
    let (world, ..) = made.world();
    world.set_gone(data[2], true);
    let error = mount(&world, &made.line()).err().unwrap();
    assert!(error.contains("slot 2"), "{error}");
}
