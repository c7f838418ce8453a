//! `ls` as people type it, and what a program gets.

use std::fs;

use rootlet_sim::image::{Content, Inodes, Kind, Options, Tree};

use crate::run::World;

fn world() -> World {
    let mut tree = Tree::new();
    tree.file("/d/one", Content::seeded(1, 9000)).mode = 0o4755;
    tree.file("/d/.hidden", Content::bytes("h"));
    tree.file("/d/e/two", Content::seeded(2, 5)).mtime_s = 1_000_000_000;
    tree.symlink("/d/link", "one");
    tree.symlink("/to-dir", "d");
    tree.add("/null", Kind::CharDevice(1, 3), 0o666);
    World::new(&tree, &Options { inodes: Inodes::Extended, ..Options::default() })
}

#[test]
fn names_are_listed_and_those_with_a_dot_when_they_are_asked_for() {
    let world = world();
    let ls = |words: &[&str]| world.run(&[&["ls"], words].concat()).stdout;
    assert_eq!(ls(&["/d"]), ["e", "link", "one"]);
    assert_eq!(ls(&["-a", "/d"]), [".", "..", ".hidden", "e", "link", "one"]);
    assert_eq!(ls(&["-A", "/d"]), [".hidden", "e", "link", "one"]);
    assert_eq!(ls(&["/to-dir"]), ["e", "link", "one"], "a symlink to a directory is followed");
    assert_eq!(ls(&["-d", "/to-dir", "/d"]), ["/to-dir", "/d"]);
    assert_eq!(ls(&[]), ["d", "null", "to-dir"]);
}

#[test]
fn several_paths_and_trees_have_headings() {
    let world = world();
    let ls = |words: &[&str]| world.run(&[&["ls"], words].concat()).stdout;
    assert_eq!(ls(&["/d", "/d/e"]), ["/d:", "e", "link", "one", "", "/d/e:", "two"]);
    let all = ["/:", "d", "null", "to-dir", "", "/d:", "e", "link", "one", "", "/d/e:", "two"];
    assert_eq!(ls(&["-R"]), all);
    let mixed = ["/d/one", "/null", "", "/d/e:", "two"];
    assert_eq!(ls(&["/d/e", "/d/one", "/null"]), mixed, "files come first");
}

#[test]
fn symlink_whose_target_cannot_be_read_has_a_row() {
    let mut tree = Tree::new();
    tree.symlink("/link", "x".repeat(200));
    tree.file("/other", Content::bytes("o"));
    let options = Options { inodes: Inodes::Extended, ..Options::default() };
    let mut world = World::new(&tree, &options);
    // Compressed now, and what follows the inode is not a header of compressed data.
    let at = world.built.image.inode_at("/link");
    world.built.image.patch(at, &7_u16.to_le_bytes());
    for word in ["-l", "--json"] {
        let ran = world.run(&["ls", word]);
        assert_eq!((ran.status, ran.stdout.len()), (1, 2), "{ran:?}");
        assert!(ran.stdout[0].contains("link") && !ran.stdout[0].contains("->"), "{ran:?}");
        assert!(ran.stderr.starts_with("/link: "), "{ran:?}");
    }
}

#[test]
fn rows_have_columns() {
    let rows = world().run(&["ls", "-l", "/d", "/null"]).stdout;
    assert!(rows[0].starts_with("crw-rw-rw- ") && rows[0].contains(" 1, 3 "), "{rows:?}");
    assert_eq!(rows[1..3], ["", "/d:"]);
    assert!(rows[3].starts_with("drwxr-xr-x "), "{rows:?}");
    assert!(rows[4].ends_with(" link -> one"), "{rows:?}");
    assert!(rows[5].starts_with("-rwsr-xr-x ") && rows[5].contains(" 9000 "), "{rows:?}");
    let two = world().run(&["ls", "-l", "/d/e"]).stdout;
    assert!(two[0].ends_with(" 5 2001-09-09 01:46 two"), "{two:?}");
}

