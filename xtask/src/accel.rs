//! The choice between the processor's virtualization and emulation.
//!
//! Always: `auto` takes KVM only where the processor itself virtualizes. An openable /dev/kvm
//! proves nothing: where it stands on an emulation without vmx or svm, every exit costs about a
//! millisecond, and plain emulation is faster.

use std::fs::{self, OpenOptions};

use anyhow::Result;
use clap::ValueEnum;

use crate::exit;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// KVM where the processor virtualizes, else emulation
    Auto,
    /// QEMU's emulation
    Tcg,
    /// KVM, or an error
    Kvm,
}

/// What QEMU is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Emulation.
    Tcg,
    /// The kernel's virtualization.
    Kvm,
}

impl Accel {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// What the decision looks at.
pub struct Facts<'a> {
    /// The text of /proc/cpuinfo.
    pub cpuinfo: &'a str,
    /// Whether /dev/kvm opens for reading and writing.
    pub kvm_opens: bool,
    /// The host's architecture as Rust names it.
    pub host_arch: &'a str,
    /// The guest's.
    pub guest_arch: &'a str,
}

/// Whether the first processor's flags name hardware virtualization (Intel vmx, AMD svm).
fn virtualizes(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "flags")
        .is_some_and(|(_, flags)| flags.split_whitespace().any(|f| f == "vmx" || f == "svm"))
}

/// Decides, or says why KVM cannot be had.
pub fn decide(wanted: Wanted, facts: &Facts<'_>) -> Result<Accel, String> {
    let obstacle = if facts.host_arch != facts.guest_arch {
        Some(format!("the guest is {}, this machine {}", facts.guest_arch, facts.host_arch))
    } else if facts.host_arch == "x86_64" && !virtualizes(facts.cpuinfo) {
        Some("the processor has neither vmx nor svm".to_string())
    } else if !facts.kvm_opens {
        Some("/dev/kvm cannot be opened".to_string())
    } else {
        None
    };
    match (wanted, obstacle) {
        (Wanted::Tcg, _) | (Wanted::Auto, Some(_)) => Ok(Accel::Tcg),
        (Wanted::Auto | Wanted::Kvm, None) => Ok(Accel::Kvm),
        (Wanted::Kvm, Some(why)) => Err(format!("--accel kvm is not possible: {why}")),
    }
}

/// Decides for this machine and a guest of `guest_arch`.
pub fn choose(wanted: Wanted, guest_arch: &str) -> Result<Accel> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kvm_opens = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let facts =
        Facts { cpuinfo: &cpuinfo, kvm_opens, host_arch: std::env::consts::ARCH, guest_arch };
    decide(wanted, &facts).map_err(exit::usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Recorded from machines, shortened to the lines that matter.
    const INTEL: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme de msr cx8 \
        vmx est tm2 ssse3\nvmx flags\t: vnmi preemption_timer ept\n";
    const AMD: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu lm svm extapic\n";
    const CLOUD: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu vme lm \
        constant_tsc hypervisor lahf_lm svm_lock avx2\nbugs\t\t: sysret_ss_attrs\n";
    const ARM: &str = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes\n";

    fn facts(cpuinfo: &str) -> Facts<'_> {
        Facts { cpuinfo, kvm_opens: true, host_arch: "x86_64", guest_arch: "x86_64" }
    }

    #[test]
    fn auto_takes_kvm_where_the_processor_virtualizes() {
        assert_eq!(decide(Wanted::Auto, &facts(INTEL)), Ok(Accel::Kvm));
        assert_eq!(decide(Wanted::Auto, &facts(AMD)), Ok(Accel::Kvm));
    }

    #[test]
    fn an_openable_kvm_without_vmx_or_svm_is_not_taken() {
        assert_eq!(decide(Wanted::Auto, &facts(CLOUD)), Ok(Accel::Tcg));
        assert!(decide(Wanted::Kvm, &facts(CLOUD)).unwrap_err().contains("neither vmx nor svm"));
        assert_eq!(decide(Wanted::Auto, &facts("")), Ok(Accel::Tcg));
    }

    #[test]
    fn another_architecture_or_a_closed_device_means_emulation() {
        let foreign = Facts { host_arch: "aarch64", cpuinfo: ARM, ..facts(ARM) };
        assert_eq!(decide(Wanted::Auto, &foreign), Ok(Accel::Tcg));
        assert!(decide(Wanted::Kvm, &foreign).is_err());
        let closed = Facts { kvm_opens: false, ..facts(INTEL) };
        assert_eq!(decide(Wanted::Auto, &closed), Ok(Accel::Tcg));
        assert!(decide(Wanted::Kvm, &closed).is_err());
    }

    #[test]
    fn tcg_is_always_granted() {
        assert_eq!(decide(Wanted::Tcg, &facts(INTEL)), Ok(Accel::Tcg));
    }
}
