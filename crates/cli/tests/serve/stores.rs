//! Objects of Google's and Azure's stores, over servers that stand in for them: fake-gcs-server, and
//! Azurite. A test whose server is not in PATH says so and passes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Serve, is_skipped, object, reader, wait};

/// The account that every Azurite has, and a signature of its key for the year 2099.
const ACCOUNT: &str = "devstoreaccount1";
const SIGNATURE: &str = "sv=2018-11-09&ss=b&srt=sco&sp=rwc&se=2099-01-01T00%3A00%3A00Z&\
    spr=https,http&sig=4%2B8jML3LwB6JXveZyIvnhAS1Hw195013lDmcI0pcfvY%3D";

/// A store, gone with this.
struct Store {
    process: Child,
    base: String,
}

impl Store {
    /// Starts `program` with the arguments that `words` gives for a port; `None`, after a word, if it is
    /// missing.
    fn start(program: &str, words: impl Fn(&str) -> Vec<String>) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(words(&port.to_string())).stdin(Stdio::null());
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            println!("skipped: {program} is not in PATH");
            return None;
        };
        let this = Self { process, base: format!("http://127.0.0.1:{port}") };
        wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(this)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Checks that an engine reads the object `name`, and that `wrong` are refused by their reasons.
fn check(dir: &Path, name: &str, variables: &[(&str, &str)], wrong: &[(&str, &str)]) {
    let (socket, out) = (dir.join("socket"), dir.join("out"));
    let serve = Serve::start_with(name, &socket, &[], variables);
    assert!(reader(&socket, &out).wait().unwrap().success(), "{name}");
    assert!(fs::read(&out).unwrap() == object(), "{name}");
    assert_eq!(serve.end().0, Some(0));
    for (name, why) in wrong {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", name, "--plain-http", "--socket"]).arg(dir.join("none"));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.contains(name), "{why}: {said}");
    }
}

#[test]
fn object_of_a_store_of_googles_kind_is_read_by_its_name() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("data/blobs/d")).unwrap();
    fs::write(dir.path().join("data/blobs/d/a b.blob"), object()).unwrap();
    let data = dir.path().join("data").display().to_string();
    let words = |port: &str| {
        let host = format!("127.0.0.1:{port}");
        let words = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-public-host", &host];
        words
            .iter()
            .chain(&["-backend", "memory", "-data", &data])
            .map(ToString::to_string)
            .collect()
    };
    let Some(store) = Store::start("fake-gcs-server", words) else { return };
    let variables = [("STORAGE_EMULATOR_HOST", store.base.as_str())];
    let none = [("gs://blobs/none", "the server answers 404: there is no such object")];
    check(dir.path(), "gs://blobs/d/a b.blob", &variables, &none);
}

#[test]
fn object_of_a_store_of_azures_kind_is_read_by_its_name_with_a_signature() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let words = |port: &str| {
        let words = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobPort", port];
        words.iter().chain(&["--location", &folder]).map(ToString::to_string).collect()
    };
    let Some(store) = Store::start("azurite-blob", words) else { return };
    let endpoint = format!("{}/{ACCOUNT}", store.base);
    let file = dir.path().join("a.blob");
    fs::write(&file, object()).unwrap();
    let put = |more: &[&str], rest: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "-X", "PUT"]).args(more);
        let status = command.arg(format!("{endpoint}/{rest}{SIGNATURE}")).status().unwrap();
        assert!(status.success(), "{rest}");
    };
    put(&["-d", ""], "blobs?restype=container&");
    let data = format!("@{}", file.display());
    put(&["-H", "x-ms-blob-type: BlockBlob", "--data-binary", &data], "blobs/d/a%20b.blob?");
    let name = "az://blobs/d/a b.blob";
    let of_endpoint = ("AZURE_STORAGE_ENDPOINT", endpoint.as_str());
    let none = [("az://blobs/none", "the server answers 404: there is no such object")];
    check(dir.path(), name, &[of_endpoint, ("AZURE_STORAGE_SAS_TOKEN", SIGNATURE)], &none);
    let other = SIGNATURE.replace("sig=4", "sig=5");
    for signature in ["", &other] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        command.args(["serve", name, "--plain-http", "--socket"]).arg(dir.path().join("none"));
        command.envs([of_endpoint, ("AZURE_STORAGE_SAS_TOKEN", signature)]);
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(said.contains("the server answers 403") && said.contains(name), "{said}");
        assert!(said.contains("AZURE_STORAGE_SAS_TOKEN has a signature"), "{said}");
    }
}
