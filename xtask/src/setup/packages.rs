//! Which commands install what is missing, on which system, for whom.
//!
//! Always: pure; the command that a message shows and the commands that are run do the same.

use crate::setup::{LINUX_TARGET, Need};

/// A system's package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu and their kin.
    Apt,
    /// Fedora and its kin.
    Dnf,
    /// Arch and its kin.
    Pacman,
}

impl Manager {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 3] = [Self::Apt, Self::Dnf, Self::Pacman];

    /// Returns its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Pacman => "pacman",
        }
    }

    /// Returns the commands that install `packages`; they want to be run as root.
    fn commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let install = match self {
            Self::Apt => {
                "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
            }
            Self::Dnf => "dnf install -y --setopt=install_weak_deps=False",
            Self::Pacman => "pacman -Sy --needed --noconfirm",
        };
        let mut install = words(install);
        install.extend(packages.iter().map(|&package| String::from(package)));
        match self {
            Self::Apt => vec![words("apt-get update"), install],
            Self::Dnf | Self::Pacman => vec![install],
        }
    }
}

/// What the decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the tool runs as root.
    pub root: bool,
    /// Whether sudo works without a password.
    pub sudo: bool,
    /// Whether the user forbade installing.
    pub forbidden: bool,
    /// The package manager that is there.
    pub manager: Option<Manager>,
    /// Whether rustup manages the Rust toolchain.
    pub rustup: bool,
    /// Whether the virtio-fs daemon has a package of its own.
    pub virtiofsd_package: bool,
}

/// What to do about what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is missing.
    Nothing,
    /// Run these, in order.
    Install(Vec<Vec<String>>),
    /// Tell the user to type this.
    Tell(String),
}

/// Decides about what is missing.
pub fn decide(missing: &[Need], facts: &Facts) -> Decision {
    if missing.is_empty() {
        return Decision::Nothing;
    }
    let system = facts.manager.map(|manager| manager.commands(&packages(missing, manager, facts)));
    let wants_system = missing.iter().any(|need| !need.is_target());
    let possible = !facts.forbidden
        && (!wants_system || (system.is_some() && (facts.root || facts.sudo)))
        && (facts.rustup || targets(missing).is_empty());
    if !possible {
        return Decision::Tell(one_command(missing, facts));
    }
    let mut commands = Vec::new();
    if wants_system {
        for command in system.unwrap_or_default() {
            let sudo = if facts.root { &[][..] } else { &["sudo", "-n"][..] };
            commands.push(sudo.iter().map(|&word| word.into()).chain(command).collect());
        }
    }
    commands.extend(target_command(missing));
    Decision::Install(commands)
}

/// Returns one line for a shell that installs everything missing.
pub fn one_command(missing: &[Need], facts: &Facts) -> String {
    let mut parts = Vec::new();
    if missing.iter().any(|need| !need.is_target()) {
        match facts.manager {
            Some(manager) => {
                let sudo = if facts.root { "" } else { "sudo " };
                for command in manager.commands(&packages(missing, manager, facts)) {
                    parts.push(format!("{sudo}{}", command.join(" ")));
                }
            }
            None => parts.push(format!("YOUR-PACKAGE-MANAGER install {}", names(missing))),
        }
    }
    if let Some(command) = target_command(missing) {
        if !facts.rustup {
            // Only rustup adds a target to a toolchain in the same way everywhere.
            parts.push("YOUR-PACKAGE-MANAGER install rustup".into());
        }
        parts.push(command.join(" "));
    }
    parts.join(" && ")
}

fn names(missing: &[Need]) -> String {
    let system = missing.iter().filter(|need| !need.is_target());
    system.map(|need| need.name()).collect::<Vec<_>>().join(" ")
}

fn targets(missing: &[Need]) -> Vec<&'static str> {
    let target = |need: &Need| match need {
        Need::Target(board) => Some(board.target()),
        Need::LinuxTarget => Some(LINUX_TARGET),
        _ => None,
    };
    let mut targets: Vec<&str> = missing.iter().filter_map(target).collect();
    // Boards of one architecture stand side by side.
    targets.dedup();
    targets
}

fn target_command(missing: &[Need]) -> Option<Vec<String>> {
    let targets = targets(missing);
    let words = ["rustup", "target", "add"].into_iter().chain(targets.iter().copied());
    (!targets.is_empty()).then(|| words.map(String::from).collect())
}

