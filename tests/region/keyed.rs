//! Regions with a key: against power cuts, faults, and an enemy who has the disk and not the key.
//!
//! Always: whatever is done to the disk, every read is right and none fails; what is refused is left
//! as it is, and named.

use std::collections::HashSet;

use rootlet::storage::Parts;
use rootlet_power::case::{runs, sweep};
use rootlet_power::machine::{KEY, Machine, START, Scale};
use rootlet_power::mix::keyed;
use rootlet_power::run::{Plan, run};
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Sparse, StableImage, Survive};

use crate::guest::Guest;

/// Bytes of a piece that is looked for on a disk.
const PIECE: usize = 16;

/// Mounts the first sample of a machine, with these words about its region.
fn mount(machine: &Machine, words: &str, boot: u8) -> Guest<Parts<SimStorage>> {
    let line = format!("image=image0 {words}");
    Guest::mount(Parts::new(machine.world.attach()), &line, boot).unwrap()
}

/// The words for the whole area of the region, header and all.
fn area(machine: &Machine) -> String {
    format!("cache=region@0+{}", (START + machine.bytes()) / 512)
}

/// As [`area`], with the key on a disk.
fn with_key(machine: &Machine) -> String {
    format!("{} cache-key=key", area(machine))
}

/// Reads every file, and compares. Returns how many bytes came from the sources.
fn read_all(machine: &Machine, guest: &mut Guest<Parts<SimStorage>>) -> u64 {
    for file in &machine.samples[0].files {
        assert!(guest.run(&["cat", &file.path]).unwrap() == file.bytes, "{}", file.path);
    }
    guest.counters().read.fetched_bytes
}

/// A machine with the key on a disk, and a region that a guest has filled and left in order.
fn filled(seed: u64) -> Machine {
    let machine = Machine::of(Scale::Keyed, seed);
    machine.world.disk("key", 512, padded(KEY));
    fill(&machine, &with_key(&machine));
    machine
}

fn fill(machine: &Machine, words: &str) {
    let mut guest = mount(machine, words, 1);
    read_all(machine, &mut guest);
    assert!(guest.root.leave(std::time::Duration::from_secs(60)));
}

/// A key as a disk has it.
fn padded(key: &[u8]) -> Sparse {
    let mut disk = Sparse::zeros((key.len() as u64).next_multiple_of(512).max(512));
    disk.write(0, key);
    disk
}

/// The region's disk as it is.
fn disk_of(machine: &Machine) -> StableImage {
    machine.world.crash_image(machine.disk, Survive::Everything)
}

/// The notices of a mount about the region.
fn told(guest: &Guest<Parts<SimStorage>>) -> Vec<&str> {
    let lines = guest.notices.iter().map(String::as_str);
    lines.filter(|line| line.starts_with("region")).collect()
}

#[test]
fn histories_with_cuts_and_faults_keep_both_laws() {
    for (family, count) in [
        ("life", 4),
        ("lives", 10),
        ("deep", 10),
        ("rates", 10),
        ("flips", 10),
        ("source", 10),
        ("version", 10),
        ("same-tag", 10),
        ("two", 10),
        ("blobs", 10),
        ("pools", 10),
        ("torn", 10),
        ("synced", 10),
    ] {
        sweep(Scale::Keyed, family, (1..=runs(count)).map(|seed| [seed]));
    }
    sweep(
        Scale::Keyed,
        "kill",
        (1..=runs(2)).flat_map(|seed| (7..40).map(move |event| [seed, event])),
    );
    let cuts = (1..=runs(1)).flat_map(|seed| (1..60).map(move |event| [seed, event]));
    sweep(Scale::Keyed, "cut", cuts);
}

#[test]
fn some_cases_of_the_mix_break_no_invariant() {
    let plan =
        Plan { cases: runs(500), seed: 7, family: None, is_keyed: true, jobs: 2, failures_max: 20 };
    let tally = run(&plan, |_| true);
    tally.failures.iter().for_each(|failure| println!("{failure}"));
    assert!(tally.failures.is_empty(), "{} cases failed", tally.failures.len());
    let name = keyed(&"mutate:3".parse().unwrap());
    assert_eq!(name.to_string(), "keyed/life:3", "what needs the key is a history with cuts");
}

#[test]
fn region_that_an_enemy_rewrites_gives_no_wrong_byte_to_guests_without_digests() {
    sweep(Scale::Keyed, "trust", (1..=runs(60)).map(|seed| [seed]));
}

#[test]
fn second_boot_fetches_nothing_of_what_was_kept() {
    let mut machine = filled(1);
    let words = with_key(&machine);
    let mut guest = mount(&machine, &words, 2);
    let warm = read_all(&machine, &mut guest);
    drop(guest);
    machine.world.crash(Survive::Nothing);
    machine.stir(5);
    let mut guest = mount(&machine, &area(&machine), 3);
    let cold = read_all(&machine, &mut guest);
    // The region has room for half of the image.
    assert!(warm + 100_000 < cold, "{warm} of {cold} bytes");
}

