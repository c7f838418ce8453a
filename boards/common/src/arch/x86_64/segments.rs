//! The segment table, and the task state of each processor, which names its stack for faults.
//!
//! Always: the table is loaded on the way into 64-bit mode; an exception runs on a stack of its
//! own, so that an overflow of the main stack can still be reported. The task state that is loaded
//! says which processor this is.
//!
//! Source: Intel SDM volume 3, 3.4.5 (descriptors), 8.2 (task state).

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES};

/// Index in the interrupt stack table, from 1 as the processor counts.
pub(super) const FAULT_STACK_INDEX: u8 = 1;

/// The segment table: nothing, 64-bit code, data, and the task state of each processor in two.
pub(super) type Table = [AtomicU64; 7];

pub(super) static TABLE: Table = [
    AtomicU64::new(0),
    AtomicU64::new(DescriptorFlags::KERNEL_CODE64.bits()),
    AtomicU64::new(DescriptorFlags::KERNEL_DATA.bits()),
    AtomicU64::new(0),
    AtomicU64::new(0),
    AtomicU64::new(0),
    AtomicU64::new(0),
];

/// Selects 64-bit code.
pub(super) const CODE: u16 = 1 << 3;
/// Selects data.
pub(super) const DATA: u16 = 2 << 3;
/// Where the task states begin in the table.
const FIRST_TASK: u16 = 3;
const SECOND_TASK: u16 = 5;

/// The task states of both processors.
static TASKS: [Once<TaskStateSegment>; 2] = [const { Once::new() }; 2];

/// Enters the task state of the first processor; called once at entry.
pub(super) fn load() {
    enter(&TASKS[0], FIRST_TASK, (&raw const FAULT_STACK).addr() + FAULT_STACK_BYTES);
}

/// Enters the task state of the second processor; called once by it.
pub(super) fn load_second(fault_stack_top: usize) {
    enter(&TASKS[1], SECOND_TASK, fault_stack_top);
}

/// Returns whether the second processor runs this.
pub(super) fn is_second() -> bool {
    let selector: u16;
    // SAFETY: reading the selector of the task state is always allowed.
    unsafe {
        asm!("str {:x}", out(reg) selector, options(nomem, nostack, preserves_flags));
    }
    selector == SECOND_TASK << 3
}

fn enter(task: &'static Once<TaskStateSegment>, index: u16, fault_stack_top: usize) {
    let task = task.call_once(|| {
        let mut task = TaskStateSegment::new();
        let top = VirtAddr::new(fault_stack_top as u64);
        task.interrupt_stack_table[usize::from(FAULT_STACK_INDEX) - 1] = top;
        task
    });
    if let Descriptor::SystemSegment(low, high) = Descriptor::tss_segment(task) {
        TABLE[usize::from(index)].store(low, Ordering::Relaxed);
        TABLE[usize::from(index) + 1].store(high, Ordering::Relaxed);
    }
    // SAFETY: the selector names a task state that lives as long as the program and is loaded
    // once, so its busy bit is clear.
    unsafe { load_tss(SegmentSelector::new(index, PrivilegeLevel::Ring0)) };
}
