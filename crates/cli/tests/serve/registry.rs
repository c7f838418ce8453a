//! Files of a registry, over docker-registry; without it the test says so and passes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::gate::Gate;
use super::{Serve, is_skipped, object, reader, wait};

/// docker-registry, gone with this.
pub struct Registry {
    process: Child,
    /// Its host and port.
    pub base: String,
    /// `NAME:PASSWORD`, if it wants to know who asks.
    who: Option<&'static str>,
}

impl Registry {
    /// Starts a registry for everybody, or for `NAME:PASSWORD` alone. Its files go to `dir`.
    pub fn start(dir: &Path, who: Option<&'static str>) -> Option<Self> {
        let auth = who.map_or(String::new(), |who| guarded(dir, who));
        let mut this = Self::start_with(dir, &auth)?;
        this.who = who;
        Some(this)
    }

    /// Starts a registry with these settings, too.
    pub fn start_with(dir: &Path, auth: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n{auth}",
            dir.join("registry").display()
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            println!("skipped: docker-registry is not installed");
            return None;
        };
        wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { process, base: format!("127.0.0.1:{port}"), who: None })
    }

    /// Returns the answer with its headers; `None` if curl fails.
    fn curl(&self, more: &[&str], path: &str) -> Option<String> {
        let url = match path.starts_with("http:") {
            true => path.to_string(),
            false => format!("http://{}/{path}", self.base),
        };
        let who = self.who.map_or(vec![], |who| vec!["--user", who]);
        let mut command = Command::new("curl");
        let output = command.args(["-s", "-D", "-"]).args(who).args(more).arg(url).output();
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

    /// Pushes two blobs and their manifest, which is returned.
    pub fn push_image(&self, dir: &Path) -> String {
        let path = |name: &str| dir.join(name);
        fs::write(path("a.blob"), object()).unwrap();
        fs::write(path("b.blob"), [7; 4096]).unwrap();
        fs::write(path("config"), "{}").unwrap();
        let layer = |name: &str| {
            let bytes = fs::metadata(path(name)).unwrap().len();
            let digest = self.push(&path(name));
            format!(
                r#"{{"mediaType": "application/octet-stream", "digest": "{digest}", "size": {bytes},
                    "annotations": {{"org.opencontainers.image.title": "{name}"}}}}"#
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {{"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
                "digest": "{}"}}, "layers": [{}, {}]}}"#,
            self.push(&path("config")),
            layer("a.blob"),
            layer("b.blob")
        );
        self.tag(&manifest);
        manifest
    }

    /// Pushes a manifest under the tag `1`.
    fn tag(&self, manifest: &str) {
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        let put = ["--fail", "-X", "PUT", "-H", kind, "--data-binary", manifest];
        self.curl(&put, "v2/t/img/manifests/1").unwrap();
    }
}

/// Returns the settings of a registry that `who` alone may read.
fn guarded(dir: &Path, who: &str) -> String {
    let (name, password) = who.split_once(':').unwrap();
    let mut command = Command::new("htpasswd");
    let output = command.args(["-nbB", name, password]).output().unwrap();
    let file = dir.join("htpasswd");
    fs::write(&file, output.stdout).unwrap();
    format!("auth: {{htpasswd: {{realm: x, path: {}}}}}\n", file.display())
}

/// Keeps `who` for the registry `base` as docker does, and returns the folder.
pub fn keep(dir: &Path, base: &str, who: &str) -> PathBuf {
    let kept = dir.join("docker");
    fs::create_dir_all(&kept).unwrap();
    let auth = BASE64.encode(who.as_bytes());
    let text = format!("{{\"auths\": {{\"{base}\": {{\"auth\": \"{auth}\"}}}}}}");
    fs::write(kept.join("config.json"), text).unwrap();
    kept
}

/// Checks that `serve` refuses `source` by its reason, with the passwords that are kept in `docker`.
pub fn refused(dir: &Path, source: &str, docker: &Path, why: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.args(["serve", source, "--plain-http", "--socket"]).arg(dir.join("none"));
    let output = command.env("DOCKER_CONFIG", docker).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why) && said.contains(source), "{why}: {said}");
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
    let Some(registry) = Registry::start(dir.path(), None) else { return };
    let manifest = registry.push_image(dir.path());
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
        refused(dir.path(), &source, Path::new("/none"), why);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.args(["serve", &name(":1#a.blob"), "--socket"]).arg(path("none"));
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("insist by --plain-http"), "{said}");
}

