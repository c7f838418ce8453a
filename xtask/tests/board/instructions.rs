//! The instructions with which an image reaches the registers of devices.
//!
//! Always: read from the image as it is booted.

use std::fs;

use object::{Object, ObjectSection};

use crate::boot::make;
use crate::emulator::kernel;

/// Arm's barriers: `dmb oshld` follows each read of a register, `dmb oshst` stands before each
/// write, and neither stands anywhere else (`boards/common/src/registers.rs`).
const AFTER_READ: u32 = 0xd503_31bf;
const BEFORE_WRITE: u32 = 0xd503_32bf;

/// A load or store of any kind (Arm ARM, C4.1: bits 27 and 25 of an instruction), but for those of
/// the stack, which may stand between an access of a register and its barrier.
fn reaches_memory(instruction: &&u32) -> bool {
    const STACK: u32 = 31;
    *instruction >> 25 & 0b101 == 0b100 && *instruction >> 5 & 31 != STACK
}

/// A load, of what reaches memory (bit 22 of all loads and stores of one register or a pair).
fn is_load(instruction: &u32) -> bool {
    instruction >> 22 & 1 == 1
}

/// `ldrb`, `ldrh` or `ldr` of 32 bits from the address in a register, which stays as it is.
fn is_plain_load(instruction: u32) -> bool {
    [0x3940_0000, 0x7940_0000, 0xb940_0000].contains(&(instruction & 0xffff_fc00))
}

/// `strb`, `strh` or `str` of 32 bits, in the same way.
fn is_plain_store(instruction: u32) -> bool {
    [0x3900_0000, 0x7900_0000, 0xb900_0000].contains(&(instruction & 0xffff_fc00))
}

/// A hypervisor is told of no register by an access that also moves its base, or is of two.
#[test]
fn registers_are_reached_by_plain_loads_and_stores_that_a_hypervisor_can_emulate() {
    make("virt-aarch64");
    let elf = fs::read(kernel("virt-aarch64").with_extension("")).unwrap();
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
