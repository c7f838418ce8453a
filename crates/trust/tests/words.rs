//! The texts of a command line and of a seal: what each notation means, and the message of each
//! fault.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use proptest::prelude::*;
use rootlet_trust::{
    Algorithm, Digest, Format, Place, Proof, Reason, Root, SEAL_BYTES_MAX, Seal, Software, Spec,
    Subject, digest, parse_root,
};

const A: &str = "5f3a0c12000000000000000000000000000000000000000000000000000000ff";

fn dm() -> String {
    format!("root_hash={A},salt=00ff,data_blocks=300,data_block_size=4096,hash_block_size=512")
}

fn root() -> Digest {
    Digest::from_hex(Algorithm::Sha256, A).unwrap()
}

#[test]
fn each_notation_says_what_it_means() {
    let long = "a5".repeat(64);
    for (text, root, format, sizes, bytes) in [
        (format!("sha256-12:{A}"), Root::File(root()), Format::FsVerity, [12, 12], 5000),
        (format!("v1-sha256-12:{A}"), Root::File(root()), Format::FsVerity, [12, 12], 5000),
        (format!("sha256-10:{A},bytes=77"), Root::File(root()), Format::FsVerity, [10, 10], 77),
        (format!("sha256-16:{A},salt=07"), Root::File(root()), Format::FsVerity, [16, 16], 5000),
        (
            format!("sha512-12:{long}"),
            Root::File(Digest::from_hex(Algorithm::Sha512, &long).unwrap()),
            Format::FsVerity,
            [12, 12],
            5000,
        ),
        (dm(), Root::Hash(root()), Format::DmVerity, [12, 9], 300 << 12),
        (dm() + ",format=0,hash=sha256", Root::Hash(root()), Format::ChromeOs, [12, 9], 300 << 12),
        (
            format!(
                "X-kata.dmverity.hashtype=1,hashsize=512,X-kata.dmverity.roothash={A},blocksize=4096,\
                 salt=00ff,algorithm=sha256,data_blocks=300"
            ),
            Root::Hash(root()),
            Format::DmVerity,
            [12, 9],
            300 << 12,
        ),
    ] {
        let spec = Spec::parse(&text).unwrap();
        let device = if bytes == 300 << 12 { bytes } else { 5000 };
        let claim = spec.claim(device).unwrap();
        let shape = claim.shape();
        assert_eq!(spec.root(), root, "{text}");
        assert_eq!(shape.format(), format, "{text}");
        assert_eq!([shape.data_block().bits(), shape.hash_block().bits()], sizes, "{text}");
        assert_eq!(shape.data_bytes(), bytes, "{text}");
        assert_eq!((spec.tree(), spec.at()), (Place::Unsaid, None), "{text}");
    }
}

