//! Constants in ACPI's definition blocks, found by their names: nothing of a block is run.
//!
//! Always: pure; nothing is read outside of the block; a name with a value of another form is passed
//! over.
//!
//! Sources: ACPI 6.5, 20.2 (how blocks are encoded), 7.4.2 (`_S5`); Microsoft, Virtual Machine
//! Generation ID (`ADDR`); QEMU docs/specs/vmgenid (`VGIA`).

/// A name that is given a value (20.2.5.1).
const NAME: u8 = 0x08;
const PACKAGE: u8 = 0x12;
/// What a device is called that has the machine's generation.
const GENERATION: &[u8] = b"VM_Gen_Counter";
/// Bytes from the address that `VGIA` names to the generation in QEMU's page.
const QEMU_OFFSET: u64 = 40;

/// Returns the number of the state in which the machine is off: the first element of the package of
/// that name.
pub fn off_state(block: &[u8]) -> Option<u8> {
    let mut values = behind(block, &[b"_S5_"]).filter_map(package);
    let (state, _) = integer(values.next()?)?;
    u8::try_from(state).ok().filter(|state| *state < 8)
}

/// Returns the address of the machine's generation, which the monitor changes at a resume.
pub fn generation(block: &[u8]) -> Option<u64> {
    let device = behind(block, &[GENERATION]).next()?;
    let qemu = behind(block, &[&[NAME], b"VGIA"]).find_map(integer);
    if let Some((page, _)) = qemu {
        return page.checked_add(QEMU_OFFSET);
    }
    // What a method computes is not known here; Firecracker has two constants.
    let (low, rest) = integer(behind(device, &[&[NAME], b"ADDR"]).find_map(package)?)?;
    let (high, _) = integer(rest)?;
    (low.max(high) <= u32::MAX.into()).then_some(high << 32 | low)
}

/// Returns the bytes after each place that has all of `parts`, one after the other.
fn behind<'b>(block: &'b [u8], parts: &'b [&[u8]]) -> impl Iterator<Item = &'b [u8]> {
    let first = parts.iter().find_map(|part| part.first());
    // Each byte of a block is looked at before the first byte of a file: at once, but for few.
    let begins = block.iter().enumerate().filter(move |(_, byte)| Some(*byte) == first);
    begins.filter_map(|(at, _)| {
        parts.iter().try_fold(&block[at..], |rest, part| rest.strip_prefix(*part))
    })
}

/// Returns the elements of a package: a length of one to four bytes, and a count, stand before them
/// (20.2.5.4).
fn package(value: &[u8]) -> Option<&[u8]> {
    let [PACKAGE, length, ..] = *value else { return None };
    value.get(3 + usize::from(length >> 6)..)
}

/// Returns a constant (20.2.3), and the bytes after it.
fn integer(value: &[u8]) -> Option<(u64, &[u8])> {
    let (prefix, rest) = value.split_first()?;
    let bytes = match prefix {
        0 | 1 => return Some((u64::from(*prefix), rest)),
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(bytes)?;
    Some((super::acpi::number(number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_the_first_element_in_any_form() {
        for (block, state) in [
            (&b"\x08_S5_\x12\x04\x01\x0a\x05"[..], Some(5)),
            (b"\\_S5_\x08_S5_\x12\x06\x04\0\0\0\0", Some(0)),
            (b"\x08_S5_\x12\x45\0\x04\x01\x01\x01\x01", Some(1)),
            (b"\x08_S5_\x12\x04\x01\x0a\x08", None),
            (b"\x08_S5_\x12\x04\x01\x0a", None),
            (b"\x08_S5_\x12", None),
        ] {
            assert_eq!(off_state(block), state, "{block:x?}");
        }
    }

    /// As QEMU's table has it: the page's address stands before the device, whose method adds 40.
    const QEMU: &[u8] = b"\x08VGIA\x0c\x00\xf0\xff\x0f\x10\x42\x0a\\_SB_[\x82VGEN\x08_HID\x0d\
        QEMUVGID\0\x08_CID\x0dVM_Gen_Counter\0\x14\x33ADDR\0\x72VGIA\x0a\x28\x60";
    /// As Firecracker has it, after another device with a name of that kind.
    const FIRECRACKER: &[u8] =
        b"\x08ADDR\x12\x04\x02\x01\x01[\x82VGEN\x08_HID\x0dFCVMGID\0\x08_CID\
        \x0dVM_Gen_Counter\0\x08ADDR\x12\x0c\x02\x0c\xf0\xff\x0d\0\0";

    #[test]
    fn generation_is_where_qemu_and_firecracker_say() {
        assert_eq!(generation(QEMU), Some(0x0fff_f000 + 40));
        assert_eq!(generation(FIRECRACKER), Some(0xd_fff0));
        let high = FIRECRACKER.strip_suffix(b"\0").unwrap();
        assert_eq!(generation(&[high, b"\x0a\x03"].concat()), Some(0x3_000d_fff0));
        // Words of 64 bits are not halves.
        assert_eq!(generation(&[high, b"\x0e\0\0\0\0\x01\0\0\0"].concat()), None);
    }

    #[test]
    fn block_that_is_cut_or_altered_anywhere_names_nothing_outside_of_it() {
        for block in [QEMU, FIRECRACKER] {
            for at in 0..block.len() {
                let _ = generation(&block[..at]);
                let mut altered = block.to_vec();
                altered[at] ^= 0xff;
                let _ = generation(&altered);
            }
            assert_eq!(generation(&block[..20]), None);
        }
        assert_eq!(generation(b"\x08VGIA\x0c\x00\xf0\xff\x0f"), None, "another device's");
    }
}