fn packages(missing: &[Need], manager: Manager, facts: &Facts) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in missing {
        packages.extend_from_slice(match (need, manager) {
            (Need::Qemu(board), _) => emulator(board.arch(), manager),
            (Need::Virtiofsd, Manager::Apt) if !facts.virtiofsd_package => &["qemu-system-common"],
            (Need::Virtiofsd, _) => &["virtiofsd"],
            (Need::ErofsUtils, _) => &["erofs-utils"],
            (Need::Target(_) | Need::LinuxTarget, _) => &[],
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    packages.retain(|package| seen.insert(*package));
    packages
}

/// Returns the packages with the emulator of an architecture.
fn emulator(arch: &str, manager: Manager) -> &'static [&'static str] {
    match (arch, manager) {
        ("aarch64", Manager::Apt) => &["qemu-system-arm", "qemu-system-common"],
        ("aarch64", Manager::Dnf) => &["qemu-system-aarch64-core"],
        ("aarch64", Manager::Pacman) => &["qemu-system-aarch64"],
        ("riscv64", Manager::Apt) => &["qemu-system-misc", "qemu-system-common"],
        ("riscv64", Manager::Dnf) => &["qemu-system-riscv-core"],
        ("riscv64", Manager::Pacman) => &["qemu-system-riscv", "qemu-system-riscv-firmware"],
        (_, Manager::Apt) => &["qemu-system-x86", "qemu-system-common"],
        (_, Manager::Dnf) => &["qemu-system-x86-core"],
        (_, Manager::Pacman) => &["qemu-system-x86"],
    }
}

/// Returns whether a release of Debian or Ubuntu has a package `virtiofsd`, from its
/// /etc/os-release: Debian from 13 on, Ubuntu from 23.10 on.
pub fn has_virtiofsd_package(os_release: &str) -> bool {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_matches('"')).unwrap_or_default()
    };
    let version: f64 = field("VERSION_ID=").parse().unwrap_or(f64::INFINITY);
    version >= if field("ID=") == "ubuntu" { 23.1 } else { 13.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_cli::boot::board::Board;

    const ALL: [Need; 4] = [
        Need::Qemu(Board::Microvm),
        Need::Virtiofsd,
        Need::ErofsUtils,
        Need::Target(Board::Microvm),
    ];
    const ROOT: Facts = Facts {
        root: true,
        sudo: false,
        forbidden: false,
        manager: Some(Manager::Apt),
        rustup: true,
        virtiofsd_package: false,
    };

    fn lines(decision: Decision) -> Vec<String> {
        match decision {
            Decision::Install(commands) => commands.iter().map(|words| words.join(" ")).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_missing_means_nothing_done() {
        let forbidden = Facts { forbidden: true, manager: None, ..ROOT };
        assert_eq!(decide(&[], &forbidden), Decision::Nothing);
    }

    #[test]
    fn root_on_debian_updates_once_and_installs_each_package_once() {
        assert_eq!(
            lines(decide(&ALL, &ROOT)),
            [
                "apt-get update",
                "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
                 qemu-system-x86 qemu-system-common erofs-utils",
                "rustup target add x86_64-unknown-none",
            ]
        );
    }

    #[test]
    fn every_board_brings_its_emulator_and_its_target_once() {
        let needs = Board::ALL.map(Need::Qemu).into_iter().chain(Board::ALL.map(Need::Target));
        let needs: Vec<Need> = needs.collect();
        let commands = lines(decide(&needs, &ROOT));
        let packages = "qemu-system-x86 qemu-system-common qemu-system-arm qemu-system-misc";
        assert!(commands[1].ends_with(&format!("--no-install-recommends {packages}")));
        let targets = "x86_64-unknown-none aarch64-unknown-none riscv64gc-unknown-none-elf";
        assert_eq!(commands[2], format!("rustup target add {targets}"));
    }

    #[test]
    fn sudo_without_a_password_serves_for_packages_but_not_for_rustup() {
        let user = Facts { root: false, sudo: true, manager: Some(Manager::Dnf), ..ROOT };
        let commands = lines(decide(&ALL, &Facts { virtiofsd_package: true, ..user }));
        assert!(commands[0].starts_with("sudo -n dnf install -y"), "{commands:?}");
        assert!(commands[0].ends_with("qemu-system-x86-core virtiofsd erofs-utils"));
        assert_eq!(commands[1], "rustup target add x86_64-unknown-none");
    }

    #[test]
    fn who_may_not_install_is_told_one_command() {
        let user = Facts { root: false, ..ROOT };
        let Decision::Tell(told) = decide(&ALL[..1], &user) else { panic!("told") };
        assert_eq!(
            told,
            "sudo apt-get update && sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y \
             --no-install-recommends qemu-system-x86 qemu-system-common"
        );
        let forbidden = Facts { forbidden: true, ..ROOT };
        let Decision::Tell(told) = decide(&ALL[3..], &forbidden) else { panic!("told") };
        assert_eq!(told, "rustup target add x86_64-unknown-none");
    }

    #[test]
    fn a_target_alone_needs_no_root() {
        let user = Facts { root: false, manager: None, ..ROOT };
        assert_eq!(lines(decide(&ALL[3..], &user)), ["rustup target add x86_64-unknown-none"]);
        let bare = Facts { rustup: false, ..user };
        assert!(matches!(decide(&ALL[3..], &bare), Decision::Tell(_)));
    }

    #[test]
    fn a_system_without_a_known_manager_is_only_told() {
        let strange = Facts { manager: None, ..ROOT };
        let Decision::Tell(told) = decide(&ALL, &strange) else { panic!("told") };
        let packages = "YOUR-PACKAGE-MANAGER install qemu-system-x86_64 virtiofsd mkfs.erofs";
        assert_eq!(told, format!("{packages} && rustup target add x86_64-unknown-none"));
    }

    #[test]
    fn the_release_says_whether_the_daemon_has_a_package() {
        assert!(!has_virtiofsd_package("NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(has_virtiofsd_package("ID=debian\nVERSION_ID=\"13\"\n"));
        assert!(!has_virtiofsd_package("ID=ubuntu\nVERSION_ID=\"22.04\"\n"));
        assert!(has_virtiofsd_package("ID=ubuntu\nVERSION_ID=\"24.04\"\n"));
        assert!(has_virtiofsd_package("ID=debian\n"));
    }
}
