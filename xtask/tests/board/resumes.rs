//! Machines that are resumed from a snapshot, twice from one: what tells the two apart.
//!
//! Always: each machine reads the right bytes to its end, even if the other wrote the region
//! meanwhile.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::boot::{Boot, Outcome, allocated, qmp, qmp_with};
use crate::regions::MANIFEST;
use crate::sample::Sample;

/// So slow that there is time to take the snapshot.
const SLOW: [&str; 4] = [
    "--drive-opt",
    "blob1=throttling.iops-total=60",
    "--drive-opt",
    "blob2=throttling.iops-total=60",
];
/// What the log says of a region that somebody else writes.
const NOTICED: &str = "read-only for this mount: another machine writes it";

/// Starts a boot of the sample with a region, a log, and QEMU's `more` words.
fn start(board: &str, sample: &Sample, more: &[&str]) -> Boot {
    let socket = sample.path("qmp");
    let _ = fs::remove_file(&socket);
    let socket = format!("unix:{},server=on,wait=off", socket.display());
    let more = [&["-qmp", &socket], more].concat();
    let mut words = vec!["--board", board, "--log", "info"];
    words.extend(SLOW);
    words.extend(more.iter().flat_map(|word| ["--qemu-arg", word]));
    words.extend(MANIFEST);
    Boot::start(sample.cached(&words))
}

/// Waits until the machine writes its region.
fn wait(boot: &mut Boot, sample: &Sample) {
    while allocated(&sample.path("region")) < 512 << 10 {
        assert!(!boot.has_ended(), "it ended before it could be stopped");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Moves the machine into the file `state` while it runs.
fn suspend(mut boot: Boot, sample: &Sample) {
    let socket = sample.path("qmp");
    let uri = format!("exec:cat > {}", sample.path("state").display());
    qmp_with(&socket, "migrate", &json!({ "uri": uri }));
    while !qmp(&socket, "query-migrate").contains("\"completed\"") {
        assert!(!boot.has_ended(), "it ended before its memory was kept");
        thread::sleep(Duration::from_millis(5));
    }
    boot.kill("qemu-system");
    boot.end();
}

/// Starts a machine that continues from the file `state`.
fn resume(board: &str, sample: &Sample, more: &[&str]) -> Boot {
    let incoming = format!("exec:cat {}", sample.path("state").display());
    start(board, sample, &[&["-incoming", &incoming], more].concat())
}

/// Checks that the guest printed the end of what the host's library prints.
fn assert_right(board: &str, sample: &Sample, outcome: &Outcome) {
    assert_eq!(outcome.status, Some(0), "{board}: {}", outcome.stderr);
    assert!(sample.manifest().ends_with(&outcome.stdout), "{}", outcome.stderr);
}

/// On virt-riscv64 a machine that QEMU 7.2 resumes does not continue.
#[test]
fn two_machines_out_of_one_snapshot_notice_each_other() {
    for board in ["q35", "virt-aarch64"] {
        let sample = Sample::new();
        let mut boot = start(board, &sample, &[]);
        wait(&mut boot, &sample);
        suspend(boot, &sample);
        let first = resume(board, &sample, &[]).end();
        assert_right(board, &sample, &first);
        assert!(!first.stderr.contains(NOTICED), "{board}: {}", first.stderr);
        let second = resume(board, &sample, &[]).end();
        assert_right(board, &sample, &second);
        assert!(second.stderr.contains(NOTICED), "{board}: {}", second.stderr);
    }
}

/// Returns sixteen bytes of memory, as QEMU sees them.
fn memory(socket: &Path, at: &str) -> String {
    let line = json!({ "command-line": format!("xp /16xb {at}") });
    let answer = qmp_with(socket, "human-monitor-command", &line);
    let bytes = answer.split("0x").skip(1).map(|byte| byte.get(..2).unwrap());
    bytes.collect()
}

#[test]
fn generation_is_where_the_guest_looks_and_changes_with_a_resume() {
    let sample = Sample::new();
    let device = |guid: &str| format!("vmgenid,guid={guid}");
    let [first, second] =
        ["324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87", "00112233-4455-6677-8899-aabbccddeeff"];
    let outcome = start("q35", &sample, &["-device", &device(first)]).end();
    assert_right("q35", &sample, &outcome);
    let (_, at) = outcome.stderr.split_once("the machine's generation is at ").unwrap();
    let at = at.split_whitespace().next().unwrap();
    fs::remove_file(sample.path("region")).unwrap();
    let mut boot = start("q35", &sample, &["-device", &device(first)]);
    wait(&mut boot, &sample);
    // The first three parts of a guid are little-endian.
    assert_eq!(memory(&sample.path("qmp"), at), "af6e4e32d1d1f64bbf41b9bb6c91fb87");
    suspend(boot, &sample);
    let mut boot = resume("q35", &sample, &["-device", &device(second)]);
    assert_ne!(boot.first_byte(), 0);
    assert_eq!(memory(&sample.path("qmp"), at), "33221100554477668899aabbccddeeff");
    assert_right("q35", &sample, &boot.end());
}
