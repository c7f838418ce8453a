//! The segment table and the task state, which names the stack for faults.
//!
//! Always: an exception runs on a stack of its own, so that an overflow of the main stack can
//! still be reported.

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES};

/// Index in the interrupt stack table, from 1 as the processor counts.
pub(super) const FAULT_STACK_INDEX: u8 = 1;

struct Segments {
    gdt: GlobalDescriptorTable,
    code: SegmentSelector,
    data: SegmentSelector,
    task: SegmentSelector,
}

static TASK: Once<TaskStateSegment> = Once::new();
static SEGMENTS: Once<Segments> = Once::new();

/// The selector of 64-bit code, for gates.
pub(super) fn code_selector() -> u16 {
    SEGMENTS.get().map_or(0x08, |segments| segments.code.0)
}

/// Loads the tables; called once at entry.
pub(super) fn load() {
    let task = TASK.call_once(|| {
        let mut task = TaskStateSegment::new();
        let end = (&raw const FAULT_STACK).addr() + FAULT_STACK_BYTES;
        task.interrupt_stack_table[usize::from(FAULT_STACK_INDEX) - 1] = VirtAddr::new(end as u64);
        task
    });
    let segments = SEGMENTS.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        let task = gdt.append(Descriptor::tss_segment(task));
        Segments { gdt, code, data, task }
    });
    segments.gdt.load();
    // SAFETY: the table just loaded has a 64-bit code segment at this selector.
    unsafe { CS::set_reg(segments.code) };
    // SAFETY: and a writable data segment at this one.
    unsafe { SS::set_reg(segments.data) };
    // SAFETY: as above.
    unsafe { DS::set_reg(segments.data) };
    // SAFETY: as above.
    unsafe { ES::set_reg(segments.data) };
    // SAFETY: the selector names a task state that lives as long as the program and is loaded
    // once, so its busy bit is clear.
    unsafe { load_tss(segments.task) };
}
