//! Words of a kernel's command line, which monitors and people leave there for any guest.
//!
//! Always: none of them is a setting of ours, whatever its value. A word that is neither ours nor
//! known here is passed over, too, unless it may be one of ours that is misspelt (`keys.rs`); but a
//! person is told of it.
//!
//! Source: Linux Documentation/admin-guide/kernel-parameters.txt; what Firecracker, Cloud Hypervisor,
//! Kata, libkrun, crosvm, QEMU's microvm, boot loaders and distributions have by default.

/// Words without a value.
const FLAGS: [&str; 36] = [
    "acpi_force",
    "debug",
    "earlycon",
    "earlyprintk",
    "ignore_loglevel",
    "keep_bootcon",
    "no-kvmapf",
    "no_timer_check",
    "noacpi",
    "noapic",
    "nokaslr",
    "nolapic",
    "nomodeset",
    "nomodule",
    "nopti",
    "noreplace-smp",
    "noresume",
    "nosmp",
    "nosmt",
    "nosplash",
    "notsc",
    "panic",
    "quiet",
    "rhgb",
    "ro",
    "rootwait",
    "rw",
    "single",
    "slab_nomerge",
    "splash",
    "threadirqs",
    "tsi_hijack",
    "nofb",
    "text",
    "auto",
    "nohz",
];

/// Words with a value, up to their `=`.
const SETTINGS: [&str; 76] = [
    "BOOT_IMAGE",
    "LANG",
    "acpi",
    "apparmor",
    "audit",
    "biosdevname",
    "cachesize",
    "cgroup_disable",
    "cgroup_enable",
    "cgroup_no_v1",
    "clocksource",
    "cma",
    "console_msg_format",
    "consoleblank",
    "crashkernel",
    "default_hugepagesz",
    "ds",
    "earlycon",
    "earlyprintk",
    "edd",
    "elevator",
    "enforcing",
    "hostname",
    "hugepages",
    "hugepagesz",
    "idle",
    "init",
    "init_on_alloc",
    "init_on_free",
    "initrd",
    "intel_iommu",
    "iommu",
    "ip",
    "isolcpus",
    "lapic",
    "log_buf_len",
    "loglevel",
    "lpj",
    "lsm",
    "maxcpus",
    "mem",
    "memmap",
    "mitigations",
    "modules",
    "net",
    "nfsroot",
    "nohz",
    "nohz_full",
    "noxsave",
    "nr_cpus",
    "overlayroot",
    "page_poison",
    "panic",
    "panic_print",
    "pci",
    "pti",
    "random_trust_cpu",
    "rcu_nocbs",
    "rdinit",
    "reboot",
    "resume",
    "root",
    "rootdelay",
    "rootflags",
    "rootfstype",
    "rootwait",
    "security",
    "selinux",
    "spectre_v2",
    "swiotlb",
    "transparent_hugepage",
    "tsc",
    "vga",
    "video",
    "virtio_mmio",
    "vsyscall",
];

/// What a `console=` of a kernel begins with, where it is not a name and a number; ours is a form.
const CONSOLES: [&str; 8] = ["hvc", "netcon", "null", "ns16550", "pl011", "sbi", "tty", "uart"];
/// What may stand for one of our forms.
const FORMS: [&str; 3] = ["framed", "plain", "wire"];

/// Returns whether a word is known to be a kernel's: one in the lists, or a parameter of a module
/// (`8250.nr_uarts=0`, `cryptomgr.notests`), whose name has a dot.
pub(crate) fn is_kernels(word: &str) -> bool {
    match word.split_once('=') {
        Some(("console", value)) => is_console(value),
        Some((key, _)) => key.contains('.') || SETTINGS.contains(&key),
        None => word.contains('.') || FLAGS.contains(&word),
    }
}

/// Whether a kernel may have a console of this name: none, one of the list, or a number behind it
/// (`xvc0,9600`).
fn is_console(value: &str) -> bool {
    let name = value.split_once(',').map_or(value, |(name, _)| name);
    let kind = name.trim_end_matches(|end: char| end.is_ascii_digit());
    let is_numbered =
        kind.len() < name.len() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    value.is_empty()
        || CONSOLES.iter().any(|known| value.starts_with(known))
        || is_numbered && !FORMS.contains(&kind)
}
