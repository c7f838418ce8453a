//! SHA-256 by the SHA extensions of x86 (Intel SDM, volume 2, SHA256RNDS2).
//!
//! Always: nothing else in a guest touches the XMM registers, whose target has none, so no interrupt
//! has to keep them; the entry code has allowed them (CR4.OSFXSR).

use core::arch::global_asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

use super::CONSTANTS;

/// CPUID.1:ECX.SSSE3 and SSE4.1: the shuffles.
const SHUFFLES: u32 = 1 << 9 | 1 << 19;
/// CPUID.7:EBX.SHA.
const SHA: u32 = 1 << 29;

/// The processor has the instructions.
#[derive(Debug)]
pub struct Present(());

unsafe extern "sysv64" {
    /// Takes `count` blocks of 64 bytes into the state. Needs the instructions of [`Present`].
    fn platform_sha256(state: *mut [u32; 8], blocks: *const [u8; 64], count: usize);
    /// Does the same for two states at once, of which each has its own blocks.
    fn platform_sha256_pair(
        one: *mut [u32; 8],
        other: *mut [u32; 8],
        of_one: *const [u8; 64],
        of_other: *const [u8; 64],
        count: usize,
    );
}

impl Present {
    /// Returns whether the instructions are there.
    pub fn look() -> Option<Self> {
        if __cpuid(0).eax < 7 || __cpuid(1).ecx & SHUFFLES != SHUFFLES {
            return None;
        }
        (__cpuid_count(7, 0).ebx & SHA != 0).then_some(Self(()))
    }

    /// Takes `blocks` into a state.
    pub fn compress(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        // SAFETY: the processor has the instructions, and `count` blocks lie at the pointer.
        unsafe { platform_sha256(state, blocks.as_ptr(), blocks.len()) };
    }

    /// Takes blocks into two states, as many into each.
    pub fn compress_pair(&self, states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        let ([one, other], [of_one, of_other]) = (states, blocks);
        assert_eq!(of_one.len(), of_other.len(), "a pair has one length");
        let (from, and) = (of_one.as_ptr(), of_other.as_ptr());
        // SAFETY: the processor has the instructions, and `count` blocks lie at each pointer.
        unsafe { platform_sha256_pair(one, other, from, and, of_one.len()) };
    }
}

/// Four rounds of a lane with the words and constants in XMM0.
macro_rules! rounds {
    ($abef:literal, $cdgh:literal) => {
        concat!(
            "sha256rnds2 ",
            $cdgh,
            ", ",
            $abef,
            "\n",
            "pshufd xmm0, xmm0, 0x0e\n",
            "sha256rnds2 ",
            $abef,
            ", ",
            $cdgh,
            "\n",
        )
    };
}

/// Four rounds of a lane with words of its block, from byte `at` on.
macro_rules! first {
    ($at:literal, $n:literal, ($x:literal, $blocks:literal, $spare:literal, $abef:literal, $cdgh:literal)) => {
        concat!(
            "movdqu ",
            $x,
            $n,
            ", [",
            $blocks,
            " + ",
            $at,
            "]\n",
            "pshufb ",
            $x,
            $n,
            ", [rax + 256]\n",
            "movdqa xmm0, ",
            $x,
            $n,
            "\n",
            "paddd xmm0, [rax + ",
            $at,
            "]\n",
            rounds!($abef, $cdgh),
        )
    };
}

/// Four rounds of a lane with the next words of the schedule, which take the place of the oldest
/// ones: the registers are named from those to the newest.
macro_rules! next {
    ($at:literal, $a:literal $b:literal $c:literal $d:literal, ($x:literal, $blocks:literal, $spare:literal, $abef:literal, $cdgh:literal)) => {
        concat!(
            "sha256msg1 ",
            $x,
            $a,
            ", ",
            $x,
            $b,
            "\n",
            "movdqa ",
            $spare,
            ", ",
            $x,
            $d,
            "\n",
            "palignr ",
            $spare,
            ", ",
            $x,
            $c,
            ", 4\n",
            "paddd ",
            $x,
            $a,
            ", ",
            $spare,
            "\n",
            "sha256msg2 ",
            $x,
            $a,
            ", ",
            $x,
            $d,
            "\n",
            "movdqa xmm0, ",
            $x,
            $a,
            "\n",
            "paddd xmm0, [rax + ",
            $at,
            "]\n",
            rounds!($abef, $cdgh),
        )
    };
}

