//! Matches of every distance and length, near the end of the output and far from it.
//!
//! Always: blocks are put together here, and what they decode to is made byte by byte.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// A block and its decoded bytes.
#[derive(Default)]
struct Block {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Block {
    fn length(&mut self, len: usize) {
        if let Some(more) = len.checked_sub(CONTINUED) {
            self.input.extend(vec![255; more / 255]);
            self.input.push(u8::try_from(more % 255).unwrap());
        }
    }

    /// Appends new literals, and a match after them if there is one.
    fn sequence(&mut self, literals: usize, found: Option<(usize, usize)>) {
        let matched = found.map_or(0, |(_, len)| len - MATCH_MIN);
        let token = literals.min(CONTINUED) << 4 | matched.min(CONTINUED);
        self.input.push(u8::try_from(token).unwrap());
        self.length(literals);
        for _ in 0..literals {
            let byte = self.output.len().wrapping_mul(0x9e37_79b1).to_le_bytes()[2];
            self.input.push(byte);
            self.output.push(byte);
        }
        if let Some((distance, len)) = found {
            self.input.extend(u16::try_from(distance).unwrap().to_le_bytes());
            self.length(matched);
            (0..len).for_each(|_| self.output.push(self.output[self.output.len() - distance]));
        }
    }

    fn decoded(&self, distance_max: usize) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0; self.output.len()];
        let mut stream = Lz4::new(&self.input, distance_max);
        let end = stream.fill(&mut out, 0)?;
        assert_eq!((end, stream.ends()), (out.len(), Ok(true)));
        Ok(out)
    }
}

#[test]
fn matches_of_every_distance_and_length_are_repeated_exactly() {
    for distance in 1..=70 {
        for len in (MATCH_MIN..=70).chain([127, 128, 129, 300, 1000]) {
            // After the match there is no room, or a little, or a lot.
            for behind in [0, 5, 31, 100] {
                let mut block = Block::default();
                block.sequence(distance, Some((distance, len)));
                block.sequence(3, Some((distance, len)));
                block.sequence(behind, None);
                for limit in [distance, HISTORY] {
                    let decoded = block.decoded(limit).unwrap();
                    assert!(decoded == block.output, "{len} bytes, {distance} back, {behind}");
                }
                let fault = block.decoded(distance - 1).err();
                let decoded = u64::try_from(distance).unwrap();
                let max = decoded - 1;
                assert_eq!(fault, Some(Fault::Distance { decoded, distance: decoded, max }));
            }
        }
    }
}

#[test]
fn literals_of_every_length_are_copied_exactly() {
    for literals in (0..200).chain([255, 270, 1000]) {
        for behind in [0, 1, 20, 100] {
            let mut block = Block::default();
            block.sequence(40, Some((30, 6)));
            block.sequence(literals, Some((20, 9)));
            block.sequence(behind, None);
            assert!(block.decoded(HISTORY).unwrap() == block.output, "{literals}, {behind}");
        }
    }
}

#[test]
fn match_before_the_first_byte_is_a_fault_wherever_it_is_found() {
    for literals in [1, 14, 15, 40] {
        let mut block = Block::default();
        block.sequence(literals, Some((literals, 8)));
        block.sequence(200, None);
        let place = block.input.len() - 2 - (1 + 1 + 200);
        assert_eq!(usize::from(block.input[place]), literals);
        block.input[place] += 1;
        let fault = block.decoded(HISTORY).err();
        let max = u64::try_from(literals).unwrap();
        assert_eq!(fault, Some(Fault::Distance { decoded: max, distance: max + 1, max }));
    }
}