#[test]
fn tree_lies_where_the_text_says() {
    let spec = |options: &str| format!("sha256-12:{A},{options}");
    let place = |text: &str| {
        let spec = Spec::parse(text).unwrap();
        (format!("{:?}", spec.tree()), spec.at())
    };
    assert_eq!(place(&spec("tree=self,at=4096")), ("Data".into(), Some(4096)));
    assert_eq!(place(&spec("tree=share:a.verity")), (r#"Source("share:a.verity")"#.into(), None));
    assert_eq!(place(&(dm() + ",hashoffset=0")), ("Unsaid".into(), Some(0)));
}

/// Each fault of a text has one message, which the word at fault is in.
#[test]
fn fault_of_a_text_is_named_with_its_word() {
    let without = |key: &str| {
        let words = dm();
        let left: Vec<&str> = words.split(',').filter(|word| !word.starts_with(key)).collect();
        left.join(",")
    };
    let fs = |options: &str| format!("sha256-12:{A}{options}");
    for (text, message) in [
        (without("data_blocks="), "data_blocks is missing; it cannot be taken from the disk"),
        (without("root_hash="), "root_hash is missing; it cannot be taken from the disk"),
        (without("salt="), "salt is missing; it cannot be taken from the disk"),
        (
            without("data_block_size="),
            "data_block_size is missing; it cannot be taken from the disk",
        ),
        (
            without("hash_block_size="),
            "hash_block_size is missing; it cannot be taken from the disk",
        ),
        (dm() + ",hash=md5", "hash=md5: an unknown hash; known are sha256 and sha512"),
        (dm() + ",format=2", "format=2: 1 is wanted, or 0 for Chrome OS"),
        (dm() + ",salt=00", "salt is given a second time"),
        (dm() + ",blocksize=512", "blocksize is given a second time"),
        (dm() + ",bytes=1", "bytes does not belong to a root hash, whose length is data_blocks"),
        (dm() + ",tree=", "tree=: the name of a source is wanted, or self"),
        (dm() + ",at=-1", "at=-1: a decimal number is wanted"),
        (
            dm() + ",hash=sha512",
            "root_hash=5f3a0c12000000000000000000000000: 64 characters, sha512 has 128 hex digits",
        ),
        (
            dm().replace("5f3a", "5g3a"),
            "root_hash=5g3a0c12000000000000000000000000: 64 characters, sha256 has 64 hex digits",
        ),
        (dm().replace("salt=00ff", "salt=00f"), "salt=00f: hex digits are wanted, or - for none"),
        (
            dm().replace("salt=00ff", &format!("salt={}", "00".repeat(257))),
            "the salt has 257 bytes, and may have 256",
        ),
        (dm().replace("=300", "=0"), "data_blocks=0: there is nothing to verify"),
        (dm().replace("=300", "=3e2"), "data_blocks=3e2: a decimal number is wanted"),
        (dm().replace("=300", "=18446744073709551615"), "the data or the tree end beyond 64 bits"),
        (
            dm().replace("=4096", "=1000"),
            "data_block_size=1000: a power of two from 512 to 524288 is wanted",
        ),
        (
            dm().replace("size=512", "size=256"),
            "hash_block_size=256: a power of two from 512 to 524288 is wanted",
        ),
        (fs(",data_blocks=1"), "data_blocks does not belong to fs-verity's digest"),
        (fs(",bytes=1,bytes=1"), "bytes is given a second time"),
        (fs(&format!(",salt={}", "00".repeat(33))), "the salt has 33 bytes, and may have 32"),
        (fs("0"), "5f3a0c12000000000000000000000000: 65 characters, sha256 has 64 hex digits"),
        (
            fs("").replace("sha256-12", "sha1-12"),
            "sha1-12: a hash and the base 2 logarithm of a block's bytes are wanted before the digest, \
             sha256-12 or sha512-12; 10 to 16 are known",
        ),
    ] {
        assert_eq!(Spec::parse(&text).unwrap_err().to_string(), message, "{text}");
    }
    for text in ["", A, "nonsense", "sha256", &fs(","), &fs(",bytes"), &fs(",size=1")] {
        let message = Spec::parse(text).unwrap_err().to_string();
        assert!(message.starts_with("unknown word \""), "{text}: {message}");
    }
    for kind in ["sha256-9", "sha256-17", "sha256", "-12", "v3-sha256-12", "sha256-+12"] {
        let message = Spec::parse(&format!("{kind}:{A}")).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{kind}: a hash and")), "{message}");
    }
}

#[test]
fn source_that_is_too_short_is_refused_and_what_is_beyond_the_digest_is_left_out() {
    let refused = |spec: &str, bytes: u64| {
        let error = Spec::parse(spec).unwrap().claim(bytes).err()?;
        Some(Subject::of_slot(1).refused(error).to_string())
    };
    let fs = format!("sha256-12:{A},bytes=716800");
    assert_eq!(
        refused(&fs, 536_576).as_deref(),
        Some("slot 1: 536576 bytes, its digest covers 716800")
    );
    assert_eq!((refused(&fs, 716_800), refused(&fs, 1 << 40)), (None, None));
    let covered = (300 << 12) - 4096;
    assert_eq!(
        refused(&dm(), covered).as_deref(),
        Some("slot 1: 1224704 bytes, its digest covers 1228800")
    );
    assert_eq!(refused(&dm(), covered + 1), None, "zeros fill the last block");
    let claim = Spec::parse(&dm()).unwrap().claim(1 << 40).unwrap();
    assert_eq!(claim.shape().data_bytes(), 300 << 12);
    assert!(matches!(claim.proof(), Ok(Proof::Tree(_))));
}

#[test]
fn refusal_names_the_subject_and_its_word() {
    let text = |slot: u16, why: Reason| Subject::of_slot(slot).refused(why).to_string();
    assert_eq!(
        text(2, Reason::Unnamed),
        "slot 2: nothing says what it is, and the image is verified: give verity2= or a line of the seal"
    );
    let missing = Spec::parse(&dm().replace("data_blocks=300,", "")).unwrap_err();
    assert_eq!(
        text(0, missing.into()),
        "verity=: data_blocks is missing; it cannot be taken from the disk"
    );
    assert_eq!(
        text(3, Reason::ShortTree { got: 4096, need: 12_288 }),
        "slot 3: its tree has 4096 bytes, and needs 12288"
    );
    assert_eq!(
        text(3, Reason::ShortTree { got: 0, need: 12_288 }),
        "slot 3: no tree is found, and one of 12288 bytes is needed"
    );
    let spec = format!("sha256-12:{A}");
    let claim = Spec::parse(&spec).unwrap().claim(0).unwrap();
    let wrong = claim.prove(&Software, &[]).unwrap_err();
    assert_eq!(
        text(0, wrong.into()),
        "image: size and root hash: sha256 3d248ca542a24fc62d1c43b916eae501.., \
         verity= wants 5f3a0c12000000000000000000000000.."
    );
}

/// Returns a seal's message, or how many entries the seal has.
fn seal(text: &[u8]) -> Result<usize, String> {
    let root = digest(&Software, Algorithm::Sha256, text).unwrap();
    let seal = Seal::open(&Software, text, &root).map_err(|error| error.to_string())?;
    Ok(seal.entries().count())
}

#[test]
fn seal_says_what_the_image_and_each_blob_are() {
    let text =
        format!("# a seal\n\nimage sha256-12:{A}\n 1\t{}\r\n  # more\n65535 sha256-12:{A}", dm());
    let root = digest(&Software, Algorithm::Sha256, text.as_bytes()).unwrap();
    assert_eq!(parse_root(&format!("sha256:{root}")), Ok(root));
    let seal = Seal::open(&Software, text.as_bytes(), &root).unwrap();
    let slots: Vec<u16> = seal.entries().map(|(subject, _)| subject.slot()).collect();
    assert_eq!(slots, [0, 1, 65_535]);
    assert_eq!(seal.of(Subject::of_slot(1)), Spec::parse(&dm()).ok());
    assert_eq!(seal.of(Subject::IMAGE).unwrap().root(), Root::File(self::root()));
    assert_eq!(seal.of(Subject::of_slot(2)), None);
}

#[test]
fn fault_of_a_seal_is_named_with_its_line() {
    let line = |text: &str| seal(text.as_bytes()).unwrap_err();
    let spec = format!("sha256-12:{A}");
    for (text, message) in [
        (
            format!("image {spec}\nimage {spec}"),
            "seal=: line 2: image is out of order: each once, the image first",
        ),
        (
            format!("#\n2 {spec}\n1 {spec}"),
            "seal=: line 3: slot 1 is out of order: each once, the image first",
        ),
        (
            format!("1 {spec}\nimage {spec}"),
            "seal=: line 2: image is out of order: each once, the image first",
        ),
        (
            format!("0 {spec}"),
            "seal=: line 1: image or a device slot from 1 to 65535 is wanted, and a SPEC",
        ),
        (
            format!("01 {spec}"),
            "seal=: line 1: image or a device slot from 1 to 65535 is wanted, and a SPEC",
        ),
        (
            format!("65536 {spec}"),
            "seal=: line 1: image or a device slot from 1 to 65535 is wanted, and a SPEC",
        ),
        (
            "image".into(),
            "seal=: line 1: image or a device slot from 1 to 65535 is wanted, and a SPEC",
        ),
        (
            "1 hash=md5".into(),
            "seal=: line 1: hash=md5: an unknown hash; known are sha256 and sha512",
        ),
    ] {
        assert_eq!(line(&text), message, "{text}");
    }
    assert_eq!(seal(b"# \xff").unwrap_err(), "seal=: no text from byte 2 on");
    assert_eq!(seal(&vec![b'#'; SEAL_BYTES_MAX]), Ok(0));
    assert_eq!(seal(&vec![b'#'; SEAL_BYTES_MAX + 1]).unwrap_err(), "seal=: more than 64 KiB");
    for wrong in ["", A, "sha256:", "sha256:00", "sha512:00"] {
        let message = parse_root(wrong).unwrap_err().to_string();
        assert_eq!(message, "root=: sha256: and 64 hex digits are wanted");
    }
    let other = Seal::open(&Software, b"", &root()).unwrap_err().to_string();
    assert_eq!(
        other,
        "root=: the seal is sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

proptest! {
    /// Any bytes of a seal but the pinned ones are refused, whatever they say.
    #[test]
    fn changed_seal_is_refused_before_a_line_is_read(at in 0_usize..80, bit in 0_u32..8) {
        let text = format!("image sha256-12:{A}\n").into_bytes();
        let root = digest(&Software, Algorithm::Sha256, &text).unwrap();
        let mut changed = text.clone();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 1 << bit;
            let message = Seal::open(&Software, &changed, &root).unwrap_err().to_string();
            prop_assert!(message.starts_with("root=: the seal is sha256 "), "{}", message);
        }
    }
}
