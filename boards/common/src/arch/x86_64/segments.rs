//! The segment table and the task state, which names the stack for faults.
//!
//! Always: the table is loaded on the way into 64-bit mode; an exception runs on a stack of its
//! own, so that an overflow of the main stack can still be reported.
//!
//! Source: Intel SDM volume 3, 3.4.5 (descriptors), 8.2 (task state).

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES};

/// Index in the interrupt stack table, from 1 as the processor counts.
pub(super) const FAULT_STACK_INDEX: u8 = 1;

/// The segment table: nothing, 64-bit code, data, and the task state in two.
pub(super) type Table = [AtomicU64; 5];

pub(super) static TABLE: Table = [
    AtomicU64::new(0),
    AtomicU64::new(DescriptorFlags::KERNEL_CODE64.bits()),
    AtomicU64::new(DescriptorFlags::KERNEL_DATA.bits()),
    AtomicU64::new(0),
    AtomicU64::new(0),
];

/// Selects 64-bit code.
pub(super) const CODE: u16 = 1 << 3;
/// Selects data.
pub(super) const DATA: u16 = 2 << 3;
const TASK_INDEX: u16 = 3;

static mut TASK: TaskStateSegment = TaskStateSegment::new();

/// Enters the task state; called once at entry.
pub(super) fn load() {
    let task = &raw mut TASK;
    // SAFETY: called once, on the only processor; nothing else names it.
    let task = unsafe { &mut *task };
    let end = (&raw const FAULT_STACK).addr() + FAULT_STACK_BYTES;
    task.interrupt_stack_table[usize::from(FAULT_STACK_INDEX) - 1] = VirtAddr::new(end as u64);
    if let Descriptor::SystemSegment(low, high) = Descriptor::tss_segment(task) {
        TABLE[usize::from(TASK_INDEX)].store(low, Ordering::Relaxed);
        TABLE[usize::from(TASK_INDEX) + 1].store(high, Ordering::Relaxed);
    }
    // SAFETY: the selector names a task state that lives as long as the program and is loaded
    // once, so its busy bit is clear.
    unsafe { load_tss(SegmentSelector::new(TASK_INDEX, PrivilegeLevel::Ring0)) };
}
