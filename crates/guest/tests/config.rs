//! The guest's command line: what parses, what is refused, and that quoting undoes parsing.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use proptest::prelude::*;
use rootlet::blob::Domain;
use rootlet::cache::{FormatPolicy, SlotSize};
use rootlet::storage::Version;
use rootlet_guest::config::{
    CacheName, Config, ConfigError, Console, ObjectsName, Part, Sectors, SourceName, SourceWord,
    number, passed_over, quote, words,
};

fn disk(serial: &str) -> SourceName {
    SourceName::Disk(serial.into())
}

fn file(mount_tag: Option<&str>, name: &str) -> SourceName {
    SourceName::File { mount_tag: mount_tag.map(Into::into), name: name.into() }
}

fn refused(line: &str) -> String {
    Config::parse(line).unwrap_err().to_string()
}

#[test]
fn whole_line_is_understood() {
    let line = r#"image=root,version=0x1f blob1=share:a.bin disk=four,version=0xA  blob12=share:fs0:dir/b.bin blob3=three
        cache=disk9@2048+1M cache-key=share:fs0:key share=fs0 share="second share" console=framed slot=256K ram-cache=2M
        cache-format=force domain="our images" deadline=90 source-retry=0 timeline=16 cpus=2 log=debug -- cat "/a b" -- image=x"#;
    let expected = Config {
        image: Some(disk("root")),
        blobs: vec![
            (1, file(None, "a.bin")),
            (12, file(Some("fs0"), "dir/b.bin")),
            (3, disk("three")),
        ],
        versions: vec![(disk("root"), Version::Said(0x1f)), (disk("four"), Version::Said(10))],
        cache: Some(CacheName {
            serial: "disk9".into(),
            part: Part::Sectors(Sectors { first: 2048, count: 1 << 20 }),
        }),
        cache_key: Some(file(Some("fs0"), "key")),
        cache_file: None,
        shares: vec!["fs0".into(), "second share".into()],
        console: Console::Framed,
        slot_size: Some(SlotSize::K256),
        ram_cache_bytes: Some(2 << 20),
        domain: Domain::new("our images").unwrap(),
        cache_format: FormatPolicy::Force,
        deadline_s: Some(90),
        source_retry_s: Some(0),
        timeline_events: 16,
        cpus: Some(2),
        layers: Vec::new(),
        layer_blobs: Vec::new(),
        parts: Vec::new(),
        layer_verity: Vec::new(),
        verity: Vec::new(),
        seal: None,
        verity_ram_bytes: None,
        objects: None,
        command: ["cat", "/a b", "--", "image=x"].map(Into::into).to_vec(),
    };
    assert_eq!(Config::parse(line), Ok(expected));
}

#[test]
fn objects_are_a_folder_of_a_share_or_a_disk_and_the_image_has_composefs_word() {
    let objects = |line: &str| Config::parse(line).unwrap().objects;
    let folder = |tag: &str, folder: &str| {
        Some(ObjectsName::Folder { mount_tag: tag.into(), folder: folder.into() })
    };
    assert_eq!(objects("objects=share:fs0:a/b"), folder("fs0", "a/b"));
    assert_eq!(objects("objects=share:fs0"), folder("fs0", ""));
    let on_disk = |part| Some(ObjectsName::Image(disk("store"), part));
    assert_eq!(objects("objects=store"), on_disk(Part::Whole));
    assert_eq!(objects("objects=store@name:o"), on_disk(Part::Named("o".into())));
    assert_eq!(objects("image=i composefs=abc ro"), None);
    let digest = format!("v1-sha256-12:{}", "2b".repeat(32));
    let config = Config::parse(&format!("image=i composefs.digest={digest}")).unwrap();
    assert_eq!(config.verity, [(0, digest.clone())]);
    for (line, why) in [
        ("objects=store@name:o*", "a disk and one part of it"),
        ("objects=store objects=share:a", "objects"),
        ("objects=share:", "a mount tag of 1 to 36 bytes"),
        ("objects=share:a objects=share:b", "objects"),
        ("composefs.digest=2b", "unknown word \"2b\"; known are sha256-12:HEX"),
        (&format!("verity={digest} composefs.digest={digest}"), "composefs.digest"),
    ] {
        assert!(refused(line).contains(why), "{line}: {}", refused(line));
    }
}

