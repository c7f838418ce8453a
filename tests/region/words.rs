//! What a guest prints of a region that it does not use.
//!
//! Always: both ways to make a region of the area are named, with the part that was.

use rootlet_sim::Rng;
use rootlet_sim::disk::{Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};

use crate::guest::Guest;

const DISK: u64 = 6 << 20;

/// The lines of a mount with `cache` on its line that are about the region.
fn lines(disk: &Sparse, cache: &str, read_only: bool) -> Vec<String> {
    let mut tree = Tree::new();
    tree.file("/a", Content::seeded(1, 10_000));
    let built = build(&tree, &Options::default()).unwrap();
    let world = World::new(1);
    world.blob("image", &built.image);
    let region = world.disk("cache", 512, disk.clone());
    world.set_read_only(region, read_only);
    let guest = Guest::mount(world.attach(), &format!("image=image {cache}"), 3).unwrap();
    guest.notices.into_iter().filter(|line| line.starts_with("region")).collect()
}

fn noise() -> Sparse {
    let mut bytes = vec![0; DISK as usize];
    Rng::new(3).fill(&mut bytes);
    let mut disk = Sparse::zeros(DISK);
    disk.write(0, &bytes);
    disk
}

#[test]
fn both_words_that_overwrite_name_the_part() {
    for (cache, place) in [
        ("cache=cache", "FILE"),
        ("cache=cache@8+8192", "FILE@8+8192"),
        ("cache=cache@8+8192 cache-format=never", "FILE@8+8192"),
    ] {
        let overwrite = format!(
            "region  to overwrite it: `--guest-option cache-format=force`, or \
             `rootlet region {place} format --force`"
        );
        let said = lines(&noise(), cache, false);
        assert_eq!(said, ["region  not used: the area holds unknown data".to_owned(), overwrite]);
    }
    let forced = lines(&noise(), "cache=cache@8+8192 cache-format=force", false);
    assert!(forced.len() == 1 && forced[0].starts_with("region  disk cache: 0 of"), "{forced:?}");
}

#[test]
fn blank_area_that_is_not_formatted_names_the_way_out() {
    let blank = Sparse::zeros(DISK);
    let format =
        "region  to format it: `--guest-option cache-format=auto`, or `rootlet region FILE format`";
    assert_eq!(
        lines(&blank, "cache=cache cache-format=never", false),
        ["region  not used: the area is blank", format]
    );
    assert_eq!(
        lines(&blank, "cache=cache", true),
        [
            "region  not used: it is not formatted, and its disk is read-only",
            "region  to format it: make its disk writable"
        ]
    );
}
