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
    ($at:literal, $words:literal, $blocks:literal, $abef:literal, $cdgh:literal) => {
        concat!(
            "movdqu ",
            $words,
            ", [",
            $blocks,
            " + ",
            $at,
            "]\n",
            "pshufb ",
            $words,
            ", [rax + 256]\n",
            "movdqa xmm0, ",
            $words,
            "\n",
            "paddd xmm0, [rax + ",
            $at,
            "]\n",
            rounds!($abef, $cdgh),
        )
    };
}

/// Four rounds of a lane with the next words of the schedule, which take the place of the oldest
/// ones.
macro_rules! next {
    (
        $at:literal, $oldest:literal, $older:literal, $newer:literal, $newest:literal,
        $spare:literal, $abef:literal, $cdgh:literal
    ) => {
        concat!(
            "sha256msg1 ",
            $oldest,
            ", ",
            $older,
            "\n",
            "movdqa ",
            $spare,
            ", ",
            $newest,
            "\n",
            "palignr ",
            $spare,
            ", ",
            $newer,
            ", 4\n",
            "paddd ",
            $oldest,
            ", ",
            $spare,
            "\n",
            "sha256msg2 ",
            $oldest,
            ", ",
            $newest,
            "\n",
            "movdqa xmm0, ",
            $oldest,
            "\n",
            "paddd xmm0, [rax + ",
            $at,
            "]\n",
            rounds!($abef, $cdgh),
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

// RDI: state, RSI: blocks, RDX: their count. XMM1 and XMM2 have the state, XMM3 to XMM6 the words.
global_asm!(
    ".global platform_sha256",
    "platform_sha256:",
    "test rdx, rdx",
    "jz 3f",
    "lea rax, [rip + {constants}]",
    load!("rdi", "xmm1", "xmm2", "xmm7"),
    "2:",
    "movdqa xmm9, xmm1",
    "movdqa xmm10, xmm2",
    first!("0", "xmm3", "rsi", "xmm1", "xmm2"),
    first!("16", "xmm4", "rsi", "xmm1", "xmm2"),
    first!("32", "xmm5", "rsi", "xmm1", "xmm2"),
    first!("48", "xmm6", "rsi", "xmm1", "xmm2"),
    next!("64", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("80", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("96", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("112", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    next!("128", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("144", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("160", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("176", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    next!("192", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("208", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("224", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("240", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    "paddd xmm1, xmm9",
    "paddd xmm2, xmm10",
    "add rsi, 64",
    "dec rdx",
    "jnz 2b",
    store!("rdi", "xmm1", "xmm2", "xmm7"),
    "3:",
    "ret",
    constants = sym CONSTANTS,
);

// RDI, RSI: states, RDX, RCX: their blocks, R8: the count of each. The second lane has its state in
// XMM9 and XMM10, its words in XMM11 to XMM14. Rounds of one lane run while those of the other wait
// for their results.
global_asm!(
    ".global platform_sha256_pair",
    "platform_sha256_pair:",
    "test r8, r8",
    "jz 3f",
    "lea rax, [rip + {constants}]",
    "sub rsp, 72",
    load!("rdi", "xmm1", "xmm2", "xmm7"),
    load!("rsi", "xmm9", "xmm10", "xmm8"),
    "2:",
    "movdqu [rsp], xmm1",
    "movdqu [rsp + 16], xmm2",
    "movdqu [rsp + 32], xmm9",
    "movdqu [rsp + 48], xmm10",
    first!("0", "xmm3", "rdx", "xmm1", "xmm2"),
    first!("0", "xmm11", "rcx", "xmm9", "xmm10"),
    first!("16", "xmm4", "rdx", "xmm1", "xmm2"),
    first!("16", "xmm12", "rcx", "xmm9", "xmm10"),
    first!("32", "xmm5", "rdx", "xmm1", "xmm2"),
    first!("32", "xmm13", "rcx", "xmm9", "xmm10"),
    first!("48", "xmm6", "rdx", "xmm1", "xmm2"),
    first!("48", "xmm14", "rcx", "xmm9", "xmm10"),
    next!("64", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("64", "xmm11", "xmm12", "xmm13", "xmm14", "xmm8", "xmm9", "xmm10"),
    next!("80", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("80", "xmm12", "xmm13", "xmm14", "xmm11", "xmm8", "xmm9", "xmm10"),
    next!("96", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("96", "xmm13", "xmm14", "xmm11", "xmm12", "xmm8", "xmm9", "xmm10"),
    next!("112", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    next!("112", "xmm14", "xmm11", "xmm12", "xmm13", "xmm8", "xmm9", "xmm10"),
    next!("128", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("128", "xmm11", "xmm12", "xmm13", "xmm14", "xmm8", "xmm9", "xmm10"),
    next!("144", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("144", "xmm12", "xmm13", "xmm14", "xmm11", "xmm8", "xmm9", "xmm10"),
    next!("160", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("160", "xmm13", "xmm14", "xmm11", "xmm12", "xmm8", "xmm9", "xmm10"),
    next!("176", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    next!("176", "xmm14", "xmm11", "xmm12", "xmm13", "xmm8", "xmm9", "xmm10"),
    next!("192", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm1", "xmm2"),
    next!("192", "xmm11", "xmm12", "xmm13", "xmm14", "xmm8", "xmm9", "xmm10"),
    next!("208", "xmm4", "xmm5", "xmm6", "xmm3", "xmm7", "xmm1", "xmm2"),
    next!("208", "xmm12", "xmm13", "xmm14", "xmm11", "xmm8", "xmm9", "xmm10"),
    next!("224", "xmm5", "xmm6", "xmm3", "xmm4", "xmm7", "xmm1", "xmm2"),
    next!("224", "xmm13", "xmm14", "xmm11", "xmm12", "xmm8", "xmm9", "xmm10"),
    next!("240", "xmm6", "xmm3", "xmm4", "xmm5", "xmm7", "xmm1", "xmm2"),
    next!("240", "xmm14", "xmm11", "xmm12", "xmm13", "xmm8", "xmm9", "xmm10"),
    "movdqu xmm7, [rsp]",
    "movdqu xmm8, [rsp + 16]",
    "paddd xmm1, xmm7",
    "paddd xmm2, xmm8",
    "movdqu xmm7, [rsp + 32]",
    "movdqu xmm8, [rsp + 48]",
    "paddd xmm9, xmm7",
    "paddd xmm10, xmm8",
    "add rdx, 64",
    "add rcx, 64",
    "dec r8",
    "jnz 2b",
    "add rsp, 72",
    store!("rdi", "xmm1", "xmm2", "xmm7"),
    store!("rsi", "xmm9", "xmm10", "xmm8"),
    "3:",
    "ret",
    constants = sym CONSTANTS,
);
