//! `handover` for cargo-fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootlet_targets::run("handover", bytes));
