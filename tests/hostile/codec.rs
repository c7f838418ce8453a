//! Streams that lie: matches before the first byte, more or fewer bytes than the extent has.

use rootlet::erofs::Corrupt;
use rootlet::erofs::codec::{Algorithm, Fault};

use crate::case::{Act, Case};
use crate::classes::Family;
use crate::craft::{self, Craft, FULL, behind, full, head, header};

pub const CLASSES: Family = &[
    ("LZ4 overlap underflow", lz4),
    ("DEFLATE over capacity", deflate),
    ("zstd over capacity", zstd),
];

/// `/file` of `size` bytes in one pcluster of 512 bytes, read whole.
fn coded(
    name: &'static str,
    algorithm: Algorithm,
    size: u64,
    stream: &[u8],
    want: Result<Vec<u8>, Fault>,
) -> Case {
    coded_with(name, algorithm, size, stream, want, |_| {})
}

fn coded_with(
    name: &'static str,
    algorithm: Algorithm,
    size: u64,
    stream: &[u8],
    want: Result<Vec<u8>, Fault>,
    change: impl FnOnce(&mut Craft),
) -> Case {
    assert!(stream.len() <= 512, "{name}: {} bytes", stream.len());
    let mut craft = Craft::new(9);
    change(&mut craft);
    let first = craft.stream(stream);
    let number = algorithm.bit().trailing_zeros() as u8;
    // Lclusters of 2 MiB.
    let entries: Vec<_> = (0..size.div_ceil(2 << 20).max(1))
        .map(|lcluster| match lcluster {
            0 => head(1, 0, first),
            back => behind(back as u16, 0),
        })
        .collect();
    let nid = craft.file(FULL, size, header(0, 0, number, 12), &full(&entries));
    let want = want.map_err(|fault| Corrupt::Encoded { nid, offset: 0, algorithm, fault }.into());
    Case::new(name, craft.done(), Act::Read("/file", 0, size as usize), want)
}

fn lz4() -> Vec<Case> {
    let lz4 = |name, size, stream: &[u8], want| coded(name, Algorithm::Lz4, size, stream, want);
    let distance = |decoded, distance, max| Err(Fault::Distance { decoded, distance, max });
    // A token of one literal and a match of 4, then the last literals.
    let matched = |distance: u8| [0x10, b'a', distance, 0, 0x50, b'v', b'w', b'x', b'y', b'z'];
    // 40 literals, and a match of 4 that reaches 32 bytes back.
    let far = [&[0xf0, 25][..], &[b'l'; 40], &[32, 0, 0x50], b"vwxyz"].concat();
    let near = |name, most, want| {
        coded_with(name, Algorithm::Lz4, 49, &far, want, |craft| {
            craft.settings(1, &[&craft::lz4(most, 1)]);
        })
    };
    let right = [&[b'l'; 44][..], b"vwxyz"].concat();
    vec![
        lz4("a match before the first byte", 10, &matched(2), distance(1, 2, 1)),
        lz4("a match of no distance", 10, &matched(0), distance(1, 0, 1)),
        lz4("a match that overlaps itself", 10, &matched(1), Ok(b"aaaaavwxyz".to_vec())),
        lz4("nothing but padding", 10, &[0], Err(Fault::Padding { zeros: 512 })),
        lz4("an end within literals", 10, &[0xf0], Err(Fault::InputEnds { decoded: 0 })),
        lz4("an end within a match", 10, &[0x10, b'a', 1], Err(Fault::InputEnds { decoded: 1 })),
        lz4("more than the extent", 9, &matched(1), Err(Fault::Long { asked: 9 })),
        lz4("less than the extent", 11, &matched(1), Err(Fault::Short { decoded: 10, asked: 11 })),
        near("a match as far as the image allows", 32, Ok(right)),
        near("a match farther than the image allows", 31, distance(40, 32, 31)),
    ]
}

fn deflate() -> Vec<Case> {
    let deflate =
        |name, size, stream: &[u8], want| coded(name, Algorithm::Deflate, size, stream, want);
    let zeros = |len| miniz_oxide::deflate::compress_to_vec(&vec![0; len], 9);
    let mut cut = zeros(100_000);
    cut.truncate(cut.len() - 3);
    // A block of fixed codes that begins with a match: length 3, distance 1.
    let before = [0b0000_0011, 0b0000_0010, 0];
    vec![
        deflate("as many bytes as the extent", 4096, &zeros(4096), Ok(vec![0; 4096])),
        deflate("a byte more", 4096, &zeros(4097), Err(Fault::Long { asked: 4096 })),
        deflate("a hundred times as many", 4096, &zeros(400_000), Err(Fault::Long { asked: 4096 })),
        deflate(
            "a byte less",
            4096,
            &zeros(4095),
            Err(Fault::Short { decoded: 4095, asked: 4096 }),
        ),
        deflate("a match before the first byte", 64, &before, Err(Fault::Code { decoded: 0 })),
        deflate("a block of no kind", 64, &[7; 9], Err(Fault::Code { decoded: 0 })),
    ]
}

/// A frame of this window (2^10 bytes and more) and of blocks of one byte repeated.
fn frame(window_log: u8, blocks: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3];
    for (number, len) in blocks.iter().enumerate() {
        let last = u32::from(number + 1 == blocks.len());
        bytes.extend_from_slice(&(last | 1 << 1 | len << 3).to_le_bytes()[..3]);
        bytes.push(b'r');
    }
    bytes
}

fn zstd() -> Vec<Case> {
    let zstd = |name, size, stream: &[u8], want| coded(name, Algorithm::Zstd, size, stream, want);
    let most = 128 << 10;
    let repeated = |len: usize| Ok(vec![b'r'; len]);
    let mut dictionary = frame(17, &[64]);
    dictionary.splice(4..6, [1, 56, 9]);
    vec![
        zstd("as many bytes as the extent", 4096, &frame(17, &[4096]), repeated(4096)),
        zstd("a byte more", 4096, &frame(17, &[4097]), Err(Fault::Long { asked: 4096 })),
        zstd(
            "a byte more, in a block of its own",
            4096,
            &frame(17, &[4096, 1]),
            Err(Fault::Long { asked: 4096 }),
        ),
        zstd(
            "a thousand blocks too many",
            4096,
            &frame(17, &[most; 100]),
            Err(Fault::Long { asked: 4096 }),
        ),
        zstd(
            "a byte less",
            4096,
            &frame(17, &[4095]),
            Err(Fault::Short { decoded: 4095, asked: 4096 }),
        ),
        zstd(
            "a window beyond that of the image",
            4096,
            &frame(21, &[4096]),
            Err(Fault::Window { bytes: 2 << 20, max: 1 << 20 }),
        ),
        zstd("a dictionary", 64, &dictionary, Err(Fault::Dictionary(9))),
        zstd("no frame at all", 64, &[9, 9, 9, 9, 9, 9], Err(Fault::Magic(0x0909_0909))),
        zstd("twelve mebibytes of one byte", 12 << 20, &frame(17, &[most; 96]), repeated(12 << 20)),
        settings(),
    ]
}

/// An image that says that its windows have 4 MiB.
fn settings() -> Case {
    let mut craft = Craft::new(9);
    craft.settings(8, &[&[6, 0, 0, 12, 0, 0, 0, 0]]);
    let fault = Corrupt::CompressionLimit { algorithm: Algorithm::Zstd, value: 12 };
    Case::corrupt("a window beyond that of the format", craft.done(), Act::Mount, fault)
}