#[test]
fn stack_has_its_images_from_the_bottom_and_what_is_said_of_each() {
    let spec = format!("sha256-12:{}", "5f".repeat(32));
    let line = format!(
        "layer=gpt@layers-* layer=share:fs:top@type:root,version=7 layer2.blob1=b@8+8 \
         layer2.blob3=share:c verity1={spec} layer2.verity3={spec} layer=x@y"
    );
    let config = Config::parse(&line).unwrap();
    let words: Vec<String> = config
        .layers
        .iter()
        .map(|(name, part)| format!("{}{part}", rootlet_guest::config::SourceWord(name)))
        .collect();
    assert_eq!(words, ["gpt@name:layers-*", "share:fs:top@type:root", "x@y"]);
    assert_eq!(config.versions.len(), 1);
    assert_eq!(config.blob(2, 1), Some(&disk("b")));
    assert_eq!(config.blob(2, 3), Some(&file(None, "c")));
    assert_eq!((config.blob(2, 2), config.blob(0, 1)), (None, None));
    let eight = Part::Sectors(Sectors { first: 8, count: 8 });
    assert_eq!((config.part_of(2, 1), config.part_of(2, 3)), (&eight, &Part::Whole));
    assert_eq!((config.verity.len(), config.layer_verity.len()), (1, 1));
    for (line, want) in [
        ("layer=a layer1.blob1=b layer1.blob1=c", "a second time"),
        ("layer=a layer01.blob1=b", "expected layerN.blobM="),
        ("layer=a layer1.verity=x", "expected layerN.blobM="),
        ("layer=a layer1=b", "expected layerN.blobM="),
        ("layer=a@name:", "1 to 36 characters"),
        ("layer=a@type:boot", "a GUID, root, usr, root-verity or usr-verity"),
        ("layers=a", "did you mean layer=?"),
        ("layer1.verity2=sha256-12:5f layer=a", "layer1.verity2="),
    ] {
        let error = Config::parse(line).unwrap_err().to_string();
        assert!(error.contains(want), "{line}: {error}");
    }
}

#[test]
fn region_may_be_a_partition_by_name_or_type() {
    let part = |text: &str| {
        let cache = Config::parse(&quote(&format!("cache={text}")).to_string()).unwrap().cache;
        let cache = cache.unwrap();
        assert_eq!(cache.serial, "d");
        let short = text.starts_with("d@type");
        assert!(short || cache.to_string() == text, "{cache}");
        cache.part
    };
    assert_eq!(part("d@name:a region @ home"), Part::Named("a region @ home".into()));
    assert_eq!(part("d@name:5+5"), Part::Named("5+5".into()));
    let own = part("d@type");
    assert_eq!(own, part("d@type:5E4A3680-BB1E-4551-8D14-7538E87347A3"));
    assert_ne!(own, part("d@type:5e4a3680-bb1e-4551-8d14-7538e87347a4"));
    assert_eq!(part("d"), Part::Whole);
}

#[test]
fn version_stands_beside_any_source() {
    let versions = |line: &str| Config::parse(line).unwrap().versions;
    let one = |line: &str| match *versions(line) {
        [(_, version)] => version,
        _ => panic!("{line}: {:?}", versions(line)),
    };
    assert_eq!(versions("image=i blob1=share:a cache=c"), []);
    let config = Config::parse("blob1=share:t:a/b,version=etag blob2=d,version=etag").unwrap();
    assert_eq!(config.blobs, [(1, file(Some("t"), "a/b")), (2, disk("d"))]);
    let etag = one("image=i,version=etag");
    assert_eq!(config.versions, [(file(Some("t"), "a/b"), etag), (disk("d"), etag)]);
    assert_ne!(one("image=i,version=a"), one("image=i,version=b"));
    assert_eq!(one("image=i,version=0x00ff"), Version::Said(255));
    assert_eq!(one("image=i,version=0xFFFFFFFFFFFFFFFF"), Version::Said(u64::MAX));
    assert!(
        matches!(one("image=i,version=255"), Version::Said(n) if n != 255),
        "a text as any other"
    );
    // Which file a source is, as the host tool says it; another text is part of the name.
    assert_eq!(versions("disk=i,file=0xff"), [(disk("i"), Version::File(255))]);
    let config = Config::parse("image=i,file=x").unwrap();
    assert_eq!((config.image, config.versions), (Some(disk("i,file=x")), vec![]));
    // Only the last one is a version.
    let config = Config::parse("image=i,version=1,version=2").unwrap();
    assert_eq!(config.image, Some(disk("i,version=1")));
    assert_eq!(one("\"image=i,version=a b\""), one("image=i,version=a\\ b"));
    assert_eq!(versions("disk=a,version=1 disk=b,version=1 blob1=c,version=1").len(), 3);

    for line in [
        "image=i,version=",
        "image=i,version=0x",
        "image=i,version=0x0",
        "image=i,version=0x+1",
        "image=i,version=0x10000000000000000",
        "blob1=,version=1",
        "blob1=share:,version=1",
        "disk=d",
        "disk=share:f,version=1",
        "disk=,version=1",
    ] {
        assert!(refused(line).contains("expected"), "{line}: {}", refused(line));
    }
    let twice = refused("image=i,version=1 disk=i,version=2");
    assert_eq!(twice, "command line: \"disk=i,version=2\" is given a second time");
}

