//! Lists of which an entry cannot be read: its row is absent, all others are whole, and the fault
//! is reported with its path.
//!
//! Always: the rows here are those that a board sends and the host tool shows.

use embedded_io::ErrorKind;
use rootlet::storage::IoErrorKind;
use rootlet_guest::{Command, CommandError, Memory, Runner, Scratch};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage};
use rootlet_sim::image::{Built, Content, FileLayout, Inodes, Options, Tree, XattrPlace, build};
use serde_json::Value;

use crate::guest::Guest;
use crate::mount;

const HEAP_BYTES: usize = 64 << 20;

/// How a command ended.
struct Ran {
    rows: Vec<String>,
    notices: Vec<String>,
    error: Option<String>,
}

fn run(guest: &Guest<SimStorage>, words: [&str; 2]) -> Ran {
    run_in(&Memory::of_heap(HEAP_BYTES), guest, words)
}

fn run_in(memory: &Memory, guest: &Guest<SimStorage>, words: [&str; 2]) -> Ran {
    let command = Command::parse(&words.map(str::to_owned)).unwrap();
    let (mut output, mut notices): (Vec<u8>, Vec<String>) = Default::default();
    let mut scratch = Scratch::new(&command, memory);
    let mut notice = |line: std::fmt::Arguments<'_>| notices.push(line.to_string());
    let mut runner = Runner::new(&guest.root, &mut output, &mut scratch).noticed(&mut notice);
    let error = runner.run(&command).err().map(|error| error.to_string());
    let rows = String::from_utf8(output).unwrap().lines().map(str::to_owned).collect();
    Ran { rows, notices, error }
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for name in ["a", "b", "c", "d"] {
        let meta = tree.file(format!("/dir/{name}"), Content::seeded(1, 20_000));
        meta.xattrs.push(("user.name".into(), b"value".to_vec()));
        meta.xattrs.push(("trusted.note".into(), vec![7; 3000]));
    }
    tree.symlink("/dir/link", "a");
    tree.file("/last", Content::bytes(*b"last"));
    tree
}

fn sound() -> Built {
    let options = Options {
        inodes: Inodes::Extended,
        xattrs: XattrPlace::SharedIfRepeated,
        layout: FileLayout::Inline,
        ..Options::default()
    };
    build(&tree(), &options).unwrap()
}

/// The rows of a command over an image without faults.
fn all_rows(words: [&str; 2]) -> Vec<String> {
    let ran = run(&mount::built(&sound()).unwrap().guest, words);
    assert_eq!((ran.error, ran.notices.len()), (None, 0), "{words:?}");
    ran.rows
}

/// The rows without the one that ends, or in `manifest` begins, with this path.
fn without(rows: Vec<String>, path: &str) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap();
    let is = |row: &String| {
        row.starts_with(&format!("{{\"path\": \"{path}\""))
            || row.ends_with(&format!(" {name}"))
            || row.ends_with(path)
    };
    let before = rows.len();
    let rows: Vec<String> = rows.into_iter().filter(|row| !is(row)).collect();
    assert_eq!(rows.len(), before - 1, "{path}");
    rows
}

#[test]
fn one_bad_inode_costs_its_own_row_and_no_other() {
    let mut built = sound();
    let image = &mut built.image;
    let nid = image.nid("/dir/b");
    image.patch(image.inode_at("/dir/b") + 4, &0_u16.to_le_bytes());
    let fault = format!("/dir/b: corrupt image: mode 0o0 of nid {nid} has no file type");
    for words in [["ls", "/dir"], ["ls", "/dir/"], ["sum", "/"], ["manifest", "/"]] {
        let ran = run(&mount::built(&built).unwrap().guest, words);
        assert_eq!(ran.rows, without(all_rows(words), "/dir/b"), "{words:?}");
        assert_eq!(ran.notices, [&*fault], "{words:?}");
        assert_eq!(ran.error.as_deref(), Some(&*fault), "{words:?}");
    }
}

#[test]
fn xattrs_that_cannot_be_read_cost_the_row_that_shows_them() {
    let mut built = sound();
    let body = built.image.locate("/dir/c").xattr_at.unwrap();
    built.image.patch(body + 4, &[255]);
    let guest = &mount::built(&built).unwrap().guest;
    // Whether the bytes lie elsewhere is said there, too.
    for words in [["manifest", "/"], ["sum", "/"]] {
        let ran = run(guest, words);
        assert_eq!(ran.rows, without(all_rows(words), "/dir/c"));
        assert_eq!(ran.notices.len(), 1);
        assert!(ran.notices[0].starts_with("/dir/c: corrupt image: "), "{:?}", ran.notices);
        assert_eq!(ran.error.as_ref(), ran.notices.first());
    }
    let ran = run(guest, ["ls", "/dir"]);
    assert_eq!((ran.rows, ran.error), (all_rows(["ls", "/dir"]), None));
}

