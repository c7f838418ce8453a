//! Small images of one tree, made by mkfs.erofs 1.5 with LZ4 in several forms.
//!
//! Always: whatever the form, the rows are the same.

use std::path::Path;

use crate::manifest;
use crate::over_files;
use rootlet_golden::Golden;

#[test]
fn one_tree_in_every_form_of_lz4_gives_the_same_rows() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seeds/image");
    // Without 0padding (legacy) zeros follow the stream, and only its extent says where it ends.
    let rows = ["lz4", "lz4-legacy", "lz4-tail", "lz4-dedupe"].map(|name| {
        let image = dir.join(name);
        let golden = Golden { name: name.into(), image, devices: Vec::new(), omits: Vec::new() };
        let rows = manifest(&golden, &mut over_files(&golden, None, 1));
        assert_eq!(rows.len(), 8, "{name}");
        rows
    });
    for other in &rows[1..] {
        assert_eq!(*other, rows[0]);
    }
}