#[test]
fn empty_line_is_the_default() {
    assert_eq!(Config::parse(""), Ok(Config::default()));
    assert_eq!(Config::parse(" \t\n"), Ok(Config::default()));
    assert_eq!(Config::parse("--"), Ok(Config::default()));
}

#[test]
fn words_of_the_machine_are_ignored_wherever_they_stand() {
    let device = "virtio_mmio.device=512@0xfeb00e00:12";
    for line in [
        format!("{device} image=a -- ls / {device} {device}"),
        format!("image=a {device} -- {device} ls /"),
        format!("image=a {device} -- ls /"),
    ] {
        let config = Config::parse(&line).unwrap();
        assert_eq!(config.image, Some(disk("a")));
        assert_eq!(config.command, ["ls", "/"]);
    }
    let config = Config::parse(&format!("-- cat {}", quote(device))).unwrap();
    assert_eq!(config.command, ["cat", device], "quoted, it is nobody's but the user's");
}

/// What Firecracker has in its examples and adds, what people give to Cloud Hypervisor, and what
/// distributions have.
#[test]
fn words_of_kernels_are_passed_over_before_the_command_and_belong_to_it_after() {
    let words = "console=ttyS0,115200 console=hvc0 earlycon=uart,mmio,0x40002000 earlycon reboot=k \
                 panic=1 pci=off root=/dev/vda rw ro quiet nomodule 8250.nr_uarts=0 i8042.noaux \
                 i8042.nomux i8042.dumbkbd swiotlb=noforce net.ifnames=0 loglevel=3 init=/bin/sh ro";
    let config = Config::parse(&format!("{words} image=a console=framed {words} -- ls /")).unwrap();
    assert_eq!((config.image, config.console), (Some(disk("a")), Console::Framed));
    assert_eq!(config.command, ["ls", "/"]);
    let config = Config::parse("-- cat quiet root=/dev/vda pci=off").unwrap();
    assert_eq!(config.command, ["cat", "quiet", "root=/dev/vda", "pci=off"]);
    assert!(refused("console=loud").contains("expected plain, framed"));
}

#[test]
fn line_as_long_as_firecrackers_may_be_is_read() {
    let mut line = String::from("image=a -- cat");
    while line.len() < 2040 {
        line.push_str(" /file");
    }
    let config = Config::parse(&line).unwrap();
    assert_eq!(config.command.len(), 1 + (line.len() - 14) / 6);
}

