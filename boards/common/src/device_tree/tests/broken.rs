//! Trees that are refused.

use super::*;

/// Returns the fault of bytes that are refused.
fn refused(blob: &[u8]) -> Fault {
    match parse(Blob::new(blob).unwrap(), REACH).unwrap_err() {
        Distrust::Broken(fault) => fault,
        other => panic!("{other}"),
    }
}

/// Memory that somebody else uses must not become the heap.
#[test]
fn tree_that_reserves_memory_and_does_not_say_which_is_refused() {
    let sizes = vec![cells("#address-cells", &[2]), cells("#size-cells", &[2])];
    for reg in [&[0, 0x8000_0000, 0][..], &[u32::MAX, u32::MAX, 0, 2]] {
        let mut all = node("reserved-memory", sizes.clone());
        all.add_child(node("held@80000000", vec![cells("reg", reg)]));
        let blob = tree(vec![memory(0x8000_0000, 0x400_0000), all]);
        let fault = parse(Blob::new(&blob).unwrap(), REACH).unwrap_err();
        let why = "it reserves memory, and its reg does not say which";
        assert_eq!(fault.to_string(), format!("/reserved-memory/held@80000000: {why}"));
    }
    // The list apart from nodes has to end, and its entries within all addresses.
    let blob = tree(vec![]);
    let at = u32::from_be_bytes(blob[16..20].try_into().unwrap()) as usize;
    let mut beyond = blob.clone();
    beyond[at..at + 16].copy_from_slice(&[0xff; 16]);
    assert_eq!(refused(&beyond), Fault::Reservation { at });
    let mut endless = blob.clone();
    endless[16..20].copy_from_slice(&(blob.len() as u32 - 8).to_be_bytes());
    assert_eq!(refused(&endless), Fault::Reservation { at: blob.len() - 8 });
}

/// Returns where the structure of a tree begins and how long it is.
fn structure(blob: &[u8]) -> (usize, usize) {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    (word(8), word(36))
}

#[test]
fn tree_that_breaks_off_or_has_something_out_of_place_is_refused_by_its_byte() {
    let whole = machine();
    let (begin, len) = structure(&whole);
    // Every length of the structure but the whole.
    for cut in 0..len {
        let mut blob = whole.clone();
        blob[36..40].copy_from_slice(&(cut as u32).to_be_bytes());
        let fault = refused(&blob);
        let Fault::Structure { at } = fault else { panic!("{fault:?}") };
        assert!((begin..=begin + cut).contains(&at), "{cut}: {at}");
    }
    // Every length of the blob but the whole: some part of it is missing.
    for cut in 0..whole.len() {
        assert_eq!(Blob::new(&whole[..cut]).unwrap_err(), Fault::Short(cut));
    }
    // A word after the root, a property after a node, a name that does not end.
    let end = begin + len - 4;
    let mut blob = whole.clone();
    blob[end + 3] = 4;
    assert_eq!(refused(&blob), Fault::Structure { at: begin + len });
    let mut late = node("soc", vec![]);
    late.add_child(node("first", vec![]));
    let mut blob = tree(vec![late, node("last", vec![bytes("a", b"b")])]);
    let name = blob.windows(4).position(|bytes| bytes == b"last").unwrap();
    // The node that follows has neither begin nor end any more: its property becomes the root's.
    blob[name - 4..name + 8].copy_from_slice(&[0, 0, 0, 4].repeat(3));
    assert_eq!(refused(&blob), Fault::Structure { at: name + 8 });
    let mut blob = whole.clone();
    let ends = u32::from_be_bytes(blob[32..36].try_into().unwrap());
    blob[32..36].copy_from_slice(&(ends - 1).to_be_bytes());
    assert!(matches!(refused(&blob), Fault::Structure { .. }), "the last name has no end");
}

#[test]
fn tree_with_any_byte_changed_is_read_or_refused() {
    let whole = machine();
    let look = |blob: &[u8]| {
        let tree = Blob::new(blob).map_err(Distrust::from);
        let Ok(parsed) = tree.and_then(|tree| parse(tree, REACH)) else { return };
        // Also what is made of it ends, and stays inside.
        let free = parsed.ram.free(0x8020_0000, u64::MAX);
        assert!(free.is_none_or(|free| free.iter().all(|piece| piece.start < piece.end)));
        assert!(told(&parsed).iter().all(|line| line.starts_with("device tree: ")));
    };
    for at in 0..whole.len() {
        for value in [0, 1, 2, 3, 4, 9, 0x7f, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut blob = whole.clone();
            blob[at] = value;
            look(&blob);
        }
    }
}

#[test]
fn bytes_that_are_no_tree_of_version_17_are_refused() {
    let whole = machine();
    let mut blob = whole.clone();
    blob[0] ^= 1;
    assert_eq!(Blob::new(&blob).unwrap_err(), Fault::Magic(0xd10d_feed));
    assert_eq!(Blob::bytes_of(blob[..8].try_into().unwrap()), Err(Fault::Magic(0xd10d_feed)));
    assert_eq!(Blob::bytes_of(whole[..8].try_into().unwrap()), Ok(whole.len()));
    assert_eq!(Blob::new(&whole[..30]).unwrap_err(), Fault::Short(30));
    let mut blob = whole.clone();
    // Nothing older than version 18 can read it.
    blob[27] = 18;
    assert_eq!(Blob::new(&blob).unwrap_err(), Fault::Version(17));
}