/// All rounds of a block of each lane, four of each in turn. A lane is how the registers of its words
/// begin, which end in 2 to 5; its blocks, a spare register, and those of its state.
macro_rules! block {
    ($($lane:tt)+) => {
        concat!(
            $(first!("0", "2", $lane),)+
            $(first!("16", "3", $lane),)+
            $(first!("32", "4", $lane),)+
            $(first!("48", "5", $lane),)+
            $(next!("64", "2" "3" "4" "5", $lane),)+
            $(next!("80", "3" "4" "5" "2", $lane),)+
            $(next!("96", "4" "5" "2" "3", $lane),)+
            $(next!("112", "5" "2" "3" "4", $lane),)+
            $(next!("128", "2" "3" "4" "5", $lane),)+
            $(next!("144", "3" "4" "5" "2", $lane),)+
            $(next!("160", "4" "5" "2" "3", $lane),)+
            $(next!("176", "5" "2" "3" "4", $lane),)+
            $(next!("192", "2" "3" "4" "5", $lane),)+
            $(next!("208", "3" "4" "5" "2", $lane),)+
            $(next!("224", "4" "5" "2" "3", $lane),)+
            $(next!("240", "5" "2" "3" "4", $lane),)+
        )
    };
}

/// The state at the pointer, in the order of the instructions: A, B, E, F and C, D, G, H.
macro_rules! load {
    ($state:literal, $abef:literal, $cdgh:literal, $spare:literal) => {
        concat!(
            "movdqu ", $abef, ", [", $state, "]\n", "movdqu ", $cdgh, ", [", $state, " + 16]\n",
            "pshufd ", $abef, ", ", $abef, ", 0xb1\n", "pshufd ", $cdgh, ", ", $cdgh, ", 0x1b\n",
            "movdqa ", $spare, ", ", $abef, "\n", "palignr ", $abef, ", ", $cdgh, ", 8\n",
            "pblendw ", $cdgh, ", ", $spare, ", 0xf0\n",
        )
    };
}

/// Writes what [`load`] has read back.
macro_rules! store {
    ($state:literal, $abef:literal, $cdgh:literal, $spare:literal) => {
        concat!(
            "pshufd ", $abef, ", ", $abef, ", 0x1b\n", "pshufd ", $cdgh, ", ", $cdgh, ", 0xb1\n",
            "movdqa ", $spare, ", ", $abef, "\n", "pblendw ", $abef, ", ", $cdgh, ", 0xf0\n",
            "palignr ", $cdgh, ", ", $spare, ", 8\n", "movdqu [", $state, "], ", $abef, "\n",
            "movdqu [", $state, " + 16], ", $cdgh, "\n",
        )
    };
}

// RDI: state, RSI: blocks, RDX: their count. XMM6 and XMM7 have the state.
global_asm!(
    ".global platform_sha256",
    "platform_sha256:",
    "test rdx, rdx",
    "jz 3f",
    "lea rax, [rip + {constants}]",
    load!("rdi", "xmm6", "xmm7", "xmm1"),
    "2:",
    "movdqa xmm8, xmm6",
    "movdqa xmm9, xmm7",
    block!(("xmm", "rsi", "xmm1", "xmm6", "xmm7")),
    "paddd xmm6, xmm8",
    "paddd xmm7, xmm9",
    "add rsi, 64",
    "dec rdx",
    "jnz 2b",
    store!("rdi", "xmm6", "xmm7", "xmm1"),
    "3:",
    "ret",
    constants = sym CONSTANTS,
);

// RDI, RSI: states, RDX, RCX: their blocks, R8: the count of each. The second lane has its state in
// XMM8 and XMM9, its words in XMM12 to XMM15. Rounds of one lane run while those of the other wait
// for their results.
global_asm!(
    ".global platform_sha256_pair",
    "platform_sha256_pair:",
    "test r8, r8",
    "jz 3f",
    "lea rax, [rip + {constants}]",
    "sub rsp, 72",
    load!("rdi", "xmm6", "xmm7", "xmm1"),
    load!("rsi", "xmm8", "xmm9", "xmm10"),
    "2:",
    "movdqu [rsp], xmm6",
    "movdqu [rsp + 16], xmm7",
    "movdqu [rsp + 32], xmm8",
    "movdqu [rsp + 48], xmm9",
    block!(("xmm", "rdx", "xmm1", "xmm6", "xmm7") ("xmm1", "rcx", "xmm10", "xmm8", "xmm9")),
    "movdqu xmm1, [rsp]",
    "movdqu xmm10, [rsp + 16]",
    "paddd xmm6, xmm1",
    "paddd xmm7, xmm10",
    "movdqu xmm1, [rsp + 32]",
    "movdqu xmm10, [rsp + 48]",
    "paddd xmm8, xmm1",
    "paddd xmm9, xmm10",
    "add rdx, 64",
    "add rcx, 64",
    "dec r8",
    "jnz 2b",
    "add rsp, 72",
    store!("rdi", "xmm6", "xmm7", "xmm1"),
    store!("rsi", "xmm8", "xmm9", "xmm10"),
    "3:",
    "ret",
    constants = sym CONSTANTS,
);
