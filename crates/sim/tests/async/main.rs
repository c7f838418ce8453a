//! Reads as futures: one alone and a few ([`alone`]), and many in worlds that a seed decides
//! ([`world`]).

mod alone;
#[path = "../readers/mod.rs"]
mod readers;
mod world;
