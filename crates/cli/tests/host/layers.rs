//! Stacks of images on the host: every command, over files and over partitions of one disk.
//!
//! Always: what is compared with is what Linux's overlay shows of the same layers.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rootlet_rows::{differences, linux, of_manifest};
use tempfile::TempDir;

const FILES: &str = "--layer l1.erofs --layer l2.erofs --layer l3.erofs";
const DISK: &str = "--layers gpt.img@erofs-layer-*";

/// The layers, unpacked.
struct Layers(TempDir);

/// How a run ended.
#[derive(Debug)]
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Layers {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in rootlet_golden::layers() {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `rootlet LINE` in the folder of the layers.
    fn run(&self, line: &str) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(line.split(' ')).current_dir(self.0.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome {
            status: output.status.code().unwrap(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    fn passes(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!(outcome.status, 0, "{line}: {outcome:?}");
        outcome.stdout
    }
}

#[test]
fn every_command_reads_a_stack() {
    let layers = Layers::new();
    let linux = of_manifest(&fs::read(layers.path("overlay.jsonl")).unwrap());
    for stack in [FILES, DISK] {
        let manifest = layers.passes(&format!("manifest {stack} /"));
        let found = differences("rootlet", &of_manifest(manifest.as_bytes()), "Linux", &linux);
        assert!(found.is_empty(), "{stack}: {}", found.join("\n"));
        assert_eq!(layers.passes(&format!("ls {stack} /usr /opt")), "/usr:\nbin\n\n/opt:\nold\n");
        assert_eq!(layers.passes(&format!("cat {stack} /etc/motd")).len(), 8);
        let stat = layers.passes(&format!("stat --json {stack} /bin/ping"));
        assert!(stat.contains("user.note"), "{stat}");
        assert_eq!(layers.passes(&format!("sum -j 2 {stack} /")).lines().count(), 7);
        let check = layers.passes(&format!("check {stack}"));
        assert!(check.ends_with("the stack: 17 names, 0 faults\n"), "{check}");
    }
    let hidden = layers.run(&format!("cat {FILES} /opt/old/b"));
    assert!(hidden.status == 1 && hidden.stderr.contains("no such file"), "{hidden:?}");
}

#[test]
fn what_is_extracted_of_a_stack_is_what_linux_shows() {
    let layers = Layers::new();
    layers.passes(&format!("extract {DISK} out"));
    let ours = linux::rows(&layers.path("out/")).unwrap();
    let linux = of_manifest(&fs::read(layers.path("overlay.jsonl")).unwrap());
    let names = |rows: &rootlet_rows::Rows| {
        rows.iter().map(|(path, row)| (path.clone(), row.sha256.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&ours), names(&linux));
    assert_eq!(ours["usr/bin/sh"].nlink, Some(2), "a hard link of one layer");
}

#[test]
fn files_by_number_are_a_stack() {
    let layers = Layers::new();
    for number in 1..=3 {
        let to = layers.path(&format!("part-{}", number + 8));
        fs::copy(layers.path(&format!("l{number}.erofs")), to).unwrap();
    }
    fs::write(layers.path("part-9.dmverity"), "{}").unwrap();
    // 9, 10, 11.
    let rows = layers.passes("manifest --layers part-* /");
    assert_eq!(rows, layers.passes(&format!("manifest {FILES} /")));
    fs::remove_file(layers.path("part-10")).unwrap();
    let gap = layers.run("ls --layers part-*");
    assert!(gap.status == 2 && gap.stderr.contains("there is no number 10"), "{gap:?}");
    let none = layers.run("ls --layers none-*");
    assert!(none.status == 2 && none.stderr.contains("no file has a number"), "{none:?}");
}

#[test]
fn image_in_a_partition_is_read_and_merged_images_have_no_fault() {
    let layers = Layers::new();
    let one = layers.passes("manifest gpt.img@name:erofs-layer-1 /");
    assert_eq!(one, layers.passes("manifest l2.erofs /"));
    for image in ["merged-strip1.erofs", "merged-nostrip.erofs"] {
        let blobs = "--blob 1=l1.erofs --blob 2=l2.erofs --blob 3=l3.erofs";
        let check = layers.passes(&format!("check {image} {blobs}"));
        assert!(check.contains(", 0 faults"), "{check}");
    }
    let in_parts = "--blob 1=gpt.img@name:erofs-layer-0 --blob 2=gpt.img@name:erofs-layer-1 \
                    --blob 3=gpt.img@name:erofs-layer-2";
    let parts = layers.passes(&format!("manifest merged-strip1.erofs {in_parts} /"));
    let linux = of_manifest(&fs::read(layers.path("overlay.jsonl")).unwrap());
    assert_eq!(of_manifest(parts.as_bytes()).len(), linux.len());
    // As the extents of a flat VMDK show it, the metadata and the layers one after the other.
    let extents = ["merged-strip1.erofs", "l1.erofs", "l2.erofs", "l3.erofs"];
    let flat = extents.map(|name| fs::read(layers.path(name)).unwrap()).concat();
    fs::write(layers.path("flat.img"), flat).unwrap();
    assert_eq!(layers.passes("manifest flat.img /"), parts);
    let check = layers.passes("check flat.img");
    assert!(check.contains(", 0 faults"), "{check}");
    fs::write(layers.path("short.img"), &fs::read(layers.path("flat.img")).unwrap()[..460_800])
        .unwrap();
    let short = layers.run("check short.img");
    assert!(short.status == 1 && short.stdout.contains("slot 3"), "{short:?}");
}

#[test]
fn line_that_names_no_stack_says_why() {
    let layers = Layers::new();
    fs::write(layers.path("text"), [b'x'; 4096]).unwrap();
    for (line, status, want) in [
        ("ls l1.erofs --layer l2.erofs", 2, "with --layer there is no IMAGE"),
        ("ls --layer gone.erofs", 2, "gone.erofs"),
        ("ls --layers gpt.img@name:none-*", 1, "its GPT has no such partition"),
        ("ls gpt.img@type:root", 1, "rootlet: gpt.img@type:root: disk@type:root: its GPT"),
        ("ls gpt.img@name:erofs-layer-0 --blob 1=l2.erofs", 1, "-0: a blob is given for slot 1"),
        ("ls --layers l1.erofs@name:a*", 1, "it has no valid GPT"),
        ("ls --layer l1.erofs --layer text", 1, "layer 2 (layer2): "),
        ("check --layer l1.erofs --layer text", 1, "layer 2 (layer2): "),
        ("ls --layer l1.erofs --blob 1.1=l2.erofs", 1, "a blob is given for slot 1"),
    ] {
        let outcome = layers.run(line);
        assert!(outcome.status == status && outcome.stderr.contains(want), "{line}: {outcome:?}");
    }
}
