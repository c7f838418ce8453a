//! The least guest for the virt boards: writes given bytes, passes, and does nothing else.
//!
//! Always: its code stands where QEMU jumps to, touches the console and what ends the machine,
//! and no other device. The words below are instructions; each has its text beside it.

use super::tiny::{program_header_64, words};

/// ELF's numbers of the machines.
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
/// Where a guest is loaded, from the start of memory.
const OFFSET: u64 = 0x20_0000;

/// Ends with the status of a pass: semihosting's SYS_EXIT with {ADP_Stopped_ApplicationExit, 33}.
const AARCH64: [u32; 16] = [
    0x1000_0241, // adr x1, data
    0x1800_01e2, // ldr w2, count
    0xd2a1_2003, // mov x3, #0x09000000, the PL011
    0x3400_00a2, // 1: cbz w2, 2f
    0x3840_1424, // ldrb w4, [x1], #1
    0x3900_0064, // strb w4, [x3]
    0x5100_0442, // sub w2, w2, #1
    0x17ff_fffc, // b 1b
    0x1000_0081, // 2: adr x1, reason
    0x5280_0300, // mov w0, #0x18
    0xd45e_0000, // hlt #0xf000
    0x1400_0000, // b .
    0x0002_0026,
    0,
    33,
    0, // reason
];

/// Ends with the status of a pass: 33 << 16 | 0x3333 to SiFive's test device.
const RISCV64: [u32; 14] = [
    0x0000_0297, // auipc t0, 0
    0x0402_8313, // addi t1, t0, data
    0x0382_a383, // lw t2, count(t0)
    0x1000_0e37, // lui t3, 0x10000, the 16550
    0x0003_8c63, // 1: beqz t2, 2f
    0x0003_4e83, // lbu t4, 0(t1)
    0x01de_0023, // sb t4, 0(t3)
    0x0013_0313, // addi t1, t1, 1
    0xfff3_8393, // addi t2, t2, -1
    0xfedf_f06f, // j 1b
    0x0010_0e37, // 2: lui t3, 0x100
    0x03c2_ae83, // lw t4, status(t0)
    0x01de_2023, // sw t4, 0(t3)
    0x0000_006f, // j .
];

/// Returns an ELF for aarch64 that writes `console` on the serial line.
pub fn aarch64(console: &[u8]) -> Vec<u8> {
    let count = u32::try_from(console.len()).unwrap_or(u32::MAX);
    let code = [words(&AARCH64), words(&[count, 0])].concat();
    elf(EM_AARCH64, 0x4000_0000, &[&code, console])
}

/// Returns an ELF for riscv64 that writes `console` on the serial line.
pub fn riscv64(console: &[u8]) -> Vec<u8> {
    let count = u32::try_from(console.len()).unwrap_or(u32::MAX);
    let code = [words(&RISCV64), words(&[count, 33 << 16 | 0x3333])].concat();
    elf(EM_RISCV, 0x8000_0000, &[&code, console])
}

/// Returns an ELF of 64 bits, little-endian, executable, one segment, linked as if memory began at
/// 0: as the boards are.
fn elf(machine: u16, ram: u64, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    file.extend(machine.to_le_bytes());
    file.extend(words(&[1]));
    file.extend([OFFSET, HEADER_BYTES as u64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(words(&[0]));
    // Sizes of the header and of a program header, one of those, no sections.
    file.extend([64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    let at = HEADER_BYTES + PROGRAM_HEADER_BYTES;
    file.extend(program_header_64(at as u64, OFFSET, ram, body.len() as u64));
    file.extend(body);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSegment};

    #[test]
    fn entry_is_the_first_instruction_and_the_bytes_stand_behind_the_code() {
        for (bytes, first) in [(aarch64(b"hello"), AARCH64[0]), (riscv64(b"hello"), RISCV64[0])] {
            let file = object::File::parse(bytes.as_slice()).unwrap();
            let segment = file.segments().next().unwrap();
            assert_eq!(file.entry(), segment.address());
            assert_eq!(segment.data().unwrap()[..4], first.to_le_bytes());
            assert!(bytes.ends_with(b"hello"));
        }
    }
}
