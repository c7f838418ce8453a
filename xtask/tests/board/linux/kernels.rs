//! Debian's kernels for clouds and the first program that they run: found, or made, once.
//!
//! Always: nothing is installed; what was unpacked is used again. Where a kernel is not to be had, a
//! test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::initramfs::{self, Contents};

/// A kernel that a test starts.
pub struct Kernel {
    /// The architecture as boards are named by it.
    pub arch: &'static str,
    /// The architecture as Debian has it, the release whose packages are taken, and the package that
    /// names the newest kernel.
    debian: (&'static str, &'static str, &'static str),
    /// The target of its first program; none where Rust has no libraries for it.
    target: Option<&'static str>,
    /// The variable that may name another file.
    variable: &'static str,
    /// The words by which it writes to the board's serial port from the start, and ends with the
    /// machine.
    pub words: &'static str,
}

pub const X86_64: Kernel = Kernel {
    arch: "x86_64",
    debian: ("amd64", "bookworm", "linux-image-cloud-amd64"),
    target: Some("x86_64-unknown-linux-musl"),
    variable: "ROOTLET_LINUX_X86_64",
    words: "console=ttyS0 earlyprintk=serial,ttyS0 reboot=t panic=-1",
};
pub const AARCH64: Kernel = Kernel {
    arch: "aarch64",
    debian: ("arm64", "bookworm", "linux-image-cloud-arm64"),
    target: Some("aarch64-unknown-linux-musl"),
    variable: "ROOTLET_LINUX_AARCH64",
    words: "console=ttyAMA0 earlycon panic=-1",
};
pub const RISCV64: Kernel = Kernel {
    arch: "riscv64",
    debian: ("riscv64", "trixie", "linux-image-riscv64"),
    target: None,
    variable: "ROOTLET_LINUX_RISCV64",
    words: "console=ttyS0 panic=-1",
};

/// What the first program finds in its initramfs.
pub const PAYLOAD: &[u8] = b"what a first program is known by\n";

impl Kernel {
    /// Returns the file, or prints why there is none.
    pub fn file(&self) -> Option<PathBuf> {
        static FOUND: [OnceLock<Result<PathBuf, String>>; 3] = [const { OnceLock::new() }; 3];
        let number = ["x86_64", "aarch64", "riscv64"].iter().position(|arch| *arch == self.arch);
        match FOUND[number.unwrap()].get_or_init(|| self.find()) {
            Ok(file) => Some(file.clone()),
            Err(why) => {
                println!("skipped: no kernel for {}: {why}", self.arch);
                None
            }
        }
    }

    fn find(&self) -> Result<PathBuf, String> {
        if let Some(file) = std::env::var_os(self.variable) {
            return Ok(file.into());
        }
        let dir = scratch().join("rootlet-linux").join(self.arch);
        if let Some(file) = unpacked(&dir) {
            return Ok(file);
        }
        if std::env::var_os("ROOTLET_NO_INSTALL").is_some_and(|value| value == "1") {
            return Err(format!("ROOTLET_NO_INSTALL=1, and {} names none", self.variable));
        }
        self.download(&dir)?;
        unpacked(&dir).ok_or_else(|| "the package holds none".into())
    }

    /// Unpacks Debian's package below `dir`, by lists of packages of its own.
    fn download(&self, dir: &Path) -> Result<(), String> {
        let (arch, release, package) = self.debian;
        let sources =
            said(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
        let is_main = |line: &&str| line.trim_end_matches('/').ends_with("/debian");
        let mirror = sources.lines().find(is_main).ok_or("apt knows no mirror of Debian")?;
        for part in ["lists/partial", "cache/archives/partial", "etc/parts"] {
            fs::create_dir_all(dir.join(part)).map_err(|error| error.to_string())?;
        }
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let list = format!("deb [signed-by={keyring}] {mirror} {release} main\n");
        fs::write(dir.join("etc/sources.list"), list).map_err(|error| error.to_string())?;
        fs::write(dir.join("status"), "").map_err(|error| error.to_string())?;
        let place = |key: &str, name: &str| format!("{key}={}", dir.join(name).display());
        let apt = |program: &str| {
            let mut command = Command::new(program);
            let settings = [
                format!("APT::Architecture={arch}"),
                format!("APT::Architectures={arch}"),
                place("Dir::State", ""),
                place("Dir::State::status", "status"),
                place("Dir::Cache", "cache"),
                place("Dir::Etc::sourcelist", "etc/sources.list"),
                place("Dir::Etc::sourceparts", "etc/parts"),
                "Acquire::Languages=none".into(),
            ];
            for setting in settings {
                command.args(["-o", &setting]);
            }
            command.current_dir(dir);
            command
        };
        said(apt("apt-get").arg("update"))?;
        let needs = said(apt("apt-cache").args(["depends", package]))?;
        let mut names = needs.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let image = names.rfind(|name| name.starts_with("linux-image-"));
        said(apt("apt-get").args(["download", image.ok_or("the package needs no kernel")?]))?;
        for entry in fs::read_dir(dir).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                said(Command::new("dpkg-deb").arg("-x").args([entry.path(), dir.into()]))?;
                fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
            }
        }
        for rest in ["lists", "cache", "lib", "usr"] {
            // What is not there need not go.
            let _ = fs::remove_dir_all(dir.join(rest));
        }
        Ok(())
    }

    /// Returns an initramfs whose first program is `look`; `None`, and a line, where that cannot be
    /// built.
    pub fn initramfs(&self) -> Option<Vec<u8>> {
        let init = self.target.ok_or_else(|| "Rust has no libraries for its Linux".to_string());
        match init.and_then(look) {
            Ok(init) => {
                let payload = String::from_utf8(PAYLOAD.to_vec()).unwrap();
                let files = [("payload", payload)];
                let contents = Contents { init: &init, modules: None, files: &files };
                Some(initramfs::build(&contents).unwrap())
            }
            Err(why) => {
                println!("skipped: no first program for {}: {why}", self.arch);
                None
            }
        }
    }
}

fn unpacked(dir: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(dir.join("boot")).ok()?.flatten().map(|entry| entry.path());
    files.filter(|file| file.file_name().is_some_and(is_kernel)).max()
}

fn is_kernel(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("vmlinu")
}

/// Returns cargo's folder for builds.
pub fn scratch() -> PathBuf {
    // `target/debug/xtask`, or with another profile.
    Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2).unwrap().into()
}

/// Builds the first program.
fn look(target: &str) -> Result<Vec<u8>, String> {
    let mut command = Command::new(env!("CARGO"));
    let words =
        ["build", "--quiet", "--profile", "program", "--package", "rootlet-peer", "--bin", "look"];
    command.args(words).args(["--target", target]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // Links what comes with Rust, also for another architecture.
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    command.env(linker, "rust-lld").env_remove("RUSTFLAGS");
    said(&mut command)?;
    fs::read(scratch().join(target).join("program/look")).map_err(|error| error.to_string())
}

/// Runs a program, and returns its output, or how it failed.
fn said(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.map_err(|error| format!("{name}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&stderr).trim()))
}