/// Pieces of what a guest with a region of this kind knows and its disk should not show.
fn pieces(machine: &Machine) -> HashSet<[u8; PIECE]> {
    let sample = &machine.samples[0];
    let mut all = HashSet::new();
    for device in &sample.devices {
        let bytes = device.to_vec();
        let found = bytes.as_chunks().0.iter();
        // Zeros and other runs tell nothing.
        let telling = |piece: &&[u8; PIECE]| piece.iter().collect::<HashSet<_>>().len() > 6;
        all.extend(found.filter(telling).copied());
    }
    all
}

/// How many of the pieces stand on the region's disk, at any byte.
fn shown(machine: &Machine, pieces: &HashSet<[u8; PIECE]>) -> usize {
    let disk = disk_of(machine).0.to_vec();
    let found = disk.windows(PIECE).filter(|window| pieces.contains(*window));
    found.collect::<HashSet<_>>().len()
}

#[test]
fn disk_shows_nothing_of_the_blobs_nor_of_the_tables() {
    let has = |machine: &Machine, word: &[u8]| {
        disk_of(machine).0.to_vec().windows(word.len()).any(|window| window == word)
    };
    // Names of blobs, and the magic numbers of the region.
    let words: [&[u8]; 6] = [b"s0-blob0", b"s0-blob1", b"ROOTLET\x1a", b"RLds", b"RLbl", b"RLbt"];
    let plain = Machine::of(Scale::Small, 1);
    fill(&plain, &format!("cache=region@128+{}", plain.bytes() / 512));
    let pieces_of_plain = pieces(&plain);
    assert!(shown(&plain, &pieces_of_plain) > 1000, "the search finds what is there");
    assert!(words.iter().all(|word| has(&plain, word)), "these are there without a key");

    let machine = filled(1);
    assert_eq!(shown(&machine, &pieces(&machine)), 0);
    for word in words.iter().filter(|word| word.len() > 4) {
        assert!(!has(&machine, word), "{}", word.escape_ascii());
    }
    assert!(!has(&machine, KEY));
}

#[test]
fn flipped_byte_of_any_block_costs_no_wrong_byte_and_no_read() {
    let machine = filled(2);
    let (whole, words) = (disk_of(&machine), with_key(&machine));
    let mut rng = Rng::new(9);
    let blocks = (START..START + machine.bytes()).step_by(4096);
    let somewhere =
        blocks.flat_map(|at| (0..runs(1)).map(|_| at + rng.below(4096)).collect::<Vec<_>>());
    // Both copies of all that counts in the header.
    let header = [0, START / 2].into_iter().flat_map(|at| at..at + 128);
    for at in header.chain(somewhere) {
        let mut flipped = whole.clone();
        let mut byte = [0];
        flipped.0.read(at, &mut byte);
        flipped.0.write(at, &[byte[0] ^ 0x10]);
        machine.world.restore(machine.disk, &flipped);
        read_all(&machine, &mut mount(&machine, &words, 4));
    }
}

#[test]
fn exchanged_blocks_cost_no_wrong_byte_and_no_read() {
    let machine = filled(3);
    let old = disk_of(&machine);
    let words = with_key(&machine);
    // Another life: what the region holds now has other generations.
    let mut guest = mount(&machine, &words, 2);
    read_all(&machine, &mut guest);
    assert!(guest.root.leave(std::time::Duration::from_secs(60)));
    drop(guest);
    let new = disk_of(&machine);
    let mut rng = Rng::new(11);
    let count = machine.bytes() / 4096;
    let block = |image: &StableImage, number: u64| {
        let mut raw = [0; 4096];
        image.0.read(START + number * 4096, &mut raw);
        raw
    };
    for number in 0..count {
        for round in 0..1 + runs(1) {
            let other = if round == 0 { number } else { rng.below(count) };
            let from = if round % 2 == 0 { &old } else { &new };
            let mut changed = new.clone();
            changed.0.write(START + number * 4096, &block(from, other));
            changed.0.write(START + other * 4096, &block(from, number));
            machine.world.restore(machine.disk, &changed);
            read_all(&machine, &mut mount(&machine, &words, 5));
        }
    }
}

/// Mounts with these words, reads everything, and leaves; the region's disk has to be as before.
/// Returns what was told about the region.
fn left_alone(machine: &Machine, words: &str) -> Vec<String> {
    let before = disk_of(machine).0.to_vec();
    let mut guest = mount(machine, words, 7);
    read_all(machine, &mut guest);
    guest.root.leave(std::time::Duration::from_secs(60));
    let told = told(&guest).into_iter().map(String::from).collect();
    drop(guest);
    assert!(disk_of(machine).0.to_vec() == before, "{words}: the disk was written");
    told
}

