//! The segment table and the task state, which names the stack for faults.
//!
//! Always: an exception runs on a stack of its own, so that an overflow of the main stack can
//! still be reported.

use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES};

/// Index in the interrupt stack table, from 1 as the processor counts.
pub(super) const FAULT_STACK_INDEX: u8 = 1;

static mut TASK: TaskStateSegment = TaskStateSegment::new();
static mut TABLE: GlobalDescriptorTable = {
    let mut table = GlobalDescriptorTable::new();
    table.append(Descriptor::kernel_code_segment());
    table.append(Descriptor::kernel_data_segment());
    table
};
/// The first entry behind the empty one.
const CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);
const DATA: SegmentSelector = SegmentSelector::new(2, PrivilegeLevel::Ring0);

/// Loads the tables; called once at entry. The answer is the selector of 64-bit code.
pub(super) fn load() -> u16 {
    let (task, table) = (&raw mut TASK, &raw mut TABLE);
    // SAFETY: called once, on the only processor; nothing else names it.
    let task = unsafe { &mut *task };
    // SAFETY: as above.
    let table = unsafe { &mut *table };
    let end = (&raw const FAULT_STACK).addr() + FAULT_STACK_BYTES;
    task.interrupt_stack_table[usize::from(FAULT_STACK_INDEX) - 1] = VirtAddr::new(end as u64);
    let task = table.append(Descriptor::tss_segment(task));
    table.load();
    // SAFETY: the table just loaded has a 64-bit code segment at this selector.
    unsafe { CS::set_reg(CODE) };
    // SAFETY: and a writable data segment at this one.
    unsafe { SS::set_reg(DATA) };
    // SAFETY: as above.
    unsafe { DS::set_reg(DATA) };
    // SAFETY: as above.
    unsafe { ES::set_reg(DATA) };
    // SAFETY: the selector names a task state that lives as long as the program and is loaded
    // once, so its busy bit is clear.
    unsafe { load_tss(task) };
    CODE.0
}
