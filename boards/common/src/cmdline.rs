//! The few words of the kernel command line that the machine itself reads, before there is a
//! heap. Everything else is `rootlet::command::config`'s.
//!
//! Always: a word that is not understood is left to others.

/// Whether output goes out in frames: `console=framed` before the lone `--`.
pub fn wants_frames(line: &str) -> bool {
    line.split_ascii_whitespace()
        .take_while(|word| *word != "--")
        .any(|word| word == "console=framed")
}

/// The addresses of `virtio_mmio.device=SIZE@ADDRESS:IRQ`, which QEMU's microvm appends for each
/// device at the very end of the line, behind the command.
pub fn virtio_mmio(line: &str) -> impl Iterator<Item = u64> {
    line.split_ascii_whitespace().filter_map(|word| {
        let (_, place) = word.strip_prefix("virtio_mmio.device=")?.split_once('@')?;
        let (address, _) = place.split_once(':')?;
        match address.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => address.parse().ok(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_word_of_the_command_is_the_commands() {
        assert!(wants_frames("a=1 console=framed -- cat"));
        assert!(!wants_frames("a=1 -- cat console=framed"));
        assert!(!wants_frames(""));
    }

    #[test]
    fn devices_are_found_behind_the_command() {
        let line =
            "x -- ls / virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@3489660928:5";
        assert_eq!(virtio_mmio(line).collect::<Vec<_>>(), [0xfeb0_0e00, 0xd000_0000]);
        assert_eq!(virtio_mmio("virtio_mmio.device=512@0xzz:1 virtio_mmio.device=").count(), 0);
    }
}
