//! Any part of a file is that part of the whole, however much memory there is to decode in.

use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::read::{Budget, Root};
use rootlet::storage::file::FileStorage;
use rootlet_sim::Rng;

use crate::each_image;
use rootlet_golden::{Golden, Set};

/// Parts that are read of each file.
const PARTS: usize = 12;

fn mounted(golden: &Golden, budget: &Budget) -> Root<FileStorage, NoRegion> {
    let mut storage = FileStorage::new();
    let device = storage.add_disk("image", &golden.image, true).unwrap();
    for (number, blob) in golden.devices.iter().enumerate() {
        storage.add_disk(&format!("blob{}", number + 1), blob, true).unwrap();
    }
    let image = Image::read(&storage, device).unwrap();
    let names: Vec<String> = (1..=golden.devices.len()).map(|n| format!("blob{n}")).collect();
    let given: Vec<(u16, SourceName<&str>)> =
        (1..).zip(names.iter().map(|name| SourceName::Disk(name.as_str()))).collect();
    let sources = image.bind(&mut storage, &given).unwrap();
    Root::with_budget(storage, NoRegion, &image, &sources, budget).unwrap()
}

/// The paths of the regular files of some size.
fn files(set: &Set, golden: &Golden) -> Vec<(String, usize)> {
    let rows = set.manifest.iter().filter(|row| row.get("sha256").is_some());
    rows.map(|row| (row["path"].as_str().unwrap(), row["size"].as_u64().unwrap() as usize))
        .filter(|(path, size)| *size > 5000 && !golden.omits(path))
        .map(|(path, size)| (path.to_owned(), size))
        .collect()
}

#[test]
fn any_part_of_a_file_is_that_part_of_the_whole() {
    let small = Budget::default().with_metadata_bytes(0).with_decoded_bytes(0);
    each_image(|set, golden| {
        let mut rng = Rng::new(7);
        for budget in [small, Budget::LARGE] {
            let root = mounted(golden, &budget);
            for (path, size) in files(set, golden) {
                let file = root.open(path.as_bytes()).unwrap();
                let mut whole = vec![0; size];
                assert_eq!(file.read_at(0, &mut whole).unwrap(), size);
                for _ in 0..PARTS {
                    let at = rng.index(size + 100);
                    let most = 2 << rng.index(18);
                    let mut part = vec![0; 1 + rng.index(most)];
                    let got = file.read_at(at as u64, &mut part);
                    let name = &golden.name;
                    let got = got.unwrap_or_else(|error| panic!("{name} {path}: {error}"));
                    assert_eq!(got, part.len().min(size.saturating_sub(at)), "{name} {path}");
                    let want = whole.get(at..at + got).unwrap_or_default();
                    assert!(part[..got] == *want, "{name}: {path} from {at}, {got} bytes");
                }
            }
        }
    });
}
