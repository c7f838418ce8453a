//! The board under QEMU: what a user gets from `cargo run -- ...`, good input and bad.
//!
//! Always: every boot has a deadline of its own; what is compared is standard output, standard
//! error and the exit status of the tool. QEMU and the rest are installed by the tool itself.

mod app;
mod bad_input;
mod boot;
mod ceph;
mod commands;
mod consoles;
mod counters;
mod counts;
mod cuts;
mod daemons;
mod dist;
mod emulator;
mod ends;
mod faults;
mod golden;
#[path = "../../../crates/cli/tests/support/gpt.rs"]
mod gpt;
mod instructions;
mod layers;
mod linux;
mod machines;
mod matrix;
mod monitors;
mod nginx;
mod objects;
#[path = "../../../crates/cli/tests/support/oci.rs"]
#[expect(dead_code, reason = "plain archives are for the tool's tests")]
mod oci;
mod origin;
mod protocols;
mod queues;
mod race;
mod regions;
mod replay;
mod restarts;
mod resumes;
mod sample;
mod second;
mod shares;
mod sources;
mod sources_ceph;
mod sources_iscsi;
mod sources_many;
mod sources_nbd;
mod sources_oci;
mod sources_ssh;
mod sources_table;
mod sources_vhost;
mod sources_web;
mod stalls;
mod timeline;
#[path = "../../src/measure/tiny.rs"]
#[expect(dead_code, reason = "its ends that are no exits are for the tool's tests")]
mod tiny;
#[path = "../../src/measure/tiny_virt.rs"]
mod tiny_virt;
mod transports;
mod unpack;
mod verity;
mod waiting;
