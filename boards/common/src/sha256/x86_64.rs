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
}

/// Four rounds with the words and constants in XMM0.
macro_rules! rounds {
    () => {
        "sha256rnds2 xmm2, xmm1\n pshufd xmm0, xmm0, 0x0e\n sha256rnds2 xmm1, xmm2\n"
    };
}

/// Four rounds with words of the block, from byte `at` on.
macro_rules! first {
    ($at:literal, $words:literal) => {
        concat!(
            "movdqu ",
            $words,
            ", [rsi + ",
            $at,
            "]\n",
            "pshufb ",
            $words,
            ", xmm8\n",
            "movdqa xmm0, ",
            $words,
            "\n",
            "paddd xmm0, [rax + ",
            $at,
            "]\n",
            rounds!(),
        )
    };
}

/// Four rounds with the next words of the schedule, which take the place of the oldest ones.
macro_rules! next {
    ($at:literal, $oldest:literal, $older:literal, $newer:literal, $newest:literal) => {
        concat!(
            "sha256msg1 ",
            $oldest,
            ", ",
            $older,
            "\n",
            "movdqa xmm7, ",
            $newest,
            "\n",
            "palignr xmm7, ",
            $newer,
            ", 4\n",
            "paddd ",
            $oldest,
            ", xmm7\n",
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
            rounds!(),
        )
    };
}

// RDI: state, RSI: blocks, RDX: their count. XMM1 has A, B, E, F; XMM2 has C, D, G, H.
global_asm!(
    ".global platform_sha256",
    "platform_sha256:",
    "test rdx, rdx",
    "jz 3f",
    "lea rax, [rip + {constants}]",
    "movdqa xmm8, [rax + 256]",
    "movdqu xmm1, [rdi]",
    "movdqu xmm2, [rdi + 16]",
    "pshufd xmm1, xmm1, 0xb1",
    "pshufd xmm2, xmm2, 0x1b",
    "movdqa xmm7, xmm1",
    "palignr xmm1, xmm2, 8",
    "pblendw xmm2, xmm7, 0xf0",
    "2:",
    "movdqa xmm9, xmm1",
    "movdqa xmm10, xmm2",
    first!("0", "xmm3"),
    first!("16", "xmm4"),
    first!("32", "xmm5"),
    first!("48", "xmm6"),
    next!("64", "xmm3", "xmm4", "xmm5", "xmm6"),
    next!("80", "xmm4", "xmm5", "xmm6", "xmm3"),
    next!("96", "xmm5", "xmm6", "xmm3", "xmm4"),
    next!("112", "xmm6", "xmm3", "xmm4", "xmm5"),
    next!("128", "xmm3", "xmm4", "xmm5", "xmm6"),
    next!("144", "xmm4", "xmm5", "xmm6", "xmm3"),
    next!("160", "xmm5", "xmm6", "xmm3", "xmm4"),
    next!("176", "xmm6", "xmm3", "xmm4", "xmm5"),
    next!("192", "xmm3", "xmm4", "xmm5", "xmm6"),
    next!("208", "xmm4", "xmm5", "xmm6", "xmm3"),
    next!("224", "xmm5", "xmm6", "xmm3", "xmm4"),
    next!("240", "xmm6", "xmm3", "xmm4", "xmm5"),
    "paddd xmm1, xmm9",
    "paddd xmm2, xmm10",
    "add rsi, 64",
    "dec rdx",
    "jnz 2b",
    "pshufd xmm1, xmm1, 0x1b",
    "pshufd xmm2, xmm2, 0xb1",
    "movdqa xmm7, xmm1",
    "pblendw xmm1, xmm2, 0xf0",
    "palignr xmm2, xmm7, 8",
    "movdqu [rdi], xmm1",
    "movdqu [rdi + 16], xmm2",
    "3:",
    "ret",
    constants = sym CONSTANTS,
);