#[test]
fn json_has_an_object_a_line() {
    let world = world();
    let rows = world.run(&["ls", "--json", "-RA", "/"]).stdout;
    let rows: Vec<serde_json::Value> =
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    let expected =
        ["/d", "/null", "/to-dir", "/d/.hidden", "/d/e", "/d/link", "/d/one", "/d/e/two"];
    assert_eq!(paths, expected);
    assert_eq!(rows[1]["rdev"], serde_json::json!([1, 3]));
    assert_eq!(rows[2]["target"], "d");
    assert_eq!((&rows[6]["size"], &rows[6]["mode"]), (&9000.into(), &0o104_755.into()));
    let stat = world.run(&["stat", "--json", "/d/one", "/gone"]);
    assert_eq!((stat.status, stat.stdout.len()), (1, 1), "{stat:?}");
    assert!(stat.stderr.contains("rootlet: /gone: no such file"), "{stat:?}");
}

#[test]
fn path_that_is_not_there_is_told_and_the_others_are_served() {
    let world = world();
    for (command, lines) in [("ls", 3), ("cat", 1), ("sum", 1), ("stat", 9)] {
        let good = if command == "ls" { "/d" } else { "/d/e/two" };
        let ran = world.run(&[command, "/gone", good]);
        assert_eq!(ran.status, 1, "{command}: {ran:?}");
        assert!(ran.stderr.contains("rootlet: /gone: no such file or directory"), "{ran:?}");
        assert!(ran.stdout.len() >= lines, "{command}: {ran:?}");
    }
}

#[test]
fn colours_come_where_they_are_asked_for() {
    let world = world();
    let ls = |words: &[&str]| world.run(&[&["ls", "/d"], words].concat()).stdout.join("\n");
    assert!(!ls(&[]).contains('\x1b') && !ls(&["--color", "never"]).contains('\x1b'));
    assert!(ls(&["--color", "always"]).contains("\x1b[1m\x1b[34me\x1b[0m"));
}

#[test]
fn directory_inside_itself_is_listed_once() {
    let world = World::doubling(&Options { inodes: Inodes::Extended, ..Options::default() });
    let ran = world.run(&["ls", "-R"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("was listed under another name"), "{}", ran.stderr);
}

#[test]
fn settings_of_the_folder_name_image_blobs_and_region() {
    let mut tree = Tree::new();
    tree.file("/d/one", Content::seeded(1, 9000));
    let world = World::new(&tree, &Options { blobs: 1, ..Options::default() });
    world.run(&["ls", "/"]);
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    let text = "image = \"../image\"\nregion = \"region.img\"\nregion-size = \"4M\"\nblob.1 = \"../blob0\"\n";
    fs::write(folder.join("rootlet.toml"), text).unwrap();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let output = command.args(words).current_dir(&folder).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, listed, said) = run(&["ls", "/d"]);
    assert_eq!((status, listed.as_str()), (Some(0), "one\n"), "{said}");
    assert_eq!(run(&["sum", "/"]).1.lines().count(), 1);
    let (status, shown, said) = run(&["region", "show"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(shown.contains("superblock"), "{shown}");
    assert_eq!(run(&["extract", "out", "/d"]).0, Some(0));
    assert_eq!(fs::metadata(folder.join("out/one")).unwrap().len(), 9000);
    fs::write(folder.join("rootlet.toml"), "imago = 1").unwrap();
    let (status, _, said) = run(&["ls"]);
    assert!(
        status == Some(2) && said.contains("rootlet.toml: ") && said.contains("imago"),
        "{said}"
    );
    // Nothing that explains the program looks at the file.
    for line in ["--help", "ls --help", "help ls", "--version", "completions fish", "man pages"] {
        let (status, _, said) = run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((status, said.as_str()), (Some(0), ""), "{line}");
    }
    fs::write(folder.join("rootlet.toml"), "board = \"pc\"").unwrap();
    let (status, _, said) = run(&["boot", "../image"]);
    let words = "rootlet: rootlet.toml: invalid value 'pc' for '--board <BOARD>'";
    assert!(status == Some(2) && said.starts_with(words), "{said}");
    let away = run(&["ls", "--config", "/dev/null"]);
    assert!(away.0 == Some(2) && away.2.contains("no IMAGE given"), "{away:?}");
}

#[test]
fn completions_and_man_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(words).current_dir(dir.path()).output().unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("manifest"), "{shell}");
    }
    assert!(run(&["man", "pages"]).status.success());
    let page = fs::read_to_string(dir.path().join("pages/rootlet-ls.1")).unwrap();
    assert!(page.contains("recursive"), "{page}");
}
