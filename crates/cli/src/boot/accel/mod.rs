//! The choice between the processor's virtualization and emulation.
//!
//! Always: `auto` and `kvm` take KVM only where the processor itself virtualizes, by vmx or svm
//! among its flags, unless the monitor has nothing else; `kvm!` asks for no flag. An openable /dev/kvm proves nothing: where it stands on an emulation without vmx or svm,
//! every exit costs about a millisecond, and plain emulation is faster. Processors of other
//! architectures name no such flag, so there KVM is taken only where it is asked for; besides, a
//! guest there ends itself by semihosting, which KVM does not have.

use std::fs::{self, OpenOptions};

use anyhow::Result;
use clap::ValueEnum;

use crate::boot::monitor::Monitor;
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
    /// KVM although the processor names no virtualization, as where it is given without hardware
    #[value(name = "kvm!")]
    Insisted,
}

/// How the processor is run.
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
    /// Who runs it.
    pub monitor: Monitor,
}

/// Whether the first processor's flags name hardware virtualization (Intel vmx, AMD svm). The line
/// `vmx flags` stands on its own, and `svm_lock` or `vmmcall` say nothing.
fn virtualizes(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "flags")
        .is_some_and(|(_, flags)| flags.split_whitespace().any(|f| f == "vmx" || f == "svm"))
}

/// Decides, or says why KVM cannot be had.
pub fn decide(wanted: Wanted, facts: &Facts<'_>) -> Result<Accel, String> {
    let (name, emulates) = (facts.monitor.name(), facts.monitor.facts().emulates);
    let obstacle = if facts.host_arch != facts.guest_arch {
        Some(format!("the guest is {}, this machine {}", facts.guest_arch, facts.host_arch))
    } else if !facts.kvm_opens {
        Some("/dev/kvm cannot be opened".to_string())
    } else {
        None
    };
    let sure = virtualizes(facts.cpuinfo);
    match (wanted, obstacle) {
        (Wanted::Tcg, _) if !emulates => {
            Err(format!("--accel tcg is not possible: {name} does not emulate"))
        }
        (_, Some(why)) if !emulates => Err(format!("{name} runs on KVM alone: {why}")),
        (Wanted::Kvm | Wanted::Insisted, Some(why)) => {
            Err(format!("--accel kvm is not possible: {why}"))
        }
        (Wanted::Kvm, None) if emulates && facts.host_arch == "x86_64" && !sure => {
            Err("--accel kvm: the processor has neither vmx nor svm, so that emulation is likely \
                 faster; --accel kvm! takes it all the same"
                .into())
        }
        (Wanted::Tcg, _) => Ok(Accel::Tcg),
        (Wanted::Auto, _) if emulates && !sure => Ok(Accel::Tcg),
        (Wanted::Auto, Some(_)) => Ok(Accel::Tcg),
        (_, None) => Ok(Accel::Kvm),
    }
}