#[test]
fn wrong_or_missing_key_leaves_a_region_alone() {
    let machine = filled(4);
    let place = area(&machine);
    machine.world.disk("other", 512, padded(&[7; 32]));
    let overwrite = |machine: &Machine, key: &str| {
        format!(
            "region  to overwrite it: `--guest-option cache-format=force`, or \
             `rootlet region FILE@0+{} format --force{key}`",
            (START + machine.bytes()) / 512
        )
    };
    let other = left_alone(&machine, &format!("{place} cache-key=other"));
    let why = "region  not used: it is encrypted with another key than the given one";
    assert_eq!(other, [why.to_owned(), overwrite(&machine, " --cache-key FILE")]);
    let missing = left_alone(&machine, &place);
    let why = "region  not used: it is encrypted, and no key was given (cache-key=)";
    assert_eq!(missing, [why.to_owned(), overwrite(&machine, "")]);
    // The first header is lost, the second still names the region.
    machine.world.poke(machine.disk, 0, &[0; 4096]);
    assert_eq!(left_alone(&machine, &place), missing);
    assert_eq!(left_alone(&machine, &format!("{place} cache-key=other")), other);
}

#[test]
fn key_leaves_a_region_without_encryption_alone() {
    let machine = Machine::of(Scale::Keyed, 5);
    machine.world.disk("key", 512, padded(KEY));
    let place = area(&machine);
    fill(&machine, &place);
    let told = left_alone(&machine, &format!("{place} cache-key=key"));
    let why = "region  not used: it is not encrypted, and a key was given (leave cache-key= out to use it)";
    assert_eq!(told[0], why);
    // By the user's word it is overwritten.
    let words = format!("{place} cache-key=key cache-format=force");
    let guest = mount(&machine, &words, 8);
    assert!(told_of_use(&guest), "{:?}", guest.notices);
    drop(guest);
    let told = left_alone(&machine, &place);
    assert!(told[0].contains("no key was given"), "{told:?}");
}

/// Whether the region is used.
fn told_of_use(guest: &Guest<Parts<SimStorage>>) -> bool {
    told(guest)[0].contains("slots of 64 KiB in use")
}

#[test]
fn bad_key_is_told_with_what_to_do() {
    let machine = filled(6);
    let place = area(&machine);
    let next = "; a key has 16 to 1024 random ones: head -c 32 /dev/urandom > FILE";
    for (serial, key) in [("zeros", &[0; 32][..]), ("short", &[7; 15]), ("long", &[7; 1025])] {
        machine.world.disk(serial, 512, padded(key));
    }
    machine.world.share_file("share", "empty", Sparse::zeros(0));
    for (source, why) in [
        ("zeros", format!("the key is empty{next}")),
        ("share:empty", format!("the key is empty{next}")),
        ("short", format!("the key has 15 bytes{next}")),
        ("long", format!("the key has more than 1024 bytes{next}")),
        ("absent", "disk absent: not found".to_owned()),
        ("share:absent", "file absent on share (any): the share has no such file".to_owned()),
    ] {
        let told = left_alone(&machine, &format!("{place} cache-key={source}"));
        assert_eq!(told, [format!("region  not used: cache-key={source}: {why}")]);
    }
    for (words, why) in [
        ("cache-key=key", "command line: cache-key= needs cache="),
        ("cache=region cache-key=", "expected the serial of a disk, share:NAME or share:TAG:NAME"),
        ("cache=region cache-key=key cache-key=key", "\"cache-key=key\" is given a second time"),
        ("cache=region cache_key=key", "did you mean cache-key=?"),
    ] {
        let line = format!("image=image0 {words}");
        let error = Guest::mount(Parts::new(machine.world.attach()), &line, 1).err().unwrap();
        assert!(error.contains(why), "{words}: {error}");
    }
}

/// A filled machine whose headers are damaged, one after the other.
fn damaged(damage: &[u8]) -> Machine {
    let machine = filled(8);
    let words = with_key(&machine);
    machine.world.poke(machine.disk, 0, damage);
    let mut guest = mount(&machine, &words, 2);
    assert!(told_of_use(&guest), "the second header serves: {:?}", guest.notices);
    read_all(&machine, &mut guest);
    drop(guest);
    machine.world.poke(machine.disk, START / 2, damage);
    machine
}

#[test]
fn damaged_headers_cost_what_the_region_held_and_nothing_else() {
    let machine = damaged(b"RLCRYPT\x1a, and noise");
    let words = with_key(&machine);
    let mut guest = mount(&machine, &words, 3);
    assert!(told(&guest)[0].contains(": 0 of "), "{:?}", guest.notices);
    read_all(&machine, &mut guest);
    assert!(guest.root.leave(std::time::Duration::from_secs(60)));
    drop(guest);
    let guest = mount(&machine, &words, 4);
    assert!(told_of_use(&guest) && !told(&guest)[0].contains(": 0 of "), "{:?}", guest.notices);
}

#[test]
fn region_without_headers_is_unknown_data() {
    let machine = damaged(&[0; 4096]);
    let told = left_alone(&machine, &with_key(&machine));
    assert_eq!(told[0], "region  not used: the area holds unknown data");
}