/// The header of a body says how many shared xattrs there are. A reader of the body looks at that,
/// whatever its filter of names says.
#[test]
fn header_of_xattrs_that_cannot_be_is_told_though_the_filter_rules_the_name_out() {
    let mut built = sound();
    // The feature of filters, which rule out all names here.
    built.image.patch(1024 + 8, &[2 | 4]);
    let guest = &mount::built(&built).unwrap().guest;
    let [sums, list] = [["sum", "/"], ["ls", "/dir"]].map(|words| run(guest, words).rows);
    let body = built.image.locate("/dir/c").xattr_at.unwrap();
    built.image.patch(body + 4, &[255]);
    let guest = &mount::built(&built).unwrap().guest;
    let ran = run(guest, ["sum", "/"]);
    assert_eq!(ran.rows, without(sums, "/dir/c"));
    assert!(ran.error.unwrap().contains("has 255 shared xattrs in a body of "));
    // The list shows no xattrs, and looks at none.
    let ran = run(guest, ["ls", "/dir"]);
    assert_eq!((ran.rows, ran.error), (list, None));
}

#[test]
fn several_faults_are_told_one_by_one_and_counted_at_the_end() {
    let mut built = sound();
    let image = &mut built.image;
    for path in ["/dir/b", "/dir/d", "/last"] {
        image.patch(image.inode_at(path) + 4, &0_u16.to_le_bytes());
    }
    let ran = run(&mount::built(&built).unwrap().guest, ["manifest", "/"]);
    let places: Vec<&str> =
        ran.notices.iter().map(|told| told.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["/dir/b", "/dir/d", "/last"]);
    assert_eq!(ran.error.unwrap(), format!("{}; and 2 more", ran.notices[0]));
}

#[test]
fn damaged_directory_costs_its_entries_and_what_comes_after_it_is_listed() {
    let mut built = sound();
    let nid = built.image.nid("/dir");
    let entry = built.image.dirent_at("/dir/b");
    // The second name begins before the first.
    built.image.patch(entry + 8, &1_u16.to_le_bytes());
    for words in [["sum", "/"], ["manifest", "/"]] {
        let ran = run(&mount::built(&built).unwrap().guest, words);
        assert!(ran.rows.last().unwrap().contains("/last"), "{words:?}: {:?}", ran.rows);
        let told = format!("/dir: corrupt image: directory nid {nid} block 0 ");
        assert!(ran.notices[0].starts_with(&told), "{words:?}: {:?}", ran.notices);
        assert_eq!(ran.notices.len(), 1);
    }
    let ran = run(&mount::built(&built).unwrap().guest, ["ls", "/dir"]);
    assert!(ran.error.unwrap().starts_with("/dir: corrupt image: directory nid "));
}

/// Whatever read fails, and whatever of a row it was for.
fn rows_are_whole_or_absent(built: &Built, reads: u64) -> usize {
    let all = run(&mount::built(built).unwrap().guest, ["manifest", "/"]).rows;
    let mut absent = 0;
    for nth in 1..reads {
        let mount = mount::built(built).unwrap();
        let fault = Rule::new(Fault::Fail(IoErrorKind::Device(5))).op(OpKind::Read);
        mount.world.rule(fault.device(mount.devices[0]).nth(nth));
        let ran = run(&mount.guest, ["manifest", "/"]);
        for row in &ran.rows {
            assert!(serde_json::from_str::<Value>(row).is_ok(), "read {nth}: {row}");
            assert!(all.contains(row), "read {nth}: {row}");
        }
        assert_eq!(ran.error.is_some(), ran.rows.len() < all.len(), "read {nth}");
        assert_eq!(ran.error.is_some(), !ran.notices.is_empty(), "read {nth}");
        absent += all.len() - ran.rows.len();
    }
    absent
}

#[test]
fn rows_are_whole_or_absent_whichever_read_fails() {
    let absent = rows_are_whole_or_absent(&sound(), 80);
    assert!(absent > 3, "{absent}");
}

/// A tree with a file whose xattrs have 360,000 digits.
fn long_row() -> Tree {
    let mut tree = Tree::new();
    let meta = tree.file("/file", Content::bytes(*b"file"));
    for number in 0..6 {
        meta.xattrs.push((format!("user.{number}"), vec![number; 30_000]));
    }
    tree.file("/last", Content::bytes(*b"last"));
    tree
}

