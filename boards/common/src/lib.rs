//! The platform crate.
#![no_std]