#[test]
fn quotes_group_and_backslashes_escape() {
    for (line, expected) in [
        (r#"a"b c"d"#, vec!["ab cd"]),
        (r#"a\ b "c\"d" \"e"#, vec!["a b", "c\"d", "\"e"]),
        (r#""" x"#, vec!["", "x"]),
        (r#""\\" \\"#, vec!["\\", "\\"]),
        ("\"tab\tand\nline\"", vec!["tab\tand\nline"]),
        ("\u{e9}\u{3000}x", vec!["\u{e9}\u{3000}x"]),
    ] {
        assert_eq!(words(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn unfinished_words_are_refused_by_place() {
    assert_eq!(words(r#"a "b c"#), Err(ConfigError::OpenQuote { at: 2 }));
    assert_eq!(words(r#"a"b" "c\""#), Err(ConfigError::OpenQuote { at: 5 }));
    assert_eq!(words(r"a \"), Err(ConfigError::Backslash));
    assert_eq!(words(r#""\"#), Err(ConfigError::Backslash));
    assert_eq!(refused(r#"image="x"#), "command line: the quote at byte 6 is not closed");
}

#[test]
fn unknown_words_are_named_and_the_known_listed() {
    for word in ["blobs=x", "blob=x", "Image=x", "=x", "-", "blob-1=x"] {
        let message = refused(&format!("image=a {word} -- ls"));
        assert!(message.starts_with(&format!("command line: unknown word {word:?};")), "{message}");
        assert!(message.contains("cache-format="), "{message}");
    }
}

#[test]
fn words_like_a_setting_are_refused_with_what_may_be_meant() {
    for (word, name) in [
        ("imgae=a", "image"),
        ("image", "image"),
        ("--image=a", "image"),
        ("image:a", "image"),
        ("image1=a", "image"),
        ("image-file=a", "image"),
        ("blobx=a", "blob"),
        ("bolb2=a", "blob"),
        ("blob_1=a", "blob"),
        ("BLOB1=a", "blob"),
        ("disks=a", "disk"),
        ("cahce=a", "cache"),
        ("cache-size=1M", "cache"),
        ("shar=a", "share"),
        ("domian=a", "domain"),
        ("ramcache=1M", "ram-cache"),
        ("ram_cache=1M", "ram-cache"),
        ("Console=framed", "console"),
        ("slots=64K", "slot"),
        ("cacheformat=force", "cache-format"),
        ("cache_format=force", "cache-format"),
        ("dead-line=3", "deadline"),
        ("source-retrys=3", "source-retry"),
        ("time-line=3", "timeline"),
        ("timelime", "timeline"),
        ("LOG=debug", "log"),
    ] {
        let message = refused(&format!("{word} -- ls"));
        let start =
            format!("command line: unknown word {word:?}; did you mean {name}=? known are ");
        assert!(message.starts_with(&start), "{message}");
    }
}

/// The whole lines that monitors, boot loaders and distributions have by default.
const LINES_OF_OTHERS: [&str; 14] = [
    // Firecracker: the default, that of its first examples, and what it adds.
    "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd \
     swiotlb=noforce",
    "keep_bootcon console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda rw",
    "console=ttyS0 earlycon=uart,mmio,0x40002000 virtio_mmio.device=4K@0xd0000000:5",
    // Cloud Hypervisor.
    "console=ttyS0 console=hvc0 root=/dev/vda1 rw systemd.journald.forward_to_console=1",
    // Kata on Cloud Hypervisor and on QEMU.
    "root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4 panic=1 \
     no_timer_check noreplace-smp console=ttyS0,115200n8 systemd.unit=kata-containers.target \
     systemd.mask=systemd-networkd.service systemd.mask=systemd-networkd.socket agent.log=debug \
     agent.debug_console agent.debug_console_vport=1026 cgroup_no_v1=all \
     systemd.unified_cgroup_hierarchy=1",
    "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 \
     i8042.nopnp=1 i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 \
     pci=lastbus=0 root=/dev/pmem0p1 rootflags=dax,data=ordered,errors=remount-ro ro \
     rootfstype=ext4 console=hvc0 console=hvc1 quiet systemd.show_status=false panic=1 nr_cpus=4 \
     selinux=0 scsi_mod.scan=none",
    // libkrun.
    "reboot=k panic=-1 panic_print=0 nomodule console=hvc0 rootfstype=virtiofs rw quiet \
     no-kvmapf init=/init.krun tsi_hijack",
    // crosvm.
    "pci=noacpi reboot=k panic=-1 console=ttyS0 noacpi 8250.nr_uarts=4 root=/dev/vda ro",
    // QEMU's microvm.
    "earlyprintk=ttyS0 console=ttyS0 root=/dev/vda",
    // GRUB and distributions, as Lima starts them.
    "BOOT_IMAGE=/boot/vmlinuz-6.1.0 root=UUID=1b6a-22 ro quiet splash console=tty1 \
     console=ttyS0,115200n8 vt.handoff=7",
    "no_timer_check net.ifnames=0 ds=nocloud crashkernel=auto rhgb biosdevname=0 LANG=en_US.UTF-8",
    "nohz=off vga=normal edd=off nosmt mitigations=off transparent_hugepage=never isolcpus=1",
    "modules=loop,squashfs,sd-mod,usb-storage alpine_dev=vda:vfat nomodeset",
    "console=xvc0 console=lp0,9600 console= consoleblank=0 log_buf_len=1M kvm-intel.nested=1",
];

#[test]
fn whole_lines_of_others_are_passed_over() {
    for line in LINES_OF_OTHERS {
        let config = Config::parse(&format!("{line} image=a {line} -- ls /"));
        let config = config.unwrap_or_else(|refused| panic!("{line}: {refused}"));
        assert_eq!((config.image, config.console), (Some(disk("a")), Console::Plain), "{line}");
        assert_eq!(config.command, ["ls", "/"]);
    }
}

#[test]
fn word_of_nobody_is_passed_over_and_told() {
    let line = "image=a quite frob=1 KRUN_WORKDIR=/ quiet \"HOME=/ro ot\" root.erofs=x -- x=y";
    assert_eq!(Config::parse(line).unwrap().image, Some(disk("a")));
    let told: Vec<_> = passed_over(line).collect();
    assert_eq!(told, ["quite", "frob=1", "KRUN_WORKDIR=/", "HOME=/ro ot"]);
    // But for one, the lines above are known.
    let told = LINES_OF_OTHERS.iter().flat_map(|line| passed_over(line)).collect::<Vec<_>>();
    assert_eq!(told, ["alpine_dev=vda:vfat"]);
}

#[test]
fn console_is_a_form_of_ours_or_one_that_a_kernel_may_have() {
    for form in ["wire:0", "wire3", "plain1", "frame", "loud"] {
        assert!(refused(&format!("console={form}")).contains("expected plain, framed"), "{form}");
    }
    for console in ["", "ttyS0,115200n8", "tty0", "hvc0", "xvc0", "lp0,9600", "ttynull"] {
        assert!(Config::parse(&format!("console={console}")).is_ok(), "{console}");
    }
}

#[test]
fn second_mention_is_refused_by_name() {
    for (first, second) in [
        ("image=a", "image=a"),
        ("blob1=a", "blob1=share:x"),
        ("cache=a", "cache=b"),
        ("share=a", "share=a"),
        ("console=plain", "console=framed"),
        ("slot=1M", "slot=64K"),
        ("cache-format=auto", "cache-format=auto"),
        ("deadline=1", "deadline=2"),
        ("source-retry=1", "source-retry=2"),
        ("timeline=9", "timeline"),
        ("timeline", "timeline=9"),
        ("cpus=2", "cpus=1"),
    ] {
        let message = refused(&format!("{first} blob7=z {second}"));
        assert_eq!(message, format!("command line: {second:?} is given a second time"));
    }
    assert!(Config::parse(&format!("share={}", "t".repeat(36))).is_ok());
    assert!(Config::parse("share=a share=b blob1=a blob2=a log=x log=y").is_ok());
}

#[test]
fn timeline_keeps_no_events_unless_it_is_asked_for() {
    let events = |line| Config::parse(line).unwrap().timeline_events;
    assert_eq!((events(""), events("timeline"), events("timeline=64K")), (0, 4096, 65_536));
}

#[test]
fn values_that_do_not_fit_are_refused_by_what_would() {
    let tag = "t".repeat(37);
    for (word, want) in [
        ("image=", "the serial of a disk"),
        ("image=share:", "the name of a file"),
        ("image=share:tag:", "the name of a file"),
        ("image=share::", "the name of a file"),
        ("blob1=", "the serial of a disk"),
        ("blob0=a", "a device slot N from 1"),
        ("blob01=a", "a device slot N from 1"),
        ("blob65536=a", "a device slot N from 1"),
        ("blob1x=a", "a device slot N from 1"),
        ("cache=", "SERIAL"),
        ("cache=@1+1", "SERIAL"),
        ("cache=d@", "SERIAL@SECTOR+COUNT"),
        ("cache=d@5", "SERIAL@SECTOR+COUNT"),
        ("cache=d@5+0", "SERIAL@SECTOR+COUNT"),
        ("cache=d@x+1", "SERIAL@SECTOR+COUNT"),
        ("cache=d@18446744073709551615+1", "SERIAL@SECTOR+COUNT"),
        ("cache=d@0+36028797018963968", "SERIAL@SECTOR+COUNT"),
        ("cache=d@name:", "1 to 36 characters"),
        ("cache=d@name:1234567890123456789012345678901234567", "1 to 36 characters"),
        ("cache=d@type:5e4a3680", "a GUID"),
        ("cache=@type", "SERIAL"),
        ("share=", "a mount tag"),
        (&format!("share={tag}"), "a mount tag"),
        (&format!("image=share:{tag}:f"), "a mount tag"),
        ("console=loud", "plain, framed, wire or wire:COPIES"),
        ("console=wire:0", "COPIES from 1 to 9"),
        ("console=wire:10", "COPIES from 1 to 9"),
        ("console=wire:", "COPIES from 1 to 9"),
        ("domain=", "a domain, of 1 to 32 bytes"),
        ("domain=123456789012345678901234567890123", "of 1 to 32 bytes"),
        ("ram-cache=", "a size in bytes"),
        ("ram-cache=-1", "a size in bytes"),
        ("slot=128K", "64K, 256K or 1M"),
        ("slot=4294967296", "64K, 256K or 1M"),
        ("cache-format=", "auto, force or never"),
        ("deadline=0", "a number of seconds"),
        ("deadline=-1", "a number of seconds"),
        ("source-retry=-1", "a number of seconds"),
        ("source-retry=4G", "a number of seconds"),
        ("timeline=", "a number of events from 1 to 65536"),
        ("timeline=0", "a number of events from 1 to 65536"),
        ("timeline=65537", "a number of events from 1 to 65536"),
        ("deadline=4G", "a number of seconds"),
        ("cpus=0", "1 or 2 processors"),
        ("cpus=3", "1 or 2 processors"),
        ("cpus=two", "1 or 2 processors"),
    ] {
        let message = refused(word);
        assert!(message.starts_with(&format!("command line: {word:?}: expected ")), "{message}");
        assert!(message.contains(want), "{message}");
    }
}

#[test]
fn sources_have_four_spellings() {
    for (value, expected) in [
        ("serial:with:colons", disk("serial:with:colons")),
        ("sharex", disk("sharex")),
        ("share:name", file(None, "name")),
        ("share:tag:sub/name", file(Some("tag"), "sub/name")),
        ("share:tag:sub:name", file(Some("tag"), "sub:name")),
        ("share::sub:name", file(None, "sub:name")),
    ] {
        let config = Config::parse(&format!("image={value}")).unwrap();
        assert_eq!(config.image.as_ref(), Some(&expected));
        assert_eq!(SourceWord(&expected).to_string(), value);
    }
}

#[test]
fn numbers_are_decimal_with_binary_suffixes() {
    for (text, expected) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("64K", Some(65_536)),
        ("64k", Some(65_536)),
        ("3M", Some(3 << 20)),
        ("2G", Some(2 << 30)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("17179869184G", None),
        ("", None),
        ("K", None),
        ("+1", None),
        ("-1", None),
        ("1 ", None),
        ("0x10", None),
        ("1KK", None),
        ("1T", None),
        ("1\u{e9}", None),
        ("\u{661}", None),
    ] {
        assert_eq!(number(text), expected, "{text:?}");
    }
}

/// Words with what could confuse: quotes, backslashes, blanks, the machine's prefix.
fn word() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("--".to_owned()),
        Just("=".to_owned()),
        Just("virtio_mmio.device=".to_owned()),
        Just("pci=off".to_owned()),
        "[a-z/:]{0,3}",
        any::<String>(),
    ];
    prop::collection::vec(pieces, 0..5).prop_map(|pieces| pieces.concat())
}

fn line(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..Default::default() })]

    #[test]
    fn quoted_words_come_back(tokens in prop::collection::vec(word(), 0..6)) {
        prop_assert_eq!(words(&line(&tokens)), Ok(tokens));
    }

    #[test]
    fn composed_command_comes_back(command in prop::collection::vec(word(), 0..6), name in word()) {
        let source = SourceName::File { mount_tag: None, name: format!("x{name}") };
        let mut tokens = vec![format!("blob7={}", SourceWord(&source)), "--".to_owned()];
        tokens.extend(command.iter().cloned());
        let config = Config::parse(&line(&tokens)).unwrap();
        prop_assert_eq!(config.command, command);
        prop_assert_eq!(config.blobs, [(7, source)]);
    }

    #[test]
    fn no_line_panics(tokens in prop::collection::vec(word(), 0..6), text in any::<String>()) {
        let _ = Config::parse(&text);
        let _ = Config::parse(&tokens.join(" "));
        for key in ["image", "blob1", "cache", "share", "slot", "deadline"] {
            let _ = Config::parse(&quote(&format!("{key}={text}")));
        }
    }
}
