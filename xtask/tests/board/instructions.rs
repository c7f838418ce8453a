//! The instructions with which an image reaches the registers of devices.
//!
//! Always: read from the image as it is booted.

use std::fs;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::boot::guest;

/// Arm's barriers: `dmb oshld` follows each read of a register, `dmb oshst` stands before each
/// write, and neither stands anywhere else (`boards/common/src/registers.rs`).
const AFTER_READ: u32 = 0xd503_31bf;
const BEFORE_WRITE: u32 = 0xd503_32bf;

/// RISC-V's: `fence i, ir` follows each read of a register, `fence w, o` stands before each write, as
/// in Linux (arch/riscv/include/asm/mmio.h), and neither stands anywhere else.
const RISCV_AFTER_READ: u32 = 0x08a0_000f;
const RISCV_BEFORE_WRITE: u32 = 0x0140_000f;

/// Returns the image of a board as it was linked.
fn image(board: &str) -> Vec<u8> {
    fs::read(guest(board).with_extension("")).unwrap()
}

/// Returns whether this is a load or store of any kind (Arm ARM, C4.1: bits 27 and 25 of an
/// instruction), but for those of the stack, which may stand between an access of a register and
/// its barrier.
fn reaches_memory(instruction: &&u32) -> bool {
    const STACK: u32 = 31;
    *instruction >> 25 & 0b101 == 0b100 && *instruction >> 5 & 31 != STACK
}

/// Returns whether this is a load, of what reaches memory (bit 22 of all loads and stores of one
/// register or a pair).
fn is_load(instruction: &u32) -> bool {
    instruction >> 22 & 1 == 1
}

/// Returns whether this is `ldrb`, `ldrh` or `ldr` of 32 bits from the address in a register, which
/// stays as it is.
fn is_plain_load(instruction: u32) -> bool {
    [0x3940_0000, 0x7940_0000, 0xb940_0000].contains(&(instruction & 0xffff_fc00))
}

/// Returns whether this is `strb`, `strh` or `str` of 32 bits, in the same way.
fn is_plain_store(instruction: u32) -> bool {
    [0x3900_0000, 0x7900_0000, 0xb900_0000].contains(&(instruction & 0xffff_fc00))
}

/// An access that also changes its base register, or that moves two registers, does not name a
/// register to the hypervisor.
#[test]
fn registers_are_reached_by_plain_loads_and_stores_that_a_hypervisor_can_emulate() {
    let elf = image("virt-aarch64");
    let file = object::File::parse(elf.as_slice()).unwrap();
    let code = file.section_by_name(".text").unwrap().data().unwrap();
    let code: Vec<u32> =
        code.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let (mut reads, mut writes) = (0, 0);
    for (at, instruction) in code.iter().enumerate() {
        match *instruction {
            AFTER_READ => {
                let access = code[..at].iter().rev().find(reaches_memory);
                assert!(access.is_some_and(|access| is_plain_load(*access)), "{access:x?}");
                reads += 1;
            }
            BEFORE_WRITE => {
                // The address may be loaded in between.
                let mut stores = code[at..].iter().filter(|after| !is_load(after));
                let access = stores.find(reaches_memory);
                assert!(access.is_some_and(|access| is_plain_store(*access)), "{access:x?}");
                writes += 1;
            }
            _ => {}
        }
    }
    // One of each width at least, where no copy was made of any.
    assert!(reads >= 3 && writes >= 3, "{reads} reads, {writes} writes");
}

/// Returns an instruction of RISC-V: of 32 bits, or compressed to 16 (unprivileged ISA, 1.5).
fn riscv(code: &[u8], at: usize) -> (u32, usize) {
    let half = |at: usize| u32::from(u16::from_le_bytes([code[at], code[at + 1]]));
    if half(at) & 3 == 3 { (half(at) | half(at + 2) << 16, 4) } else { (half(at), 2) }
}

/// Returns whether this is `lb`, `lbu`, `lh`, `lhu`, `lw`, `lwu` or `c.lw`.
fn is_riscv_load((instruction, bytes): (u32, usize)) -> bool {
    match bytes {
        4 => instruction & 0x7f == 0x03 && matches!(instruction >> 12 & 7, 0..=2 | 4..=6),
        _ => instruction & 0xe003 == 0x4000,
    }
}

