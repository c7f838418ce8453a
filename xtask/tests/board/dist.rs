//! The folder of `dist`: what its README says is done by hand here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Options, Tree, build};

/// Runs a line in the folder, for at most two minutes; gives what it wrote.
fn run_in(dir: &Path, line: &str) -> String {
    let log = dir.join("says.txt");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]).current_dir(dir).stdin(Stdio::null());
    let output = fs::File::create(&log).unwrap();
    let mut child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{line} did not end: {}", fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::read_to_string(&log).unwrap()
}

#[test]
fn images_boot_with_the_commands_of_their_readme_and_sums_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let made = command.args(["dist", "--out"]).arg(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let checked = run_in(dir, "sha256sum -c SHA256SUMS");
    let files: Vec<&str> = checked.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    assert!(checked.lines().count() == files.len() && files.contains(&"README.md"), "{checked}");

    let mut tree = Tree::new();
    tree.file("/etc/hello", Content::seeded(3, 70_000));
    let built = build(&tree, &Options::default()).unwrap();
    assert!(built.blobs.is_empty(), "its data lies within");
    built.image.write_to(&dir.join("root.erofs")).unwrap();
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    let mut booted = 0;
    for line in readme.lines().filter(|line| line.starts_with("qemu-system-")) {
        let kernel = line.split_once(" -kernel ").unwrap().1.split(' ').next().unwrap();
        assert!(files.contains(&kernel), "{line}");
        let size = fs::metadata(dir.join(kernel)).unwrap().len();
        assert!(size < 512 << 10, "{kernel} has {size} bytes");
        let said = run_in(dir, line);
        assert!(said.contains("{\"path\": \"/etc/hello\""), "{line}\n{said}");
        let verdict = said.lines().last().unwrap_or_default();
        assert!(verdict.starts_with("PASS files=1 "), "{line}\n{said}");
        booted += 1;
    }
    let images = files.iter().filter(|name| name.ends_with(".elf") || name.ends_with(".Image"));
    assert_eq!(booted, images.count(), "{readme}");
    assert!(booted >= 1 && readme.contains("**Untested**"), "{readme}");
}
