//! Headers of kernels, device trees and boot entries of any bytes.
//!
//! Always: what is not refused lies within what was given; a tree that was added to can be added to
//! again; versions have an order.

use core::cmp::Ordering;

use rootlet_handover::tree::{Additions, extend};
use rootlet_handover::{
    Arch, Entry, Gunzip, Kernel, MapEntry, Unified, Zero, compare_versions, order,
};

/// Room for what is unpacked.
const ROOM: usize = 16 << 10;

/// Runs the input: its first byte says as what.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first % 4 {
        0 => head(rest),
        1 => tree(rest),
        2 => entries(rest),
        _ => packed(rest),
    }
}

fn head(bytes: &[u8]) {
    for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
        match Kernel::of(arch, bytes) {
            Ok(Kernel::BzImage(image)) => {
                assert!(image.align.is_power_of_two() && image.setup_bytes >= 1024);
                let map = [MapEntry { start: 0, bytes: 1 << 20, kind: 1 }];
                let zero = Zero {
                    command_line: 1 << 33,
                    command_line_bytes: 100,
                    initrd: (1 << 34, 1 << 33),
                    rsdp: 7,
                    map: &map,
                };
                match image.zero_page(bytes, &zero) {
                    Ok(page) => assert_eq!((page.len(), page[0x1e8]), (4096, 1)),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
            Ok(Kernel::Image(image)) => assert!(image.offset < 2 << 20 && image.bytes > 0),
            Ok(Kernel::Gzip | Kernel::Zboot(_)) => assert!(arch != Arch::X86_64),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let _ = Unified::parse(bytes);
}

fn tree(bytes: &[u8]) {
    let additions = Additions { line: "quiet", initrd: Some((1 << 30, 1 << 31)) };
    match extend(bytes, &additions) {
        Ok(longer) => {
            let again = extend(&longer, &additions).expect("a tree that was made is one");
            assert!(again.len() > longer.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn entries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut entries = Vec::new();
    for part in text.split('\x0c').take(8) {
        let (stem, body) = part.split_once('\n').unwrap_or((part, ""));
        match Entry::parse(stem, body.as_bytes()) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                entries.push(Entry::named(stem));
            }
        }
    }
    for one in &entries {
        assert_eq!(order(one, one), Ordering::Equal);
        for other in &entries {
            assert_eq!(order(one, other), order(other, one).reverse());
            let forth = compare_versions(&one.id, &other.id);
            assert_eq!(forth, compare_versions(&other.id, &one.id).reverse());
            for third in &entries {
                let (second, last) = (order(other, third), order(one, third));
                assert!(order(one, other).is_gt() || second.is_gt() || last.is_le());
            }
        }
    }
}

fn packed(bytes: &[u8]) {
    let whole = |step: usize| {
        let (mut out, mut gunzip) = (vec![0; ROOM], Gunzip::default());
        let fed = bytes.chunks(step).try_for_each(|piece| gunzip.feed(piece, &mut out));
        let unpacked = gunzip.unpacked();
        assert!(unpacked <= ROOM);
        fed.and_then(|()| gunzip.finish(unpacked)).map(|()| out)
    };
    if let Ok(out) = whole(bytes.len().max(1)) {
        // A header that is cut is none.
        let _ = whole(512).map(|other| assert!(other == out));
    }
}
