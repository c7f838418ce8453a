//! Words of a kernel's command line, which monitors and people leave there for any guest.
//!
//! Always: none of them is a setting of ours, whatever its value. Other words that are not ours are
//! passed over, too, unless they may be misspelt settings (`keys.rs`); but with a line for a person.
//!
//! Source: Linux Documentation/admin-guide/kernel-parameters.txt; the defaults of Firecracker, Cloud
//! Hypervisor, Kata, libkrun, crosvm, QEMU's microvm, boot loaders and distributions.

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

/// How the value of a kernel's `console=` begins, if it is not a name and a number.
const CONSOLES: [&str; 8] = ["hvc", "netcon", "null", "ns16550", "pl011", "sbi", "tty", "uart"];
/// Our forms of output, with which a mistyped one may begin.
const FORMS: [&str; 3] = ["framed", "plain", "wire"];

/// Returns whether a word is known to belong to a kernel: it is in the lists, or is the parameter of
/// a module (`8250.nr_uarts=0`, `cryptomgr.notests`), whose name has a dot.
pub(super) fn is_kernels(word: &str) -> bool {
    match word.split_once('=') {
        Some(("console", value)) => is_console(value),
        Some(("composefs.digest", _)) => false,
        // A kernel's root has no such name.
        Some(("root", value)) => !value.starts_with("sha256:"),
        Some((key, _)) => key.contains('.') || SETTINGS.contains(&key),
        None => word.contains('.') || FLAGS.contains(&word),
    }
}

/// Returns whether a kernel may have a console of this name: an empty one, one that begins as in
/// the list, or letters with a number after them (`xvc0,9600`).
fn is_console(value: &str) -> bool {
    let name = value.split_once(',').map_or(value, |(name, _)| name);
    let kind = name.trim_end_matches(|end: char| end.is_ascii_digit());
    let is_numbered =
        kind.len() < name.len() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    value.is_empty()
        || CONSOLES.iter().any(|known| value.starts_with(known))
        || is_numbered && !FORMS.contains(&kind)
}
