//! Names of sources and the options that open them.

use super::*;
use crate::source::Source;

fn node(text: &str) -> Node {
    match text.parse() {
        Ok(Source::Node(node)) => node,
        other => panic!("{text}: {other:?}"),
    }
}

/// The options of `text` in one line.
fn drive(text: &str) -> String {
    let node = node(text);
    assert_eq!(node.to_string(), text);
    let Drive { format, options } = node.drive();
    let options = options
        .into_iter()
        .map(|(name, value)| format!(",{name}={}", value.into_string().unwrap()));
    format!("{format}{}", options.collect::<String>())
}

#[test]
fn servers_get_what_the_url_names_and_a_time_to_come_back() {
    for (text, options) in [
        (
            "nbd://h",
            "raw,file.driver=nbd,file.server.type=inet,file.server.host=h,file.server.port=10809,\
             file.reconnect-delay=20",
        ),
        (
            "nbd://[::1]:99/a%2Cb/c",
            "raw,file.driver=nbd,file.server.type=inet,file.server.host=::1,file.server.port=99,\
             file.export=a,b/c,file.reconnect-delay=20",
        ),
        (
            "nbd+unix:///e?socket=/run/my%20socket",
            "raw,file.driver=nbd,file.server.type=unix,file.server.path=/run/my socket,\
             file.export=e,file.reconnect-delay=20",
        ),
        (
            "nbd+unix://?socket=s",
            "raw,file.driver=nbd,file.server.type=unix,file.server.path=s,file.reconnect-delay=20",
        ),
        (
            "iscsi://[fe80::1]/iqn.2001-04.com.example:disk/1",
            "raw,file.driver=iscsi,file.transport=tcp,file.portal=[fe80::1]:3260,\
             file.target=iqn.2001-04.com.example:disk,file.lun=1,file.timeout=20",
        ),
        (
            "ssh://me@h:2222/blobs/a",
            "raw,file.driver=ssh,file.server.host=h,file.server.port=2222,file.path=/blobs/a,\
             file.user=me",
        ),
        ("ssh://h/a", "raw,file.driver=ssh,file.server.host=h,file.server.port=22,file.path=/a"),
        (
            "rbd:p/i@s",
            "raw,file=rbd:p/i@s:rados_osd_op_timeout=20:rados_mon_op_timeout=20:\
             client_mount_timeout=20",
        ),
        (
            "rbd:p/n/i@s:conf=/c:rados_osd_op_timeout=3",
            "raw,file=rbd:p/n/i@s:conf=/c:rados_osd_op_timeout=3:rados_mon_op_timeout=20:\
             client_mount_timeout=20",
        ),
    ] {
        assert_eq!(drive(text), options, "{text}");
    }
}

#[test]
fn a_format_is_the_one_that_is_named() {
    assert_eq!(drive("qcow2:a:b"), "qcow2,file.driver=file,file.filename=a:b");
    assert_eq!(drive("vmdk:/a.vmdk"), "vmdk,file.driver=file,file.filename=/a.vmdk");
    assert_eq!(node("qcow2:/a").file(), Some(Path::new("/a")));
    assert_eq!(node("nbd://h").file(), None);
}

#[test]
fn wrong_part_of_a_url_is_named_with_the_right_form() {
    for (text, part) in [
        ("nbd:h:10809", "// does not follow the scheme; expected nbd://HOST[:PORT][/EXPORT]"),
        ("nbd:///e", "the host is missing"),
        ("nbd://h:0", "the port is 0"),
        ("nbd://h:70000", "the port is not one of 0 to 65535"),
        ("nbd://h:x", "no URL"),
        ("nbd://me@h", "the user `me` is not supported"),
        ("nbd://h/e?tls=1", "?tls=1 is not supported"),
        ("nbd://h/e#1", "it has a fragment"),
        ("nbd://h/%ff", "the path is not UTF-8"),
        ("nbd://h/%00", "the path has a zero byte"),
        ("nbd+unix:///e", "?socket=FILE is missing; expected nbd+unix:///[EXPORT]?socket=FILE"),
        ("nbd+unix://h/e?socket=s", "it has a host"),
        ("nbd+unix:///?socket=", "?socket= is not ?socket=..."),
        ("nbd+unix:///?path=s", "?path=s is not ?socket=..."),
        ("iscsi://h/iqn", "the LUN is missing"),
        ("iscsi://h//1", "the target is missing"),
        ("iscsi://h/iqn/x", "the LUN `x` is no number"),
        ("iscsi://me%25secret@h/iqn/1", "a password in a URL is seen by every user"),
        ("ssh://h", "the path is missing"),
        ("ssh://me:secret@h/x", "a password in a URL is seen by every user"),
        ("ssh://h/x?host_key_check=no", "?host_key_check=no is not supported"),
        ("rbd://p/i", "no // follows rbd:"),
        ("rbd:i", "the pool is missing"),
        ("rbd:p/", "the pool or the image is missing"),
        ("rbd:p/n/m/i", "the pool or the image is missing"),
        ("rbd:p/i@", "the snapshot is missing"),
        ("rbd:p/i@s:conf", "`conf` is not KEY=VALUE"),
        ("rbd:p/i@s:key=AQ==", "a key in a URL is seen by every user"),
        ("rbd:p/i\\@s", "a backslash"),
        ("qcow2:", "no file given; expected qcow2:FILE"),
        ("vmdk://x", "no // follows the format"),
    ] {
        let error = text.parse::<Source>().unwrap_err();
        assert!(error.starts_with(&format!("{text}: ")) && error.contains(part), "{error}");
        assert!(error.ends_with(&format!("or ./{text} for a file of that name")), "{error}");
    }
}

#[test]
fn image_without_a_snapshot_may_change() {
    let changes = |text| node(text).changes().is_some();
    assert!(changes("rbd:p/i"));
    assert!(!changes("rbd:p/i@s") && !changes("nbd://h"));
}