#[test]
fn long_rows_are_whole_or_absent_whichever_read_fails() {
    for xattrs in [XattrPlace::Inline, XattrPlace::Shared] {
        let options = Options { inodes: Inodes::Extended, xattrs, ..Options::default() };
        let absent = rows_are_whole_or_absent(&build(&long_row(), &options).unwrap(), 200);
        assert!(absent > 3, "{absent}");
    }
}

#[test]
fn row_with_long_xattrs_is_as_whole_as_any() {
    for xattrs in [XattrPlace::Inline, XattrPlace::Shared] {
        let options = Options { inodes: Inodes::Extended, xattrs, ..Options::default() };
        let ran = run(&mount::tree(&long_row(), &options).guest, ["manifest", "/"]);
        assert_eq!((ran.rows.len(), ran.error), (3, None));
        let row: Value = serde_json::from_str(&ran.rows[1]).unwrap();
        for number in 0..6 {
            let value = row["xattr"][format!("user.{number}")].as_str().unwrap();
            assert_eq!(value, format!("{number:02x}").repeat(30_000));
        }
    }
}

#[test]
fn row_that_memory_has_no_room_for_is_absent_and_says_how_long_it_is() {
    let options = Options { inodes: Inodes::Extended, ..Options::default() };
    let guest = &mount::tree(&long_row(), &options).guest;
    let text: usize = ", \"xattr\": {}".len() + 6 * "\"user.0\": \"\", ".len() - 2 + 360_000;
    let memory = |row| Memory { row, ..Memory::of_heap(HEAP_BYTES) };
    let ran = run_in(&memory(text), guest, ["manifest", "/"]);
    assert_eq!((ran.rows.len(), ran.error), (3, None));
    let ran = run_in(&memory(text - 1), guest, ["manifest", "/"]);
    let rows = run(guest, ["manifest", "/"]).rows;
    assert_eq!(ran.rows, without(rows, "/file"));
    let room = text - 1;
    let fault = format!(
        "/file: its xattrs are {text} bytes as text, and there is memory for {room} of them"
    );
    assert_eq!(ran.notices, [&*fault]);
    assert_eq!(ran.error, Some(fault));
}

/// An output that takes `room` bytes.
struct Full {
    room: usize,
}

impl embedded_io::ErrorType for Full {
    type Error = ErrorKind;
}

impl embedded_io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let len = bytes.len().min(self.room);
        self.room -= len;
        if len == 0 { Err(ErrorKind::OutOfMemory) } else { Ok(len) }
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[test]
fn output_that_fails_is_told_as_such_wherever_it_does() {
    let guest = &mount::built(&sound()).unwrap().guest;
    let list = [["ls", "/dir"], ["stat", "/dir/a"], ["stat", "/dir/link"], ["cat", "/last"]];
    for words in list.into_iter().chain([["sum", "/"], ["manifest", "/"]]) {
        let command = Command::parse(&words.map(str::to_owned)).unwrap();
        let mut scratch = Scratch::new(&command, &Memory::of_heap(HEAP_BYTES));
        let mut room = 0;
        let whole = loop {
            let mut runner = Runner::new(&guest.root, Full { room }, &mut scratch);
            match runner.run(&command) {
                Ok(()) => break room,
                Err(CommandError::Output(error)) => assert_eq!(error, ErrorKind::OutOfMemory),
                Err(other) => panic!("{words:?} with {room} bytes: {other}"),
            }
            // Each byte of the first lines, then some.
            room += if room < 300 { 1 } else { 37 };
        };
        assert!(whole > 3, "{words:?}: {whole}");
    }
}

#[test]
fn long_hole_says_how_far_its_sum_is() {
    let mut tree = Tree::new();
    tree.file("/hole", Content::hole(64 << 20));
    let options = Options { flat_holes: true, layout: FileLayout::Plain, ..Options::default() };
    let mount = mount::tree(&tree, &options);
    let world = &mount.world;
    let done = std::sync::atomic::AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                world.advance_ns(1_000_000_000);
                std::thread::yield_now();
            }
        });
        let ran = run(&mount.guest, ["sum", "/hole"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ran
    });
    assert_eq!((ran.rows.len(), ran.error), (1, None));
    let told = ran.notices.first().unwrap();
    assert!(told.starts_with("reading /hole: ") && told.ends_with(" of 64 MiB"), "{told}");
}
