//! The rates of an x86 processor's counter and of its local APIC's timer, as CPUID has them.
//!
//! Always: pure; a rate is what a leaf says, or nothing.
//!
//! Sources: Intel SDM volume 2A, CPUID, leaves 15H and 16H; Linux Documentation/virt/kvm/x86/
//! cpuid.rst; VMware's leaf 40000010H, which QEMU and KVM have, too.

/// EAX, EBX, ECX and EDX of a leaf.
pub type Leaf = [u32; 4];

/// The first leaf of a hypervisor: the highest one, and its name.
const HYPERVISOR: u32 = 0x4000_0000;
/// Its rates in kHz.
const HYPERVISOR_RATES: u32 = 0x4000_0010;
/// The rate of a timer that counts nanoseconds.
const NANOSECONDS_HZ: u64 = 1_000_000_000;
const CRYSTAL: u32 = 0x15;
const FREQUENCY: u32 = 0x16;

/// What plays the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// KVM, whose local APIC mostly counts nanoseconds.
    Kvm,
    /// QEMU's emulator, whose local APIC always does.
    Tcg,
    /// Hyper-V, or a monitor on it, which has its rates in registers.
    HyperV,
    /// Another hypervisor, or none.
    Other,
}

/// Returns what plays the processor. A processor without a hypervisor answers with another leaf.
pub fn player(leaf: &impl Fn(u32) -> Leaf) -> Player {
    let [_, name @ ..] = leaf(HYPERVISOR);
    let mut bytes = [0; 12];
    for (part, word) in bytes.chunks_exact_mut(4).zip(name) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    match &bytes {
        b"KVMKVMKVM\0\0\0" => Player::Kvm,
        b"TCGTCGTCGTCG" => Player::Tcg,
        b"Microsoft Hv" => Player::HyperV,
        _ => Player::Other,
    }
}

/// Returns the leaf of a processor that has it.
fn ask(leaf: &impl Fn(u32) -> Leaf, number: u32) -> Option<Leaf> {
    let first = number & 0xf000_0000;
    let [highest, ..] = leaf(first);
    (first..=highest).contains(&number).then(|| leaf(number))
}

/// Returns a rate, where there is one.
fn told(number: u32, unit_hz: u64) -> Option<u64> {
    (number > 0).then_some(u64::from(number) * unit_hz)
}

/// Returns the ticks a second of the counter: a hypervisor's word comes before the processor's,
/// which may be that of the host.
pub fn counter_hz(leaf: &impl Fn(u32) -> Leaf) -> Option<u64> {
    ask(leaf, HYPERVISOR_RATES).and_then(|[khz, ..]| told(khz, 1000)).or_else(|| by_crystal(leaf))
}

/// Returns the rate by the crystal and the ratio to it. A processor that has a ratio and no
/// crystal's rate names its own instead.
fn by_crystal(leaf: &impl Fn(u32) -> Leaf) -> Option<u64> {
    let [below, above, crystal, _] = ask(leaf, CRYSTAL)?;
    let ratio = told(above, 1)?;
    let whole = told(crystal, ratio).map(|product| product.checked_div(below.into()));
    match whole {
        Some(hz) => hz,
        None => ask(leaf, FREQUENCY).and_then(|[mhz, ..]| told(mhz, 1_000_000)),
    }
}

/// Returns the counts a second of the local APIC's timer. QEMU's emulator has no other rate than
/// this (hw/intc/apic.c).
pub fn apic_hz(leaf: &impl Fn(u32) -> Leaf) -> Option<u64> {
    let by_hypervisor = ask(leaf, HYPERVISOR_RATES).and_then(|[_, khz, ..]| told(khz, 1000));
    by_hypervisor.or_else(|| (player(leaf) == Player::Tcg).then_some(NANOSECONDS_HZ))
}

/// Returns the counts a second that KVM's local APIC has unless its user sets others
/// (KVM_CAP_X86_APIC_BUS_CYCLES_NS): for a machine on which nothing tells a rate, nor can be measured
/// against.
pub fn usual_apic_hz(leaf: &impl Fn(u32) -> Leaf) -> Option<u64> {
    (player(leaf) == Player::Kvm).then_some(NANOSECONDS_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &[u8; 12], highest: u32) -> Leaf {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| text[at + byte]));
        [highest, word(0), word(4), word(8)]
    }

    /// Returns a processor with these leaves, and zeros in all others.
    fn processor(leaves: &[(u32, Leaf)]) -> impl Fn(u32) -> Leaf + use<> {
        let leaves = leaves.to_vec();
        move |number| leaves.iter().find(|(of, _)| *of == number).map_or([0; 4], |(_, leaf)| *leaf)
    }

    #[test]
    fn hypervisor_is_believed_before_the_processor() {
        let leaves = [
            (0, [0x16, 0, 0, 0]),
            (CRYSTAL, [2, 200, 24_000_000, 0]),
            (HYPERVISOR, name(b"KVMKVMKVM\0\0\0", HYPERVISOR_RATES)),
            (HYPERVISOR_RATES, [2_500_000, 1_000_000, 0, 0]),
        ];
        assert_eq!(counter_hz(&processor(&leaves)), Some(2_500_000_000));
        assert_eq!(apic_hz(&processor(&leaves)), Some(1_000_000_000));
        assert_eq!(counter_hz(&processor(&leaves[..2])), Some(2_400_000_000));
        assert_eq!(apic_hz(&processor(&leaves[..2])), None);
    }

    #[test]
    fn processor_without_a_crystals_rate_names_its_own() {
        let ratio = (CRYSTAL, [2, 200, 0, 0]);
        let with = processor(&[(0, [0x16, 0, 0, 0]), ratio, (FREQUENCY, [2400, 0, 0, 0])]);
        assert_eq!(counter_hz(&with), Some(2_400_000_000));
        let without = processor(&[(0, [0x15, 0, 0, 0]), ratio, (FREQUENCY, [2400, 0, 0, 0])]);
        assert_eq!(counter_hz(&without), None, "it has no such leaf");
    }

    #[test]
    fn emulator_says_no_rate_but_its_timer_counts_nanoseconds() {
        let tcg = [(0, [0xd, 0, 0, 0]), (HYPERVISOR, name(b"TCGTCGTCGTCG", 0x4000_0001))];
        let leaf = processor(&tcg);
        assert_eq!((player(&leaf), counter_hz(&leaf)), (Player::Tcg, None));
        assert_eq!(apic_hz(&leaf), Some(1_000_000_000));
        // Hardware answers for a leaf that it has not with its highest one.
        let bare = |_: u32| [7, 0, 0, 0];
        assert_eq!((player(&bare), counter_hz(&bare), apic_hz(&bare)), (Player::Other, None, None));
    }

    #[test]
    fn rate_of_kvms_timer_is_no_fact_but_a_last_resort() {
        let leaf = processor(&[(HYPERVISOR, name(b"KVMKVMKVM\0\0\0", 0x4000_0001))]);
        assert_eq!((apic_hz(&leaf), usual_apic_hz(&leaf)), (None, Some(1_000_000_000)));
        assert_eq!(usual_apic_hz(&processor(&[])), None);
    }
}
