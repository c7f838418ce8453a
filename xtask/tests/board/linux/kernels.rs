//! Debian's kernels for clouds, and its busybox, which runs their first program (`look.sh`): unpacked
//! once.
//!
//! Always: nothing is installed; what was unpacked is used again. Where a kernel is not to be had, a
//! test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::initramfs::{self, Contents};

/// A kernel that a test starts, and the program that its first one is made of.
pub struct Kernel {
    /// The architecture as boards are named by it.
    pub arch: &'static str,
    /// The architecture as Debian has it, the release whose packages are taken, and the package that
    /// names the newest kernel.
    debian: (&'static str, &'static str, &'static str),
    /// The variable that may name another file.
    variable: &'static str,
    /// The words by which it writes to the board's serial port from the start, and ends with the
    /// machine.
    pub words: &'static str,
    /// What was unpacked, or why nothing was.
    found: OnceLock<Result<Unpacked, String>>,
}

/// Files out of Debian's packages.
struct Unpacked {
    kernel: PathBuf,
    busybox: PathBuf,
}

pub static X86_64: Kernel = Kernel {
    arch: "x86_64",
    debian: ("amd64", "bookworm", "linux-image-cloud-amd64"),
    variable: "ROOTLET_LINUX_X86_64",
    words: "console=ttyS0 earlyprintk=serial,ttyS0 reboot=t panic=-1",
    found: OnceLock::new(),
};
pub static AARCH64: Kernel = Kernel {
    arch: "aarch64",
    debian: ("arm64", "bookworm", "linux-image-cloud-arm64"),
    variable: "ROOTLET_LINUX_AARCH64",
    words: "console=ttyAMA0 earlycon panic=-1",
    found: OnceLock::new(),
};
pub static RISCV64: Kernel = Kernel {
    arch: "riscv64",
    debian: ("riscv64", "trixie", "linux-image-riscv64"),
    variable: "ROOTLET_LINUX_RISCV64",
    words: "console=ttyS0 panic=-1",
    found: OnceLock::new(),
};

/// What the first program finds in its initramfs.
pub const PAYLOAD: &[u8] = b"what a first program is known by\n";
/// The first program, which busybox runs.
const LOOK: &[u8] = include_bytes!("look.sh");
const BUSYBOX: &str = "busybox-static";

impl Kernel {
    /// Returns the file, or prints why there is none.
    pub fn file(&self) -> Option<PathBuf> {
        if let Some(file) = std::env::var_os(self.variable) {
            return Some(file.into());
        }
        self.unpacked("kernel").map(|unpacked| unpacked.kernel.clone())
    }

    /// Returns an initramfs whose first program looks around; `None`, and a line, where there is
    /// nothing to make it of.
    pub fn initramfs(&self) -> Option<Vec<u8>> {
        let busybox = fs::read(&self.unpacked("first program")?.busybox).unwrap();
        let files = [("payload", PAYLOAD), ("busybox", &busybox)];
        Some(initramfs::build(&Contents { init: LOOK, modules: None, files: &files }).unwrap())
    }

    fn unpacked(&self, what: &str) -> Option<&Unpacked> {
        let Self { arch, variable, .. } = self;
        match self.found.get_or_init(|| self.find()) {
            Ok(unpacked) => Some(unpacked),
            Err(why) => {
                println!("skipped: no {what} for {arch}: {why} (and {variable} may name a kernel)");
                None
            }
        }
    }

    fn find(&self) -> Result<Unpacked, String> {
        let dir = scratch().join("rootlet-linux").join(self.arch);
        if let Some(unpacked) = Unpacked::of(&dir) {
            return Ok(unpacked);
        }
        if std::env::var_os("ROOTLET_NO_INSTALL").is_some_and(|value| value == "1") {
            return Err("ROOTLET_NO_INSTALL=1".into());
        }
        self.download(&dir)?;
        Unpacked::of(&dir).ok_or_else(|| "the packages hold none".into())
    }

    /// Unpacks Debian's packages below `dir`, by lists of packages of its own.
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
        let image = image.ok_or("the package needs no kernel")?;
        said(apt("apt-get").args(["download", image, BUSYBOX]))?;
        for entry in fs::read_dir(dir).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                said(Command::new("dpkg-deb").arg("-x").args([entry.path(), dir.into()]))?;
                fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
            }
        }
        // Where it lies differs between releases.
        let places = ["bin/busybox", "usr/bin/busybox"].map(|place| dir.join(place));
        let busybox = places.iter().find(|place| place.is_file());
        let busybox = busybox.ok_or_else(|| format!("{BUSYBOX} has no busybox"))?;
        fs::rename(busybox, dir.join("busybox")).map_err(|error| error.to_string())?;
        for rest in ["lists", "cache", "lib", "usr"] {
            // What is not there need not go.
            let _ = fs::remove_dir_all(dir.join(rest));
        }
        Ok(())
    }
}

impl Unpacked {
    /// Returns what lies below `dir`, if all does.
    fn of(dir: &Path) -> Option<Self> {
        let files = fs::read_dir(dir.join("boot")).ok()?.flatten().map(|entry| entry.path());
        let kernel = files.filter(|file| file.file_name().is_some_and(is_kernel)).max()?;
        let busybox = dir.join("busybox");
        busybox.is_file().then_some(Self { kernel, busybox })
    }
}

fn is_kernel(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("vmlinu")
}

/// Returns cargo's folder for builds.
pub fn scratch() -> PathBuf {
    // `target/debug/xtask`, or with another profile.
    Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2).unwrap().into()
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
