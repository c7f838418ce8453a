//! Disks with faults.
