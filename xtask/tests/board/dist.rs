//! The folder of `dist`: what its README says is done by hand here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Options, Tree, build};

use crate::matrix::show;
use crate::monitors::MONITORS;

/// Runs lines of a shell in the folder, the last of them in its place, for at most four minutes;
/// gives what they wrote.
fn run_in(dir: &Path, lines: &str) -> String {
    let log = dir.join("says.txt");
    let (before, last) = lines.rsplit_once('\n').unwrap_or(("", lines));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}\nexec {last}")]).current_dir(dir).stdin(Stdio::null());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.join("bin")).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(dirs).unwrap());
    let output = fs::File::create(&log).unwrap();
    let mut child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(240);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{lines} did not end: {}", fs::read_to_string(&log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::read_to_string(&log).unwrap()
}

/// Returns what stands in the README for a shell: the heading before it, the line before it, and
/// its lines.
fn blocks(readme: &str) -> Vec<(&str, &str, String)> {
    let (mut heading, mut before, mut open) = ("", "", None::<Vec<&str>>);
    let mut blocks = Vec::new();
    for line in readme.lines() {
        match &mut open {
            Some(lines) if line == "```" => {
                blocks.push((heading, before, lines.join("\n")));
                open = None;
            }
            Some(lines) => lines.push(line),
            None if line == "```sh" => open = Some(Vec::new()),
            None => {
                heading = line.strip_prefix("### ").unwrap_or(heading);
                before = line;
            }
        }
    }
    blocks
}

/// Makes the monitors of this machine known by their names in `dir`; why others are not there.
fn link_monitors(dir: &Path) -> Vec<(&'static str, String)> {
    fs::create_dir(dir.join("bin")).unwrap();
    let mut missing = Vec::new();
    for monitor in MONITORS.iter().filter(|monitor| monitor.variable.is_some()) {
        match monitor.present() {
            Ok(file) => {
                std::os::unix::fs::symlink(file, dir.join("bin").join(monitor.program)).unwrap();
            }
            Err(why) => missing.push((monitor.title, why)),
        }
    }
    missing
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
    tree.file("/etc/hello", Content::seeded(3, 5000));
    let built = build(&tree, &Options::default()).unwrap();
    assert!(built.blobs.is_empty(), "its data lies within");
    built.image.write_to(&dir.join("root.erofs")).unwrap();
    let readme = fs::read_to_string(dir.join("README.md")).unwrap();
    let said = run_in(dir, "./rootlet ls -R root.erofs");
    assert!(said.contains("/etc:\nhello\n"), "{said}");
    let said = run_in(dir, "./rootlet boot root.erofs --accel tcg ls /etc");
    assert!(said.contains("hello") && said.contains("PASS "), "{said}");
    let missing = link_monitors(dir);
    let (mut table, mut booted) = (String::from("\ncommands of dist's README\n"), 0);
    let mut failures = String::new();
    for (monitor, before, lines) in blocks(&readme) {
        let image = files.iter().find(|file| lines.contains(*file)).expect(&lines);
        let size = fs::metadata(dir.join(image)).unwrap().len();
        assert!(size < 5 << 18, "{image} has {size} bytes");
        let missing = missing.iter().find(|(title, _)| *title == monitor).map(|(_, why)| why);
        let why = match before.strip_prefix("**Not run**: ") {
            Some(why) => Some(why.to_string()),
            None => missing.cloned(),
        };
        if let Some(why) = why {
            table.push_str(&format!("{monitor:16} {image:19} skipped: {why}\n"));
            continue;
        }
        let said = run_in(dir, &lines);
        let verdicts: Vec<_> = said.lines().filter(|line| line.starts_with("PASS ")).collect();
        let once = matches!(verdicts[..], [one] if one.starts_with("PASS files=1 "));
        if once && said.contains("{\"path\": \"/etc/hello\"") {
            table.push_str(&format!("{monitor:16} {image:19} ok\n"));
        } else {
            table.push_str(&format!("{monitor:16} {image:19} FAIL\n"));
            failures.push_str(&format!("{monitor} {image}\n{lines}\n{said}\n"));
        }
        booted += 1;
    }
    show(&table);
    assert!(failures.is_empty(), "\n{failures}");
    let images = files.iter().filter(|name| name.ends_with(".elf") || name.ends_with(".Image"));
    assert!(booted >= images.count(), "QEMU boots each: {table}");
}

#[test]
fn dry_run_prints_commands_that_boot_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let missing = link_monitors(dir);
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
    for monitor in &MONITORS {
        if missing.iter().any(|(title, _)| *title == monitor.title) {
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["--dry-run", "--monitor", monitor.name, "--image"]).arg(&image);
        let printed = command.args(["--", "stat", "/hello"]).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let lines = String::from_utf8(printed.stdout).unwrap();
        let said = run_in(dir, lines.trim_end());
        assert!(said.contains("\nPASS files=0 "), "{lines}\n{said}");
    }
}
