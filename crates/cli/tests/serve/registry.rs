//! Files of a registry, over docker-registry; without it the test says so and passes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};

use super::{Serve, is_skipped, object, reader, wait};

struct Registry {
    process: Child,
    base: String,
}

impl Registry {
    fn start(dir: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            dir.join("registry").display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            println!("skipped: docker-registry is not installed");
            return None;
        };
        let this = Self { process, base: format!("127.0.0.1:{port}") };
        wait(|| this.curl(&["--fail"], "v2/").is_some());
        Some(this)
    }

    /// Returns the answer with its headers; `None` if curl fails.
    fn curl(&self, more: &[&str], path: &str) -> Option<String> {
        let url = match path.starts_with("http:") {
            true => path.to_string(),
            false => format!("http://{}/{path}", self.base),
        };
        let output = Command::new("curl").args(["-s", "-D", "-"]).args(more).arg(url).output();
        let output = output.unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Pushes a file, and returns its digest.
    fn push(&self, file: &Path) -> String {
        let digest = digest(&fs::read(file).unwrap());
        let begun = self.curl(&["-X", "POST", "-d", ""], "v2/t/img/blobs/uploads/").unwrap();
        let place = begun.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_string())
        });
        let kind = "Content-Type: application/octet-stream";
        let data = format!("@{}", file.display());
        let put = ["--fail", "-X", "PUT", "-H", kind, "--data-binary", &data];
        self.curl(&put, &format!("{}&digest={digest}", place.unwrap())).unwrap();
        digest
    }

    /// Pushes a manifest under the tag `1`.
    fn tag(&self, manifest: &str) {
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        let put = ["--fail", "-X", "PUT", "-H", kind, "--data-binary", manifest];
        self.curl(&put, "v2/t/img/manifests/1").unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn digest(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{digits}")
}

#[test]
fn file_of_a_registry_is_found_by_its_name_in_the_manifest() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(registry) = Registry::start(dir.path()) else { return };
    fs::write(path("a.blob"), object()).unwrap();
    fs::write(path("b.blob"), [7; 4096]).unwrap();
    fs::write(path("config"), "{}").unwrap();
    let layer = |name: &str| {
        let bytes = fs::metadata(path(name)).unwrap().len();
        let digest = registry.push(&path(name));
        format!(
            r#"{{"mediaType": "application/octet-stream", "digest": "{digest}", "size": {bytes},
                "annotations": {{"org.opencontainers.image.title": "{name}"}}}}"#
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {{"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": "{}"}}, "layers": [{}, {}]}}"#,
        registry.push(&path("config")),
        layer("a.blob"),
        layer("b.blob")
    );
    registry.tag(&manifest);
    let name = |rest: &str| format!("oci+http://{}/t/img{rest}", registry.base);
    for source in [name(":1#a.blob"), name(&format!("@{}#a.blob", digest(manifest.as_bytes())))] {
        let (socket, out) = (path("socket"), path("out"));
        let serve = Serve::start(&source, &socket, &[]);
        assert!(reader(&socket, &out).wait().unwrap().success(), "{source}");
        assert!(fs::read(&out).unwrap() == object(), "{source}");
        assert_eq!(serve.end().0, Some(0));
    }
    let zeros = format!("@sha256:{}#a.blob", "0".repeat(64));
    for (source, why) in [
        (name(":1"), "2 layers fit, and one is needed"),
        (name(":1#c"), "the manifest has a.blob, b.blob"),
        (name(":2#a.blob"), "the server answers 404"),
        (name(&zeros), "the server answers 404"),
        ("oci+http://127.0.0.1:1/t/img:1".into(), "Failed to connect"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", &source, "--plain-http", "--socket"]).arg(path("none"));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.contains(&source), "{said}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.args(["serve", &name(":1#a.blob"), "--socket"]).arg(path("none"));
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("insist by --plain-http"), "{said}");
}
