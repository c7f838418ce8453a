//! Words of a kernel's command line, which monitors and people leave there for any guest.
//!
//! Always: none of them is a setting of ours, whatever its value; a word that is neither ours nor in
//! this list is refused, because it may be one of ours that is misspelt.
//!
//! Source: Linux Documentation/admin-guide/kernel-parameters.txt; what Firecracker and Cloud
//! Hypervisor add or have in their examples.

/// Words without a value.
const FLAGS: [&str; 27] = [
    "acpi_force",
    "debug",
    "earlycon",
    "earlyprintk",
    "i8042.dumbkbd",
    "i8042.noaux",
    "i8042.nokbd",
    "i8042.nomux",
    "i8042.nopnp",
    "ignore_loglevel",
    "keep_bootcon",
    "no_timer_check",
    "noapic",
    "nokaslr",
    "nolapic",
    "nomodeset",
    "nomodule",
    "nopti",
    "nosmp",
    "notsc",
    "panic",
    "quiet",
    "ro",
    "rootwait",
    "rw",
    "single",
    "splash",
];

/// Words with a value, up to their `=`.
const SETTINGS: [&str; 29] = [
    "acpi",
    "apparmor",
    "audit",
    "cgroup_enable",
    "clocksource",
    "earlycon",
    "earlyprintk",
    "init",
    "initrd",
    "iommu",
    "ip",
    "lapic",
    "loglevel",
    "lsm",
    "maxcpus",
    "mem",
    "mitigations",
    "net",
    "panic",
    "pci",
    "rdinit",
    "reboot",
    "root",
    "rootdelay",
    "rootflags",
    "rootfstype",
    "selinux",
    "swiotlb",
    "tsc",
];

/// What a `console=` of a kernel begins with; ours is a form.
const CONSOLES: [&str; 8] = ["hvc", "netcon", "null", "ns16550", "pl011", "sbi", "tty", "uart"];

/// Returns whether a word is a kernel's: one in the lists, or a parameter of a module
/// (`8250.nr_uarts=0`), whose name has a dot.
pub(crate) fn is_kernels(word: &str) -> bool {
    match word.split_once('=') {
        Some(("console", value)) => CONSOLES.iter().any(|name| value.starts_with(name)),
        Some((key, _)) => key.contains('.') || SETTINGS.contains(&key),
        None => FLAGS.contains(&word),
    }
}