#[test]
fn registry_with_a_password_is_told_what_docker_keeps_for_it() {
    if is_skipped() || Command::new("htpasswd").output().is_err() {
        println!("skipped: htpasswd is not installed, or a program before");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let Some(registry) = Registry::start(dir.path(), Some("me:secret")) else { return };
    registry.push_image(dir.path());
    let source = format!("oci+http://{}/t/img:1#a.blob", registry.base);
    let kept = keep(dir.path(), &registry.base, "me:secret");
    let (socket, out) = (path("socket"), path("out"));
    let serve = Serve::start_in(&source, &socket, &[], &kept);
    assert!(reader(&socket, &out).wait().unwrap().success());
    assert!(fs::read(&out).unwrap() == object());
    let engine = serve.child("nbdkit").unwrap();
    let line = fs::read(format!("/proc/{engine}/cmdline")).unwrap();
    let secret = BASE64.encode(b"me:secret");
    assert!(!String::from_utf8_lossy(&line).contains(&secret), "a password in a command line");
    assert_eq!(serve.end().0, Some(0));
    refused(dir.path(), &source, Path::new("/none"), "the registry wants a name and a password");
    let kept = keep(dir.path(), &registry.base, "me:other");
    refused(
        dir.path(),
        &source,
        &kept,
        "the registry answers 401: it refuses the name and password",
    );
}

#[test]
fn token_and_redirect_are_renewed_while_a_blob_is_read() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let bytes = object();
    let manifest = |digest: &str| {
        let size = bytes.len();
        format!("{{\"layers\": [{{\"digest\": \"{digest}\", \"size\": {size}}}]}}")
    };
    let text = manifest(&digest(&bytes));
    let lasts = Duration::from_secs(2);
    let gate = Gate::new(text.clone(), bytes.clone(), "me:secret", lasts);
    let source = format!("oci+http://{}/t/img:1", gate.base);
    let kept = keep(dir.path(), &gate.base, "me:secret");
    let (socket, out) = (path("socket"), path("out"));
    let serve = Serve::start_in(&source, &socket, &[], &kept);
    let before = gate.tokens();
    thread::sleep(2 * lasts);
    assert!(reader(&socket, &out).wait().unwrap().success());
    assert!(fs::read(&out).unwrap() == bytes);
    assert!(gate.tokens() > before, "no token was renewed");
    assert_eq!(serve.end().0, Some(0));
    assert_eq!(gate.wrong(), Vec::<String>::new());

    let none = Path::new("/none");
    refused(dir.path(), &source, none, "token: the server answers 401");
    let wrong = keep(dir.path(), &gate.base, "me:other");
    refused(dir.path(), &source, &wrong, "it refuses the name and password of");
    let kept = keep(dir.path(), &gate.base, "me:secret");
    for (status, why) in [
        (403, "the server answers 403"),
        (404, "the server answers 404: there is no such object"),
        (429, "the server answers 429"),
    ] {
        gate.refuse(status);
        refused(dir.path(), &source, &kept, why);
    }
    // Tokens for everybody, and a server whose token is not enough.
    let open = Gate::new(text, bytes.clone(), "", Duration::from_secs(600));
    let source = format!("oci+http://{}/t/img:1", open.base);
    let serve = Serve::start_in(&source, &socket, &[], none);
    assert!(reader(&socket, &out).wait().unwrap().success());
    assert!(fs::read(&out).unwrap() == bytes);
    assert_eq!(serve.end().0, Some(0));
    let short = Gate::new(manifest(&digest(&bytes)), bytes, "", Duration::ZERO);
    let source = format!("oci+http://{}/t/img:1", short.base);
    refused(dir.path(), &source, none, "the registry answers 401: the registry wants a name");
}

#[test]
fn image_of_a_platform_is_unpacked_from_an_index_by_tag_and_digest() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let who = "me:secret";
    let Some(registry) = Registry::start(dir.path(), Some(who)) else { return };
    let docker = keep(dir.path(), &registry.base, who);
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tiny.erofs");
    let layer = registry.push(Path::new(tiny));
    let put = |kind: &str, name: &str, text: &str| {
        let kind = format!("Content-Type: application/vnd.oci.image.{kind}.v1+json");
        let put = ["--fail", "-X", "PUT", "-H", &kind, "--data-binary", text];
        registry.curl(&put, &format!("v2/t/img/manifests/{name}")).unwrap();
    };
    let image = |architecture: &str| {
        let config = format!(
            r#"{{"os": "linux", "architecture": "{architecture}", "rootfs": {{"type": "layers",
                "diff_ids": ["{layer}"]}}}}"#
        );
        fs::write(path("config"), &config).unwrap();
        let text = format!(
            r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "size": {},
                "digest": "{}"}}, "layers": [{{"mediaType": "application/vnd.erofs.layer.v1",
                "size": 8192, "digest": "{layer}"}}]}}"#,
            config.len(),
            registry.push(&path("config"))
        );
        put("manifest", &digest(text.as_bytes()), &text);
        format!(
            r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": {},
                "digest": "{}", "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#,
            text.len(),
            digest(text.as_bytes())
        )
    };
    let index = format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{}, {}]}}"#,
        image("amd64"),
        image("arm64")
    );
    put("index", "2", &index);
    let run = |reference: &str, out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let name = format!("oci+http://{}/t/img{reference}", registry.base);
        command.args(["unpack", &name, "--plain-http", "--files", "--platform", "linux/arm64"]);
        command.arg("--out").arg(path(out)).env("DOCKER_CONFIG", &docker);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (number, reference) in
        [":2".into(), format!("@{}", digest(index.as_bytes()))].iter().enumerate()
    {
        let out = format!("out{number}");
        let (status, said) = run(reference, &out);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("for linux/arm64"), "{said}");
        let made = fs::read(path(&out).join("erofs-layer-0")).unwrap();
        assert!(made.starts_with(&fs::read(tiny).unwrap()));
    }
    // An engine has the same image.
    let name = format!("oci+http://{}/t/img:2", registry.base);
    let (socket, out) = (path("socket"), path("served"));
    let serve = Serve::start_in(&name, &socket, &["--platform", "linux/arm64"], &docker);
    assert!(reader(&socket, &out).wait().unwrap().success());
    assert!(fs::read(&out).unwrap() == fs::read(tiny).unwrap());
    assert_eq!(serve.end().0, Some(0));
    let (status, said) = run(":3", "none");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the server answers 404"), "{said}");
}
