//! The interrupt controller, as far as the virtual timer's interrupt needs it.
//!
//! Always: no interrupt is acknowledged, so that none needs an end.
//!
//! Sources: Arm IHI 0048B (GICv2), IHI 0069 (GICv3).

use core::arch::asm;

use crate::device_tree::Gic as Place;
use crate::registers::Registers;

/// The virtual timer's interrupt, which is private to the processor (Arm BSA, 3.8).
const TIMER: u32 = 27;

/// Of the distributor, and of the redistributor's second frame: groups, and what is let through.
const GROUP0: usize = 0x80;
const ENABLE0: usize = 0x100;
/// Of GICv2's interface to the processor: control, priorities that pass, what would be taken.
const CONTROL: usize = 0x0;
const PRIORITIES: usize = 0x4;
const HIGHEST_PENDING: usize = 0x18;
/// Of a redistributor: whether the processor sleeps, and whether that has an end.
const WAKER: usize = 0x14;
const PROCESSOR_SLEEPS: u32 = 1 << 1;
const CHILDREN_SLEEP: u32 = 1 << 2;
/// A redistributor's second frame.
const PRIVATE_FRAME: usize = 0x1_0000;
/// The end of the registers of a block that are touched here: a redistributor has two frames.
pub(super) const BLOCK_BYTES: u64 = 0x2_0000;
/// Looks at a redistributor that is to wake.
const LOOKS: u32 = 1000;

/// A controller that lets the timer's interrupt through.
pub(super) enum Gic {
    /// The interface to the processor.
    V2(Registers),
    V3,
}

impl Gic {
    /// Lets the timer's interrupt through; `None` for blocks that cannot be.
    pub(super) fn begin(place: Place) -> Option<Self> {
        let [first, second] = place.blocks();
        // SAFETY: the device tree says that these are the controller's registers, which are mapped
        // as device memory; only this module uses them, once.
        let distributor = unsafe { Registers::new(first, BLOCK_BYTES as usize) };
        // SAFETY: as above.
        let other = unsafe { Registers::new(second, BLOCK_BYTES as usize) };
        let (distributor, other) = (distributor?, other?);
        Some(match place {
            Place::V2 { .. } => Self::V2(Self::begin_v2(distributor, other)),
            Place::V3 { .. } => {
                Self::begin_v3(distributor, other);
                Self::V3
            }
        })
    }

    fn begin_v2(mut distributor: Registers, mut processor: Registers) -> Registers {
        distributor.write32(ENABLE0, 1 << TIMER);
        distributor.write32(CONTROL, 1);
        processor.write32(PRIORITIES, 0xff);
        processor.write32(CONTROL, 1);
        processor
    }

    fn begin_v3(mut distributor: Registers, mut redistributor: Registers) {
        // Both groups, by affinity (GICD_CTLR, in either view of it).
        distributor.write32(CONTROL, 1 << 4 | 0b11);
        let waker = redistributor.read32(WAKER);
        redistributor.write32(WAKER, waker & !PROCESSOR_SLEEPS);
        for _ in 0..LOOKS {
            if redistributor.read32(WAKER) & CHILDREN_SLEEP == 0 {
                break;
            }
        }
        let group = redistributor.read32(PRIVATE_FRAME + GROUP0);
        redistributor.write32(PRIVATE_FRAME + GROUP0, group | 1 << TIMER);
        redistributor.write32(PRIVATE_FRAME + ENABLE0, 1 << TIMER);
        // SAFETY: a machine whose tree has a GICv3 has these registers: system registers on, all
        // priorities pass, group 1 on.
        unsafe {
            asm!("msr S3_0_C12_C12_5, {one}", "isb", "msr S3_0_C4_C6_0, {all}",
                "msr S3_0_C12_C12_7, {one}", "isb", one = in(reg) 1_u64,
                all = in(reg) 0xff_u64, options(nostack, preserves_flags));
        }
    }

    /// Returns whether the timer's interrupt has come as far as the processor.
    pub(super) fn timer_is_pending(&self) -> bool {
        let number = match self {
            Self::V2(processor) => processor.read32(HIGHEST_PENDING),
            Self::V3 => {
                let number: u64;
                // SAFETY: as in `begin_v3`: the highest pending interrupt of group 1.
                unsafe {
                    asm!("dsb sy", "mrs {}, S3_0_C12_C12_2", out(reg) number,
                        options(nostack, preserves_flags));
                }
                number as u32
            }
        };
        number & 0x3ff == TIMER
    }
}
