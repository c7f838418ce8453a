//! A web server with a certificate of an authority that nobody knows; without nginx or openssl the test
//! says so and passes.

use std::fs;
use std::process::Command;

use super::nginx::Nginx;
use super::{Serve, is_skipped, object, reader};

#[test]
fn certificate_that_is_not_trusted_is_refused_until_it_is_named() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.blob"), object()).unwrap();
    fs::write(path("cut.blob"), [7; 700]).unwrap();
    fs::write(path("empty.blob"), "").unwrap();
    let files = dir.path().display();
    let settings = format!("root {files}; rewrite ^/moved/(.*)$ URL/$1 redirect;");
    let Some(nginx) = Nginx::start(dir.path(), &settings) else { return };
    let ca = nginx.ca.display().to_string();
    for (name, more, why) in [
        (
            "a.blob",
            vec![],
            "SSL certificate problem: unable to get local issuer certificate (--ca FILE",
        ),
        ("none", vec!["--ca", &ca], "the server answers 404: there is no such object"),
        ("cut.blob", vec!["--ca", &ca], "700 bytes, 188 more than whole sectors of 512"),
        ("empty.blob", vec!["--ca", &ca], "the server answers"),
    ] {
        let source = format!("{}/{name}", nginx.url);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", &source, "--socket"]).arg(path("none")).args(more);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.contains(&source), "{said}");
    }
    let (socket, out) = (path("socket"), path("out"));
    for name in ["a.blob", "moved/a.blob"] {
        let serve = Serve::start(&format!("{}/{name}", nginx.url), &socket, &["--ca", &ca]);
        assert!(reader(&socket, &out).wait().unwrap().success(), "{name}");
        assert!(fs::read(&out).unwrap() == object(), "{name}");
        assert_eq!(serve.end().0, Some(0));
    }
    // As curl has it told.
    let bundle = [("CURL_CA_BUNDLE", ca.as_str())];
    let serve = Serve::start_with(&format!("{}/a.blob", nginx.url), &socket, &[], &bundle);
    assert!(reader(&socket, &out).wait().unwrap().success());
    assert_eq!(serve.end().0, Some(0));
}