/// Decides for this machine, `monitor` and a guest of `guest_arch`.
pub fn choose(wanted: Wanted, guest_arch: &str, monitor: Monitor) -> Result<Accel> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kvm_opens = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let host_arch = std::env::consts::ARCH;
    let facts = Facts { cpuinfo: &cpuinfo, kvm_opens, host_arch, guest_arch, monitor };
    decide(wanted, &facts).map_err(exit::usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    // What /proc/cpuinfo says of the first processor.
    const INTEL: &str = include_str!("cpuinfo-intel.txt");
    const AMD: &str = include_str!("cpuinfo-amd.txt");
    /// A guest that was given vmx.
    const NESTED: &str = include_str!("cpuinfo-nested.txt");
    /// A container in a guest without svm, where /dev/kvm opens all the same.
    const AMD_GUEST: &str = include_str!("cpuinfo-amd-guest.txt");
    const AARCH64: &str = include_str!("cpuinfo-aarch64.txt");

    fn facts(cpuinfo: &str) -> Facts<'_> {
        Facts {
            cpuinfo,
            kvm_opens: true,
            host_arch: "x86_64",
            guest_arch: "x86_64",
            monitor: Monitor::Qemu,
        }
    }

    #[test]
    fn auto_takes_kvm_where_the_processor_virtualizes() {
        for cpuinfo in [INTEL, AMD, NESTED] {
            assert_eq!(decide(Wanted::Auto, &facts(cpuinfo)), Ok(Accel::Kvm));
            let many = [cpuinfo, cpuinfo].concat();
            assert_eq!(decide(Wanted::Auto, &facts(&many)), Ok(Accel::Kvm));
        }
    }

    #[test]
    fn an_openable_kvm_without_vmx_or_svm_is_not_taken() {
        assert!(AMD_GUEST.contains(" vmmcall ") && AMD_GUEST.contains(" hypervisor "));
        assert_eq!(decide(Wanted::Auto, &facts(AMD_GUEST)), Ok(Accel::Tcg));
        let refused = decide(Wanted::Kvm, &facts(AMD_GUEST)).unwrap_err();
        assert!(refused.contains("neither vmx nor svm"), "{refused}");
        assert_eq!(decide(Wanted::Auto, &facts("")), Ok(Accel::Tcg));
        for cpuinfo in [INTEL, AMD] {
            // A firmware that switches it off leaves other words of the same kind.
            let off = cpuinfo.replace(" vmx ", " ").replace(" svm ", " ");
            assert!(off.contains("vmx flags") || off.contains("svm_lock"));
            assert_eq!(decide(Wanted::Auto, &facts(&off)), Ok(Accel::Tcg));
        }
    }

    #[test]
    fn another_architecture_or_a_closed_device_means_emulation() {
        for (host_arch, guest_arch, cpuinfo) in [
            ("aarch64", "x86_64", AARCH64),
            ("x86_64", "aarch64", INTEL),
            ("x86_64", "riscv64", AMD),
        ] {
            let foreign = Facts { host_arch, guest_arch, ..facts(cpuinfo) };
            assert_eq!(decide(Wanted::Auto, &foreign), Ok(Accel::Tcg));
            let refused = decide(Wanted::Kvm, &foreign).unwrap_err();
            assert!(refused.contains(host_arch) && refused.contains(guest_arch), "{refused}");
        }
        let closed = Facts { kvm_opens: false, ..facts(INTEL) };
        assert_eq!(decide(Wanted::Auto, &closed), Ok(Accel::Tcg));
        assert!(decide(Wanted::Kvm, &closed).unwrap_err().contains("/dev/kvm"));
    }

    #[test]
    fn processor_that_names_no_virtualization_gets_kvm_only_when_asked() {
        let own = Facts { host_arch: "aarch64", guest_arch: "aarch64", ..facts(AARCH64) };
        assert_eq!(decide(Wanted::Auto, &own), Ok(Accel::Tcg));
        assert_eq!(decide(Wanted::Kvm, &own), Ok(Accel::Kvm));
    }

    #[test]
    fn tcg_is_always_granted() {
        for cpuinfo in [INTEL, AMD, NESTED, AMD_GUEST, AARCH64, ""] {
            assert_eq!(decide(Wanted::Tcg, &facts(cpuinfo)), Ok(Accel::Tcg));
        }
    }

    #[test]
    fn kvm_without_vmx_or_svm_can_be_insisted_on() {
        assert_eq!(decide(Wanted::Insisted, &facts(AMD_GUEST)), Ok(Accel::Kvm));
        let refused = decide(Wanted::Kvm, &facts(AMD_GUEST)).unwrap_err();
        assert!(refused.contains("--accel kvm! takes it"), "{refused}");
        let closed = Facts { kvm_opens: false, ..facts(AMD_GUEST) };
        assert!(decide(Wanted::Insisted, &closed).unwrap_err().contains("/dev/kvm"));
        let foreign = Facts { guest_arch: "riscv64", ..facts(INTEL) };
        assert!(decide(Wanted::Insisted, &foreign).unwrap_err().contains("riscv64"));
    }

    #[test]
    fn monitor_that_does_not_emulate_takes_kvm_or_says_why_not() {
        for monitor in [Monitor::Firecracker, Monitor::CloudHypervisor] {
            let on = |cpuinfo| Facts { monitor, ..facts(cpuinfo) };
            for wanted in [Wanted::Auto, Wanted::Kvm, Wanted::Insisted] {
                assert_eq!(decide(wanted, &on(AMD_GUEST)), Ok(Accel::Kvm));
                let closed = Facts { kvm_opens: false, ..on(INTEL) };
                let refused = decide(wanted, &closed).unwrap_err();
                assert!(refused.contains(monitor.name()) && refused.contains("/dev/kvm"));
            }
            let refused = decide(Wanted::Tcg, &on(INTEL)).unwrap_err();
            assert!(refused.contains("does not emulate"), "{refused}");
        }
    }
}
