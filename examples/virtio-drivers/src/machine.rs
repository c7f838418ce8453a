//! The machine `virt` of QEMU: its start, console, clock, heap and devices.
//!
//! Always: `unsafe` is here alone, one operation a block, with its proof.

use core::alloc::Layout;
use core::arch::{asm, naked_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::NonNull;

use alloc::alloc::{alloc_zeroed, dealloc};
use linked_list_allocator::LockedHeap;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Where `virt` has its serial port, its switch, and its places for virtio devices.
const UART: *mut u8 = 0x1000_0000 as *mut u8;
const SWITCH: *mut u32 = 0x10_0000 as *mut u32;
const VIRTIO: usize = 0x1000_1000;
const VIRTIO_PLACES: usize = 8;
const VIRTIO_STEP: usize = 0x1000;
/// Nanoseconds of a tick: `virt` counts 10 MHz.
const TICK_NS: u64 = 100;

const HEAP_BYTES: usize = 16 << 20;
static mut HEAP_MEMORY: [u8; HEAP_BYTES] = [0; HEAP_BYTES];

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// The first instructions: a stack, and the registers for floating point, which compiled code may
/// use (sstatus.FS).
// SAFETY: the linker script names it as the entry, and nothing else has that name.
#[unsafe(no_mangle)]
// SAFETY: as above, the section is for the entry alone.
#[unsafe(link_section = ".text.entry")]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("li t0, 0x6000", "csrs sstatus, t0", "la sp, stack_top", "tail {begin}", begin = sym begin)
}

extern "C" fn begin() -> ! {
    let memory = &raw mut HEAP_MEMORY;
    // SAFETY: this is the first that runs, once, and nobody else names the memory.
    unsafe { HEAP.lock().init(memory.cast(), HEAP_BYTES) };
    exit(u32::from(crate::run().is_err()))
}

/// Ends the machine; 0 is success.
pub fn exit(status: u32) -> ! {
    let word = if status == 0 { 0x5555 } else { status << 16 | 0x3333 };
    // SAFETY: `virt` has its switch there, which ends the machine.
    unsafe { SWITCH.write_volatile(word) };
    loop {
        core::hint::spin_loop();
    }
}

/// The console.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: `virt` has the transmit register of its serial port there, which never is full.
            unsafe { UART.write_volatile(byte) };
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "{info}");
    exit(101)
}

/// Returns the time since the machine was started.
pub fn now_ns() -> u64 {
    let ticks: u64;
    // SAFETY: reading a counter changes nothing; OpenSBI lets S-mode read it.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack)) };
    ticks * TICK_NS
}

/// Returns all virtio-blk devices.
pub fn block_devices() -> impl Iterator<Item = MmioTransport<'static>> {
    let places = (0..VIRTIO_PLACES).map(|place| VIRTIO + place * VIRTIO_STEP);
    let transports = places.filter_map(|at| {
        let header = NonNull::new(at as *mut VirtIOHeader)?;
        // SAFETY: `virt` has registers of a virtio device in each of its places, be there a device
        // or not, and each is named once.
        unsafe { MmioTransport::new(header, VIRTIO_STEP) }.ok()
    });
    transports.filter(|transport| transport.device_type() == DeviceType::Block)
}

/// Memory for devices: addresses are the same for the processor and for devices.
pub struct Memory;

// SAFETY: pages come from the heap, zeroed, aligned, and belong to nobody else until they are given
// back; devices of `virt` see all memory at its own address.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(layout) = layout(pages) else { return (0, NonNull::dangling()) };
        // SAFETY: a queue has a page at least, so the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => (memory.addr().get() as PhysAddr, memory),
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the caller gives back what `dma_alloc` gave it, for as many pages.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(at as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().addr().get() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}
