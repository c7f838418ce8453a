//! Blobs in Ceph: of a block device, and of its S3 server; without Ceph the test says so and passes.
//!
//! Always: a real server checks the signatures; one that stands in for it takes wrong ones.

use std::ffi::OsString;

use crate::boot::{Outcome, boot_with, passes};
use crate::ceph::{Ceph, KEY};
use crate::sample::Sample;
use crate::sources_web::is_skipped;

fn args(sample: &Sample, first: &str) -> Vec<OsString> {
    let second = format!("2={}", sample.path("blob2").display());
    let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
    args.extend(["--blob", &format!("1={first}"), "--blob", &second].map(OsString::from));
    args.extend(["--plain-http", "--", "manifest", "/"].map(OsString::from));
    args
}

#[test]
fn blob_in_ceph_is_read_as_a_block_device_and_as_an_object_with_a_key() {
    if is_skipped() {
        return;
    }
    let sample = Sample::new();
    let rows = sample.manifest();
    let Some(ceph) = Ceph::start(sample.path("ceph")) else { return };
    let blob = sample.path("blob1");
    ceph.run("rbd", &["import", blob.to_str().unwrap(), "rbd/blob1"]);
    ceph.run("rbd", &["snap", "create", "rbd/blob1@v1"]);
    let name = format!("rbd:rbd/blob1@v1:conf={}", ceph.conf().display());
    let has_driver = std::fs::read_dir("/usr/lib/x86_64-linux-gnu/qemu")
        .is_ok_and(|mut dir| dir.any(|file| file.unwrap().file_name() == "block-rbd.so"));
    match has_driver {
        true => assert!(passes(args(&sample, &name)).stdout == rows),
        false => println!("skipped: QEMU's driver for rbd is not installed"),
    }

    ceph.put(&blob, "blobs", "a/b%20%2B.blob");
    let key = |id: &str, secret: &str, name: &str| -> Outcome {
        let settings = [
            ("AWS_ENDPOINT_URL", ceph.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_SHARED_CREDENTIALS_FILE", "/none"),
        ];
        boot_with(&settings, args(&sample, name))
    };
    let name = "s3://blobs/a/b +.blob";
    let outcome = key(KEY.0, KEY.1, name);
    assert!(outcome.stdout == rows, "{}", outcome.stderr);
    for (id, secret, name, why) in [
        (KEY.0, "wrong", name, "the server answers 403"),
        ("", "", name, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"),
        (KEY.0, "", name, "only one is set"),
        (KEY.0, KEY.1, "s3://blobs/none", "the server answers 404: there is no such object"),
    ] {
        let outcome = key(id, secret, name);
        assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
        let verdict = outcome.verdict();
        assert!(verdict.contains(why) && verdict.contains(name), "{why}: {}", outcome.stderr);
    }
}
