//! Reads as futures: one alone and a few ([`alone`]), many in worlds that a seed decides ([`world`]),
//! and those that need no heap ([`slots`]).

mod alone;
#[path = "../readers/mod.rs"]
mod readers;
mod slots;
mod world;
