//! Both users in one build, over the smallest image.

use embedder_heap::{Ram, bare, leave, mount, stream};
use rootlet::read::Memory;

static TINY: &[u8] = include_bytes!("../../../data/tiny.erofs");

#[test]
fn second_boot_fetches_nothing() {
    let mut region = Ram(vec![0; 16 << 20]);
    for boot in [1, 2] {
        let root = mount(Ram(TINY.to_vec()), region, boot).unwrap();
        assert_eq!(stream(&root, b"/hello").unwrap(), b"hello\n");
        let fetched;
        (region, fetched) = leave(root);
        assert_eq!(fetched == 0, boot == 2, "boot {boot} fetched {fetched} bytes");
    }
}

#[test]
fn user_without_a_heap_lives_beside() {
    assert_eq!(size_of::<Memory>(), 0, "with `alloc` the heap has all");
    let root = bare::mount(TINY, Box::leak(Box::new(Memory::new()))).unwrap();
    assert_eq!(bare::sum(&root, b"/hello").unwrap().0, 6);
}