/// Returns whether this is `sb`, `sh`, `sw` or `c.sw`.
fn is_riscv_store((instruction, bytes): (u32, usize)) -> bool {
    match bytes {
        4 => instruction & 0x7f == 0x23 && instruction >> 12 & 7 <= 2,
        _ => instruction & 0xe003 == 0xc000,
    }
}

/// Returns whether this is a store of any width, of a floating point register or an atomic, but for
/// those of the stack.
fn is_riscv_write((instruction, bytes): (u32, usize)) -> bool {
    const STACK: u32 = 2;
    match bytes {
        4 => matches!(instruction & 0x7f, 0x23 | 0x27 | 0x2f) && instruction >> 15 & 31 != STACK,
        _ => matches!(instruction & 0xe003, 0xa000 | 0xc000 | 0xe000),
    }
}

/// Returns whether what stands before `at` is a load. What was read may be extended in between, by
/// at most `most` instructions that reach no memory.
fn follows_load(code: &[u8], at: usize, most: usize) -> bool {
    [4, 2].into_iter().any(|bytes| {
        let before = riscv(code, at - bytes);
        let extends = match before {
            (instruction, 4) => matches!(instruction & 0x7f, 0x13 | 0x1b),
            (instruction, _) => matches!(instruction & 0xe003, 0x0002 | 0x8001),
        };
        before.1 == bytes
            && (is_riscv_load(before)
                || extends && most > 0 && follows_load(code, at - bytes, most - 1))
    })
}

#[test]
fn registers_are_read_before_and_written_behind_the_fences_of_risc_v() {
    let elf = image("virt-riscv64");
    let file = object::File::parse(elf.as_slice()).unwrap();
    let code = file.section_by_name(".text").unwrap().data().unwrap();
    let (mut reads, mut writes) = (0, 0);
    for at in (12..code.len() - 4).step_by(2) {
        let word = u32::from_le_bytes(code[at..at + 4].try_into().unwrap());
        match word {
            RISCV_AFTER_READ => {
                assert!(follows_load(code, at, 2), "{at:#x}: {:x?}", &code[at - 12..at]);
                reads += 1;
            }
            RISCV_BEFORE_WRITE => {
                // The address may be loaded in between.
                let mut next = at + 4;
                let access = loop {
                    let access = riscv(code, next);
                    if is_riscv_write(access) {
                        break access;
                    }
                    next += access.1;
                };
                assert!(is_riscv_store(access), "{at:#x}: {access:x?}");
                writes += 1;
            }
            _ => {}
        }
    }
    // One of each width at least, where no copy was made of any.
    assert!(reads >= 3 && writes >= 3, "{reads} reads, {writes} writes");
}

/// Not by an instruction that also computes, that is one of many, or of a vector: hypervisors emulate
/// few of these.
#[test]
fn registers_are_reached_by_one_move_each_on_x86() {
    /// Of the address in `rdi`, to `eax` or from `esi`, with 8, 16 and 32 bits; each then returns.
    const LOADS: [&[u8]; 3] = [b"\x0f\xb6\x07\xc3", b"\x0f\xb7\x07\xc3", b"\x8b\x07\xc3"];
    const STORES: [&[u8]; 3] = [b"\x40\x88\x37\xc3", b"\x66\x89\x37\xc3", b"\x89\x37\xc3"];
    for board in ["microvm", "q35"] {
        let elf = image(board);
        let file = object::File::parse(elf.as_slice()).unwrap();
        let text = file.section_by_name(".text").unwrap();
        let code = text.data().unwrap();
        for (name, moves) in [("load_register", LOADS), ("store_register", STORES)] {
            let is_named = |symbol: &object::Symbol<'_, '_>| {
                symbol.name().is_ok_and(|of| of.contains("registers") && of.contains(name))
            };
            let mut widths = [false; 3];
            for symbol in file.symbols().filter(is_named) {
                let start = usize::try_from(symbol.address() - text.address()).unwrap();
                let width = moves.iter().position(|code_of| code[start..].starts_with(code_of));
                let found = &code[start..start + 8];
                widths[width.unwrap_or_else(|| panic!("{board}: {name}: {found:x?}"))] = true;
            }
            assert_eq!(widths, [true; 3], "{board}: {name}");
        }
    }
}
